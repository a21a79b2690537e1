"""What each ingredient of `BayesianMF` is worth and costs: each left out of the whole, and each alone.

python benchmarks/ablation.py RATINGS [--item-features FILE] [--folds N] [--samples N] [--seed N]

The protocol is that of accuracy.py, on the first N of the five folds. Differences are paired: of squared
errors on the same ratings, with their 95 % interval over ratings.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from harness import machine

from numpy_neural_mf import BayesianMF, k_fold, read_features, read_ratings

# And what leaves each out.
INGREDIENTS = {
    "features": False,
    "implicit": False,
    "drift": False,
    "previous_item": False,
    "user_noise": False,
    "latent_clusters": 1,
}


def main() -> None:
    """Print the machine and a row for each variant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", help="for instance MovieLens' ratings.csv")
    parser.add_argument("--item-features", help="for instance MovieLens' movies.csv")
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--samples", type=int, default=BayesianMF().n_samples)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ratings = read_ratings(options.ratings)
    if options.item_features:
        ratings = ratings.with_features(items=read_features(options.item_features))
    print(machine("numpy", "numba", "numpy-neural-mf"))
    print(f"{ratings}; {options.folds} of five folds, {options.samples} samples")

    whole = BayesianMF()
    variants: dict[str, dict[str, Any]] = {"all": {}}
    variants |= {f"without {name}": {name: out} for name, out in INGREDIENTS.items()}
    variants |= {"none": INGREDIENTS}
    variants |= {f"{name} alone": INGREDIENTS | {name: getattr(whole, name)} for name in INGREDIENTS}
    variants |= {"all, 20 factors": {"embedding_dim": 20}}
    folds = list(k_fold(ratings, 5, random_state=2026))[: options.folds]
    squares: dict[str, np.ndarray] = {}
    print("\n| variant | RMSE | against all | seconds a fold |")
    print("| --- | --- | --- | --- |")
    for name, settings in variants.items():
        errors, seconds = [], 0.0
        for train, test in folds:
            model = BayesianMF(n_samples=options.samples, random_state=options.seed, **settings)
            start = time.perf_counter()
            model.fit(train)
            seconds += time.perf_counter() - start
            prediction = model.predict(test.raw_users, test.raw_items, test.timestamps)
            errors.append((prediction - test.values.astype(np.float64)) ** 2)
        squares[name] = np.concatenate(errors)
        rmse = np.sqrt(squares[name].mean())
        # To first order, a difference of RMSE is that of the mean squares over twice the RMSE.
        difference = (squares[name] - squares["all"]) / (2 * np.sqrt(squares["all"].mean()))
        half = 1.96 * difference.std() / np.sqrt(len(difference))
        print(
            f"| {name} | {rmse:.4f} | {difference.mean():+.4f} ± {half:.4f} | {seconds / len(folds):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
