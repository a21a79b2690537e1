"""What a neural model has to beat: the mean, and a linear regression on who and what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge

from ..data import Ratings, random_split
from ..mf.architecture import Architecture, Parameters
from ..training.loop import ProgressCallback
from .base import Recommender
from .incremental_update import Growth
from .model_file import Tensors
from .saving import Side

BIASES_ALONE = Architecture(product=False)

# λ against which no rating moves a row: as good as infinite, and a number still.
NO_ROW = 1e100


def biases_alone(
    mean: float, user_bias: NDArray[np.float64], item_bias: NDArray[np.float64]
) -> tuple[Architecture, Parameters]:
    """μ + b_u + b_i as an architecture and its parameters; biases of shape (n_users + 1,), (n_items + 1,)."""
    return BIASES_ALONE, {
        "intercept": np.array([mean]),
        "user_bias.weight": user_bias[:, None],
        "item_bias.weight": item_bias[:, None],
    }


class GlobalMean(Recommender):
    """The mean of all ratings, for every pair."""

    @property
    def n_parameters_(self) -> int:
        return 1

    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Self:
        """Take the mean; validation is not used."""
        self.mean_ = self._learn_ids(ratings).mean
        return self

    def _predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        return np.full(len(users), self.mean_)

    def _form(self) -> tuple[Architecture, Parameters]:
        return biases_alone(self.mean_, *(np.zeros(len(ids) + 1) for ids in (self.user_ids_, self.item_ids_)))

    def _penalty(self, side: Side, n_ratings: int) -> float:
        return NO_ROW

    def _grow(self, growth: Growth) -> None:
        self.mean_ = float(growth.seen.ratings.mean(dtype=np.float64))

    def _settings(self) -> dict[str, Any]:
        return {}

    def _learned(self) -> Tensors:
        return {"mean": np.array([self.mean_])}

    def _learned_shapes(self) -> dict[str, tuple[Any, tuple[int, ...]]]:
        return {"mean": (np.float64, (1,))}

    def _restore(self, learned: Tensors, summary: dict[str, Any]) -> None:
        self.mean_ = float(learned["mean"][0])


class LinearRegression(Recommender):
    """Ridge regression on one-hot users and items: r̂_ui = μ + b_u + b_i, by scikit-learn.

    The penalty is alpha times the sum of squares of all b. Without any, an item rated once would be predicted
    by that one rating. So alpha is chosen, by the lowest error on a tenth of the ratings, held out; then all
    ratings are fitted.

    Parameters
    ----------
    alphas : sequence of float, default (1, 3, 10, 30, 100, 1000, 100000)
        To choose from; one alone is taken as it is.

    Attributes
    ----------
    alpha_ : float
        The one chosen.
    intercept_ : float
        μ.
    user_bias_, item_bias_ : float64 arrays of shape (n_users + 1,), (n_items + 1,)
        b_u and b_i; the last is zero and stands for whoever is unknown.
    """

    def __init__(self, alphas: Sequence[float] = (1, 3, 10, 30, 100, 1_000, 100_000)) -> None:
        self.alphas = alphas

    @property
    def n_parameters_(self) -> int:
        return 1 + len(self.user_ids_) + len(self.item_ids_)

    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Self:
        """Choose alpha and solve the least squares; `validation`, if given, is what alpha is chosen on."""
        self._require_ratings(ratings)
        self.alpha_ = self.alphas[0]
        if len(self.alphas) > 1 and len(ratings) >= 10:
            part, held_out = (ratings, validation) if validation is not None else random_split(ratings, 0.1)
            part = self._learn_ids(part)
            one_hot = _one_hot(part.users, part.items, part.n_users, part.n_items)
            solutions = (self._solve(alpha, one_hot, part.values, part.n_users) for alpha in self.alphas)
            errors = [solution._error(held_out) for solution in solutions]
            self.alpha_ = self.alphas[int(np.argmin(errors))]
        ratings = self._learn_ids(ratings)
        one_hot = _one_hot(ratings.users, ratings.items, ratings.n_users, ratings.n_items)
        return self._solve(self.alpha_, one_hot, ratings.values, ratings.n_users)

    def _solve(self, alpha: float, one_hot: csr_array, values: NDArray[np.float32], n_users: int) -> Self:
        ridge = Ridge(alpha=alpha, solver="sparse_cg").fit(one_hot, values)
        self.intercept_ = float(ridge.intercept_)
        self.user_bias_ = np.append(ridge.coef_[:n_users], 0.0).astype(np.float64)
        self.item_bias_ = np.append(ridge.coef_[n_users:], 0.0).astype(np.float64)
        return self

    def _error(self, held_out: Ratings) -> float:
        error = self.predict(held_out.raw_users, held_out.raw_items) - held_out.values
        return float(np.vdot(error, error))

    def _predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        return np.asarray(self.intercept_ + self.user_bias_[users] + self.item_bias_[items])

    def _form(self) -> tuple[Architecture, Parameters]:
        return biases_alone(self.intercept_, self.user_bias_, self.item_bias_)

    def _penalty(self, side: Side, n_ratings: int) -> float:
        return float(self.alpha_)

    def _grow(self, growth: Growth) -> None:
        seen, n_users, n_items = growth.seen, len(growth.user_ids), len(growth.item_ids)
        self._solve(self.alpha_, _one_hot(seen.users, seen.items, n_users, n_items), seen.ratings, n_users)

    def _settings(self) -> dict[str, Any]:
        return {"alphas": [float(alpha) for alpha in self.alphas]}

    def _summary(self) -> dict[str, Any]:
        return {"alpha": float(self.alpha_)}

    def _learned(self) -> Tensors:
        return {
            "intercept": np.array([self.intercept_]),
            "user_bias": self.user_bias_,
            "item_bias": self.item_bias_,
        }

    def _learned_shapes(self) -> dict[str, tuple[Any, tuple[int, ...]]]:
        return {
            "intercept": (np.float64, (1,)),
            "user_bias": (np.float64, (len(self.user_ids_) + 1,)),
            "item_bias": (np.float64, (len(self.item_ids_) + 1,)),
        }

    def _restore(self, learned: Tensors, summary: dict[str, Any]) -> None:
        self.intercept_ = float(learned["intercept"][0])
        self.user_bias_, self.item_bias_ = learned["user_bias"], learned["item_bias"]
        if set(summary) != {"alpha"} or not isinstance(summary["alpha"], float):
            raise ValueError(f"expected alpha, found {summary}")
        self.alpha_ = summary["alpha"]


def _one_hot(users: NDArray[np.int32], items: NDArray[np.int32], n_users: int, n_items: int) -> csr_array:
    """Two ones in each row, shape (n, n_users + n_items)."""
    columns = np.stack([users, items + np.int32(n_users)], axis=1).ravel()
    ones, ends = np.ones(len(columns), np.float32), np.arange(0, len(columns) + 1, 2)
    return csr_array((ones, columns, ends), shape=(len(users), n_users + n_items))
