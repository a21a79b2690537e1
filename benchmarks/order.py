"""Does a windowed shuffle train as a shuffle of all does? Validation RMSE by epoch, for each order.

    python benchmarks/order.py [--n-ratings 25000095 --window 1048576 --batch-size 8192]
    python benchmarks/order.py --one-by-one [--epochs 10]

A ratings.csv in MovieLens 25M's shape (see large_file.py), sorted by user as that is, so that neighbours
belong together. The same B_MEDIUM is trained in the order of one permutation of all, and in pieces of so many
neighbours through windows (`numpy_neural_mf.data.batches`), as small against the ratings as those of 25
million are by default. Long pieces show that the comparison can tell. One by one, it is matrix factorisation
on ratings shuffled once, whose stretches come in another order each epoch, against all shuffled each epoch.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from harness import machine
from large_file import write_large_file
from numpy.typing import NDArray

from numpy_neural_mf import B_MEDIUM, NeuralMF, Ratings, read_ratings, training
from numpy_neural_mf.data import batches

ONE_BY_ONE = {
    "embedding_dim": 16, "hidden_layer_sizes": (), "batch_size": 1, "optimizer": "sgd",
    "learning_rate": 0.02, "regularization": 0.08,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-ratings", type=int, default=500_000)
    parser.add_argument("--window", type=int, default=2**15)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--pieces", type=int, nargs="+", default=[1, 16, 256, 2**12])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--one-by-one", action="store_true", help="batches of one, shuffled once")
    parser.add_argument("--file", type=Path, help="read this file")
    given = parser.parse_args()
    print(machine("numpy", "numba"))
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or Path(folder, "ratings.csv")
        if not path.exists():
            write_large_file(path, given.n_ratings)
        ratings = read_ratings(path, timestamps=False)
    print(f"{len(ratings):,} ratings, windows of {given.window:,}, batches of {given.batch_size:,}")
    print("validation RMSE after each epoch less that of a shuffle of all, whose own is first; over seeds")
    if given.one_by_one:
        orders = {
            "all": lambda ratings, rng: batches.Batches(ratings, batches.STRETCH, rng),
            "shuffled once": batches.Stretches,
        }
        of_all = None
        for name, order in orders.items():
            training.Stretches = order
            of_all = show(name, rmse_by_epoch(ratings, given, **ONE_BY_ONE), of_all)
        return
    settings = {"architecture": B_MEDIUM, "batch_size": given.batch_size, "learning_rate": 0.005}
    of_all = None
    for name, piece in [("all", None), *((f"pieces of {piece}", piece) for piece in given.pieces)]:
        batches.WINDOW, batches.PIECE = (2**62, 1) if piece is None else (given.window, piece)
        of_all = show(name, rmse_by_epoch(ratings, given, **settings), of_all)


def rmse_by_epoch(ratings: Ratings, given: argparse.Namespace, **settings: Any) -> NDArray[np.float64]:
    """Of each seed, shape (n_seeds, n_epochs); the same seed holds out the same ratings."""
    losses = [
        NeuralMF(epochs=given.epochs, engine="numba", patience=None, random_state=seed, **settings)
        .fit(ratings)
        .history_.validation_loss
        for seed in range(given.seeds)
    ]
    return np.sqrt(losses)


def show(name: str, found: NDArray[np.float64], of_all: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Print a line; those of a shuffle of all, which is the first."""
    if of_all is None:
        print(f"{name:16}" + "".join(f"{mean:>20.4f}" for mean in found.mean(axis=0)), flush=True)
        return found
    paired = found - of_all
    columns = (f"{m:+.4f} ± {d:.4f}" for m, d in zip(paired.mean(axis=0), paired.std(axis=0), strict=True))
    print(f"{name:16}" + "".join(f"{column:>20}" for column in columns), flush=True)
    return of_all


if __name__ == "__main__":
    main()
