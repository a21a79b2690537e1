"""Test errors of the models of this package and of other libraries on the same splits.

    python -m benchmarks.accuracy.comparison RATINGS --seeds 3 --full
    python -m benchmarks.accuracy.comparison RATINGS --item-features MOVIES --full --only "Bayesian MF"
    python -m benchmarks.accuracy.comparison [RATINGS] --split time --seeds 3
    python -m benchmarks.accuracy.comparison RATINGS --item-features MOVIES --split scales

RMSE is over all test rows, including unknown users and items; predictions are clipped to the scale, and all
settings are the defaults. Without RATINGS, ratings are simulated, with drift. The splits:

folds   `k_fold(ratings, 5, random_state=2026)`, that is
        ``numpy.array_split(numpy.random.default_rng(2026).permutation(n), 5)`` over the rows in file order.
time    The same share is held out twice: at random, and the latest ratings. RMSE over all and over warm rows.
scales  A random fifth of the same ratings in stars, points and shares; RMSE in stars.

Surprise and myFM (the extra "bench") are included if installed; `--full` adds SVD++ and myFM's sampler.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from benchmarks.data import add_data, load
from benchmarks.harness import Parser, Results
from benchmarks.peers import myfm_models, surprise_models

import numpy_neural_mf as nmf
from numpy_neural_mf.comparison.cross_validation import ModelFactory
from numpy_neural_mf.comparison.experiments import default_models
from numpy_neural_mf.evaluation import evaluate_ratings, warm_rows

# Lowest and highest rating.
SCALES = {"as given": None, "1 to 10": (1.0, 10.0), "1 to 100": (1.0, 100.0), "0 to 1": (0.0, 1.0)}
EVERYTHING = replace(nmf.C_WIDE, features=True, implicit=True, drift=True)
MODELS_OF_SCALES: dict[str, ModelFactory] = {
    "linear regression": lambda seed: nmf.LinearRegression(),
    "C_wide": lambda seed: nmf.NeuralMF(random_state=seed),
    "C_wide, ordinal": lambda seed: nmf.NeuralMF(likelihood="ordinal", random_state=seed),
    "C_wide, features, sets, drift": lambda seed: nmf.NeuralMF(EVERYTHING, random_state=seed),
    "BayesianMF": lambda seed: nmf.BayesianMF(n_samples=60, burn_in=40, random_state=seed),
}


def with_side_information(ratings: nmf.Ratings) -> dict[str, ModelFactory]:
    """Return A_small, C_wide and BayesianMF with all the side information that they can use."""
    has_features = ratings.user_features is not None or ratings.item_features is not None
    parts = {"features": has_features, "implicit": True, "drift": ratings.timestamps is not None}
    all_parts = f"{'features, ' * has_features}sets{', drift' * parts['drift']}"

    def neural(form: nmf.Architecture, seed: int) -> nmf.NeuralMF:
        return nmf.NeuralMF(form, random_state=seed, **parts)

    return {
        "C_wide, ordinal": lambda seed: nmf.NeuralMF(likelihood="ordinal", random_state=seed),
        f"A_small, {all_parts}": partial(neural, nmf.A_SMALL),
        f"C_wide, {all_parts}": partial(neural, nmf.C_WIDE),
        "Bayesian MF": lambda seed: nmf.BayesianMF(random_state=seed),
    }


def by_folds(ratings: nmf.Ratings, models: dict[str, ModelFactory], given: Any, results: Results) -> None:
    """Add the table of `Comparison` and its conclusions."""
    comparison = nmf.cross_validate(
        models, ratings, n_folds=given.folds, seeds=given.seeds,
        on_run=lambda run: print(f"  {run.model}, seed {run.seed}, fold {run.split}: {run.rmse:.4f}"),
    )  # fmt: skip
    for row in comparison.table().to_dicts():
        results.add("RMSE by folds", **row)
    results.note("conclusions", " ".join(comparison.conclusions()))


def by_time(ratings: nmf.Ratings, models: dict[str, ModelFactory], given: Any, results: Results) -> None:
    """Measure how much the error rises if a model predicts the future instead of missing past ratings."""
    at_random = [nmf.random_split(ratings, given.test_size, seed) for seed in range(given.seeds)]
    in_time = [nmf.time_split(ratings, given.test_size)] * given.seeds
    for name, splits in (("at random", at_random), ("in time", in_time)):
        results.note(f"warm test ratings, split {name}", np.mean([warm_rows(*s).mean() for s in splits]))
    for name, new_model in models.items():
        before, after = (
            np.mean([_errors(new_model(seed), *split) for seed, split in enumerate(splits)], axis=0)
            for splits in (at_random, in_time)
        )
        row = {}
        for kind, error, later in zip(("", ", warm"), before, after, strict=True):
            row |= {f"at random{kind}": error, f"in time{kind}": later, f"rise{kind}": later - error}
        results.add("RMSE by split", model=name, **row)


def _errors(model: Any, train: nmf.Ratings, test: nmf.Ratings) -> tuple[float, float]:
    """Return the RMSE over all test ratings, and over the warm ones."""
    found = evaluate_ratings(model.fit(train), train, test)
    return found.overall.rmse, found.warm.rmse


def by_scales(ratings: nmf.Ratings, models: dict[str, ModelFactory], given: Any, results: Results) -> None:
    """Measure whether the models are equally accurate on each scale."""
    lowest, highest = ratings.scale
    errors: dict[str, dict[str, float]] = {name: {} for name in models}
    for scale_name, scale in SCALES.items():
        low, high = scale or ratings.scale
        factor = (high - low) / (highest - lowest)
        values = np.clip(low + factor * (ratings.values - lowest), low, high).astype(np.float32)
        split = nmf.random_split(replace(ratings, values=values, scale=(low, high)))
        for run in nmf.cross_validate(models, splits=[split], seeds=given.seeds).runs:
            errors[run.model].setdefault(scale_name, 0.0)
            errors[run.model][scale_name] += run.rmse / factor / given.seeds
    for name, row in errors.items():
        results.add("RMSE by scale", model=name, **row)


SPLITS: dict[str, Callable[..., None]] = {"folds": by_folds, "time": by_time, "scales": by_scales}


def main() -> None:
    parser = Parser(__doc__, n_ratings=20_000, folds=2, only=["linear regression", "A_small", "C_wide"])
    add_data(parser)
    parser.add_argument("--split", choices=SPLITS, default="folds")
    parser.add_argument("--full", action="store_true", help="with Surprise's SVD++ and myFM")
    parser.add_argument("--only", nargs="+", default=[], help="models, by the names in the table")
    parser.add_options(seeds=1, folds=5, test_size=0.2, drift=0.4)
    given = parser.parse_args()
    ratings = load(given, drift=given.drift)
    results = Results(f"comparison_{given.split}", given, data=str(ratings))
    if ratings.noise_floor:
        results.note("irreducible error", ratings.noise_floor)
    models = MODELS_OF_SCALES if given.split == "scales" else default_models()
    if given.split == "folds":
        models |= with_side_information(ratings) | surprise_models(given.full) | myfm_models(given.full)
    models = {name: model for name, model in models.items() if not given.only or name in given.only}
    SPLITS[given.split](ratings, models, given, results)


if __name__ == "__main__":
    main()
