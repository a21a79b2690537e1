"""NeuralMF infers which of its factors are used and which features are informative.

python examples/informative_features.py [FIGURE]

Tastes are near two opposite points, so that one factor of eight is enough. Genres predict the embedding of an
item, and its decade predicts its bias; colour, studio and length of items and the age of users are random.
"""

import sys

import numpy as np

from numpy_neural_mf import Features, NeuralMF, simulate_ratings
from numpy_neural_mf.reporting.plots import save_figure, variance_figure

rng = np.random.default_rng(0)
ratings = simulate_ratings(n_users=1_000, n_items=400, n_ratings=40_000, side_information=1.0, random_state=1)
known, n = ratings.item_features, ratings.n_items


def values_of(field):
    """Return the values of each item in a field, such as "Action|Thriller"."""
    chosen = [column for column, of in enumerate(known.fields) if of == field]
    names = [known.columns[column].removeprefix(f"{field}=") for column in chosen]
    return ["|".join(np.array(names)[row > 0]) for row in known.matrix.toarray()[:, chosen]]


items = {"item": known.ids, "genres": values_of("genres"), "decade": values_of("decade")}
items |= {"colour": rng.choice(["red", "green", "blue"], n), "studio": rng.choice([*"ABCDEFGHIJ"], n)}
items |= {"length": rng.normal(size=n)}
users = {"user": ratings.user_ids, "age": rng.normal(size=ratings.n_users)}
ratings = ratings.with_features(users=Features.from_frame(users), items=Features.from_frame(items))

model = NeuralMF(embedding_dim=8, hidden_layer_sizes=(), features=True).fit(ratings)
for name, by_field in model.field_variances_.items():
    deviations = {field: float(variance.sum() ** 0.5) for field, variance in by_field.items()}
    print(f"{name:22s}", ", ".join(f"{field} {deviation:.3f}" for field, deviation in deviations.items()))

save_figure(variance_figure(model), sys.argv[1] if len(sys.argv) > 1 else "variances.png")
