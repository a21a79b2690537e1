"""Incremental update of a fitted model: new rows are inserted, and rows with new ratings are refitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.ids import index_of
from ..data.titles import Titles
from ..mf.parameters import KINDS, SIDES, Parameters, Side, fill_unknown, table_name, variance_name
from ..utils.arrays import FloatArray, Int32Array
from ..utils.threads import one_blas_thread
from .fitted import FittedData, FittedModel
from .fold_in import fitted_user
from .interactions import Interactions

STEPS = 3  # Gauss-Newton steps per row: the other side moves too, so rows need not reach their optimum


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """The ids and interactions of a model after new ratings; a pair rated again has its new rating.

    `interactions` and `new`, the new ratings, use the rows of `user_ids` and `item_ids`; `old_users` and
    `old_items` are the new rows of the known users and items.
    """

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    interactions: Interactions
    old_users: Int32Array
    old_items: Int32Array
    new: Ratings
    titles: Titles | None

    @classmethod
    def of(cls, fitted: FittedData, new: Ratings) -> Update:
        """Make an update from a fitted model and new ratings; a ValueError if the types of ids differ."""
        before = fitted.interactions
        user_ids = _union("user", fitted.user_ids, new.user_ids)
        item_ids = _union("item", fitted.item_ids, new.item_ids)
        old_users, old_items = index_of(user_ids, fitted.user_ids), index_of(item_ids, fitted.item_ids)
        users = index_of(user_ids, new.user_ids)[new.users]
        items = index_of(item_ids, new.item_ids)[new.items]
        known_users, known_items = old_users[before.users], old_items[before.items]
        n_items = len(item_ids)
        pairs = known_users.astype(np.int64) * n_items + known_items
        kept = ~np.isin(pairs, users.astype(np.int64) * n_items + items)
        interactions = Interactions.of(
            np.concatenate([known_users[kept], users]),
            np.concatenate([known_items[kept], items]),
            np.concatenate([before.ratings[kept], new.values]),
            len(user_ids),
            n_items,
        )
        new = replace(new, users=users, items=items, user_ids=user_ids, item_ids=item_ids)
        titles = {**(fitted.titles or {}), **(new.titles or {})} or None
        return cls(user_ids, item_ids, interactions, old_users, old_items, new, titles)

    def inserted(self, side: Side, table: FloatArray) -> FloatArray:
        """Return a table with the old rows in new places; new rows copy the last, the row of unknown ids."""
        ids, old_rows = (self.user_ids, self.old_users) if side == "user" else (self.item_ids, self.old_items)
        new = np.repeat(table[-1:], len(ids) + 1, axis=0)
        new[old_rows] = table[:-1]
        return new

    def of_tables(self, parameters: Parameters) -> Parameters:
        """Return a copy of parameters with the rows of users and items in their new places."""
        names = (table_name, variance_name)
        sides = {name_of(side, kind): side for name_of in names for side in SIDES for kind in KINDS}
        return {
            name: self.inserted(sides[name], value) if name in sides and len(value) > 1 else value.copy()
            for name, value in parameters.items()
        }


def updated(model: FittedModel, update: Update) -> FittedModel:
    """Return a copy of the model, without time, with the rows of new ratings refitted.

    A new row starts as the row of unknown ids. Then each user with a new rating is fitted, as in `fold_in`,
    to all its ratings, old and new, and after that each item; the MLP and the intercept are fixed
    (docs/decisions/partial-fit.md).
    """
    parameters, prior = (update.of_tables(t) for t in (model.factorization.parameters, model.prior))
    form = replace(model.factorization, parameters=parameters)
    weight = None if model.user_weight is None else update.inserted("user", model.user_weight)
    moving = FittedModel(form, model.likelihood, model.penalty, prior, None, model.noise, weight)
    with one_blas_thread():
        _refit(moving, update.interactions, update.new.users)
        _refit(moving.mirrored(), update.interactions.by_item(), update.new.items)
    fill_unknown(parameters)
    return moving


def _refit(model: FittedModel, interactions: Interactions, users: Int32Array) -> None:
    """Fit the rows of these users, in place."""
    for user in np.unique(users):
        for name, row in fitted_user(model, user, *interactions.of_row(user), STEPS).items():
            model.factorization.parameters[name][user] = row


def _union(side: str, old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    if old.dtype.kind != new.dtype.kind:
        kinds = {"i": "integers", "U": "strings"}
        expected, found = kinds[old.dtype.kind], kinds[new.dtype.kind]
        raise ValueError(f"expected {side} ids that are {expected}, as the model's, found {found}")
    return np.union1d(old, new)


def require_finite(model: FittedModel) -> FittedModel:
    """Return an updated model if its parameters are finite; otherwise raise a FloatingPointError."""
    for name, value in model.factorization.parameters.items():
        if not np.isfinite(value).all():
            raise FloatingPointError(f"{name} is not finite after the update: fit the model again")
    return model
