"""Errors of all models versus the linear regression: sparse and dense ratings, all scales, and pure noise.

    python -m benchmarks.accuracy.robustness ml-latest-small/ratings.csv --seeds 3
    python -m benchmarks.accuracy.robustness --only none --models linear C_wide

Ratings from a file are tested whole and thinned to 20, 10 and 5 %; the other ratings are simulated, with
5,000 or 1,000 users. "one each" has 3,000 users with one rating of one of 100 items, which depends only on
the item, and the reverse. The test part is a random fifth. Each model is trained with its defaults, on ids
only; C_wide and BayesianMF are also trained with implicit feedback. A column has the RMSE of a model minus
that of the linear regression, with its 95 % interval paired over ratings. The unit is a quarter of the width
of the scale: a star for ratings from 1 to 5. `worst` is the model with the greatest RMSE.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from benchmarks.harness import Parser, Results, paired_gain, squared_errors

import numpy_neural_mf as nmf

BASELINE = "linear"
MODELS: dict[str, Callable[[int], Any]] = {
    BASELINE: lambda seed: nmf.LinearRegression(),
    "ItemKNN": lambda seed: nmf.ItemKNN(),
    "A_small": lambda seed: nmf.NeuralMF(nmf.A_SMALL, random_state=seed),
    "B_medium": lambda seed: nmf.NeuralMF(nmf.B_MEDIUM, random_state=seed),
    "C_wide": lambda seed: nmf.NeuralMF(nmf.C_WIDE, random_state=seed),
    "C_wide with sets": lambda seed: nmf.NeuralMF(nmf.C_WIDE, implicit=True, random_state=seed),
    "BayesianMF": lambda seed: bayesian(seed, implicit=False),
    "BayesianMF with sets": lambda seed: bayesian(seed, implicit=True),
}
SIZES = {
    "5,000": (5_000, 2_000, 5_000),
    "26,000": (5_000, 2_000, 26_000),
    "100,000": (5_000, 2_000, 100_000),
    "400,000": (5_000, 2_000, 400_000),
    "350,000, 70 % of 100 items": (5_000, 100, 350_000),
    "200,000, 50 % of 400 items": (1_000, 400, 200_000),
}
SCALES = {"0.5-5": (0.5, 5), "1-10": (1, 10), "1-100": (1, 100), "0-1": (0, 1), "-10-10": (-10, 10)}
Cases = Iterator[tuple[str, Callable[[int], nmf.Ratings]]]


def bayesian(seed: int, implicit: bool) -> nmf.BayesianMF:
    return nmf.BayesianMF(
        features=False, implicit=implicit, drift=False, previous_item=False, random_state=seed
    )


def main() -> None:
    parser = Parser(__doc__, only=["none 5,000"], models=[BASELINE, "A_small"])
    parser.add_argument(
        "ratings", nargs="?", help="a MovieLens ratings.csv; without it only simulated ratings"
    )
    parser.add_argument("--only", nargs="+", default=[""], help="ratings whose names contain one of these")
    parser.add_argument("--models", nargs="+", default=[*MODELS], choices=MODELS)
    parser.add_options(seeds=1)
    given = parser.parse_args()
    results = Results("robustness", given)
    for name, new_ratings in cases(given.ratings):
        if any(part in name for part in given.only):
            row(results, name, [new_ratings(seed) for seed in range(given.seeds)], given.models)


def cases(path: str | None) -> Cases:
    """Return names of ratings, and functions that return the ratings for a seed."""
    if path:
        whole = nmf.read_ratings(path)
        for percent in (100, 20, 10, 5):
            yield f"{percent} % of the file", partial(thinned, whole, percent / 100)
    for structure in ("latent", "none"):
        for name, sizes in SIZES.items():
            yield f"{structure} {name}", partial(simulated, structure, *sizes)
    for many in ("users", "items"):
        yield f"3,000 {many}, one each", partial(one_each, many)
    for name, scale in SCALES.items():
        yield f"latent 100,000, {name}", partial(scaled, scale)


def thinned(ratings: nmf.Ratings, share: float, seed: int) -> nmf.Ratings:
    if share == 1:
        return ratings
    return nmf.random_split(ratings, test_size=1 - share, random_state=1000 + seed)[0]


def simulated(structure: str, n_users: int, n_items: int, n_ratings: int, seed: int) -> nmf.Ratings:
    return nmf.simulate_ratings(n_users, n_items, n_ratings, structure=structure, random_state=seed)


def one_each(many: str, seed: int, n: int = 3_000, n_others: int = 100) -> nmf.Ratings:
    """Simulate ratings with no structure except the biases of the smaller side."""
    rng = np.random.default_rng(seed)
    rows, others = np.arange(n, dtype=np.int32), rng.integers(n_others, size=n, dtype=np.int32)
    expected = rng.uniform(2, 4, n_others).astype(np.float32)[others]
    values = expected + rng.uniform(-1.5, 1.5, n).astype(np.float32)
    sides = (rows, others) if many == "users" else (others, rows)
    ids = (np.arange(side.max() + 1) for side in sides)
    return nmf.Ratings(
        *sides, values, *ids, (0.5, 5.5), expected=expected, noise_variance=np.full(n, 0.75, np.float32)
    )


def scaled(scale: tuple[float, float], seed: int) -> nmf.Ratings:
    """Convert stars to another scale; on a wide scale, add uniform noise within a step."""
    ratings = simulated("latent", 5_000, 2_000, 100_000, seed)
    width = (scale[1] - scale[0]) / 4
    values = scale[0] + width * (ratings.values - 1.0)
    if width > 1:
        values += np.random.default_rng(seed).uniform(-width / 2, width / 2, len(values)).round(1)
    values = np.clip(values, *scale).astype(np.float32)
    return replace(ratings, values=values, scale=scale, expected=None, noise_variance=None)


def row(results: Results, name: str, samples: list[nmf.Ratings], models: list[str]) -> None:
    """Train and test all models on these ratings, the linear regression first."""
    splits = [nmf.random_split(ratings, random_state=seed) for seed, ratings in enumerate(samples)]
    star = (samples[0].scale[1] - samples[0].scale[0]) / 4
    squares = {
        model: squared_errors(MODELS[model], splits)[0] / star**2
        for model in {BASELINE: None} | dict.fromkeys(models)
    }
    rmse = {model: float(np.sqrt(found.mean())) for model, found in squares.items()}
    figures = {
        model: rmse[model] if model == BASELINE else paired_gain(found, squares[BASELINE])
        for model, found in squares.items()
    }
    worst = max(rmse, key=rmse.__getitem__)
    results.add(
        "RMSE less that of the linear regression", ratings=name, n=len(samples[0]), **figures, worst=worst
    )


if __name__ == "__main__":
    main()
