"""Models of Surprise, myFM and LIBMF with the methods that `cross_validate` needs."""

import ctypes
import os
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix, eye_array, hstack, vstack

from numpy_neural_mf import Ratings
from numpy_neural_mf.data.ids import index_of

DAY = 86_400


class OtherModel:
    """A model of another library, with an unknown number of parameters."""

    n_parameters_ = 0

    def _rows(self, users: Any, items: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return rows of raw ids, below 0 for ids that were not in training."""
        return index_of(self._train.user_ids, users), index_of(self._train.item_ids, items)

    def _clipped(self, prediction: Any) -> NDArray[np.float64]:
        return np.clip(np.asarray(prediction, np.float64), *self._train.scale)


class SurpriseModel(OtherModel):
    """One of Surprise's algorithms."""

    def __init__(self, algorithm: Any) -> None:
        self.algorithm = algorithm

    def fit(self, ratings: Ratings, on_progress: Any = None) -> Self:
        self._train = ratings = ratings.compact()
        self.algorithm.fit(trainset_of(ratings))
        return self

    def predict(self, users: Any, items: Any, timestamps: Any = None) -> NDArray[np.float64]:
        pairs = zip(*(rows.tolist() for rows in self._rows(users, items)), strict=True)
        return self._clipped([self.algorithm.predict(u, i).est for u, i in pairs])


def trainset_of(ratings: Ratings) -> Any:
    """Convert ratings to Surprise's format, with rows for ids."""
    from surprise import Dataset, Reader

    rows = zip(ratings.users.tolist(), ratings.items.tolist(), ratings.values.tolist(), strict=True)
    dataset = Dataset(Reader(rating_scale=ratings.scale))
    return dataset.construct_trainset([(u, i, r, None) for u, i, r in rows])


class MyFM(OtherModel):
    """myFM's Bayesian factorisation machine, rank 10, 400 samples: the best published configuration."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, ratings: Ratings, on_progress: Any = None) -> Self:
        """Fit with blocks for ids, implicit feedback and features of each side, and one-hot days."""
        from myfm import MyFMGibbsRegressor

        if ratings.timestamps is None:
            raise ValueError("ratings: expected timestamps, found none")
        self._train = ratings = ratings.compact(described=True)
        sides = (
            (ratings.users, ratings.user_ids, ratings.user_features, ratings.items, ratings.n_items),
            (ratings.items, ratings.item_ids, ratings.item_features, ratings.users, ratings.n_users),
        )
        self._blocks, groups = [], []
        for rows, ids, features, others, n_others in sides:
            counts = np.bincount(rows, minlength=len(ids))
            rated = csr_array((1 / np.sqrt(counts[rows]), (rows, others)), shape=(len(ids), n_others))
            parts = [csr_array(eye_array(len(ids))), rated]
            groups += [len(ids), n_others]
            if features is not None:
                parts.append(features.rows_for(ids))
                groups += [features.fields.count(name) for name in dict.fromkeys(features.fields)]
            unknown = csr_array((1, sum(part.shape[1] for part in parts)))
            self._blocks.append(csr_matrix(vstack([hstack(parts), unknown])))
        self._days = np.unique(ratings.timestamps // DAY)
        self._fm = MyFMGibbsRegressor(rank=10, random_seed=self.seed)
        with redirect_stderr(StringIO()):  # its progress bar
            self._fm.fit(
                self._day_columns(ratings.timestamps), ratings.values,
                X_rel=self._relations(ratings.users, ratings.items),
                n_iter=400, n_kept_samples=380, group_shapes=[len(self._days), *groups],
            )  # fmt: skip
        return self

    def predict(self, users: Any, items: Any, timestamps: Any = None) -> NDArray[np.float64]:
        X_rel = self._relations(*self._rows(users, items))
        return self._clipped(self._fm.predict(self._day_columns(timestamps), X_rel=X_rel))

    def _relations(self, *rows_of_sides: NDArray[Any]) -> list[Any]:
        """Make the blocks; the last row of a block is for unknown ids."""
        from myfm import RelationBlock

        return [
            RelationBlock(np.where(rows < 0, block.shape[0] - 1, rows).tolist(), block)
            for rows, block in zip(rows_of_sides, self._blocks, strict=True)
        ]

    def _day_columns(self, timestamps: NDArray[np.int64]) -> csr_matrix:
        day = timestamps // DAY
        column = np.searchsorted(self._days, day).clip(max=len(self._days) - 1)
        known = np.flatnonzero(self._days[column] == day)
        return csr_matrix((np.ones(len(known)), (known, column[known])), (len(day), len(self._days)))


class LibmfParameter(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("fun", "k", "nr_threads", "nr_bins", "nr_iters")),
        *((name, ctypes.c_float) for name in ("lambda_p1", "lambda_p2", "lambda_q1", "lambda_q2", "eta")),
        *((name, ctypes.c_bool) for name in ("do_nmf", "quiet", "copy_data")),
    )


class LibmfModel(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("fun", "m", "n", "k")),
        ("b", ctypes.c_float), ("P", ctypes.POINTER(ctypes.c_float)), ("Q", ctypes.POINTER(ctypes.c_float)),
    )  # fmt: skip


class Libmf(OtherModel):
    """LIBMF, from its shared library; `fit` also copies the ratings into its format.

    The package libmf has the source, src_cpp/*.cpp, which `g++ -O3 -march=native -fopenmp -DUSEOMP -DUSEAVX
    -DUSESSE -fPIC -shared` makes a library of.
    """

    def __init__(self, library: str, n_factors: int, n_epochs: int) -> None:
        self.library, self.n_factors, self.n_epochs = library, n_factors, n_epochs

    def fit(self, ratings: Ratings, on_progress: Any = None) -> Self:
        self._train = ratings = ratings.compact()
        fit = ctypes.CDLL(self.library).fit_interface
        fit.restype = ctypes.POINTER(LibmfModel)
        columns = np.stack([ratings.users, ratings.items, ratings.values], axis=1).astype(np.float32)
        sizes = self.n_factors, os.cpu_count() or 1, 26, self.n_epochs
        parameter = LibmfParameter(0, *sizes, 0.0, 0.05, 0.0, 0.05, 0.1, False, True, True)
        address = columns.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        model = fit(ctypes.c_int(len(ratings)), address, ctypes.byref(parameter)).contents
        self._mean = model.b
        self._P = np.ctypeslib.as_array(model.P, (model.m, model.k))
        self._Q = np.ctypeslib.as_array(model.Q, (model.n, model.k))
        return self

    def predict(self, users: Any, items: Any, timestamps: Any = None) -> NDArray[np.float64]:
        rows, others = self._rows(users, items)
        products = np.einsum("nk,nk->n", self._P[rows], self._Q[others])
        known = (rows >= 0) & (others >= 0) & np.isfinite(products)
        return self._clipped(np.where(known, products, self._mean))


def surprise_models(full: bool) -> dict[str, Callable[[int], Any]]:
    """Return Surprise's algorithms by name, or none if it is not installed."""
    if find_spec("surprise") is None:
        print("Surprise is not installed: pip install -e '.[bench]' to include it")
        return {}
    from surprise import SVD, BaselineOnly, KNNBaseline, SVDpp

    similarity = {"name": "pearson_baseline", "user_based": False}
    algorithms: dict[str, Callable[[int], Any]] = {
        "Surprise SVD": lambda seed: SVD(random_state=seed),
        "Surprise BaselineOnly": lambda seed: BaselineOnly(verbose=False),
        "Surprise KNNBaseline": lambda seed: KNNBaseline(k=40, sim_options=similarity, verbose=False),
    }
    if full:
        algorithms["Surprise SVDpp"] = lambda seed: SVDpp(random_state=seed)
    return {name: lambda seed, new=new: SurpriseModel(new(seed)) for name, new in algorithms.items()}


def myfm_models(full: bool) -> dict[str, Callable[[int], Any]]:
    """Return myFM by name, or nothing if it is not requested or not installed."""
    if full and find_spec("myfm") is None:
        print("myFM is not installed: pip install -e '.[bench]' to include it")
    return {"myFM Gibbs": MyFM} if full and find_spec("myfm") else {}
