"""The effect of each part and each setting of a model on its error, and the gain of a search for settings.

    python -m benchmarks.accuracy.ablation RATINGS --item-features MOVIES
    python -m benchmarks.accuracy.ablation RATINGS --item-features MOVIES --model neural --folds 5 --seeds 3
    python -m benchmarks.accuracy.ablation RATINGS --settings --seeds 2 --architecture C_WIDE
    python -m benchmarks.accuracy.ablation RATINGS --tune --trials 50 --folds 5

By default each part of the model is left out, and added to the plain model, on the first N of the five folds
of `benchmarks.accuracy.comparison`. Differences of squared errors are paired over ratings, with 95 %
intervals. --settings varies each setting of NeuralMF and each constant of its inference, and leaves out
single parts, on inner splits (90 % to 10 %) of the first fold's training part, and on simulated ratings,
whose error is relative to the irreducible error. --tune runs `tune` on the training part of each fold, and
evaluates the settings found and the defaults on the test part.
"""

from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice, product
from typing import Any
from unittest.mock import patch

import numpy as np
from benchmarks.data import add_data, load
from benchmarks.harness import Parser, Results, paired_gain, squared_errors

import numpy_neural_mf as nmf
from numpy_neural_mf.training.inference import Inference
from numpy_neural_mf.training.prior_means import PriorMeans

ARCHITECTURES = {"A_SMALL": nmf.A_SMALL, "B_MEDIUM": nmf.B_MEDIUM, "C_WIDE": nmf.C_WIDE}
# Each part of BayesianMF, and the value that leaves it out.
PARTS: dict[str, Any] = {
    "features": False, "implicit": False, "drift": False, "previous_item": False, "user_noise": False,
    "latent_clusters": 1,
}  # fmt: skip
# Parts that NeuralMF can have in addition to ids.
ADDED: dict[str, dict[str, Any]] = {
    "plain": {}, "features": {"features": True}, "sets": {"implicit": True}, "drift": {"drift": True},
    "features, sets, drift": {"features": True, "implicit": True, "drift": True},
}  # fmt: skip
# Setting of NeuralMF -> values to try in addition to the default.
GRID: dict[str, tuple[Any, ...]] = {
    "learning_rate": (0.003, 0.005, 0.02, 0.03),
    "epochs": (15, 30, 120),
    "batch_size": (128, 256, 512, 2048),
    "weight_decay": (0.0, 0.5, 1.0, 4.0, 8.0),
    "schedule": ("constant",),
    "product": (False,),
    "implicit": (True,),
}
# Constant of the inference -> values to try.
CONSTANTS = {"ABOVE_EDGE": (0.65, 1.0, 2.0, 2.6), "NOISE_RATINGS": (3, 10, 100, 300)}
INFERENCE, TRAINING = "numpy_neural_mf.training.inference", "numpy_neural_mf.models.neural_mf_training"
Variants = dict[str, Callable[[int], Any]]
# Settings of NeuralMF, and replacements of names of the package during the run.
Change = tuple[dict[str, Any], dict[str, Any]]


