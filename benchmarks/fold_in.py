"""Models in use: folding in users beside a full retrain, and more ratings without one.

python benchmarks/fold_in.py RATINGS [--seeds N] [--models NAME ...]

Fold-in: a tenth of the users are taken out wholly, the model is trained on the rest, and they are folded in
with a random half of their ratings; RMSE on the other half, over all of it. Beside it: the same model trained
on the rest and that half ("retrain"), its prediction for a stranger, and the mean of the item. Times are the
median of single calls.

partial_fit: train on 80 % of the ratings, test on 10 % ("old test"), and hand in nine tenths of the other
10 % in three batches; the last tenth of it tests what is new: pairs of which training did not know the user
or the item. What is handed in is later than all else where there are timestamps, otherwise drawn at random.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from harness import machine

from numpy_neural_mf import B_MEDIUM, Architecture, LinearRegression, NeuralMF, Ratings, random_split
from numpy_neural_mf.data import read_ratings, time_split, user_split
from numpy_neural_mf.data.ids import index_of
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.mf.architecture import C_WIDE
from numpy_neural_mf.models import Recommender

MODELS = {
    "LinearRegression": lambda seed: LinearRegression(),
    "biased MF": lambda seed: NeuralMF(Architecture(embedding_dim=16), random_state=seed),
    "B_MEDIUM": lambda seed: NeuralMF(B_MEDIUM, random_state=seed),
    "C_WIDE": lambda seed: NeuralMF(C_WIDE, random_state=seed),
}
BATCHES = 3


def fold_in(name: str, ratings: Ratings, seed: int) -> tuple[float, ...]:
    """RMSE of fold-in, retrain, stranger and item mean, and milliseconds of a fold-in."""
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
    """RMSE on the old test and on what is new, each before and after, and seconds of all batches."""
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
    pairs = [part.users.astype(np.int64) * whole.n_items + part.items for part in parts]
    return whole.take(
        np.isin(whole.users.astype(np.int64) * whole.n_items + whole.items, np.concatenate(pairs))
    )


def _error(model: Recommender, test: Ratings) -> float:
    return rmse(model.predict(test.raw_users, test.raw_items), test.values)


def _item_means(train: Ratings, test: Ratings) -> np.ndarray:
    """Mean rating of each item of the test; of all ratings, where it has none."""
    counts = np.bincount(train.items, minlength=train.n_items)
    sums = np.bincount(train.items, train.values, minlength=train.n_items)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), train.mean)
    return means[index_of(train.item_ids, test.raw_items)]


def _print_table(title: str, columns: tuple[str, ...], rows: dict[str, list[tuple[float, ...]]]) -> None:
    print(f"\n{title}\n\n| model | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for name, runs in rows.items():
        cells = [
            f"{np.mean(values):.4f} ± {np.std(values):.4f}" if n < 4 else f"{np.median(values):.2f}"
            for n, values in enumerate(zip(*runs, strict=True))
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Print the machine and both tables: mean ± standard deviation over seeds, median of times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", help="for instance MovieLens' ratings.csv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    options = parser.parse_args()
    ratings = read_ratings(options.ratings)
    print(machine("numpy", "numpy-neural-mf"))
    protocols = (
        ("Fold-in", fold_in, ("fold_in", "retrain", "stranger", "item mean", "ms per user")),
        (
            "partial_fit",
            partial_fit,
            ("old test before", "after", "new ids before", "after", "seconds"),
        ),
    )
    for title, protocol, columns in protocols:
        runs = {
            name: [protocol(name, ratings, seed) for seed in range(options.seeds)] for name in options.models
        }
        _print_table(title, columns, runs)


if __name__ == "__main__":
    main()
