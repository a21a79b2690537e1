"""New users and items, folded in: their rows, fitted to ratings, and pairs with them as rows of a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.ids import index_of
from ..data.timestamps import as_timestamps
from ..mf.forward import RowScorer, mirrored
from ..mf.likelihood import Terms
from ..mf.parameters import Parameters, Side
from ..utils.arrays import Float32Array, Float64Array, FloatArray, Int32Array, IntArray
from .fitted import Fitted, FittedModel, block_scores
from .interactions import Interactions

MAX_STEPS = 50
TOLERANCE = 1e-6  # relative fall of the objective at which the steps end


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NewUser:
    """A user that training did not see, to be given in place of users to the model that folded it in.

    It has a row of shape (1, d) of each user table, which means nothing to another model, and what the user
    rated, as row 0.
    """

    row: Parameters
    interactions: Interactions
    model: FittedModel

    def __repr__(self) -> str:
        return f"NewUser: {len(self.interactions.items)} ratings folded in"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NewItem:
    """An item, as a `NewUser` with users and items exchanged: the "items" of its interactions are users."""

    id: int | str
    row: Parameters
    interactions: Interactions
    model: FittedModel

    def __repr__(self) -> str:
        return f"NewItem {self.id!r}: {len(self.interactions.items)} ratings folded in"


# What a caller asks about: raw ids, or what was folded in.
Users = ArrayLike | NewUser
Items = ArrayLike | NewItem


class Located(NamedTuple):
    """Pairs as rows, -1 for the unknown, of a model with what was folded in; all columns have one shape."""

    model: FittedModel
    users: Int32Array
    items: Int32Array
    timestamps: NDArray[np.int64] | None
    folded_in_user: bool
    folded_in_item: bool

    def scores(self) -> Float32Array:
        """The scores of the pairs, of their shape."""
        at = None if self.timestamps is None else self.timestamps.ravel()
        return block_scores(self.model, self.users.ravel(), self.items.ravel(), at).reshape(self.users.shape)

    def ratings(self) -> Float32Array:
        """The predicted ratings of the pairs, of their shape."""
        return self.model.likelihood.rating(self.scores())


def locate(fitted: Fitted, users: Users, items: Items, timestamps: ArrayLike | None = None) -> Located:
    """Pairs as `Recommender.predict` takes them."""
    new_items = [items] if isinstance(items, NewItem) else []
    model = model_with(fitted, users, new_items)
    u, i = rows_of(fitted.user_ids, users), rows_of(fitted.item_ids, items)
    if new_items:
        i = i + np.int32(len(fitted.item_ids))
    times = None if timestamps is None else as_timestamps(timestamps)
    u, i, *broadcast = np.broadcast_arrays(u, i, *([] if times is None else [times]))
    folded_in = isinstance(users, NewUser), bool(new_items)
    return Located(model, u, i, broadcast[0] if broadcast else None, *folded_in)


def model_with(fitted: Fitted, users: Users, items: Sequence[NewItem]) -> FittedModel:
    """The model with the new ones among these in it, which it must have folded in itself, as it is now."""
    model = fitted.model
    for new in (users, *items):
        if isinstance(new, NewUser | NewItem) and new.model is not model:
            raise ValueError(f"{new}, by another model or before this one learned more: fold in again")
    if len({item.id for item in items}) < len(items):
        raise ValueError(f"new_items: expected each once, found {[item.id for item in items]}")
    if items:
        model = model.with_items([item.row for item in items], [item.interactions for item in items])
    return model.with_user(users.row, users.interactions) if isinstance(users, NewUser) else model


def rows_of(ids: NDArray[Any], given: Users | Items) -> Int32Array:
    """Rows of raw ids, -1 for the unknown; 0 for what was folded in."""
    return np.zeros((), np.int32) if isinstance(given, NewUser | NewItem) else index_of(ids, given)


def fold_in_user(fitted: Fitted, ratings: Mapping[Any, float]) -> NewUser:
    """See `Recommender.fold_in`."""
    return NewUser(*_folded_in(fitted, "user", ratings), fitted.model)


def fold_in_item(fitted: Fitted, item_id: int | str, ratings: Mapping[Any, float]) -> NewItem:
    """See `Recommender.fold_in_item`."""
    if fitted.item_ids.dtype.kind == "U":
        fits, kind = isinstance(item_id, str) and item_id != "" and not item_id.endswith("\0"), "a string"
    else:
        whole = isinstance(item_id, int | np.integer) and not isinstance(item_id, bool)
        fits, kind = whole and -(2**63) <= int(item_id) < 2**63, "an integer"
    if not fits:
        raise ValueError(f"item_id: expected {kind}, as the model's items have, found {item_id!r}")
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

    def objective(theta: Float64Array) -> tuple[float, Terms, Float64Array]:
        scores, J = score(theta)
        terms, own = loss(scores), theta - prior
        return terms.total + float(penalty * own @ own), terms, J

    theta = start
    value, terms, J = objective(theta)
    for _ in range(max_steps if len(theta) else 0):
        gradient = J.T @ terms.pull - penalty * (theta - prior)
        curvature = J.T @ (terms.weight[:, None] * J) + penalty * np.eye(len(theta))
        delta = np.linalg.lstsq(curvature, gradient)[0]
        for _ in range(30):
            new_value, new_terms, new_J = objective(theta + delta)
            if new_value < value:
                break
            delta /= 2
        else:
            break
        fall = value - new_value
        theta, value, terms, J = theta + delta, new_value, new_terms, new_J
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
