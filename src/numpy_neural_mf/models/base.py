"""The contract of every model: fit on ratings, predict for raw ids, known or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data import Ratings
from ..data.ids import index_of
from ..training import ProgressCallback

# Rows predicted at a time: enough to fill the processor, few enough that memory does not follow the request.
BLOCK = 65_536


class Recommender(ABC):
    """A model of ratings. A subclass fits indices and predicts for indices; ids are looked after here.

    Attributes
    ----------
    user_ids_, item_ids_ : arrays, sorted and unique
        Raw ids of the users and the items that training saw.
    rating_scale_ : (float, float)
        Lowest and highest rating; predictions lie within.
    """

    user_ids_: NDArray[Any]
    item_ids_: NDArray[Any]
    rating_scale_: tuple[float, float]

    @abstractmethod
    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Self:
        """Learn from ratings, from scratch.

        Parameters
        ----------
        ratings : Ratings
        validation : Ratings, optional
            Watched while learning, by models that learn in epochs.
        on_progress : callable, optional
            Told how far it is, by models that learn in epochs.

        Returns
        -------
        self
        """

    @property
    @abstractmethod
    def n_parameters_(self) -> int:
        """Numbers learned."""

    @abstractmethod
    def _predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        """Ratings of indexed pairs, shape (n,), not clipped; -1 is an unknown user or item."""

    def predict(self, users: ArrayLike, items: ArrayLike) -> NDArray[np.float32]:
        """Predict ratings.

        Parameters
        ----------
        users, items : array-likes of raw ids
            Of one shape, or one of them a scalar.

        Returns
        -------
        float32 array of that shape
            Within the rating scale. An unknown user or item gets the best estimate that what is known allows.

        Raises
        ------
        RuntimeError
            The model is not fitted.
        ValueError
            The shapes do not match.
        """
        if not hasattr(self, "user_ids_"):
            raise RuntimeError(f"this {type(self).__name__} is not fitted: call fit first")
        u, i = np.broadcast_arrays(index_of(self.user_ids_, users), index_of(self.item_ids_, items))
        return self._predict_clipped(u.ravel(), i.ravel()).reshape(u.shape)

    def _predict_clipped(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Ratings of indexed pairs, shape (n,), block by block."""
        prediction = np.empty(len(users), np.float32)
        for first in range(0, len(users), BLOCK):
            block = slice(first, first + BLOCK)
            prediction[block] = self._predict(users[block], items[block])
        return np.clip(prediction, *self.rating_scale_, out=prediction)

    def _learn_ids(self, ratings: Ratings) -> Ratings:
        """Take note of ids and scale; the ratings with only those users and items that occur."""
        self._require_ratings(ratings)
        ratings = ratings.compact()
        self.user_ids_, self.item_ids_ = ratings.user_ids, ratings.item_ids
        self.rating_scale_ = ratings.scale
        return ratings

    @staticmethod
    def _require_ratings(ratings: Ratings) -> None:
        if not isinstance(ratings, Ratings):
            raise TypeError(f"expected Ratings (see read_ratings), found {type(ratings).__name__}")
        if not len(ratings):
            raise ValueError("expected at least one rating to learn from, found none")
