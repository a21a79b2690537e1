"""Accuracy of folding in new users and of learning more ratings without retraining.

    python -m benchmarks.accuracy.fold_in RATINGS --seeds 3

Fold-in: a tenth of the users are removed, the model is trained on the rest, and the removed users are folded
in with a random half of their ratings; RMSE is on the other half. "retrain" is the same model trained on that
half, too. partial_fit: the model is trained on 80 % of the ratings and tested on 10 % ("old test"); it then
learns nine tenths of the other 10 %, the latest if there are timestamps, in three batches, and the last tenth
tests the pairs with new users or items.
"""

import time
from typing import Any

import numpy as np
from benchmarks.data import add_data, load
from benchmarks.harness import Parser, Results

from numpy_neural_mf import B_MEDIUM, C_WIDE, Architecture, LinearRegression, NeuralMF, Ratings, random_split
from numpy_neural_mf.data import time_split, user_split
from numpy_neural_mf.data.ids import index_of
from numpy_neural_mf.evaluation import rmse

MODELS = {
    "LinearRegression": lambda seed: LinearRegression(),
    "biased MF": lambda seed: NeuralMF(Architecture(embedding_dim=16), random_state=seed),
    "B_MEDIUM": lambda seed: NeuralMF(B_MEDIUM, random_state=seed),
    "C_WIDE": lambda seed: NeuralMF(C_WIDE, random_state=seed),
}
BATCHES = 3


def fold_in(name: str, ratings: Ratings, seed: int) -> tuple[float, ...]:
    """Return the RMSE of fold-in, retrain, unknown user and item mean, and the milliseconds of a fold-in."""
    old, new = user_split(ratings, 0.1, seed)
    given, hidden = random_split(new, 0.5, seed)
    model, retrained = MODELS[name](seed).fit(old), MODELS[name](seed).fit(_together(ratings, old, given))
    prediction, milliseconds = np.empty(len(hidden), np.float32), []
    for user in np.unique(hidden.users):
        own, asked = given.take(given.users == user), hidden.users == user
        start = time.perf_counter()
        handle = model.fold_in(dict(zip(own.raw_items.tolist(), own.values.tolist(), strict=True)))
        milliseconds.append(1e3 * (time.perf_counter() - start))
        prediction[asked] = model.predict(handle, hidden.raw_items[asked])
    return (
        rmse(prediction, hidden.values),
        _error(retrained, hidden),
        rmse(model.predict("no such user", hidden.raw_items), hidden.values),
        rmse(_item_means(old, hidden), hidden.values),
        float(np.median(milliseconds)),
    )


def partial_fit(name: str, ratings: Ratings, seed: int) -> tuple[float, ...]:
    """Return the RMSE on the old and the new test part, before and after, and the seconds of all batches."""
    split = random_split if ratings.timestamps is None else lambda r, size, _: time_split(r, size)
    old, later = split(ratings, 0.1, seed)
    train, old_test = random_split(old, 1 / 9, seed)
    more, new_test = random_split(later, 0.1, seed)
    model = MODELS[name](seed).fit(train)
    new_test = new_test.take(~model.known(new_test.raw_users, new_test.raw_items))
    before = _error(model, old_test), _error(model, new_test)
    start = time.perf_counter()
    for rows in np.array_split(np.arange(len(more)), BATCHES):
        model.partial_fit(more.take(rows))
    seconds = time.perf_counter() - start
    return before[0], _error(model, old_test), before[1], _error(model, new_test), seconds


def _together(whole: Ratings, *parts: Ratings) -> Ratings:
    every, *pairs = (r.users.astype(np.int64) * whole.n_items + r.items for r in (whole, *parts))
    return whole.take(np.isin(every, np.concatenate(pairs)))


def _error(model: Any, test: Ratings) -> float:
    return rmse(model.predict(test.raw_users, test.raw_items), test.values) if len(test) else np.nan


def _item_means(train: Ratings, test: Ratings) -> np.ndarray:
    """Return the mean rating of each item of the test part; the overall mean for items without ratings."""
    counts = np.bincount(train.items, minlength=train.n_items)
    sums = np.bincount(train.items, train.values, minlength=train.n_items)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), train.mean)
    return means[index_of(train.item_ids, test.raw_items)]


PROTOCOLS = {
    "fold-in": (fold_in, ("fold_in", "retrain", "unknown user", "item mean", "ms per user")),
    "partial_fit": (partial_fit, ("old test before", "after", "new ids before", "new ids after", "seconds")),
}


def main() -> None:
    """Print mean ± standard deviation over seeds, and the median of times."""
    parser = Parser(__doc__, n_ratings=20_000, seeds=1, models=["LinearRegression", "B_MEDIUM"])
    add_data(parser)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_options(seeds=3)
    given = parser.parse_args()
    ratings = load(given, drift=0.4)
    results = Results("fold_in", given, data=str(ratings))
    for title, (protocol, columns) in PROTOCOLS.items():
        for name in given.models:
            *errors, times = zip(*(protocol(name, ratings, seed) for seed in range(given.seeds)), strict=True)
            cells = [f"{np.mean(values):.4f} ± {np.std(values):.4f}" for values in errors]
            cells.append(f"{np.median(times):.2f}")
            results.add(title, model=name, **dict(zip(columns, cells, strict=True)))


if __name__ == "__main__":
    main()
