"""Train NeuralMF on ratings, predict, and compare its error with that of the best possible model.

The ratings are simulated, so the noise floor is known: the RMSE of a model that knows all but the noise.
"""

from numpy_neural_mf import LinearRegression, NeuralMF, random_split, simulate_ratings

ratings = simulate_ratings(n_users=1_000, n_items=400, n_ratings=50_000, random_state=1)
train, test = random_split(ratings, test_size=0.2)
print(ratings)


def rmse(model):
    """Return the root mean squared error on the test ratings."""
    return float(((model.predict(test.raw_users, test.raw_items) - test.values) ** 2).mean() ** 0.5)


linear = LinearRegression().fit(train)
model = NeuralMF().fit(train)
expected = model.history_.expected_loss[-1] ** 0.5  # estimated without the test ratings

print(f"linear regression  RMSE {rmse(linear):.4f}")
print(f"NeuralMF           RMSE {rmse(model):.4f}, expected {expected:.4f}")
print(f"noise floor        RMSE {test.noise_floor:.4f}")

# Raw ids may be known or not: a new user gets the estimate that is best on average.
for user in (1, 2, "someone new"):
    print(f"user {user!r}: items 10, 20 and 30 →", model.predict(user, [10, 20, 30]).round(2))
