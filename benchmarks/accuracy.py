"""Five-fold test error of our models and of Surprise's on the same folds.

python benchmarks/accuracy.py RATINGS [--seeds N] [--folds N] [--full] [--output-dir DIR]

The protocol: `k_fold(ratings, 5, random_state=2026)`, that is
``numpy.array_split(numpy.random.default_rng(2026).permutation(n), 5)`` over the rows in file order; RMSE over
all test rows of a fold, unknown users and items included, predictions clipped to the scale; all settings are
defaults. Surprise (the extra "bench") joins where it is installed; `--full` adds its SVD++, which is slow.
"""

from __future__ import annotations

import argparse
import os
import platform
from functools import partial
from importlib.metadata import version
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from numpy_neural_mf import Ratings, run_experiments
from numpy_neural_mf.experiments import ModelFactory, default_models
from numpy_neural_mf.models import Recommender
from numpy_neural_mf.training import ProgressCallback


class SurpriseModel(Recommender):
    """One of Surprise's algorithms under our contract."""

    def __init__(self, algorithm: Any) -> None:
        self.algorithm = algorithm

    @property
    def n_parameters_(self) -> int:
        """Not told by Surprise."""
        return 0

    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Self:
        """Hand the ratings over as Surprise reads them."""
        from surprise import Dataset, Reader

        ratings = self._learn_ids(ratings)
        rows = zip(ratings.users.tolist(), ratings.items.tolist(), ratings.values.tolist(), strict=True)
        dataset = Dataset(Reader(rating_scale=ratings.scale))
        self.algorithm.fit(dataset.construct_trainset([(u, i, r, None) for u, i, r in rows]))
        return self

    def _predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        pairs = zip(users.tolist(), items.tolist(), strict=True)
        return np.array([self.algorithm.predict(u, i).est for u, i in pairs])


def surprise_models(full: bool) -> dict[str, ModelFactory]:
    """Surprise's algorithms by name, or none where it is not installed."""
    try:
        from surprise import SVD, BaselineOnly, KNNBaseline, SVDpp
    except ImportError:
        print("Surprise is not installed: pip install -e '.[bench]' to have it beside ours")
        return {}
    similarity = {"name": "pearson_baseline", "user_based": False}
    algorithms = {
        "Surprise SVD": lambda seed: SVD(random_state=seed),
        "Surprise BaselineOnly": lambda seed: BaselineOnly(verbose=False),
        "Surprise KNNBaseline": lambda seed: KNNBaseline(k=40, sim_options=similarity, verbose=False),
    }
    if full:
        algorithms["Surprise SVDpp"] = lambda seed: SVDpp(random_state=seed)
    return {name: partial(_surprise_model, algorithm) for name, algorithm in algorithms.items()}


def _surprise_model(algorithm: Any, seed: int) -> SurpriseModel:
    return SurpriseModel(algorithm(seed))


def main() -> None:
    """Print the machine and the table; write the files of a comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", help="for instance MovieLens' ratings.csv")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="with Surprise's SVD++")
    parser.add_argument("--output-dir", default="results/accuracy")
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "scikit-learn", "numpy-neural-mf")))
    run_experiments(
        options.ratings,
        seeds=options.seeds,
        n_folds=options.folds,
        models=default_models() | surprise_models(options.full),
        output_dir=options.output_dir,
    )


if __name__ == "__main__":
    main()
