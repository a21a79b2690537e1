"""The posterior mean as a model: parameter tables, time-varying biases and context effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..mf.architecture import Architecture
from ..mf.drift import Timeline, TimeVaryingBias
from ..mf.forward import Factorization
from ..utils.arrays import IntArray
from ..utils.settings import check_number
from .context import ContextEffects, ContextVariables, variable_names
from .drift import DRIFTS

# The table to which each time-varying bias is added.
TABLES = {"user": "user_bias.weight", "item": "item_bias.weight", "all": "intercept"}

# A function that returns the tensor of a name after checking dtype, shape and finite values.
Take = Callable[[str, DTypeLike, tuple[int, ...]], NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class PosteriorMean:
    """r̂_ui(t) = μ + b_u + b_i + p_u · q_i + d_u(t) + d_i(t) + d(t) + Σ_c (w_c + (g_u + g_i) · z_c).

    Attributes
    ----------
    factorization : Factorization, with μ, b, p and q
    drifts : tuple of TimeVaryingBias, with d
    context : ContextEffects or None, with w, z and g
    """

    factorization: Factorization
    drifts: tuple[TimeVaryingBias, ...] = ()
    context: ContextEffects | None = None

    @property
    def size(self) -> int:
        """Number of parameters that a prediction may use."""
        data = ("times.", "starts.", "context.rated")
        return sum(array.size for name, array in self.tensors().items() if not name.startswith(data))

    @property
    def n_timed(self) -> int:
        """Number of ratings whose time is used: all training ratings or 0."""
        return 0 if self.context is None else len(self.context.variables.items)

    def scores(self, users: IntArray, items: IntArray, timestamps: NDArray[np.int64]) -> NDArray[Any]:
        """Return scores of pairs of rows (-1: unknown) at these times, shape (n,)."""
        scores = self.factorization.scores(users, items)
        parts = [drift.at for drift in self.drifts] + ([] if self.context is None else [self.context.at])
        for at in parts:
            scores += at(users, items, timestamps).astype(scores.dtype)
        return scores

    def at_last_time(self) -> Factorization:
        """Return the model at the time of the last rating, with drifts and context added to the biases."""
        now = {name: value.copy() for name, value in self.factorization.parameters.items()}
        for drift in self.drifts:
            table = now[TABLES[drift.entity]].reshape(-1)
            n = len(table) if drift.entity == "all" else len(table) - 1
            latest = np.full(n, drift.timeline.times.max())
            table[:n] += drift.timeline.interpolated(drift.values, drift.timescale, np.arange(n), latest)
        if self.context is not None:
            bias, z = self.context.in_last_time_bin()
            now["intercept"] += np.float32(bias)
            for side, g in (("user", self.context.user), ("item", self.context.item)):
                part = (g @ z).astype(np.float32)
                now["intercept"] += part[-1]  # of the unknown, whose bias is zero
                now[f"{side}_bias.weight"] += (part - part[-1])[:, None]
        return replace(self.factorization, parameters=now)

    def inserted(self, form: Factorization, users: IntArray, items: IntArray) -> PosteriorMean:
        """Return it with another factorisation of more users and items: row u moves to users[u], items alike.

        Drifts and context do not change, and the new ratings have no effect on them.
        """
        n_users, n_items = (len(form.parameters[TABLES[side]]) - 1 for side in ("user", "item"))
        rows = {"user": (users, n_users), "item": (items, n_items), "all": (np.zeros(1, np.int64), 1)}
        drifts = (replace(d, timeline=d.timeline.inserted(*rows[d.entity])) for d in self.drifts)
        context = self.context and self.context.inserted(users, n_users, items, n_items)
        return PosteriorMean(form, tuple(drifts), context)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the model by name, without the timescales, which are numbers."""
        tensors: dict[str, NDArray[Any]] = dict(self.factorization.parameters)
        timelines = {drift.entity: drift.timeline for drift in self.drifts}
        tensors |= {f"level.{n}": drift.values for n, drift in enumerate(self.drifts)}
        if (c := self.context) is not None:
            timelines["user"] = c.variables.timeline
            tensors |= {f"context.{name}": getattr(c, name) for name in ("bias", "factors", "user", "item")}
            tensors["context.rated"] = c.variables.items
        for entity, timeline in timelines.items():
            tensors |= {f"times.{entity}": timeline.times, f"starts.{entity}": timeline.starts}
        return tensors

    @classmethod
    def from_tensors(
        cls, take: Take, n_users: int, n_items: int, *, rank: int, n_timed: int, timescales: Any, drift: bool,
        previous_item: bool,
    ) -> Self:  # fmt: skip
        """Build the model from the tensors that `take` returns.

        `n_timed` is the number of ratings whose time is used, at least 0. `timescales` are in seconds, one
        for each time-varying bias. `drift` and `previous_item` are settings of `BayesianMF`. Raises
        ValueError if a value is out of range or the parts do not fit together.
        """
        form = Architecture(embedding_dim=rank)
        shapes = form.parameter_shapes(n_users, n_items)
        parameters = {name: take(name, np.float32, shape) for name, shape in shapes.items()}
        names = variable_names(drift, previous_item)
        if n_timed and not names:
            raise ValueError(f"n_timed: expected 0 without drift and previous_item, found {n_timed}")
        drifts = DRIFTS if n_timed and drift else ()
        if not isinstance(timescales, list) or len(timescales) != len(drifts):
            raise ValueError(f"timescales: expected one for each drift, found {timescales!r}")
        for timescale in timescales:
            check_number("timescales", timescale, above=0)
        n_groups = {"user": n_users, "item": n_items, "all": 1}
        timelines = {
            entity: Timeline.checked(
                take(f"starts.{entity}", np.int64, (n_groups[entity] + 1,)),
                take(f"times.{entity}", np.int64, (n_timed,)),
            )
            for entity in (dict.fromkeys(["user", *(entity for entity, *_ in drifts)]) if n_timed else ())
        }
        biases = tuple(
            TimeVaryingBias(entity, timelines[entity], take(f"level.{n}", np.float32, (n_timed,)), timescale)
            for n, ((entity, *_), timescale) in enumerate(zip(drifts, timescales, strict=True))
        )
        context = None
        if n_timed:
            rated = take("context.rated", np.int32, (n_timed,))
            if not (rated.min() >= 0 and rated.max() < n_items):
                raise ValueError("context.rated: expected rows of items")
            variables = ContextVariables(names, timelines["user"], rated, n_items)
            n = sum(variables.sizes)
            sizes = {"bias": (n,), "factors": (n, rank)}
            sizes |= {"user": (n_users + 1, rank), "item": (n_items + 1, rank)}
            context = ContextEffects(variables, *(take(f"context.{k}", np.float32, sizes[k]) for k in sizes))
        return cls(Factorization(form, parameters), biases, context)
