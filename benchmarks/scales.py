"""Whether models are as good on every scale: the same ratings told in stars, points and shares.

python benchmarks/scales.py RATINGS FEATURES

For instance MovieLens' ratings.csv and movies.csv. A random fifth is the test; the RMSE is brought back to
the scale of RATINGS. All settings are defaults, but for the fewer samples of BayesianMF.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from harness import machine

from numpy_neural_mf import (
    C_WIDE,
    BayesianMF,
    LinearRegression,
    NeuralMF,
    random_split,
    read_features,
    read_ratings,
)
from numpy_neural_mf.evaluation import rmse

# Lowest and highest rating.
SCALES = {"as given": None, "1 to 10": (1.0, 10.0), "1 to 100": (1.0, 100.0), "0 to 1": (0.0, 1.0)}
TOLD = replace(C_WIDE, features=True, implicit=True, periods=24)
MODELS: dict[str, Callable[[], Any]] = {
    "linear regression": LinearRegression,
    "C_wide": NeuralMF,
    "C_wide, ordinal": lambda: NeuralMF(replace(C_WIDE, likelihood="ordinal")),
    "C_wide, features, sets, time": lambda: NeuralMF(TOLD),
    "BayesianMF": lambda: BayesianMF(n_samples=60, burn_in=40),
}


def main() -> None:
    """Print a row for each model, with its error on each scale."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings")
    parser.add_argument("features")
    given = parser.parse_args()
    print(machine("numpy", "numba"))
    ratings = read_ratings(given.ratings).with_features(items=read_features(given.features))
    lowest, highest = ratings.scale
    print(f"\n| model | {' | '.join(SCALES)} |\n| --- |{' --- |' * len(SCALES)}")
    for name, new_model in MODELS.items():
        errors = []
        for scale in SCALES.values():
            low, high = scale or ratings.scale
            times = (high - low) / (highest - lowest)
            told = np.clip(low + times * (ratings.values - lowest), low, high).astype(np.float32)
            train, test = random_split(replace(ratings, values=told, scale=(low, high)))
            predicted = new_model().fit(train).predict(test.raw_users, test.raw_items, test.timestamps)
            errors.append(rmse(predicted, test.values) / times)
        print(f"| {name} | {' | '.join(f'{error:.4f}' for error in errors)} |", flush=True)


if __name__ == "__main__":
    main()
