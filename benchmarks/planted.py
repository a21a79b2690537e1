"""Whether models find what is planted in simulated ratings, and nothing where nothing is.

python benchmarks/planted.py [--full | --sparse] [--only WORLD ...] [--ratings N ...] [--seeds N]
    [--skip-sequence] [--models NAME]

In each world everybody is told the same: the day of each rating, and genres and decade of each item. Where no
drift is planted the days are drawn at random, where no side information is, so is the description: a model
that makes use of it all must not be the worse for it. The floor is that of who knows the world (see
`simulate_ratings`). A fifth of the ratings, at random, is the test, and in worlds with a sequence the last of
each user, the only split in which a model knows the item before. What is told is the RMSE to be expected of
test ratings like these: the noise and the distance from the best prediction are known, so that it makes no
difference how the noise of these few happened to fall. `gained` is by how much it is lower than that of the
same model without the knowledge named, with its 95 % interval, paired over ratings.

`--full` has the size of `simulate_ratings`, 200,000 ratings; by default there are a fifth as many of
everything, and so as many of each user. `--sparse` has 5,000 ratings of 3,000 users and 2,000 items, of which
nobody knows more than the biases tell. `--ratings` keeps users and items, and shows how the gap closes.
"""

from __future__ import annotations

import argparse
import time
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
    Ratings,
    leave_last_out,
    random_split,
    simulate_ratings,
)

DRIFT, SIDE_INFORMATION, SEQUENCE = {"drift": 0.4}, {"side_information": 1.0}, {"sequence": 0.4}
WORLDS: dict[str, dict[str, Any]] = {
    "nothing": {"structure": "none"},
    "latent": {},
    "drift": DRIFT,
    "side information": SIDE_INFORMATION,
    "sequence": SEQUENCE,
    "all": DRIFT | SIDE_INFORMATION | SEQUENCE,
}
# What of the knowledge of BayesianMF tells what is planted; where nothing does, all of it is left out.
KNOWLEDGE = ("features", "implicit", "drift", "previous_item", "user_noise")
TELLS = {
    "drift": ("drift",),
    "side information": ("features",),
    "sequence": ("previous_item",),
    "all": ("features", "drift", "previous_item"),
}


def main() -> None:
    """Print the machine, and for each world the floor and a row for each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="the size of the issue")
    parser.add_argument("--sparse", action="store_true", help="fewer than two ratings a user")
    parser.add_argument("--only", nargs="+", default=[*WORLDS], choices=WORLDS, metavar="WORLD")
    parser.add_argument("--ratings", nargs="+", type=int, help="how many; by default 40 for each user")
    parser.add_argument("--seeds", type=int, default=1, help="worlds of each kind")
    parser.add_argument("--skip-sequence", action="store_true", help="do without PyTorch")
    parser.add_argument("--models", default="", help="those whose names begin so")
    options = parser.parse_args()
    sizes = {"n_users": 5000, "n_items": 2000} if options.full else {"n_users": 1000, "n_items": 400}
    n_ratings_by_default = 40 * sizes["n_users"]
    if options.sparse:
        sizes, n_ratings_by_default = {"n_users": 3000, "n_items": 2000}, 5_000
    print(machine("numpy", "numba", "numpy-neural-mf"))
    for n_ratings in options.ratings or [n_ratings_by_default]:
        for name in options.only:
            worlds = [
                world(WORLDS[name], seed, n_ratings=n_ratings, **sizes) for seed in range(options.seeds)
            ]
            parts = [leave_last_out(r) if "sequence" in WORLDS[name] else random_split(r) for r in worlds]
            floor = np.sqrt(np.concatenate([test.noise_variance for _, test in parts]).mean(dtype=np.float64))
            n_test = sum(len(test) for _, test in parts)
            print(f"\n{name}, {n_ratings:,} ratings, {n_test:,} test ratings, floor {floor:.4f}\n")
            print("| model | RMSE | above floor | gained | seconds |\n| --- | --- | --- | --- | --- |")
            rows = models(name, options.skip_sequence)
            report({row: of for row, of in rows.items() if row.startswith(options.models)}, parts, floor)


def world(planted: dict[str, Any], seed: int, **sizes: int) -> Ratings:
    """Ratings with time and item features, which say nothing where nothing is planted."""
    ratings = simulate_ratings(**sizes, **planted, random_state=seed)
    told = simulate_ratings(**sizes, **DRIFT, **SIDE_INFORMATION, random_state=seed + 1000)
    if ratings.timestamps is None:
        ratings = replace(ratings, timestamps=told.timestamps)
    return ratings if ratings.item_features else ratings.with_features(items=told.item_features)


def models(name: str, skip_sequence: bool) -> dict[str, tuple[Callable[[], Any], str]]:
    """New model and the name of the one that it is compared with, by name."""
    without = TELLS.get(name, KNOWLEDGE)
    plain = f"BayesianMF without {', '.join(without)}" if name in TELLS else "BayesianMF without all this"
    found: dict[str, tuple[Callable[[], Any], str]] = {
        "linear regression": (LinearRegression, ""),
        "C_wide": (NeuralMF, ""),
        plain: (lambda: BayesianMF(**dict.fromkeys(without, False)), ""),
        "BayesianMF": (BayesianMF, plain),
    }
    told = replace(C_WIDE, features=True, periods=24)
    found["C_wide, told"] = (lambda: NeuralMF(told), "C_wide")
    if "sequence" in WORLDS[name] and not skip_sequence:
        alone, besides = (replace(form, sequence="gru", sequence_length=20) for form in (C_WIDE, told))
        found["C_wide, GRU"] = (lambda: NeuralMF(alone), "C_wide")
        found["C_wide, told, GRU"] = (lambda: NeuralMF(besides), "C_wide, told")
    return found


def report(
    models: dict[str, tuple[Callable[[], Any], str]], parts: list[tuple[Ratings, Ratings]], floor: float
) -> None:
    """A row for each model, over all test ratings of all worlds of a kind."""
    squares: dict[str, np.ndarray] = {}
    for name, (new_model, other) in models.items():
        start, errors = time.perf_counter(), []
        for train, test in parts:
            prediction = new_model().fit(train).predict(test.raw_users, test.raw_items, test.timestamps)
            errors.append((prediction - test.expected) ** 2 + test.noise_variance)
        seconds = (time.perf_counter() - start) / len(parts)
        squares[name] = np.concatenate(errors)
        rmse = np.sqrt(squares[name].mean())
        gained = ""
        if other:
            # To first order, a difference of RMSE is that of the mean squares over twice the RMSE.
            difference = (squares[other] - squares[name]) / (2 * rmse)
            half = 1.96 * difference.std() / np.sqrt(len(difference))
            gained = f"{difference.mean():+.4f} ± {half:.4f}"
        print(f"| {name} | {rmse:.4f} | {rmse / floor - 1:+.1%} | {gained} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
