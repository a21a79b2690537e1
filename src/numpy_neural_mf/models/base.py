"""The contract of every model: fit on ratings, predict and recommend for raw ids, known or not."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data import Ratings
from ..data.ids import index_of
from ..training import ProgressCallback
from .fold_in import NewUser
from .ranking import SeenItems, best_items, blocks, one_blas_thread
from .saving import Saveable
from .similarity import most_similar

# Rows predicted at a time: enough to fill the processor, few enough that memory does not follow the request.
BLOCK = 65_536


class Recommender(Saveable):
    """A model of ratings. A subclass fits indices and predicts for indices; ids are looked after here.

    Attributes
    ----------
    user_ids_, item_ids_ : arrays, sorted and unique
        Raw ids of the users and the items that training saw.
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

    @abstractmethod
    def _predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        """Ratings of indexed pairs, shape (n,), not clipped; -1 is an unknown user or item.

        `recommend` asks from several threads at a time.
        """

    def predict(self, users: ArrayLike | NewUser, items: ArrayLike) -> NDArray[np.float32]:
        """Predict ratings.

        Parameters
        ----------
        users, items : array-likes of raw ids
            Of one shape, or one of them a scalar. Or a user that was folded in, for all items.

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
        self._require_fitted()
        if isinstance(users, NewUser):
            rows = index_of(self.item_ids_, items)
            scores = users.scorer(np.where(rows < 0, len(self.item_ids_), rows).ravel())(
                np.zeros(1, np.int32)
            )
            return np.clip(scores, *self.rating_scale_).astype(np.float32).reshape(rows.shape)
        u, i = np.broadcast_arrays(index_of(self.user_ids_, users), index_of(self.item_ids_, items))
        return self._predict_clipped(u.ravel(), i.ravel()).reshape(u.shape)

    def known(self, users: ArrayLike | NewUser, items: ArrayLike) -> NDArray[np.bool_]:
        """Whether training saw both the user and the item of each pair.

        Parameters
        ----------
        users, items : array-likes of raw ids
            As `predict` takes them.

        Returns
        -------
        bool array of that shape
        """
        self._require_fitted()
        user_is_known = isinstance(users, NewUser) or index_of(self.user_ids_, users) >= 0
        return np.asarray(user_is_known & (index_of(self.item_ids_, items) >= 0))

    @overload
    def recommend(
        self,
        users: ArrayLike | NewUser,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: ArrayLike | None = None,
        with_scores: Literal[False] = False,
    ) -> np.ma.MaskedArray[Any, Any]: ...

    @overload
    def recommend(
        self,
        users: ArrayLike | NewUser,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: ArrayLike | None = None,
        with_scores: Literal[True],
    ) -> tuple[np.ma.MaskedArray[Any, Any], np.ma.MaskedArray[Any, Any]]: ...

    def recommend(
        self,
        users: ArrayLike | NewUser,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: ArrayLike | None = None,
        with_scores: bool = False,
    ) -> Any:
        """The items with the highest predicted ratings, best first.

        Predictions are ranked before they are clipped to the scale; equal ones by the order of `item_ids_`.

        Parameters
        ----------
        users : scalar or array-like of raw ids, or a user that was folded in
            Whoever is unknown gets what is best for the unknown: what everybody likes.
        n : int, default 10
        exclude_seen : bool, default True
            Leave out what the user rated in the ratings given to `fit`.
        candidates : array-like of raw ids, optional
            Items to choose from, by default all; the unknown among them are left out.
        with_scores : bool, default False
            Return the predicted ratings, too.

        Returns
        -------
        items : masked array of raw ids, of shape (*users.shape, n)
            Masked where fewer than n items are left; ``.tolist()`` has None there.
        scores : masked float32 array of that shape
            What `predict` says of them. With `with_scores` only.
        """
        self._require_fitted()
        _require_count(n)
        wanted, scorer, seen = np.zeros((), np.int32), self._scorer, self._seen
        if isinstance(users, NewUser):
            scorer, seen = users.scorer, users.seen
        else:
            wanted = index_of(self.user_ids_, users)
        items = np.arange(len(self.item_ids_), dtype=np.int32)
        if candidates is not None:
            items = np.unique(index_of(self.item_ids_, candidates))
            items = items[items >= 0]
        best, scores = best_items(
            scorer(items), wanted.ravel(), items, int(n), seen if exclude_seen else None
        )
        shape, missing = (*wanted.shape, int(n)), best < 0
        chosen = np.ma.MaskedArray(self.item_ids_[best], missing).reshape(shape)
        if not with_scores:
            return chosen
        return chosen, np.ma.MaskedArray(np.clip(scores, *self.rating_scale_), missing).reshape(shape)

    def similar_items(self, item: Any, n: int = 10) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The items whose embeddings point most in the direction of that of `item`.

        Parameters
        ----------
        item : raw id
        n : int, default 10

        Returns
        -------
        ids, cosines : arrays of shape (n,)
            Most similar first, without `item`; shorter where there are fewer others.

        Raises
        ------
        ValueError
            The item is unknown, or the model has no embeddings.
        """
        return self._similar("item", item, n)

    def similar_users(self, user: Any, n: int = 10) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The users whose embeddings point most in the direction of that of `user`: see `similar_items`."""
        return self._similar("user", user, n)

    def _similar(self, side: str, raw: Any, n: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        self._require_fitted()
        _require_count(n)
        ids = self.user_ids_ if side == "user" else self.item_ids_
        table = self._embeddings(side)
        if table is None:
            raise ValueError(f"this {type(self).__name__} has no embeddings to compare {side}s by")
        row = index_of(ids, [raw])[0]
        if row < 0:
            raise ValueError(f"{side} {raw!r} is unknown: it has no rating among those given to fit")
        rows, cosines = most_similar(table, row, n)
        return ids[rows], cosines

    def _predict_clipped(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        prediction = self._predict_blocks(users, items)
        return np.clip(prediction, *self.rating_scale_, out=prediction)

    def _predict_blocks(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Ratings of indexed pairs, shape (n,), not clipped, block by block."""
        prediction = np.empty(len(users), np.float32)
        with one_blas_thread():
            for block in blocks(len(users), BLOCK):
                prediction[block] = self._predict(users[block], items[block])
        return prediction

    def _scorer(self, items: NDArray[np.int32]) -> Callable[[NDArray[np.int32]], NDArray[np.floating[Any]]]:
        """A function of users, shape (m,), to the ratings of `items`, shape (m, n), not clipped."""

        def score(users: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
            u, i = np.repeat(users, len(items)), np.tile(items, len(users))
            return self._predict_blocks(u, i).reshape(len(users), len(items))

        return score

    def _embeddings(self, side: str) -> NDArray[np.floating[Any]] | None:
        """One row for each "user" or "item", where the model has such."""
        return None

    def _learn_ids(self, ratings: Ratings, seen: Ratings | None = None) -> Ratings:
        """Take note of ids and scale, and of who rated what in `seen`, by default the ratings themselves.

        Returns the ratings with only those ids that occur.
        """
        self._require_ratings(ratings)
        ratings = ratings.compact()
        self.user_ids_, self.item_ids_ = ratings.user_ids, ratings.item_ids
        self.rating_scale_ = ratings.scale
        seen = ratings if seen is None else seen
        seen_users = index_of(self.user_ids_, seen.user_ids)[seen.users]
        seen_items = index_of(self.item_ids_, seen.item_ids)[seen.items]
        self._seen = SeenItems.of(seen_users, seen_items, len(self.user_ids_), len(self.item_ids_))
        return ratings

    @staticmethod
    def _require_ratings(ratings: Ratings) -> None:
        if not isinstance(ratings, Ratings):
            raise TypeError(f"expected Ratings (see read_ratings), found {type(ratings).__name__}")
        if not len(ratings):
            raise ValueError("expected at least one rating to learn from, found none")


def _require_count(n: int) -> None:
    if not (isinstance(n, int | np.integer) and n >= 1):
        raise ValueError(f"n must be a whole number, at least 1, not {n!r}")
