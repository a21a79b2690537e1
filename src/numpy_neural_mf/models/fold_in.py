"""Fold-in of new users and items: fitting their rows to ratings, and looking up pairs with them."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.columns import blocks
from ..data.ids import index_of
from ..data.timestamps import as_timestamps
from ..mf.forward import RowScorer, mirrored
from ..mf.likelihood import Terms
from ..mf.parameters import Parameters, Side
from ..utils.arrays import Float32Array, Float64Array, FloatArray, Int32Array, IntArray
from ..utils.shortened import quoted
from .fitted import BLOCK, Fitted, FittedModel, block_scores
from .interactions import Interactions

MAX_STEPS = 50
TOLERANCE = 1e-6  # the steps end at this relative decrease of the objective


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NewUser:
    """A folded-in user, not in training; pass it in place of users to the model that folded it in.

    It has a row of shape (1, d) of each user table, valid only for that model, and the user's ratings, as
    row 0.
    """

    row: Parameters
    interactions: Interactions
    model: FittedModel

    def __repr__(self) -> str:
        return f"NewUser: {len(self.interactions.items)} ratings folded in"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NewItem:
    """A folded-in item: as `NewUser` with users and items exchanged; its interactions' "items" are users."""

    id: int | str
    row: Parameters
    interactions: Interactions
    model: FittedModel

    def __repr__(self) -> str:
        return f"NewItem {self.id!r}: {len(self.interactions.items)} ratings folded in"


# Raw ids, or a folded-in user or item.
Users = ArrayLike | NewUser
Items = ArrayLike | NewItem


class Located(NamedTuple):
    """Pairs as rows of a model, -1 for unknown ids, with folded-in rows; all columns have the same shape."""

    model: FittedModel
    users: Int32Array
    items: Int32Array
    timestamps: NDArray[np.int64] | None
    folded_in_user: bool
    folded_in_item: bool

    def scores(self) -> Float32Array:
        """Return the scores of the pairs, in their shape."""
        at = None if self.timestamps is None else self.timestamps.ravel()
        return block_scores(self.model, self.users.ravel(), self.items.ravel(), at).reshape(self.users.shape)

    def variance(self) -> Float32Array:
        """Return the variance of the scores from the uncertainty of rows, in the shape of the pairs."""
        form, found = self.model.factorization, np.empty(self.users.size, np.float32)
        for block in blocks(self.users.size, BLOCK):
            found[block] = form.variance(self.users.ravel()[block], self.items.ravel()[block])
        return found.reshape(self.users.shape)

    def noise(self) -> Float32Array:
        """Return the variance of ratings around scores, in units of scores, in the shape of the pairs."""
        weight = self.model.user_weight
        shape = np.ones(self.users.shape, np.float32) if weight is None else weight[self.users]
        return np.asarray(self.model.noise / shape, np.float32)

    def ratings(self) -> Float32Array:
        """Return the predicted ratings of the pairs, in their shape."""
        return self.model.likelihood.rating(self.scores())


def locate(fitted: Fitted, users: Users, items: Items, timestamps: ArrayLike | None = None) -> Located:
    """Look up pairs, given as for `Recommender.predict`."""
    new_items = [items] if isinstance(items, NewItem) else []
    model = model_with(fitted, users, new_items)
    u, i = rows_of(fitted.user_ids, users), rows_of(fitted.item_ids, items)
    folded_in = isinstance(users, NewUser) and bool(u >= 0), bool(new_items) and bool(i >= 0)
    if folded_in[1]:
        i = i + np.int32(len(fitted.item_ids))
    times = None if timestamps is None else as_timestamps(timestamps)
    u, i, *broadcast = np.broadcast_arrays(u, i, *([] if times is None else [times]))
    return Located(model, u, i, broadcast[0] if broadcast else None, *folded_in)


