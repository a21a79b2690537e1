"""What a fitted model learns without being fitted anew: a new user, a new item, more ratings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data import Ratings
from ..data.ids import index_of
from ..mf.architecture import Architecture, Parameters
from ..mf.likelihood import Likelihood, Normal
from .fold_in import (
    Float64Array,
    NewItem,
    NewUser,
    Predictor,
    fitted_row,
    mirrored,
    prior_of,
    rows_of,
    theta_of,
)
from .incremental_update import Growth
from .interactions import SeenRatings
from .saving import Saveable, Side


class Updatable(Saveable):
    """Folds in and grows, by the form that a subclass tells of itself."""

    def fold_in(self, ratings: Mapping[Any, float]) -> NewUser:
        """A new user with a few ratings, in milliseconds: the model itself does not change.

        What is theirs, a bias and an embedding where the model has such, is fitted with the penalty that
        training would have put on them.

        Parameters
        ----------
        ratings : mapping of raw item id to rating
            Items that the model does not know are left out; without any other they are an unknown user.

        Returns
        -------
        NewUser
            For `predict`, `known`, `recommend` and `explain` of this model, until it learns something else.

        Raises
        ------
        ValueError
            A rating is not a number within the rating scale.
        RuntimeError
            The model is not fitted.

        Examples
        --------
        >>> from numpy_neural_mf import NeuralMF, simulate_ratings
        >>> model = NeuralMF(epochs=3).fit(simulate_ratings(n_users=300, n_items=100, n_ratings=6_000))
        >>> ann = model.fold_in({12: 5.0, 40: 1.0})
        >>> model.recommend(ann, n=3).shape
        (3,)
        """
        row, seen = self._folded("user", ratings)
        return NewUser(row, seen, self._seen)

    def fold_in_item(self, item_id: int | str, ratings: Mapping[Any, float]) -> NewItem:
        """A new item that a few users have rated, in milliseconds: the model itself does not change.

        Parameters
        ----------
        item_id : int or str
            Its raw id, one that the model does not know.
        ratings : mapping of raw user id to rating
            Users that the model does not know are left out; without any other it is an unknown item.

        Returns
        -------
        NewItem
            For `predict`, `known`, `explain`, and `recommend(new_items=[...])` of this model, until it learns
            something else.

        Raises
        ------
        ValueError
            The id is known or of another kind than the model's, or a rating is not a number within the scale.
        RuntimeError
            The model is not fitted.

        Examples
        --------
        >>> from numpy_neural_mf import NeuralMF, simulate_ratings
        >>> model = NeuralMF(epochs=3).fit(simulate_ratings(n_users=300, n_items=100, n_ratings=6_000))
        >>> dune = model.fold_in_item(1_000, {1: 5.0, 4: 3.0})
        >>> model.recommend([1, 2], n=100, new_items=[dune]).shape
        (2, 100)
        """
        self._require_fitted()
        _require_id_like(self.item_ids_, item_id)
        if index_of(self.item_ids_, item_id) >= 0:
            raise ValueError(f"item_id: expected an id that the model does not know, found {item_id!r}")
        row, seen = self._folded("item", ratings)
        raw = item_id if isinstance(item_id, str) else int(item_id)
        return NewItem(raw, row, seen, self._seen)

    def partial_fit(self, ratings: Ratings) -> Self:
        """Learn from more ratings, of users and items old and new, without forgetting the others.

        Where a pair is rated again, the new rating replaces the old. Linear models are solved anew with all
        ratings; `NeuralMF` fits the rows that the new ratings touch.

        Parameters
        ----------
        ratings : Ratings
            Within the rating scale of the model.

        Returns
        -------
        self
            As `fit` leaves it where the model was not fitted. After an error, as it was.

        Raises
        ------
        ValueError
            There is no rating, one is outside the rating scale, or ids are of another kind than the model's.

        Examples
        --------
        >>> from numpy_neural_mf import LinearRegression, simulate_ratings
        >>> ratings = simulate_ratings(n_users=300, n_items=100, n_ratings=6_000)
        >>> model = LinearRegression().fit(ratings.take(ratings.users < 290))
        >>> len(model.partial_fit(ratings.take(ratings.users >= 290)).user_ids_)
        300
        """
        self._require_ratings(ratings)
        if not hasattr(self, "user_ids_"):
            return self.fit(ratings)
        self._require_in_scale(ratings.values)
        growth = Growth.of(self.user_ids_, self.item_ids_, self._seen, ratings.compact())
        self._grow(growth)
        self.user_ids_, self.item_ids_, self._seen = growth.user_ids, growth.item_ids, growth.seen
        return self

    @abstractmethod
    def fit(self, ratings: Ratings) -> Self: ...

    def _form(self) -> tuple[Architecture, Parameters]:
        """The model as an architecture and its parameters, the last row of each table for the unknown."""
        raise TypeError(f"{type(self).__name__} has no parameters of its own to fold in to")

    @property
    def _likelihood(self) -> Likelihood:
        """What scores mean."""
        return Normal(self.rating_scale_)

    def _prior(self) -> Parameters:
        """What features say of each row, by the name of its table, where the model has such."""
        return {}

    def _penalty(self, side: Side, n_ratings: int) -> float:
        """λ of λ ‖θ‖² for a user, or an item, with so many ratings, beside the sum of their losses."""
        raise NotImplementedError

    def _grow(self, growth: Growth) -> None:
        """Learn from `growth.seen`. Ids and memory are still the old ones, and stay so after an error."""
        raise TypeError(f"{type(self).__name__} has no partial_fit")

    def _folded(self, side: Side, ratings: Mapping[Any, float]) -> tuple[Parameters, SeenRatings]:
        """The row of whoever gave, or got, these ratings, and the ratings in the order of the model's ids."""
        self._require_fitted()
        values = np.array(list(ratings.values()), np.float64)
        self._require_in_scale(values)
        ids = self.item_ids_ if side == "user" else self.user_ids_
        others = index_of(ids, list(ratings))
        order = np.argsort(others)[np.count_nonzero(others < 0) :]
        others, values = others[order], values[order]
        architecture, parameters = self._form()
        prior = self._prior()
        if side == "item":
            parameters, prior = mirrored(parameters), mirrored(prior)
        likelihood = self._likelihood
        theta = fitted_row(
            Predictor(architecture, parameters, others),
            lambda scores: likelihood.terms(scores, values),
            self._penalty(side, len(others)),
            theta_of(parameters, -1),
            prior=prior_of(prior, parameters, -1),
        )
        row = rows_of(parameters, theta[None])
        seen = SeenRatings(others, values.astype(np.float32), np.array([0, len(others)]))
        return row if side == "user" else mirrored(row), seen

    def _rows(self, ids: NDArray[Any], given: ArrayLike | NewUser | NewItem) -> NDArray[np.int32]:
        """Index of raw ids, -1 for the unknown; 0, in tables of its own, for whoever was folded in."""
        return np.zeros((), np.int32) if isinstance(given, NewUser | NewItem) else index_of(ids, given)

    def _row_of(self, handle: NewUser | NewItem) -> Parameters:
        """The row of whoever was folded in to the model as it is now: to another it means something else."""
        if handle.model_seen is not self._seen:
            raise ValueError(f"{handle}, by another model or before this one learned more: fold in again")
        return handle.row

    def _require_in_scale(self, values: NDArray[np.float32] | Float64Array) -> None:
        lowest, highest = (values.dtype.type(bound) for bound in self.rating_scale_)
        outside = values[~((lowest <= values) & (values <= highest))]
        if len(outside):
            raise ValueError(f"expected ratings from {lowest:g} to {highest:g}, found {outside[0]:g}")

    @staticmethod
    def _require_ratings(ratings: Ratings) -> None:
        if not isinstance(ratings, Ratings):
            raise TypeError(f"expected Ratings (see read_ratings), found {type(ratings).__name__}")
        if not len(ratings):
            raise ValueError("expected at least one rating to learn from, found none")


def _require_id_like(ids: NDArray[Any], raw: object) -> None:
    if ids.dtype.kind == "U":
        fits, kind = isinstance(raw, str) and raw != "" and not raw.endswith("\0"), "a string"
    else:
        whole = isinstance(raw, int | np.integer) and not isinstance(raw, bool)
        fits, kind = whole and -(2**63) <= int(raw) < 2**63, "an integer"  # type: ignore[call-overload]
    if not fits:
        raise ValueError(f"item_id: expected {kind}, as the model's items have, found {raw!r}")
