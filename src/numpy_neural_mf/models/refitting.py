"""Rows of a trained model fitted to more ratings: new rows come in, those touched move, the rest stays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..mf.architecture import Architecture, Parameters, fill_unknown
from ..mf.likelihood import Likelihood
from .fold_in import Predictor, fitted_row, mirrored, prior_of, rows_of, theta_of
from .incremental_update import Growth
from .interactions import SeenRatings
from .top_n import one_blas_thread

# Gauss-Newton steps of a row: the other side moves, too, so none need be at its optimum.
STEPS = 3

Penalty = Callable[[Literal["user", "item"], int, NDArray[np.int64]], float]


def grown(
    architecture: Architecture,
    parameters: Parameters,
    growth: Growth,
    penalty: Penalty,
    prior: Parameters,
    likelihood: Likelihood,
) -> tuple[Parameters, Parameters]:
    """Parameters after new ratings: a copy, with rows for new ids, in which only rows that they touch moved.

    A new row starts as the unknown's. Then each user that a new rating touches is fitted, as in `fold_in`, to
    all of their ratings, old and new, and after that each item; the MLP and the intercept stay
    (docs/decisions/partial-fit.md).

    Parameters
    ----------
    architecture : Architecture
    parameters : dict of str to array
    growth : Growth
    penalty : callable
        "user" or "item", how many ratings one has, and how many each has: to the penalty of the row.
    prior : dict of str to array
        What features say of each row, which the penalty draws it to: zero where a table is not there. A new
        row has that of the unknown.
    likelihood : Likelihood

    Returns
    -------
    parameters, prior : dicts of str to array
    """
    n = {"user": (len(growth.user_ids), growth.old_users), "item": (len(growth.item_ids), growth.old_items)}
    new, prior = (
        {
            name: inserted(value, *n[name[:4]]) if name[:4] in n else value.copy()
            for name, value in tables.items()
        }
        for tables in (parameters, prior)
    )
    seen, by_item = growth.seen, growth.seen.by_item(len(growth.item_ids))
    with one_blas_thread():
        of_user, of_item = partial(penalty, "user"), partial(penalty, "item")
        _refit(architecture, new, prior, seen, np.unique(growth.users), of_user, likelihood)
        _refit(
            architecture,
            mirrored(new),
            mirrored(prior),
            by_item,
            np.unique(growth.items),
            of_item,
            likelihood,
        )
    fill_unknown(new)
    return new, prior


def inserted(
    table: NDArray[np.floating[Any]], n_rows: int, old_rows: NDArray[np.int32]
) -> NDArray[np.floating[Any]]:
    """A larger table with the old rows in their new places; the others, and the last, are the unknown's."""
    new = np.repeat(table[-1:], n_rows + 1, axis=0)
    new[old_rows] = table[:-1]
    return new


def _refit(
    architecture: Architecture,
    parameters: Parameters,
    prior: Parameters,
    seen: SeenRatings,
    users: NDArray[np.int32],
    penalty: Callable[[int, NDArray[np.int64]], float],
    likelihood: Likelihood,
) -> None:
    """Fit the rows of these users, in place."""
    counts = np.diff(seen.offsets)
    for user in users:
        items, ratings = seen.of_row(user)
        theta = fitted_row(
            Predictor(architecture, parameters, items),
            partial(likelihood.terms, ratings=ratings.astype(np.float64)),
            penalty(len(items), counts),
            theta_of(parameters, user),
            STEPS,
            prior_of(prior, parameters, user),
        )
        for name, row in rows_of(parameters, theta).items():
            parameters[name][user] = row