def model_with(fitted: Fitted, users: Users, items: Sequence[NewItem]) -> FittedModel:
    """Return the model with folded-in users and items; a ValueError if another model folded them in."""
    model = fitted.model
    for new in (users, *items):
        if isinstance(new, NewUser | NewItem) and new.model is not model:
            raise ValueError(f"{new} by another model, or before an update of this one: fold in again")
    if len({item.id for item in items}) < len(items):
        raise ValueError(f"new_items: expected each once, found {[item.id for item in items]}")
    if items:
        model = model.with_items([item.row for item in items], [item.interactions for item in items])
    return model.with_user(users.row, users.interactions) if isinstance(users, NewUser) else model


def rows_of(ids: NDArray[Any], given: Users | Items) -> Int32Array:
    """Return the rows of raw ids, -1 for unknown ids; 0 for a folded-in user or item that has a rating."""
    if isinstance(given, NewUser | NewItem):
        return np.array(0 if len(given.interactions.items) else -1, np.int32)
    return index_of(ids, given)


def fold_in_user(fitted: Fitted, ratings: Mapping[Any, float]) -> NewUser:
    """Fold in a user: see `Recommender.fold_in`."""
    return NewUser(*_folded_in(fitted, "user", ratings), fitted.model)


def fold_in_item(fitted: Fitted, item_id: int | str, ratings: Mapping[Any, float]) -> NewItem:
    """Fold in an item: see `Recommender.fold_in_item`."""
    if fitted.item_ids.dtype.kind == "U":
        fits, kind = isinstance(item_id, str) and item_id != "" and not item_id.endswith("\0"), "a string"
    else:
        whole = isinstance(item_id, int | np.integer) and not isinstance(item_id, bool)
        fits, kind = whole and -(2**63) <= int(item_id) < 2**63, "an integer"
    if not fits:
        raise ValueError(f"item_id: expected {kind}, as the model's items have, found {quoted(item_id)}")
    if index_of(fitted.item_ids, item_id) >= 0:
        raise ValueError(f"item_id: expected an id that the model does not know, found {quoted(item_id)}")
    row, interactions = _folded_in(fitted, "item", ratings)
    raw = item_id if isinstance(item_id, str) else int(item_id)
    return NewItem(raw, mirrored(row), interactions, fitted.model)


class RowFit(NamedTuple):
    """The objective of a user's row θ: Σ loss(r̂_i(θ)) + Σ_k penalty_k (θ_k - prior_k)²."""

    score: RowScorer
    loss: Callable[[Float64Array], Terms]
    penalty: Float64Array
    prior: Float64Array

    @classmethod
    def of(cls, model: FittedModel, user: int, items: IntArray, ratings: FloatArray) -> Self:
        """Make the objective for ratings of these items.

        The expected loss over uncertain items adds the sum of their variances to the penalty, which shrinks
        this part to zero: see `training.objective`. Ratings are weighted by the noise of user and items.
        """
        form, n = model.factorization, len(form_row := model.factorization.row(user))
        rows = [
            model.prior[name][user if len(model.prior[name]) > 1 else 0] if name in model.prior else zero
            for name, zero in form.as_rows(0 * form_row).items()
        ]
        towards = np.concatenate([np.zeros(0), *rows]).astype(np.float64)
        by_prior = np.broadcast_to(np.asarray(model.penalty.of("user"), np.float64), n)
        weight = np.ones(len(items))
        weight *= 1 if model.user_weight is None else model.user_weight[user]
        weight *= 1 if model.item_weight is None else model.item_weight[items]
        values, curvature = ratings.astype(np.float64), model.likelihood.curvature

        def loss(scores: Float64Array) -> Terms:
            terms = model.likelihood.terms(scores, values)
            return Terms(float(weight @ terms.value), weight * terms.pull, weight * terms.weight)

        penalty = by_prior + curvature * form.item_variances(items, weight)
        prior = np.divide(by_prior * towards, penalty, out=np.zeros(n), where=penalty > 0)
        return cls(form.row_scorer(items), loss, penalty, prior)

    def objective(self, theta: Float64Array) -> tuple[float, Terms, Float64Array]:
        """Return the value of the objective, the loss and J = ∂r̂/∂θ."""
        scores, J = self.score(theta)
        terms, own = self.loss(scores), theta - self.prior
        return float(terms.value) + float(self.penalty * own @ own), terms, J

    def curvature(self, terms: Terms, J: Float64Array) -> Float64Array:
        """Return Jᵀ W J + diag(penalty): half the Gauss-Newton approximation of the second derivative."""
        return np.asarray(J.T @ (terms.weight[:, None] * J) + np.diag(self.penalty))


