"""Incremental update: new rows come into a fitted model, those that new ratings touch move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.ids import index_of
from ..mf.forward import Factorization, mirrored
from ..mf.likelihood import Likelihood
from ..mf.parameters import KINDS, SIDES, Parameters, Side, fill_unknown, table_name
from ..mf.regularization import RowPenalty
from ..utils.threads import one_blas_thread
from .fitted import FittedData, FittedModel
from .fold_in import fitted_row, row_prior
from .interactions import Interactions

# Gauss-Newton steps of a row: the other side moves, too, so none need be at its optimum.
STEPS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """The ids and interactions of a model after more ratings. A pair rated again has its new rating.

    Attributes
    ----------
    user_ids, item_ids : arrays, sorted and unique
        Known and new ones.
    interactions : Interactions
        All ratings, in the rows of these ids.
    old_users, old_items : int32 arrays
        The row of each user and item that the model knew.
    new : Ratings
        The new ratings, in the rows of these ids.
    """

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    interactions: Interactions
    old_users: NDArray[np.int32]
    old_items: NDArray[np.int32]
    new: Ratings

    @classmethod
    def of(cls, fitted: FittedData, new: Ratings) -> Update:
        """From a fitted model and new ratings, each of whose ids has one.

        Raises
        ------
        ValueError
            New ids are of another kind than those of the model.
        """
        before = fitted.interactions
        user_ids = _union("user", fitted.user_ids, new.user_ids)
        item_ids = _union("item", fitted.item_ids, new.item_ids)
        old_users, old_items = index_of(user_ids, fitted.user_ids), index_of(item_ids, fitted.item_ids)
        users = index_of(user_ids, new.user_ids)[new.users]
        items = index_of(item_ids, new.item_ids)[new.items]
        known_users, known_items = old_users[before.users], old_items[before.items]
        n_items = len(item_ids)
        kept = ~np.isin(
            known_users.astype(np.int64) * n_items + known_items, users.astype(np.int64) * n_items + items
        )
        interactions = Interactions.of(
            np.concatenate([known_users[kept], users]),
            np.concatenate([known_items[kept], items]),
            np.concatenate([before.ratings[kept], new.values]),
            len(user_ids),
            n_items,
        )
        new = replace(new, users=users, items=items, user_ids=user_ids, item_ids=item_ids)
        return cls(user_ids, item_ids, interactions, old_users, old_items, new)

    def inserted(self, side: Side, table: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """A table with the old rows in their new places; new rows are as the last one, the unknown's."""
        ids, old_rows = (self.user_ids, self.old_users) if side == "user" else (self.item_ids, self.old_items)
        new = np.repeat(table[-1:], len(ids) + 1, axis=0)
        new[old_rows] = table[:-1]
        return new

    def of_tables(self, parameters: Parameters) -> Parameters:
        """A copy of parameters, with the rows of users and items in their new places."""
        sides = {table_name(side, kind): side for side in SIDES for kind in KINDS}
        return {
            name: self.inserted(sides[name], value) if name in sides else value.copy()
            for name, value in parameters.items()
        }


def updated(
    model: FittedModel, update: Update, penalty: RowPenalty | None = None
) -> tuple[Factorization, Parameters]:
    """The factorisation and the prior after new ratings, as copies in which only touched rows moved.

    A new row starts as the unknown's. Then each user that a new rating touches is fitted, as in `fold_in`, to
    all its ratings, old and new, and after that each item; the MLP and the intercept stay
    (docs/decisions/partial-fit.md).

    Parameters
    ----------
    model : FittedModel
    update : Update
    penalty : RowPenalty, optional
        By default that of the model.

    Returns
    -------
    factorization : Factorization
    prior : dict of str to array
    """
    penalty = model.penalty if penalty is None else penalty
    parameters, prior = (update.of_tables(t) for t in (model.factorization.parameters, model.prior))
    form = replace(model.factorization, parameters=parameters)
    by_user, likelihood = update.interactions, model.likelihood
    with one_blas_thread():
        users, items = np.unique(update.new.users), np.unique(update.new.items)
        _refit(form, prior, by_user, users, partial(penalty.of, "user"), likelihood)
        _refit(
            form.mirrored(),
            mirrored(prior),
            by_user.by_item(),
            items,
            partial(penalty.of, "item"),
            likelihood,
        )
    fill_unknown(parameters)
    return form, prior


def _refit(
    form: Factorization,
    prior: Parameters,
    interactions: Interactions,
    users: NDArray[np.int32],
    penalty: Callable[[int], float],
    likelihood: Likelihood,
) -> None:
    """Fit the rows of these users, in place."""
    for user in users:
        items, ratings = interactions.of_row(user)
        theta = fitted_row(
            form.row_scorer(items),
            partial(likelihood.terms, ratings=ratings.astype(np.float64)),
            penalty(len(items)),
            form.row(user),
            STEPS,
            row_prior(form, prior, user),
        )
        for name, row in form.as_rows(theta).items():
            form.parameters[name][user] = row


def _union(side: str, old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    if old.dtype.kind != new.dtype.kind:
        kinds = {"i": "integers", "U": "strings"}
        expected, found = kinds[old.dtype.kind], kinds[new.dtype.kind]
        raise ValueError(f"expected {side} ids that are {expected}, as the model's, found {found}")
    return np.union1d(old, new)
