"""Folding in: the row of a new user or item, fitted to ratings while everything else stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..data.ids import index_of
from ..mf.forward import RowScorer, mirrored
from ..mf.likelihood import Terms
from ..mf.parameters import Parameters, Side
from ..utils.arrays import Float64Array, FloatArray, IntArray
from .fitted import Fitted, FittedModel
from .interactions import Interactions

MAX_STEPS = 50
TOLERANCE = 1e-6  # relative fall of the objective at which the steps end


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NewUser:
    """A user that training did not see, to be given in place of users to the model that folded it in.

    Attributes
    ----------
    row : dict of str to array
        The row of each user table, shape (1, d).
    interactions : Interactions
        What the user rated, as row 0.
    model : FittedModel
        The model that folded the user in: the row means nothing to another.
    """

    row: Parameters
    interactions: Interactions
    model: FittedModel

    def __repr__(self) -> str:
        return f"NewUser: {len(self.interactions.items)} ratings folded in"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NewItem:
    """An item that training did not see, to be given in place of items to the model that folded it in.

    Attributes
    ----------
    id : int or str
        Raw id.
    row, interactions, model
        As of a `NewUser`, with users and items exchanged: the "items" of `interactions` are users.
    """

    id: int | str
    row: Parameters
    interactions: Interactions
    model: FittedModel

    def __repr__(self) -> str:
        return f"NewItem {self.id!r}: {len(self.interactions.items)} ratings folded in"


# What a caller asks about: raw ids, or what was folded in.
Users = ArrayLike | NewUser
Items = ArrayLike | NewItem


def fold_in_user(fitted: Fitted, ratings: Mapping[Any, float]) -> NewUser:
    """See `Recommender.fold_in`."""
    return NewUser(*_folded_in(fitted, "user", ratings), fitted.model)


def fold_in_item(fitted: Fitted, item_id: int | str, ratings: Mapping[Any, float]) -> NewItem:
    """See `Recommender.fold_in_item`."""
    _require_id_like(fitted.item_ids, item_id)
    if index_of(fitted.item_ids, item_id) >= 0:
        raise ValueError(f"item_id: expected an id that the model does not know, found {item_id!r}")
    row, interactions = _folded_in(fitted, "item", ratings)
    raw = item_id if isinstance(item_id, str) else int(item_id)
    return NewItem(raw, mirrored(row), interactions, fitted.model)


def fitted_user(
    model: FittedModel, user: int, items: IntArray, ratings: FloatArray, max_steps: int = MAX_STEPS
) -> Float64Array:
    """The row θ = (p, b) of a user fitted to ratings of these items, from where it is, shape (d,)."""
    form = model.factorization
    zeros = form.as_rows(0 * form.row(user))
    prior = [model.prior[name][user] if name in model.prior else zero for name, zero in zeros.items()]
    return fitted_row(
        form.row_scorer(items),
        partial(model.likelihood.terms, ratings=ratings.astype(np.float64)),
        model.penalty.of("user", len(items)),
        form.row(user),
        max_steps,
        np.concatenate([np.zeros(0), *prior]).astype(np.float64),
    )


def fitted_row(
    score: RowScorer,
    loss: Callable[[Float64Array], Terms],
    penalty: float,
    start: Float64Array,
    max_steps: int = MAX_STEPS,
    prior: Float64Array | float = 0.0,
) -> Float64Array:
    """The row θ, shape (d,), that minimises Σ loss(r̂_i(θ)) + penalty ‖θ - prior‖², from `start` on.

    Gauss-Newton steps, (Jᵀ W J + penalty I) δ = Jᵀ e - penalty (θ - prior), with J = ∂r̂/∂θ and, of the
    squared error, e = r - r̂ and W = 1 (see `Terms`), each halved until the objective falls (Nocedal and
    Wright, *Numerical Optimization*, 2006, section 10.3). Without an MLP r̂ is linear in θ, and of squared
    errors the first step is the solution: ridge regression.
    """

    def objective(theta: Float64Array, terms: Terms) -> float:
        own = theta - prior
        return terms.total + float(penalty * own @ own)

    theta = start
    scores, J = score(theta)
    terms = loss(scores)
    value = objective(theta, terms)
    for _ in range(max_steps if len(theta) else 0):
        gradient = J.T @ terms.pull - penalty * (theta - prior)
        curvature = J.T @ (terms.weight[:, None] * J) + penalty * np.eye(len(theta))
        delta = np.linalg.lstsq(curvature, gradient)[0]
        for _ in range(30):
            new_scores, new_J = score(theta + delta)
            new_terms = loss(new_scores)
            new_value = objective(theta + delta, new_terms)
            if new_value < value:
                break
            delta /= 2
        else:
            break
        fall = value - new_value
        theta, terms, J, value = theta + delta, new_terms, new_J, new_value
        if fall <= TOLERANCE * value:
            break
    return theta


def require_in_scale(ratings: Any, scale: tuple[float, float]) -> None:
    """Raise a ValueError if a rating is not within the scale, as float32 holds both."""
    lowest, highest = np.float32(scale[0]), np.float32(scale[1])
    values = np.asarray(ratings, np.float32)
    outside = values[~((lowest <= values) & (values <= highest))]
    if len(outside):
        raise ValueError(f"expected ratings from {lowest:g} to {highest:g}, found {outside[0]:g}")


def _folded_in(fitted: Fitted, side: Side, ratings: Mapping[Any, float]) -> tuple[Parameters, Interactions]:
    """The row fitted to these ratings, by user table, and the ratings in the order of the model's rows."""
    try:
        ratings = dict(ratings.items())  # a Series of pandas has `items` as well
    except (AttributeError, TypeError, ValueError):
        found = type(ratings).__name__
        raise TypeError(f"ratings: expected a mapping of raw id to rating, found {found}") from None
    values = np.array(list(ratings.values()), np.float64)
    require_in_scale(values, fitted.rating_scale)
    ids = fitted.item_ids if side == "user" else fitted.user_ids
    others = index_of(ids, list(ratings))
    order = np.argsort(others)[np.count_nonzero(others < 0) :]
    others, values = others[order], values[order]
    model = fitted.model if side == "user" else fitted.model.mirrored()
    theta = fitted_user(model, -1, others, values)
    interactions = Interactions(others, values.astype(np.float32), np.array([0, len(others)]), len(ids))
    return model.factorization.as_rows(theta[None]), interactions


def _require_id_like(ids: Any, raw: object) -> None:
    if ids.dtype.kind == "U":
        fits, kind = isinstance(raw, str) and raw != "" and not raw.endswith("\0"), "a string"
    else:
        whole = isinstance(raw, int | np.integer) and not isinstance(raw, bool)
        fits, kind = whole and -(2**63) <= int(raw) < 2**63, "an integer"  # type: ignore[call-overload]
    if not fits:
        raise ValueError(f"item_id: expected {kind}, as the model's items have, found {raw!r}")
