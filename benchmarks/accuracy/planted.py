"""Errors of models on simulated ratings with planted effects, and without them, where parts should not harm.

    python -m benchmarks.accuracy.planted --seeds 3
    python -m benchmarks.accuracy.planted --full --only drift --n-ratings 100000 400000
    python -m benchmarks.accuracy.planted --million --only "drift and features" --models BayesianMF "C_wide, "

Each model receives the day of each rating and the genres and decade of each item in every world; where they
are not planted, they are random. B_medium shows the effect of the MLP. The test part is a random fifth, and
in worlds with a sequence the last rating of each user. RMSE is the expected RMSE, without noise. `gained` is
the reduction of RMSE versus the same model without the named parts, or without the MLP, with its 95 %
interval, paired over ratings. `--full` has 200,000 ratings, five times the default; `--million` has a
million ratings of 6,040 users and 3,706 items; `--sparse` has 5,000 ratings of 3,000 users and 2,000 items.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from benchmarks.harness import Parser, Results, paired_gain, squared_errors

import numpy_neural_mf as nmf

DRIFT, SIDE_INFORMATION, SEQUENCE = {"drift": 0.4}, {"side_information": 1.0}, {"sequence": 0.4}
WORLDS: dict[str, dict[str, Any]] = {
    "nothing": {"structure": "none"},
    "latent": {},
    "drift": DRIFT,
    "side information": SIDE_INFORMATION,
    "sequence": SEQUENCE,
    "drift and features": DRIFT | SIDE_INFORMATION,
    "all": DRIFT | SIDE_INFORMATION | SEQUENCE,
}
# The parts of BayesianMF that can find the planted effects; without planted effects, all are left out.
PARTS = ("features", "implicit", "drift", "previous_item", "user_noise")
PARTS_THAT_FIND = {
    "drift": ("drift",),
    "side information": ("features",),
    "sequence": ("previous_item",),
    "drift and features": ("features", "drift"),
    "all": ("features", "drift", "previous_item"),
}
Models = dict[str, tuple[Callable[[], Any], str]]  # and the name of the one that it is compared with
Split = tuple[nmf.Ratings, nmf.Ratings]


def main() -> None:
    parser = Parser(__doc__, n_ratings=[10_000], only=["drift"])
    parser.add_argument("--full", action="store_true", help="200,000 ratings")
    parser.add_argument("--million", action="store_true", help="in the shape of MovieLens 1M")
    parser.add_argument("--sparse", action="store_true", help="fewer than two ratings a user")
    parser.add_argument("--only", nargs="+", default=[*WORLDS], choices=WORLDS, metavar="WORLD")
    parser.add_argument("--n-ratings", nargs="+", type=int, help="by default 40 for each user")
    parser.add_argument("--models", nargs="+", default=[""], help="those whose names start with one of these")
    parser.add_options(seeds=1)
    given = parser.parse_args()
    sizes = {"n_users": 5000, "n_items": 2000} if given.full else {"n_users": 1000, "n_items": 400}
    default_n_ratings = 40 * sizes["n_users"]
    if given.million:
        sizes, default_n_ratings = {"n_users": 6040, "n_items": 3706}, 1_000_000
    if given.sparse:
        sizes, default_n_ratings = {"n_users": 3000, "n_items": 2000}, 5_000
    results = Results("planted", given, **sizes)
    for n_ratings in given.n_ratings or [default_n_ratings]:
        for name in given.only:
            worlds = [world(WORLDS[name], s, n_ratings=n_ratings, **sizes) for s in range(given.seeds)]
            split = nmf.leave_last_out if "sequence" in WORLDS[name] else nmf.random_split
            splits = [split(ratings) for ratings in worlds]
            report(f"{name}, {n_ratings:,} ratings", models(name, given.models), splits, results)


def world(planted: dict[str, Any], seed: int, **sizes: int) -> nmf.Ratings:
    """Simulate ratings with times and item features, which are random unless planted."""
    ratings = nmf.simulate_ratings(**sizes, **planted, random_state=seed)
    other = nmf.simulate_ratings(**sizes, **DRIFT, **SIDE_INFORMATION, random_state=seed + 1000)
    if ratings.timestamps is None:
        ratings = replace(ratings, timestamps=other.timestamps)
    return ratings if ratings.item_features else ratings.with_features(items=other.item_features)


def models(world_name: str, starts_with: list[str]) -> Models:
    """Return the models whose names start with one of these."""
    without = PARTS_THAT_FIND.get(world_name, PARTS)
    names = ", ".join(without) if world_name in PARTS_THAT_FIND else "side information"
    plain = f"BayesianMF without {names}"
    parts = {"features": True, "implicit": True, "periods": 24, "drift": True, "previous_item": True}
    forms = {"A_small": nmf.A_SMALL, "B_medium": nmf.B_MEDIUM, "C_wide": nmf.C_WIDE}
    found: Models = {
        "linear regression": (nmf.LinearRegression, ""),
        "C_wide": (nmf.NeuralMF, ""),
        plain: (lambda: nmf.BayesianMF(**dict.fromkeys(without, False)), ""),
        "BayesianMF": (nmf.BayesianMF, plain),
    }
    for name, form in forms.items():
        found[f"{name}, all"] = partial(nmf.NeuralMF, replace(form, **parts)), name
    if world_name in ("nothing", "latent"):
        found |= {
            "B_medium without MLP": (lambda: nmf.NeuralMF(nmf.B_MEDIUM, hidden_layer_sizes=()), ""),
            "B_medium": (lambda: nmf.NeuralMF(nmf.B_MEDIUM), "B_medium without MLP"),
        }
    return {name: model for name, model in found.items() if name.startswith(tuple(starts_with))}


def report(table: str, models: Models, splits: list[Split], results: Results) -> None:
    """Add a row for each model, over all test ratings of all worlds of a kind."""
    variances = np.concatenate([test.noise_variance for _, test in splits])
    floor = np.sqrt(variances.mean(dtype=np.float64))
    results.note(f"irreducible error of {table}", floor)
    squares: dict[str, np.ndarray] = {}
    for name, (new_model, other) in models.items():
        squares[name], seconds = squared_errors(lambda seed, new=new_model: new(), splits)
        rmse = np.sqrt(squares[name].mean())
        results.add(
            table, model=name, RMSE=rmse, **{"above floor": f"{rmse / floor - 1:+.1%}"},
            gained=paired_gain(squares[other], squares[name]) if other in squares else None, seconds=seconds,
        )  # fmt: skip


if __name__ == "__main__":
    main()
