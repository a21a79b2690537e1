"""What the precision of the MLP's products costs in accuracy: the test error by precision, seed by seed.

    python benchmarks/precision.py ratings.csv
    python benchmarks/precision.py ratings.csv --device cuda --precisions float32 tf32 bfloat16 float16

A random fifth of the ratings is for testing. "difference" is that to the first row with the same split and
first weights: its mean over the seeds, its standard error and the largest one. Training magnifies rounding,
whatever its size: "numpy" is float32, too, of the NumPy engine, with other masks of dropout, and tells
what is no more than that.
"""

from __future__ import annotations

import argparse

import numpy as np
from engines import ARCHITECTURES
from harness import machine

from numpy_neural_mf import NeuralMF, random_split, read_ratings
from numpy_neural_mf.evaluation import rmse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ratings")
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=["B_MEDIUM", "C_WIDE"])
    parser.add_argument("--precisions", nargs="+", default=["float32", "numpy", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    ratings = read_ratings(given.ratings)
    print(machine("torch"))
    print(f"{len(ratings):,} ratings, {given.seeds} seeds, up to {given.epochs} epochs, {given.device}")
    print(f"{'architecture':13}{'precision':>10}{'RMSE':>9}{'difference':>20}{'largest':>9}{'seconds':>9}")
    for name in given.architectures:
        first: list[float] = []
        for precision in given.precisions:
            errors, seconds = [], []
            for seed in range(given.seeds):
                train, test = random_split(ratings, random_state=seed)
                engine = {"engine": "torch", "device": given.device, "precision": precision}
                model = NeuralMF(
                    ARCHITECTURES[name],
                    **({"engine": "numpy"} if precision == "numpy" else engine),
                    epochs=given.epochs,
                    random_state=seed,
                ).fit(train)
                errors.append(rmse(model.predict(test.raw_users, test.raw_items), test.values))
                seconds.append(sum(model.history_.seconds))
            first = first or errors
            difference = np.array(errors) - first
            error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.nan
            largest = difference[np.abs(difference).argmax()]
            print(
                f"{name:13}{precision:>10}{np.mean(errors):9.4f}{difference.mean():+11.4f} ± {error:.4f}"
                f"{largest:+9.4f}{np.mean(seconds):9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
