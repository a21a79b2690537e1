"""What each part and each setting of a model is worth, and what a search for other settings gains.

    python -m benchmarks.accuracy.ablation RATINGS --item-features MOVIES
    python -m benchmarks.accuracy.ablation RATINGS --item-features MOVIES --model neural --folds 5 --seeds 3
    python -m benchmarks.accuracy.ablation RATINGS --settings --seeds 2 --architecture C_WIDE
    python -m benchmarks.accuracy.ablation RATINGS --tune --trials 50 --folds 5

By default each part of the model is left out, and added to the plain model, on the first N of the five folds
of `benchmarks.accuracy.comparison`. Differences of squared errors are paired over ratings, with 95 %
intervals. --settings varies each setting of NeuralMF on inner splits, 90 % to 10 %, of the first fold's
training part, and on simulated ratings, whose error is relative to the irreducible one. --tune gives `tune`
the training part of each fold, and evaluates the settings that it finds and the defaults on the test part.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice, product
from typing import Any

import numpy as np
from benchmarks.data import add_data, load
from benchmarks.harness import Parser, Results, paired_gain, squared_errors

import numpy_neural_mf as nmf

ARCHITECTURES = {"A_SMALL": nmf.A_SMALL, "B_MEDIUM": nmf.B_MEDIUM, "C_WIDE": nmf.C_WIDE}
# Each part of BayesianMF, and the value that leaves it out.
PARTS: dict[str, Any] = {
    "features": False, "implicit": False, "drift": False, "previous_item": False, "user_noise": False,
    "latent_clusters": 1,
}  # fmt: skip
# Setting of NeuralMF -> values to try besides the default.
GRID: dict[str, tuple[Any, ...]] = {
    "regularization": (0.1, 0.15, 0.3),
    "dropout": (0.1, 0.2, 0.4),
    "weight_decay": (0.0, 0.1, 1.0, 3.0),
    "learning_rate": (0.005, 0.01, 0.02, 0.05),
    "epochs": (15, 20, 50),
    "batch_size": (256, 512, 2048),
    "schedule": ("constant",),
    "validation_fraction": (0.0, 0.02, 0.1),
    "product": (False,),
}
Variants = dict[str, Callable[[int], Any]]


def bayesian_variants(n_samples: int) -> Variants:
    """All parts, all but one, one only, none."""
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
    """With and without features and sets of rated items, with and without an MLP."""
    variants: Variants = {}
    plain = {"C_wide": nmf.C_WIDE, "without MLP": nmf.Architecture(embedding_dim=32)}
    for name, features, implicit in product(plain, (False, True), (False, True)):
        parts = [part for part, used in (("features", features), ("implicit", implicit)) if used]
        form = replace(plain[name], features=features, implicit=implicit)
        variants[f"{name}, {' and '.join(parts) or 'plain'}"] = lambda seed, form=form: nmf.NeuralMF(
            form, random_state=seed
        )
    return variants


def by_part(ratings: nmf.Ratings, given: Any, results: Results) -> None:
    """A row for each variant, with its paired difference from the first."""
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
    """A row for each value of each setting."""
    seeds = range(given.seeds)
    worlds = [nmf.simulate_ratings(n_ratings=given.n_ratings, random_state=seed) for seed in seeds]
    simulated = [nmf.random_split(world, 0.2, seed) for seed, world in enumerate(worlds)]
    train, _ = next(iter(nmf.k_fold(ratings)))
    inner = [nmf.random_split(train, 0.1, seed) for seed in seeds] if given.ratings else []
    form = ARCHITECTURES[given.architecture]
    variants: list[dict[str, Any]] = [{}]
    variants += [{name: v} for name, values in GRID.items() if name in (given.only or GRID) for v in values]
    for changed in variants:
        floors = [test.noise_floor for _, test in simulated]
        above = np.array(errors(form, changed, simulated)) / floors - 1
        name = ", ".join(f"{name} = {value}" for name, value in changed.items()) or "defaults"
        row = {"RMSE, inner splits": np.mean(errors(form, changed, inner))} if inner else {}
        row |= {"simulated, above floor": f"{above.mean():.2%}"}
        results.add(given.architecture, setting=name, **row)


def errors(form: Any, settings: dict[str, Any], splits: list[tuple[nmf.Ratings, nmf.Ratings]]) -> list[float]:
    """Test RMSE on each split, each with a seed of its own."""
    models = [nmf.NeuralMF(form, random_state=seed, **settings) for seed in range(len(splits))]
    return [
        nmf.cross_validate(lambda _, model=model: model, splits=[split]).runs[0].rmse
        for model, split in zip(models, splits, strict=True)
    ]


def tuning(ratings: nmf.Ratings, given: Any, results: Results) -> None:
    """A row for each fold."""
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
    parser = Parser(__doc__, n_ratings=20_000, samples=4, trials=1, only=["without drift"])
    add_data(parser)
    parser.add_argument("--model", choices=("bayesian", "neural"), default="bayesian")
    parser.add_argument("--settings", action="store_true", help="of NeuralMF, in place of parts")
    parser.add_argument("--tune", action="store_true", help="NeuralMF, in place of parts")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="C_WIDE", help="of --settings")
    parser.add_argument("--only", nargs="+", help="variants besides the first, or settings, by name")
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
