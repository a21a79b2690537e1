"""The mean of a posterior as a model: tables, time-varying biases and context."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mf.forward import Factorization
from .context import Context
from .drift import IntArray, Levels

# The table to which each drift adds.
TABLES = {"user": "user_bias.weight", "item": "item_bias.weight", "all": "intercept"}


@dataclass(frozen=True, slots=True, eq=False)
class PosteriorMean:
    """r̂_ui(t) = μ + b_u + b_i + p_u · q_i + d_u(t) + d_i(t) + d(t) + Σ_c (w_c + (g_u + g_i) · z_c).

    Attributes
    ----------
    factorization : Factorization
        μ, b, p and q.
    drifts : tuple of Levels
        d.
    context : Context or None
        w, z and g.
    """

    factorization: Factorization
    drifts: tuple[Levels, ...] = ()
    context: Context | None = None

    @property
    def size(self) -> int:
        """Number of parameters that a prediction may use."""
        arrays = [*self.factorization.parameters.values(), *(drift.level for drift in self.drifts)]
        if (c := self.context) is not None:
            arrays += [c.bias, c.factors, c.user, c.item]
        return sum(array.size for array in arrays)

    def scores(self, users: IntArray, items: IntArray, timestamps: NDArray[np.int64]) -> NDArray[Any]:
        """Scores of pairs of rows, -1 for the unknown, at these times: shape (n,)."""
        scores = self.factorization.scores(users, items)
        for drift in self.drifts:
            scores += drift.at(users, items, timestamps).astype(scores.dtype)
        if self.context is not None:
            scores += self.context.at(users, items, timestamps).astype(scores.dtype)
        return scores

    def at_last_time(self) -> Factorization:
        """The model at the time of the last rating: drifts and context are added to the biases."""
        now = {name: value.copy() for name, value in self.factorization.parameters.items()}
        for drift in self.drifts:
            table = now[TABLES[drift.whose]].reshape(-1)
            n = len(table) if drift.whose == "all" else len(table) - 1
            latest = np.full(n, drift.timeline.times.max())
            table[:n] += drift.timeline.levels_at(drift.level, drift.timescale, np.arange(n), latest)
        if self.context is not None:
            bias, z = self.context.usual()
            now["intercept"] += np.float32(bias)
            for side, g in (("user", self.context.user), ("item", self.context.item)):
                part = (g @ z).astype(np.float32)
                now["intercept"] += part[-1]  # of the unknown, whose bias is zero
                now[f"{side}_bias.weight"] += (part - part[-1])[:, None]
        return replace(self.factorization, parameters=now)

    def inserted(self, form: Factorization, users: IntArray, items: IntArray) -> PosteriorMean:
        """With another factorisation, of more users and items: row u becomes users[u], items likewise.

        Drifts stay as they are, and new ratings have none.
        """
        n_users, n_items = (len(form.parameters[TABLES[side]]) - 1 for side in ("user", "item"))
        old = {"user": (users, n_users), "item": (items, n_items)}
        drifts = tuple(
            replace(drift, timeline=drift.timeline.among(*old[drift.whose])) if drift.whose in old else drift
            for drift in self.drifts
        )
        context = self.context
        if context is not None:
            context = context.among(users, n_users, items, n_items)
        return PosteriorMean(form, drifts, context)
