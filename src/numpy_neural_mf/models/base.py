"""The contract of every model: fit on ratings, predict and recommend for raw ids, known or not."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data import Ratings
from ..data.columns import renumbered
from ..data.ids import index_of
from ..training.loop import ProgressCallback
from .explain import Explanation, explained, weights_of_ratings
from .fold_in import NewItem, NewUser
from .interactions import SeenRatings
from .recommending import RanksItems
from .top_n import blocks, one_blas_thread

# Rows predicted at a time: enough to fill the processor, few enough that memory does not follow the request.
BLOCK = 65_536


class Recommender(RanksItems):
    """A model of ratings. A subclass fits indices and predicts for indices; ids are looked after here.

    Attributes
    ----------
    user_ids_, item_ids_ : arrays, sorted and unique
        Raw ids of the users and the items that training saw, or that features told it of.
    rating_scale_ : (float, float)
        Lowest and highest rating; predictions lie within.
    """

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

    @property
    def ratings_(self) -> Ratings:
        """What it has learned from, by user, without times: what is warm, what is seen, what was rated."""
        self._require_fitted()
        values, (lowest, highest) = self._seen.ratings, self.rating_scale_
        scale = (
            min(lowest, float(values.min())),
            max(highest, float(values.max())),
        )  # predictions may have less
        return Ratings(self._seen.users, self._seen.items, values, self.user_ids_, self.item_ids_, scale)

    @abstractmethod
    def _predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        """Ratings of indexed pairs, shape (n,), not clipped; -1 is an unknown user or item."""

    def _predict_at(
        self, users: NDArray[np.int32], items: NDArray[np.int32], timestamps: NDArray[np.int64]
    ) -> NDArray[np.floating[Any]]:
        """The same of ratings given at these times, for models that know of time."""
        return self._predict(users, items)

    def predict(
        self,
        users: ArrayLike | NewUser,
        items: ArrayLike | NewItem,
        timestamps: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        """Predict ratings.

        Parameters
        ----------
        users, items : array-likes of raw ids, or whoever was folded in
            Of one shape, or one of them a scalar, as what was folded in is.
        timestamps : array-like of int, optional
            When each rating is given, in seconds since 1970, for models that know of time; the others take no
            notice. By default at the time of the last rating learned from; so, too, whoever was folded in.

        Returns
        -------
        float32 array of that shape
            Within the rating scale. An unknown user or item gets the best estimate that what is known allows.

        Raises
        ------
        RuntimeError
            The model is not fitted.
        ValueError
            The shapes do not match, or the model has learned something since somebody was folded in.
        """
        scores = self._scores(users, items, timestamps)
        return self._likelihood.rating(scores)

    def _scores(
        self, users: ArrayLike | NewUser, items: ArrayLike | NewItem, timestamps: ArrayLike | None
    ) -> NDArray[np.float32]:
        """r̂ as `predict` is asked for ratings."""
        self._require_fitted()
        u, i = self._rows(self.user_ids_, users), self._rows(self.item_ids_, items)
        if isinstance(users, NewUser) or isinstance(items, NewItem):
            new_items = [items] if isinstance(items, NewItem) else []
            i = i + np.int32(len(self.item_ids_)) if new_items else i
            new_user = users if isinstance(users, NewUser) else None
            scores = self._scorer(i.ravel(), new_user, new_items)(u.ravel()).astype(np.float32)
            return scores.reshape(np.broadcast_shapes(u.shape, i.shape))
        if timestamps is None:
            u, i = np.broadcast_arrays(u, i)
            return self._predict_blocks(u.ravel(), i.ravel()).reshape(u.shape)
        u, i, t = np.broadcast_arrays(u, i, np.asarray(timestamps, np.int64))
        return self._predict_blocks(u.ravel(), i.ravel(), t.ravel()).reshape(u.shape)

    def known(self, users: ArrayLike | NewUser, items: ArrayLike | NewItem) -> NDArray[np.bool_]:
        """Whether both the user and the item of each pair were learned, from training or by folding in.

        Parameters
        ----------
        users, items : array-likes of raw ids, or whoever was folded in
            As `predict` takes them.

        Returns
        -------
        bool array of that shape
        """
        self._require_fitted()
        known = (self._rows(self.user_ids_, users) >= 0) & (self._rows(self.item_ids_, items) >= 0)
        return np.asarray(known)

    def explain(self, user: Any, item: Any) -> Explanation:
        """Take a prediction apart: mean, biases, interaction, and the ratings of the user that moved it most.

        Parameters
        ----------
        user, item : raw id, or whoever was folded in

        Returns
        -------
        Explanation
            Its numbers add up to what `predict` says. Without reasons where the user or the item is unknown.

        Raises
        ------
        RuntimeError
            The model is not fitted.
        """
        prediction = float(self.predict(user, item))
        architecture, parameters = self._form()
        seen, u, i = self._seen, int(self._rows(self.user_ids_, user)), int(self._rows(self.item_ids_, item))
        if isinstance(item, NewItem):
            parameters, i = self._parameters_with_items([item]), len(self.item_ids_)
        if isinstance(user, NewUser):
            parameters, seen = parameters | self._row_of(user), user.seen
        rated, ratings = seen.of_row(u if i >= 0 else -1)
        penalty = self._penalty("user", len(rated))
        likelihood = self._likelihood
        weights = weights_of_ratings(architecture, parameters, u, i, rated, ratings, penalty, likelihood)
        ids = self.item_ids_[rated].tolist()
        return explained(architecture, parameters, u, i, likelihood, prediction, ids, ratings, weights)

    def _predict_blocks(
        self,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        timestamps: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Ratings of indexed pairs, shape (n,), not clipped, block by block."""
        prediction = np.empty(len(users), np.float32)
        with one_blas_thread():
            for block in blocks(len(users), BLOCK):
                if timestamps is None:
                    prediction[block] = self._predict(users[block], items[block])
                else:
                    prediction[block] = self._predict_at(users[block], items[block], timestamps[block])
        return prediction

    def _learn_ids(self, ratings: Ratings, described: bool = False) -> Ratings:
        """Take note of ids and scale, and of who rated what.

        Returns the ratings with only those ids that occur, or, if asked, that are described by features.
        """
        self._require_ratings(ratings)
        ratings = ratings.compact(described)
        self._note_ids(ratings)
        self._remember(ratings)
        return ratings

    def _note_ids(self, ratings: Ratings) -> None:
        """Take note of ids and scale."""
        self.user_ids_, self.item_ids_ = ratings.user_ids, ratings.item_ids
        self.rating_scale_ = ratings.scale

    def _remember(self, seen: Ratings) -> None:
        """Take note of who rated what, of the ids that are known."""
        n_users, n_items = len(self.user_ids_), len(self.item_ids_)
        self._seen = SeenRatings.of(*self._rows_of_pairs(seen), seen.values, n_users, n_items)

    def _rows_of_pairs(self, ratings: Ratings) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The model's rows of the users and the items of other ratings, -1 for the unknown."""
        users = renumbered(ratings.users, index_of(self.user_ids_, ratings.user_ids))
        return users, renumbered(ratings.items, index_of(self.item_ids_, ratings.item_ids))
