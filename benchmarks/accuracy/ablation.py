"""What each part of a model contributes and costs: each left out, and each added to the plain model.

    python -m benchmarks.accuracy.ablation RATINGS --item-features MOVIES
    python -m benchmarks.accuracy.ablation RATINGS --item-features MOVIES --model neural --folds 5 --seeds 3

The splits are those of `benchmarks.accuracy.comparison`, the first N of the five folds. Differences are
paired: of squared errors on the same ratings, with their 95 % interval over ratings.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, product
from typing import Any

import numpy as np
from benchmarks.harness import Results, new_parser, paired_gain

from numpy_neural_mf import C_WIDE, Architecture, BayesianMF, NeuralMF, k_fold, read_features, read_ratings

# Each part of BayesianMF, and the value that leaves it out.
PARTS: dict[str, Any] = {
    "features": False, "implicit": False, "drift": False, "previous_item": False, "user_noise": False,
    "latent_clusters": 1,
}  # fmt: skip
Variants = dict[str, Callable[[int], Any]]


def bayesian_variants(n_samples: int) -> Variants:
    """All parts, all but one, one only, none."""
    whole = BayesianMF()
    settings: dict[str, dict[str, Any]] = {"all": {}}
    settings |= {f"without {name}": {name: out} for name, out in PARTS.items()}
    settings |= {"none": PARTS}
    settings |= {f"only {name}": PARTS | {name: getattr(whole, name)} for name in PARTS}
    settings |= {"all, 20 factors": {"embedding_dim": 20}}
    return {
        name: lambda seed, own=own: BayesianMF(n_samples=n_samples, random_state=seed, **own)
        for name, own in settings.items()
    }


def neural_variants() -> Variants:
    """With and without features and sets of rated items, with and without an MLP."""
    variants: Variants = {}
    for (name, plain), features, implicit in product(
        {"C_wide": C_WIDE, "without MLP": Architecture(embedding_dim=32)}.items(),
        (False, True),
        (False, True),
    ):
        parts = [part for part, used in (("features", features), ("implicit", implicit)) if used]
        form = replace(plain, features=features, implicit=implicit)
        variants[f"{name}, {' and '.join(parts) or 'plain'}"] = lambda seed, form=form: NeuralMF(
            form, random_state=seed
        )
    return variants


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("ratings", help="for instance MovieLens' ratings.csv")
    parser.add_argument("--item-features", help="for instance MovieLens' movies.csv")
    parser.add_argument("--model", choices=("bayesian", "neural"), default="bayesian")
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--samples", type=int, default=BayesianMF().n_samples, help="of BayesianMF")
    parser.add_argument("--only", nargs="+", default=[], help="variants besides the first, by name")
    given = parser.parse_args()
    ratings = read_ratings(given.ratings)
    if given.item_features:
        ratings = ratings.with_features(items=read_features(given.item_features))
    variants = bayesian_variants(given.samples) if given.model == "bayesian" else neural_variants()
    first = next(iter(variants))
    results = Results(
        f"ablation_{given.model}", given.output, ratings=str(ratings), folds=given.folds, seeds=given.seeds
    )
    folds = list(islice(k_fold(ratings), given.folds))
    squares: dict[str, np.ndarray] = {}
    for name, new_model in variants.items():
        if given.only and name not in (first, *given.only):
            continue
        errors, seconds = [], 0.0
        for train, test in folds:
            for seed in range(given.seeds):
                start = time.perf_counter()
                model = new_model(seed).fit(train)
                seconds += time.perf_counter() - start
                prediction = model.predict(test.raw_users, test.raw_items, test.timestamps)
                errors.append((prediction - test.values.astype(np.float64)) ** 2)
        squares[name] = np.concatenate(errors)
        results.add(
            "variants", variant=name, RMSE=np.sqrt(squares[name].mean()),
            **{f"against {first}": paired_gain(squares[name], squares[first])}, seconds=seconds / len(errors),
        )  # fmt: skip
    results.write()


if __name__ == "__main__":
    main()
