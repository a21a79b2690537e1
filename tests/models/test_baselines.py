"""The baselines: a mean, and scikit-learn's ridge regression."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import OneHotEncoder

from numpy_neural_mf import GlobalMean, LinearRegression, Ratings, simulate_ratings

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, random_state=1)
PAIRS = np.column_stack([RATINGS.raw_users, RATINGS.raw_items])


def test_the_mean_is_the_mean():
    model = GlobalMean().fit(RATINGS)
    assert model.mean_ == pytest.approx(RATINGS.values.astype(float).mean())
    np.testing.assert_allclose(model.predict([1, "nobody"], [2, 3]), RATINGS.mean, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 3.0, 100.0])
def test_linear_regression_is_that_of_scikit_learn(alpha):
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(PAIRS)
    theirs = Ridge(alpha=alpha, solver="cholesky").fit(encoder.transform(PAIRS), RATINGS.values)
    unknown = np.array([[10**9, PAIRS[0, 1]], [PAIRS[0, 0], 10**9], [10**9, 10**9]])
    rows = np.vstack([PAIRS, unknown])
    expected = np.clip(theirs.predict(encoder.transform(rows)), *RATINGS.scale)
    prediction = LinearRegression([alpha]).fit(RATINGS).predict(*rows.T)
    np.testing.assert_allclose(prediction, expected, atol=2e-3)


def test_linear_regression_finds_biases_that_were_planted():
    rng = np.random.default_rng(0)
    users, items = np.indices((30, 20)).reshape(2, -1)
    b_u, b_i = rng.normal(0, 0.5, 30), rng.normal(0, 0.5, 20)
    values = 3 + b_u[users] + b_i[items]
    model = LinearRegression([1e-3]).fit(Ratings.from_columns(users, items, values, scale=(0, 6)))
    np.testing.assert_allclose(model.predict(users, items), values, atol=0.01)


def test_linear_regression_chooses_the_penalty_that_predicts_best():
    noise, biases = simulate_ratings(200, 100, 4_000, structure="none"), simulate_ratings(200, 100, 4_000)
    assert LinearRegression().fit(noise).alpha_ == 100_000
    assert LinearRegression().fit(biases).alpha_ < 100_000
    assert LinearRegression([7.0]).fit(noise).alpha_ == 7.0
    given = LinearRegression([1e-3, 1e5]).fit(noise, validation=noise)
    assert given.alpha_ == 1e-3, "on the ratings themselves the weakest penalty is best"


def test_one_rating_is_enough():
    one = Ratings.from_columns(["ann"], ["up"], [4.0], scale=(1, 5))
    for model in (GlobalMean(), LinearRegression()):
        assert model.fit(one).predict("ann", "up") == pytest.approx(4.0)
        assert model.predict("bob", "down") == pytest.approx(4.0)
