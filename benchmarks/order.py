"""Does a windowed shuffle train as a shuffle of all does? Validation RMSE by epoch, for each order.

    python benchmarks/order.py [--n-ratings 25000095 --window 1048576 --batch-size 8192]

A ratings.csv in MovieLens 25M's shape (see large_file.py), sorted by user as that is, so that neighbours
belong together. The same B_MEDIUM is trained in the order of one permutation of all, and in pieces of so many
neighbours through windows (`numpy_neural_mf.data.batches`), as small against the ratings as those of 25
million are by default. Long pieces show that the comparison can tell.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from harness import machine
from large_file import write_large_file

from numpy_neural_mf import B_MEDIUM, NeuralMF, read_ratings
from numpy_neural_mf.data import batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-ratings", type=int, default=500_000)
    parser.add_argument("--window", type=int, default=2**15)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--pieces", type=int, nargs="+", default=[1, 16, 256, 2**12])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
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
    for name, piece in [("all", None), *((f"pieces of {piece}", piece) for piece in given.pieces)]:
        batches.WINDOW, batches.PIECE = (2**62, 1) if piece is None else (given.window, piece)
        losses = []
        for seed in range(given.seeds):
            model = NeuralMF(
                B_MEDIUM, epochs=given.epochs, batch_size=given.batch_size, learning_rate=0.005,
                engine="numba", random_state=seed,
            ).fit(ratings)  # fmt: skip
            losses.append(np.sqrt(model.history_.validation_loss))
        if piece is None:
            of_all = np.array(losses)
            print(f"{name:16}" + "".join(f"{mean:>20.4f}" for mean in of_all.mean(axis=0)), flush=True)
            continue
        paired = np.array(losses) - of_all  # the same seed holds out the same ratings
        columns = (
            f"{m:+.4f} ± {d:.4f}" for m, d in zip(paired.mean(axis=0), paired.std(axis=0), strict=True)
        )
        print(f"{name:16}" + "".join(f"{column:>20}" for column in columns), flush=True)


if __name__ == "__main__":
    main()