def fitted_user(
    model: FittedModel, user: int, items: IntArray, ratings: FloatArray, max_steps: int = MAX_STEPS
) -> Parameters:
    """Fit a user's row to ratings of these items, starting from its current value; return rows by table.

    The variances of the row, if the model has these, are conditional on everything else.
    """
    fit, form = RowFit.of(model, user, items, ratings), model.factorization
    theta = fitted_row(fit, form.row(user), max_steps)
    if not model.noise:
        return form.as_rows(theta)
    _, terms, J = fit.objective(theta)
    return form.as_rows(theta, model.noise / np.diag(fit.curvature(terms, J)))


def fitted_row(fit: RowFit, start: Float64Array, max_steps: int = MAX_STEPS) -> Float64Array:
    """Return the row θ, shape (d,), that minimises an objective, starting from `start`.

    Gauss-Newton steps, (Jᵀ W J + Λ) δ = Jᵀ e - Λ (θ - prior), with Λ = diag(penalty), J = ∂r̂/∂θ and, for the
    squared error, e = r - r̂ and W = 1 (see `Terms`); each step is halved until the objective decreases
    (Nocedal and Wright, *Numerical Optimization*, 2006, section 10.3). Without an MLP, r̂ is linear in θ, and
    for squared errors the first step is the solution, a ridge regression.
    """
    theta, objective = start, fit.objective
    value, terms, J = objective(theta)
    for _ in range(max_steps if len(theta) else 0):
        gradient = J.T @ terms.pull - fit.penalty * (theta - fit.prior)
        curvature = fit.curvature(terms, J)
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
    """Raise a ValueError if a rating is not within the scale; both are compared in float32."""
    lowest, highest = np.float32(scale[0]), np.float32(scale[1])
    values = np.asarray(ratings, np.float32)
    outside = values[~((lowest <= values) & (values <= highest))]
    if len(outside):
        raise ValueError(f"expected ratings from {lowest:g} to {highest:g}, found {outside[0]:g}")


def _folded_in(fitted: Fitted, side: Side, ratings: Mapping[Any, float]) -> tuple[Parameters, Interactions]:
    """Return the row fitted to these ratings, by user table, and the ratings in the order of the rows."""
    try:
        ratings = dict(ratings.items())  # a pandas Series has `items` as well
    except (AttributeError, TypeError, ValueError):
        found = type(ratings).__name__
        raise TypeError(f"ratings: expected a mapping of raw id to rating, found {found}") from None
    try:
        values = np.array([float(rating) for rating in ratings.values()])
    except (TypeError, ValueError, OverflowError):
        found = quoted([*ratings.values()])
        raise TypeError(f"ratings: expected numbers, found {found}") from None
    require_in_scale(values, fitted.rating_scale)
    ids = fitted.item_ids if side == "user" else fitted.user_ids
    others = index_of(ids, list(ratings))
    if len(others) and others.max() < 0:
        found = f"none of the {len(others)} ratings is of a known {'item' if side == 'user' else 'user'}"
        warnings.warn(f"{found}: the new {side} is like an unknown one", stacklevel=4)
    order = np.argsort(others)[np.count_nonzero(others < 0) :]
    others, values = others[order], values[order]
    if len(np.unique(others)) < len(others):
        raise ValueError("ratings: expected each id once, found a number and the same one as text")
    model = fitted.model if side == "user" else fitted.model.mirrored()
    if len(others):
        row = fitted_user(model, -1, others, values)
    else:  # the row of unknown ids
        row = {n: t[-1] for n, t in model.factorization.parameters.items() if n.startswith("user_")}
    interactions = Interactions(others, values.astype(np.float32), np.array([0, len(others)]), len(ids))
    return {name: value[None] for name, value in row.items()}, interactions
