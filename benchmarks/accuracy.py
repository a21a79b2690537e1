"""Five-fold test error of our models and of Surprise's on the same folds.

python benchmarks/accuracy.py RATINGS [--item-features FILE] [--seeds N] [--folds N] [--full]
    [--only NAME ...] [--output-dir DIR]

The protocol: `k_fold(ratings, 5, random_state=2026)`, that is
``numpy.array_split(numpy.random.default_rng(2026).permutation(n), 5)`` over the rows in file order; RMSE over
all test rows of a fold, unknown users and items included, predictions clipped to the scale; all settings are
defaults. `NeuralMF` takes part with an ordinal likelihood, too, and with features, if there are any, sets of
what was rated, and 24 periods.
Surprise and myFM (the extra "bench") join where they are installed; `--full` adds the slow ones: Surprise's
SVD++, and myFM's Gibbs sampler with the same features, both sets, and the day of a rating.
"""

from __future__ import annotations

import argparse
import os
import platform
from contextlib import redirect_stderr
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix, eye_array, hstack, vstack

from numpy_neural_mf import BayesianMF, NeuralMF, Ratings, read_features, read_ratings, run_experiments
from numpy_neural_mf.comparison.experiments import ModelFactory, default_models
from numpy_neural_mf.mf.side_information import OneSide
from numpy_neural_mf.models import Recommender
from numpy_neural_mf.training.loop import ProgressCallback


class Peer(Recommender):
    """A model of another package, which does not tell its parameters."""

    @property
    def n_parameters_(self) -> int:
        return 0


class MyFM(Peer):
    """myFM's Bayesian factorisation machine, rank 10, 400 samples: what was best among those published."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Self:
        """Ids, sets of what was rated and features of each side in a block of its own; days one-hot."""
        from myfm import MyFMGibbsRegressor

        ratings = self._learn_ids(ratings, described=True)
        self._blocks, groups = [], []
        for side in OneSide.both(ratings):
            parts = [csr_array(eye_array(len(side.ids))), side.rated_sets()]
            groups += [part.shape[1] for part in parts]
            if side.features is not None:
                fields = side.features.fields
                parts.append(side.features.rows_for(side.ids))
                groups += [fields.count(name) for name in dict.fromkeys(fields)]
            with_nobody = vstack([hstack(parts), csr_array((1, sum(p.shape[1] for p in parts)))])
            self._blocks.append(csr_matrix(with_nobody))
        assert ratings.timestamps is not None
        self._days = np.unique(ratings.timestamps // 86_400)
        self._fm = MyFMGibbsRegressor(rank=10, random_seed=self.seed)
        with redirect_stderr(StringIO()):  # its progress bar
            self._fm.fit(
                self._day_columns(ratings.timestamps),
                ratings.values,
                X_rel=self._relations(ratings.users, ratings.items),
                n_iter=400,
                n_kept_samples=380,
                group_shapes=[len(self._days), *groups],
            )
        return self

    def _relations(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> list[Any]:
        from myfm import RelationBlock

        return [
            RelationBlock(np.where(rows < 0, block.shape[0] - 1, rows).tolist(), block)
            for rows, block in zip((users, items), self._blocks, strict=True)
        ]

    def _day_columns(self, timestamps: NDArray[np.int64]) -> csr_matrix:
        day = timestamps // 86_400
        column = np.searchsorted(self._days, day).clip(max=len(self._days) - 1)
        known = np.flatnonzero(self._days[column] == day)
        return csr_matrix((np.ones(len(known)), (known, column[known])), (len(day), len(self._days)))

    def _predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        raise NotImplementedError("this one is asked with times")

    def _predict_at(
        self, users: NDArray[np.int32], items: NDArray[np.int32], timestamps: NDArray[np.int64]
    ) -> NDArray[np.floating[Any]]:
        X_rel = self._relations(users, items)
        return np.asarray(self._fm.predict(self._day_columns(timestamps), X_rel=X_rel))


class SurpriseModel(Peer):
    """One of Surprise's algorithms under our contract."""

    def __init__(self, algorithm: Any) -> None:
        self.algorithm = algorithm

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


def myfm_models() -> dict[str, ModelFactory]:
    """myFM by name, or nothing where it is not installed."""
    if find_spec("myfm") is None:
        print("myFM is not installed: pip install -e '.[bench]' to have it beside ours")
        return {}
    return {"myFM Gibbs": MyFM}


def with_side_information(ratings: Ratings) -> dict[str, ModelFactory]:
    """C_wide and BayesianMF with all that they can use."""
    has_features = ratings.user_features is not None or ratings.item_features is not None
    told = {"features": has_features, "implicit": True}
    timed = told | {"periods": 24 if ratings.timestamps is not None else 0}
    return {
        "C_wide, ordinal": lambda seed: NeuralMF(likelihood="ordinal", random_state=seed),
        "C_wide, features, sets": lambda seed: NeuralMF(**told, random_state=seed),
        "C_wide, features, sets, time": lambda seed: NeuralMF(**timed, random_state=seed),
        "Bayesian MF": lambda seed: BayesianMF(random_state=seed),
    }


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
    parser.add_argument("--item-features", help="for instance MovieLens' movies.csv")
    parser.add_argument("--full", action="store_true", help="with Surprise's SVD++ and myFM")
    parser.add_argument("--only", nargs="+", default=[], help="models, by the names in the table")
    parser.add_argument("--output-dir", default="results/accuracy")
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(
        ", ".join(f"{name} {version(name)}" for name in ("numpy", "scikit-learn", "numba", "numpy-neural-mf"))
    )
    ratings = read_ratings(options.ratings)
    if options.item_features:
        ratings = ratings.with_features(items=read_features(options.item_features))
    models = default_models() | with_side_information(ratings) | surprise_models(options.full)
    models |= myfm_models() if options.full else {}
    run_experiments(
        {Path(options.ratings).name: ratings},
        seeds=options.seeds,
        n_folds=options.folds,
        models={name: model for name, model in models.items() if not options.only or name in options.only},
        output_dir=options.output_dir,
    )


if __name__ == "__main__":
    main()