class PointEstimates(Inference):
    """Steps that treat rows as known exactly, without the terms of their uncertainty."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._forget()

    def update(self, engine: Any) -> float | None:
        found = super().update(engine)
        self._forget()
        return found

    def _forget(self) -> None:
        for variance in self.objective.variance.values():
            variance[:] = 0


class WholeSets(PriorMeans):
    """Implicit feedback without the correction for the rating that it should explain."""

    def __init__(self, features: Any, counts: Any, communicator: Any) -> None:
        super().__init__(features, counts, communicator)
        self._share = (counts[communicator.rows] > 0)[:, None]


WITHOUT: dict[str, Change] = {
    "without variances in steps": ({}, {f"{TRAINING}.Inference": PointEstimates}),
    "without noise of single users": ({}, {f"{INFERENCE}.NOISE_RATINGS": 1e9}),
    "without MLP": ({"hidden_layer_sizes": ()}, {}),
    "implicit = True, without share": ({"implicit": True}, {f"{TRAINING}.PriorMeans": WholeSets}),
}


def bayesian_variants(n_samples: int) -> Variants:
    """Return variants with all parts, all but one, only one, and none."""
    whole = nmf.BayesianMF()
    settings: dict[str, dict[str, Any]] = {"all": {}}
    settings |= {f"without {name}": {name: out} for name, out in PARTS.items()}
    settings |= {"none": PARTS}
    settings |= {f"only {name}": PARTS | {name: getattr(whole, name)} for name in PARTS}
    settings |= {"all, 20 factors": {"embedding_dim": 20}}
    return {
        name: lambda seed, own=own: nmf.BayesianMF(n_samples=n_samples, random_state=seed, **own)
        for name, own in settings.items()
    }


def neural_variants() -> Variants:
    """Return variants with each part and with all parts, with and without an MLP."""
    plain = {"C_wide": nmf.C_WIDE, "without MLP": nmf.Architecture(embedding_dim=32)}
    return {
        f"{name}, {part}": lambda seed, form=plain[name], own=ADDED[part]: nmf.NeuralMF(
            form, random_state=seed, **own
        )
        for name, part in product(plain, ADDED)
    }


def by_part(ratings: nmf.Ratings, given: Any, results: Results) -> None:
    """Add a row for each variant, with its paired difference from the first."""
    variants = bayesian_variants(given.samples) if given.model == "bayesian" else neural_variants()
    first = next(iter(variants))
    folds = list(islice(nmf.k_fold(ratings), given.folds))
    squares: dict[str, np.ndarray] = {}
    for name in [name for name in variants if not given.only or name in (first, *given.only)]:
        squares[name], seconds = squared_errors(variants[name], folds, given.seeds)
        results.add(
            "variants", variant=name, RMSE=np.sqrt(squares[name].mean()),
            **{f"against {first}": paired_gain(squares[name], squares[first])}, seconds=seconds,
        )  # fmt: skip


def by_setting(ratings: nmf.Ratings, given: Any, results: Results) -> None:
    """Add a row for each value of each setting and constant, and for each omitted part."""
    seeds = range(given.seeds)
    worlds = [nmf.simulate_ratings(n_ratings=given.n_ratings, random_state=seed) for seed in seeds]
    simulated = [nmf.random_split(world, 0.2, seed) for seed, world in enumerate(worlds)]
    train, _ = next(iter(nmf.k_fold(ratings)))
    inner = [nmf.random_split(train, 0.1, seed) for seed in seeds] if given.ratings else []
    form = ARCHITECTURES[given.architecture]
    floors = [test.noise_floor for _, test in simulated]
    for name, (settings, replaced) in changes().items():
        if given.only and not name.startswith(("defaults", *given.only)):
            continue
        with ExitStack() as stack:
            for target, replacement in replaced.items():
                stack.enter_context(patch(target, replacement))
            row = {"RMSE, inner splits": np.mean(errors(form, settings, inner))} if inner else {}
            above = np.array(errors(form, settings, simulated)) / floors - 1
        row |= {"simulated, above floor": f"{above.mean():.2%}"}
        results.add(given.architecture, setting=name, **row)


def changes() -> dict[str, Change]:
    """Return the changes to try, by name."""
    found: dict[str, Change] = {"defaults": ({}, {})}
    for name, values in GRID.items():
        found |= {f"{name} = {value}": ({name: value}, {}) for value in values}
    for name, values in CONSTANTS.items():
        found |= {f"{name} = {value}": ({}, {f"{INFERENCE}.{name}": value}) for value in values}
    return found | WITHOUT


def errors(form: Any, settings: dict[str, Any], splits: list[tuple[nmf.Ratings, nmf.Ratings]]) -> list[float]:
    """Return the test RMSE on each split, each with its own seed."""
    models = [nmf.NeuralMF(form, random_state=seed, **settings) for seed in range(len(splits))]
    return [
        nmf.cross_validate(lambda _, model=model: model, splits=[split]).runs[0].rmse
        for model, split in zip(models, splits, strict=True)
    ]


def tuning(ratings: nmf.Ratings, given: Any, results: Results) -> None:
    """Add a row for each fold."""
    for fold, (train, test) in enumerate(islice(nmf.k_fold(ratings), given.folds)):
        found = nmf.tune(train, n_trials=given.trials)
        models = {
            "defaults": lambda seed: nmf.NeuralMF(),
            "tuned": lambda seed, s=found.settings: nmf.NeuralMF(**s),
        }
        runs = nmf.cross_validate(models, splits=[(train, test)]).runs
        results.add(
            "RMSE by fold", fold=fold,
            **{"validation, defaults": found.default_rmse, "validation, tuned": found.validation_rmse},
            **{f"test, {run.model}": run.rmse for run in runs}, settings=str(found.settings),
        )  # fmt: skip


def main() -> None:
    quick = ["without drift", "without variances"]
    parser = Parser(__doc__, n_ratings=20_000, samples=4, trials=1, only=quick)
    add_data(parser)
    parser.add_argument("--model", choices=("bayesian", "neural"), default="bayesian")
    parser.add_argument("--settings", action="store_true", help="of NeuralMF, in place of parts")
    parser.add_argument("--tune", action="store_true", help="NeuralMF, in place of parts")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="C_WIDE", help="of --settings")
    parser.add_argument("--only", nargs="+", help="variants by name, or settings by its start")
    parser.add_options(folds=1, seeds=1, samples=nmf.BayesianMF().n_samples, trials=50)
    given = parser.parse_args()
    ratings = load(given, drift=0.4, side_information=1.0)
    question, name = by_part, f"ablation_{given.model}"
    if given.settings:
        question, name = by_setting, "ablation_settings"
    elif given.tune:
        question, name = tuning, "ablation_tune"
    question(ratings, given, Results(name, given, data=str(ratings)))


if __name__ == "__main__":
    main()
