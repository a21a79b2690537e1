"""The settings of NeuralMF: how the defaults were chosen, and what a search for other settings gains.

    python -m benchmarks.accuracy.settings defaults [RATINGS] --seeds 2 --architecture C_WIDE
    python -m benchmarks.accuracy.settings tuning RATINGS --trials 50 --folds 5

defaults  Each setting is varied with the others at their defaults. The training part of the first of five
          folds is split again, 90 % to 10 %, once for each seed: test folds have no influence. Next to them,
          simulated ratings with latent structure are split 80 % to 20 %; their error is given relative to the
          irreducible error.
tuning    `tune` is given the training part of each fold. The settings that it finds and the defaults are then
          trained on that part with the same seed, and evaluated on the test part.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
from benchmarks.harness import Results, new_parser

from numpy_neural_mf import (
    A_SMALL,
    B_MEDIUM,
    C_WIDE,
    NeuralMF,
    Ratings,
    cross_validate,
    k_fold,
    random_split,
    read_ratings,
    simulate_ratings,
    tune,
)

ARCHITECTURES = {"A_SMALL": A_SMALL, "B_MEDIUM": B_MEDIUM, "C_WIDE": C_WIDE}
# Setting -> values to try besides the default.
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
Split = tuple[Ratings, Ratings]


def defaults(given: Any, results: Results) -> None:
    """A row for each value of each setting."""
    seeds = range(given.seeds)
    simulated = [
        random_split(simulate_ratings(n_ratings=given.n_ratings, random_state=seed), 0.2, seed)
        for seed in seeds
    ]
    real: list[Split] = []
    if given.ratings:
        train, _ = next(iter(k_fold(read_ratings(given.ratings))))
        real = [random_split(train, 0.1, seed) for seed in seeds]
    variants: list[dict[str, Any]] = [{}]
    variants += [{name: v} for name, values in GRID.items() if name in given.only for v in values]
    form = ARCHITECTURES[given.architecture]
    for changed in variants:
        above = [
            error / test.noise_floor - 1
            for error, (_, test) in zip(errors(form, changed, simulated), simulated, strict=True)
            if test.noise_floor
        ]
        name = ", ".join(f"{name} = {value}" for name, value in changed.items()) or "defaults"
        row = {"RMSE, inner splits": np.mean(errors(form, changed, real))} if real else {}
        results.add(
            given.architecture, setting=name, **row, **{"simulated, above floor": f"{np.mean(above):.2%}"}
        )


def errors(form: Any, settings: dict[str, Any], splits: list[Split]) -> list[float]:
    """Test RMSE on each split, each with a seed of its own."""
    found = []
    for seed, split in enumerate(splits):
        model = NeuralMF(form, random_state=seed, **settings)
        found.append(cross_validate(lambda _, model=model: model, splits=[split]).runs[0].rmse)
    return found


def tuning(given: Any, results: Results) -> None:
    """A row for each fold."""
    for fold, (train, test) in enumerate(islice(k_fold(read_ratings(given.ratings)), given.folds)):
        found = tune(train, n_trials=given.trials)
        models = {"defaults": lambda seed: NeuralMF(), "tuned": lambda seed, s=found.settings: NeuralMF(**s)}
        runs = cross_validate(models, splits=[(train, test)]).runs
        results.add(
            "RMSE by fold", fold=fold,
            **{"validation, defaults": found.default_rmse, "validation, tuned": found.validation_rmse},
            **{f"test, {run.model}": run.rmse for run in runs}, settings=str(found.settings),
        )  # fmt: skip


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("question", choices=("defaults", "tuning"))
    parser.add_argument("ratings", nargs="?", help="for instance MovieLens' ratings.csv; needed by tuning")
    parser.add_argument("--seeds", type=int, default=2, help="of defaults")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="C_WIDE", help="of defaults")
    parser.add_argument("--only", nargs="+", choices=GRID, default=[*GRID], help="settings to vary")
    parser.add_argument("--n-ratings", type=int, default=200_000, help="number of simulated ratings")
    parser.add_argument("--trials", type=int, default=50, help="of tuning")
    parser.add_argument("--folds", type=int, default=5, help="of tuning")
    given = parser.parse_args()
    if given.question == "tuning" and not given.ratings:
        parser.error("tuning needs RATINGS")
    results = Results(f"settings_{given.question}", given.output, data=given.ratings or "simulated")
    (defaults if given.question == "defaults" else tuning)(given, results)
    results.write()


if __name__ == "__main__":
    main()
