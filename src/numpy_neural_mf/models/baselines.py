"""What a neural model has to beat: the mean, and a linear regression on who and what."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge

from ..data import Ratings
from ..training import ProgressCallback
from .base import Recommender


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


class LinearRegression(Recommender):
    """Ridge regression on one-hot users and items: r̂_ui = μ + b_u + b_i, by scikit-learn.

    Parameters
    ----------
    alpha : float, default 3.0
        The penalty is alpha times the sum of squares of all b. Without any (0), an item rated once would be
        predicted by that one rating.
    """

    def __init__(self, alpha: float = 3.0) -> None:
        self.alpha = alpha

    @property
    def n_parameters_(self) -> int:
        return 1 + len(self.user_ids_) + len(self.item_ids_)

    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Self:
        """Solve the least squares; validation is not used."""
        ratings = self._learn_ids(ratings)
        one_hot = self._one_hot(ratings.users, ratings.items)
        self.regression_ = Ridge(alpha=self.alpha, solver="sparse_cg").fit(one_hot, ratings.values)
        return self

    def _predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        return np.asarray(self.regression_.predict(self._one_hot(users, items)))

    def _one_hot(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> csr_array:
        """(n, n_users + n_items), two ones a row; an unknown user or item has none."""
        n, n_users, n_items = len(users), len(self.user_ids_), len(self.item_ids_)
        columns = np.stack([users, items + np.int32(n_users)], axis=1).ravel()
        known = np.stack([users >= 0, items >= 0], axis=1).ravel()
        ends = np.concatenate([[0], np.cumsum(known)[1::2]])
        ones = np.ones(ends[-1], np.float32)
        return csr_array((ones, columns[known], ends), shape=(n, n_users + n_items))
