"""The frozen result of a fit: a factorisation, the likelihood of its scores, and the prior of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.columns import blocks, renumbered
from ..data.ids import index_of
from ..data.titles import Titles, aligned
from ..mf.forward import Factorization, Scorer, mirrored
from ..mf.likelihood import Likelihood
from ..mf.parameters import Parameters, Side, table_name
from ..mf.regularization import RowPenalty
from ..utils.arrays import Float32Array, Float64Array, FloatArray, Int32Array, IntArray
from ..utils.threads import one_blas_thread
from .interactions import Interactions

BLOCK = 65_536  # number of pairs scored at a time: enough to use the processor, with bounded memory

Times = NDArray[np.int64] | None
Rows = tuple[Int32Array, Int32Array]


class TimedScores(Protocol):
    """A model of ratings at given times."""

    def scores(self, users: IntArray, items: IntArray, timestamps: NDArray[np.int64]) -> FloatArray:
        """Return scores of pairs of rows, -1 for unknown ids, at these times in seconds: shape (n,)."""


@dataclass(frozen=True, eq=False)
class FittedModel:
    """Everything that prediction, ranking, fold-in, explanation and export need.

    The factorisation is the model at the time of the last rating, `timed` the model at other times; without
    `timed`, time has no effect. `prior` has, by user and item table, what rows are shrunk to: one row for
    all, or a row for each, predicted from features; tables without a prior are shrunk to zero.
    """

    factorization: Factorization
    likelihood: Likelihood
    penalty: RowPenalty
    prior: Parameters = field(default_factory=dict)
    timed: TimedScores | None = None
    noise: float = 0.0  # σ², the variance of ratings around r̂, in units of scores; 0 if unknown
    user_weight: FloatArray | None = None  # σ²/σ_u² of users, then of an unknown user; None if all are 1
    item_weight: FloatArray | None = None

    @property
    def intercept(self) -> float:
        """μ."""
        return float(self.factorization.parameters["intercept"][0])

    def bias(self, side: Side) -> Float64Array:
        """Return b_u or b_i of a model with biases, shape (n + 1,)."""
        return np.asarray(self.factorization.parameters[table_name(side, "bias")][:, 0], np.float64)

    def scores(self, users: IntArray, items: IntArray, timestamps: Times = None) -> FloatArray:
        """Return scores of pairs of rows, -1 for unknown ids, shape (n,), not clipped."""
        if timestamps is not None and self.timed is not None:
            return self.timed.scores(users, items, timestamps)
        return self.factorization.scores(users, items)

    def scorer(self, items: IntArray) -> Scorer:
        """Return a function from rows of users, (m,), to scores of these items, (m, n), not clipped."""
        return self.factorization.scorer(items)

    def with_user(self, row: Parameters, interactions: Interactions) -> Self:
        """Return the model with only one user, in row 0."""
        weight = None if self.user_weight is None else self.user_weight[-1:]
        prior = self.prior | {name: m[-1:] for name, m in self.prior.items() if name.startswith("user")}
        form = self.factorization.with_user(row)
        return replace(self, factorization=form, prior=prior, timed=None, user_weight=weight)

    def with_items(self, rows: Sequence[Parameters], interactions: Sequence[Interactions]) -> Self:
        """Return the model with more items after the existing items."""
        return replace(self, factorization=self.factorization.with_items(rows), timed=None)

    def mirrored(self) -> FittedModel:
        """Return the model with users and items exchanged; it shares the tables."""
        penalty = RowPenalty(self.penalty.item, self.penalty.user)
        form, weights = self.factorization.mirrored(), (self.item_weight, self.user_weight)
        return FittedModel(form, self.likelihood, penalty, mirrored(self.prior), None, self.noise, *weights)


def standard_error(deviation: float, n_ratings: IntArray) -> Float32Array:
    """Return s / √(n + 1) for n ratings of an item, s the deviation of ratings: docs/decisions/lists.md."""
    return (deviation / np.sqrt(n_ratings + 1)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class FittedData:
    """The ids of a fitted model's rows, sorted and unique, and its training interactions."""

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    rating_scale: tuple[float, float]
    interactions: Interactions
    titles: Titles | None = field(default=None, kw_only=True)

    @cached_property
    def item_titles(self) -> NDArray[Any] | None:
        """The titles of `item_ids`, "" for items without one; None if no titles were given."""
        return aligned(self.titles, self.item_ids)

    @cached_property
    def item_errors(self) -> Float32Array:
        """`standard_error` of each item, shape (n_items,)."""
        return standard_error(self.interactions.deviation, self.counts("item"))

    @property
    def ratings(self) -> Ratings:
        """The training ratings, by user, without times."""
        values, (lowest, highest) = self.interactions.ratings, self.rating_scale
        # Predictions may have a narrower scale than the ratings.
        scale = min(lowest, float(values.min())), max(highest, float(values.max()))
        pairs = self.interactions.users, self.interactions.items
        return Ratings(*pairs, values, self.user_ids, self.item_ids, scale, titles=self.titles)

    def ids(self, side: Side) -> NDArray[Any]:
        """Return the raw ids of the users or the items."""
        return self.user_ids if side == "user" else self.item_ids

    def counts(self, side: Side) -> NDArray[np.int64]:
        """Return the number of ratings of each user or item."""
        return self.interactions.user_counts if side == "user" else self.interactions.item_counts


@dataclass(frozen=True, eq=False)
class Fitted(FittedData):
    """A fitted model of ratings, with the ids of its rows and its training interactions."""

    model: FittedModel

    @classmethod
    def of(cls, ratings: Ratings, model: FittedModel) -> Self:
        """Combine a model with its training ratings, after `compact`."""
        ids = ratings.user_ids, ratings.item_ids
        return cls(*ids, ratings.scale, interactions_of(ratings, *ids), model, titles=ratings.titles)


def rows_of_pairs(ratings: Ratings, user_ids: NDArray[Any], item_ids: NDArray[Any]) -> Rows:
    """Return the rows of the users and items of ratings among these ids, -1 for unknown ids."""
    users = renumbered(ratings.users, index_of(user_ids, ratings.user_ids))
    return users, renumbered(ratings.items, index_of(item_ids, ratings.item_ids))


def interactions_of(ratings: Ratings, user_ids: NDArray[Any], item_ids: NDArray[Any]) -> Interactions:
    """Return the ratings by user, in the rows of these ids."""
    rows = rows_of_pairs(ratings, user_ids, item_ids)
    return Interactions.of(*rows, ratings.values, len(user_ids), len(item_ids))


def block_scores(model: FittedModel, users: IntArray, items: IntArray, timestamps: Times) -> Float32Array:
    """Return scores of pairs of rows, shape (n,), computed in blocks."""
    scores = np.empty(len(users), np.float32)
    with one_blas_thread():
        for block in blocks(len(users), BLOCK):
            at = None if timestamps is None else timestamps[block]
            scores[block] = model.scores(users[block], items[block], at)
    return scores
