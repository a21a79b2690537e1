"""One data set from start to end: from ratings.csv and movies.csv to recommendations with titles.

python examples/films_with_titles.py [FOLDER]

FOLDER is a MovieLens set. Without it, ratings are simulated: genres and decades are informative, biases
change with time, and titles are numbers.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

import numpy_neural_mf as nmf

if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
    features = nmf.read_features(folder / "movies.csv")  # genres, and the year at the end of the title
    ratings = nmf.read_ratings(folder / "ratings.csv").with_features(items=features)
    films = pl.read_csv(folder / "movies.csv", schema_overrides={"title": pl.String})
    titles = dict(zip(films["movieId"], films["title"], strict=True))
else:
    ratings = nmf.simulate_ratings(500, 200, 15_000, drift=0.4, side_information=0.8)
    titles = {item: f"Film {item}" for item in ratings.item_ids.tolist()}
print(ratings)
print(ratings.item_features)

train, test = nmf.random_split(ratings, test_size=0.1)  # features go with the ratings
models = {
    "linear regression": nmf.LinearRegression(),  # user and item biases
    "NeuralMF": nmf.NeuralMF(features=True, implicit=True, drift=True),  # MLP, genres, implicit feedback
    "BayesianMF": nmf.BayesianMF(n_samples=150),  # the same without the MLP, by Gibbs sampling
}
for name, model in models.items():
    errors = nmf.evaluate(model.fit(train), train, test).ratings.overall
    print(f"{name:18s} RMSE {errors.rmse:.4f} on {errors.n:,} ratings")

model = models["BayesianMF"]
low, high = model.predict_interval(test.raw_users, test.raw_items, test.timestamps, coverage=0.8)
inside = np.mean((low <= test.values) & (test.values <= high))
print(f"intervals meant for 80 % of the ratings hold {inside:.0%}")

user = ratings.user_ids[0].item()
print(f"\nFor user {user}:")
for item in model.recommend(user, n=5):
    low, high = model.predict_interval(user, item)
    print(f"  {titles[item]:50.50s} {model.predict(user, item):.1f}, likely {low:.1f} to {high:.1f}")

best = model.recommend(user, n=1)[0]
print(f"\nLike {titles[best]}:")
for item, cosine in zip(*model.similar_items(best, n=5, min_ratings=20), strict=True):
    print(f"  {titles[item]:50.50s} {cosine:.2f}")

print(f"\nA new user, who gave {titles[best]} the highest rating:")
newcomer = model.fold_in({best: ratings.scale[1]})
for item in model.recommend(newcomer, n=5):
    print(f"  {titles[item]}")
