"""The best items for users, and what is alike: lists of a fitted model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.ids import index_of
from ..mf.architecture import Parameters
from ..mf.forward import Scorer, item_scorer
from .fold_in import NewItem, NewUser
from .interactions import SeenRatings
from .saving import Side
from .similarity import most_similar
from .top_n import best_items
from .updating import Updatable


class RanksItems(Updatable):
    """Recommends by the predictions of the model's form, and compares its embeddings."""

    @overload
    def recommend(
        self,
        users: ArrayLike | NewUser,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: ArrayLike | None = None,
        min_ratings: int = 0,
        new_items: Sequence[NewItem] = (),
        by: Literal["rating", "next_item"] | None = None,
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
        min_ratings: int = 0,
        new_items: Sequence[NewItem] = (),
        by: Literal["rating", "next_item"] | None = None,
        with_scores: Literal[True],
    ) -> tuple[np.ma.MaskedArray[Any, Any], np.ma.MaskedArray[Any, Any]]: ...

    def recommend(
        self,
        users: ArrayLike | NewUser,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: ArrayLike | None = None,
        min_ratings: int = 0,
        new_items: Sequence[NewItem] = (),
        by: Literal["rating", "next_item"] | None = None,
        with_scores: bool = False,
    ) -> Any:
        """The items with the highest predicted ratings, or those most likely to come next, best first.

        They are ranked before they are brought onto the rating scale; equal ones by the order of `item_ids_`.

        Parameters
        ----------
        users : scalar or array-like of raw ids, or a user that was folded in
            Whoever is unknown gets what is best for the unknown: what everybody likes.
        n : int, default 10
        exclude_seen : bool, default True
            Leave out what the user rated among the ratings learned or folded in.
        candidates : array-like of raw ids, optional
            Items to choose from, by default all; the unknown among them are left out.
        min_ratings : int, default 0
            Leave out known items with fewer ratings, whose predictions rest on little.
        new_items : sequence of NewItem, default ()
            Items that were folded in, to choose from, too.
        by : {"rating", "next_item"}, optional
            What the best items are: those of the highest predicted rating, or those that most likely come
            next in the user's sequence. By default "next_item" of a model that was trained for it
            (`Architecture.next_item_weight`), otherwise "rating".
        with_scores : bool, default False
            Return what they are ranked by, too.

        Returns
        -------
        items : masked array of raw ids, of shape (*users.shape, n)
            Masked where fewer than n items are left; ``.tolist()`` has None there.
        scores : masked float32 array of that shape
            What `predict` says of them, or logits by the next item. With `with_scores` only.

        Raises
        ------
        RuntimeError
            The model is not fitted.
        ValueError
            n is no whole number above 0, a new item is given twice or to be ranked as the next, the model
            has learned something since somebody was folded in, or it has not learned what comes next.
        """
        self._require_fitted()
        require_count(n)
        wanted, seen = self._rows(self.user_ids_, users), [self._seen, self._seen_of(new_items)]
        if isinstance(users, NewUser):
            seen = [users.seen]
        items = np.arange(len(self.item_ids_), dtype=np.int32)
        if candidates is not None:
            items = np.unique(index_of(self.item_ids_, candidates))
            items = items[items >= 0]
        if min_ratings:
            counts = self._n_ratings("item")
            items = items[counts[items] >= min_ratings]
        new_rows = np.arange(len(new_items), dtype=np.int32) + np.int32(len(self.item_ids_))
        items = np.concatenate([items, new_rows])
        ids = np.concatenate([self.item_ids_, *([item.id] for item in new_items)])
        ranked_by: str = self._ranks_by()[0] if by is None else by
        if ranked_by not in self._ranks_by():
            raise ValueError(f"by: expected one of {', '.join(self._ranks_by())} of this model, found {by!r}")
        new_scorer = self._scorer if ranked_by == "rating" else self._next_item_scorer
        score = new_scorer(items, users if isinstance(users, NewUser) else None, new_items)
        best, scores = best_items(score, wanted.ravel(), items, int(n), seen if exclude_seen else ())
        shape, missing = (*wanted.shape, int(n)), best < 0
        chosen = np.ma.MaskedArray(ids[best], missing).reshape(shape)
        if not with_scores:
            return chosen
        if ranked_by == "rating":
            scores = self._likelihood.rating(scores)
        return chosen, np.ma.MaskedArray(scores, missing).reshape(shape)

    def similar_items(
        self, item: Any, n: int = 10, min_ratings: int = 0
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The items whose embeddings point most in the direction of that of `item`.

        Parameters
        ----------
        item : raw id
        n : int, default 10
        min_ratings : int, default 0
            Leave out items with fewer ratings, whose embeddings rest on little.

        Returns
        -------
        ids, cosines : arrays of shape (n,)
            Most similar first, without `item`; shorter where there are fewer others.

        Raises
        ------
        ValueError
            The item is unknown, or the model has no embeddings.
        """
        return self._similar("item", item, n, min_ratings)

    def similar_users(
        self, user: Any, n: int = 10, min_ratings: int = 0
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The users whose embeddings point most in the direction of that of `user`: see `similar_items`."""
        return self._similar("user", user, n, min_ratings)

    def _similar(
        self, side: Side, raw: Any, n: int, min_ratings: int
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        self._require_fitted()
        require_count(n)
        ids = self.user_ids_ if side == "user" else self.item_ids_
        table = self._embeddings(side)
        if table is None:
            raise ValueError(f"this {type(self).__name__} has no embeddings to compare {side}s by")
        row = self._known_row(side, raw)
        has_enough = self._n_ratings(side) >= min_ratings if min_ratings else np.ones(len(ids), bool)
        rows, cosines = most_similar(table, row, n, has_enough)
        return ids[rows], cosines

    def _known_row(self, side: str, raw: Any) -> int:
        row = int(index_of(self.user_ids_ if side == "user" else self.item_ids_, raw))
        if row < 0:
            raise ValueError(
                f"{side} {raw!r} is unknown: it has no rating among those given to fit, nor features"
            )
        return row

    def _scorer(self, items: NDArray[np.int32], user: NewUser | None, new_items: Sequence[NewItem]) -> Scorer:
        """Rows of users to scores of `items`, shape (m, n), not clipped; -1 is the unknown.

        The rows of new items come after those of the others; a new user is in place of all users, row 0.
        """
        parameters = self._parameters_with_items(new_items)
        if user is not None:
            parameters = parameters | self._row_of(user)
        return item_scorer(self._form()[0], parameters, items)

    def _ranks_by(self) -> tuple[str, ...]:
        """What items can be ranked by, the default first."""
        return ("rating",)

    def _next_item_scorer(
        self, items: NDArray[np.int32], user: NewUser | None, new_items: Sequence[NewItem]
    ) -> Scorer:
        """As `_scorer`, to logits of the next item."""
        raise NotImplementedError

    def _parameters_with_items(self, new_items: Sequence[NewItem]) -> Parameters:
        """The parameters with the rows of new items after those of the others, before that of the unknown."""
        parameters = self._form()[1]
        rows = [self._row_of(item) for item in new_items]
        if len({item.id for item in new_items}) < len(new_items):
            raise ValueError(f"new_items: expected each once, found {[item.id for item in new_items]}")
        if not rows:
            return parameters
        return parameters | {
            name: np.concatenate([parameters[name][:-1], *(row[name] for row in rows), parameters[name][-1:]])
            for name in rows[0]
        }

    def _seen_of(self, new_items: Sequence[NewItem]) -> SeenRatings:
        """Who rated the new items, by user, as the rows of `_parameters_with_items`."""
        n_users, n_items = len(self.user_ids_), len(self.item_ids_)
        by_item = [item.seen for item in new_items]
        return SeenRatings.of(
            np.concatenate([np.empty(0, np.int32), *(seen.items for seen in by_item)]),
            np.concatenate(
                [
                    np.empty(0, np.int32),
                    *(np.full(len(seen.items), n_items + n, np.int32) for n, seen in enumerate(by_item)),
                ]
            ),
            np.concatenate([np.empty(0, np.float32), *(seen.ratings for seen in by_item)]),
            n_users,
            n_items + len(new_items),
        )

    def _embeddings(self, side: str) -> NDArray[np.floating[Any]] | None:
        """One row for each "user" or "item", where the model has such."""
        return None


def require_count(n: int, name: str = "n") -> None:
    if not (isinstance(n, int | np.integer) and n >= 1):
        raise ValueError(f"{name} must be a whole number, at least 1, not {n!r}")
