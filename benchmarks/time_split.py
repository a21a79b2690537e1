"""How far each model's test error rises when it must foretell the future and not fill gaps in the past.

python benchmarks/time_split.py [RATINGS] [--features FILE] [--test-size X] [--seeds N] [--drift X]

The same share of the ratings is held out twice: at random, and the latest of all (`time_split`). RMSE over
all of them, and over the warm ones, whose user and whose item training knows: after a cut in time most
ratings of many data sets come from users who were not there before, and no model of ratings knows these. All
settings are defaults; means over the seeds, each with another random split and other first weights. Without
RATINGS they are simulated, with drift, and everybody is there from the beginning.
"""

from __future__ import annotations

import argparse

import numpy as np
from harness import machine

from numpy_neural_mf import (
    Ratings,
    random_split,
    read_features,
    read_ratings,
    simulate_ratings,
    time_split,
)
from numpy_neural_mf.comparison.experiments import ModelFactory, default_models
from numpy_neural_mf.evaluation import evaluate_ratings, warm_rows


def main() -> None:
    """Print the machine and a row for each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", nargs="?", help="with timestamps, for instance MovieLens' ratings.csv")
    parser.add_argument("--features", help="of the items, for instance MovieLens' movies.csv")
    parser.add_argument("--test-size", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--drift", type=float, default=0.4, help="of simulated ratings")
    options = parser.parse_args()
    ratings = read_ratings(options.ratings) if options.ratings else simulate_ratings(drift=options.drift)
    if options.features:
        ratings = ratings.with_features(items=read_features(options.features))
    print(machine("numpy", "scikit-learn", "numpy-neural-mf"))
    print(f"{options.ratings or f'simulated, drift {options.drift:g}'}: {ratings}")

    in_time = time_split(ratings, options.test_size)
    at_random = [random_split(ratings, options.test_size, seed) for seed in range(options.seeds)]
    for name, splits in (("at random", at_random), ("in time", [in_time])):
        warm = np.mean([warm_rows(*split).mean() for split in splits])
        print(f"Split {name}: {warm:.1%} of the test is warm")
    if ratings.noise_floor:
        print(f"Noise floor: {ratings.noise_floor:.4f}")
    print("\n| model | at random | in time | rise | at random, warm | in time, warm | rise |")
    print("| --- |" + " --- |" * 6)
    for name, new_model in default_models().items():
        before, after = (
            np.mean([_errors(new_model, seed, *split) for seed, split in enumerate(splits)], axis=0)
            for splits in (at_random, [in_time] * options.seeds)
        )
        cells = np.stack([before, after, after - before]).T.ravel()
        print(f"| {name} | " + " | ".join(f"{cell:.4f}" for cell in cells) + " |", flush=True)


def _errors(new_model: ModelFactory, seed: int, train: Ratings, test: Ratings) -> tuple[float, float]:
    """RMSE over all test ratings, and over the warm ones."""
    found = evaluate_ratings(new_model(seed).fit(train), train, test)
    return found.overall.rmse, found.warm.rmse


if __name__ == "__main__":
    main()
