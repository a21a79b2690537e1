"""A BayesianMF as a file: its settings, what it has learned, and whether a file can be trusted."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..bayesian import Context, Levels, Occasions, Timeline, sizes_of
from ..bayesian.sampling import DRIFTS
from ..mf.architecture import Architecture, Parameters
from ..training.loop import History
from .model_file import Tensors
from .uncertainty import NormalRatings

# Settings that say what is made use of.
KNOWLEDGE = ("features", "implicit", "drift", "previous_item", "user_noise")

# What is saved of the context, in the order of its fields.
CONTEXT = ("bias", "factors", "user", "item")


class BayesianMFFile(NormalRatings):
    """What `BayesianMF`, where all of this is documented, keeps in a file."""

    embedding_dim: int
    kinds: int
    n_samples: int
    warm_up: int
    features: bool
    implicit: bool
    drift: bool
    previous_item: bool
    user_noise: bool
    rank: int
    random_state: int | np.random.Generator | None

    history_: History
    parameters_: Parameters
    rating_steps_: NDArray[np.float32]
    _drifts: tuple[Levels, ...]
    _context: Context | None
    _n_timed: int

    @property
    def n_timed_(self) -> int:
        """Ratings whose time is made use of: all it learned from, or none."""
        return 0 if self._context is None else len(self._context.occasions.items)

    @property
    def _occasion_kinds(self) -> tuple[str, ...]:
        """The kinds of occasions that are told apart, where there are times."""
        return ("period",) * self.drift + ("previous",) * self.previous_item

    def _fold_drift(self) -> None:
        """Make ready to predict without a time."""
        raise NotImplementedError

    def _settings(self) -> dict[str, Any]:
        names = ("embedding_dim", "kinds", "n_samples", "warm_up", *KNOWLEDGE, "rank")
        settings = {name: getattr(self, name) for name in names}
        seed = None if isinstance(self.random_state, np.random.Generator) else self.random_state
        return settings | {"n_timed": self.n_timed_, "random_state": seed}

    @classmethod
    def _from_settings(cls, **settings: Any) -> Self:
        n_timed = settings.pop("n_timed")
        if not (isinstance(n_timed, int) and n_timed >= 0):
            raise ValueError(f"n_timed: expected a number of ratings, found {n_timed!r}")
        model = cls(**settings)
        model._n_timed = n_timed  # those of `partial_fit` have no time
        return model

    def _summary(self) -> dict[str, Any]:
        return {
            "history": asdict(self.history_),
            "rating_steps": self.rating_steps_.tolist(),
            "timescales": [drift.timescale for drift in self._drifts],
        }

    def _learned(self) -> Tensors:
        tensors: Tensors = self.parameters_ | {"deviation": self.deviation_}
        for n, drift in enumerate(self._drifts):
            tensors[f"times.{drift.whose}"] = drift.timeline.times
            tensors[f"starts.{drift.whose}"] = drift.timeline.starts
            tensors[f"level.{n}"] = drift.level
        if self._context is not None:
            context, timeline = self._context, self._context.occasions.timeline
            tensors |= {"times.user": timeline.times, "starts.user": timeline.starts}
            tensors["context.rated"] = context.occasions.items
            tensors |= {f"context.{name}": getattr(context, name) for name in CONTEXT}
        return tensors

    def _learned_shapes(self) -> dict[str, tuple[Any, tuple[int, ...]]]:
        n_users, n_items, n = len(self.user_ids_), len(self.item_ids_), self._n_timed
        parameters = Architecture(embedding_dim=self.rank).parameter_shapes(n_users, n_items)
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            name: (np.float32, shape) for name, shape in parameters.items()
        }
        shapes["deviation"] = (np.float32, (n_users + 1,))
        n_groups = {"user": n_users, "item": n_items, "all": 1}
        drifts = DRIFTS if n and self.drift else ()
        for whose in dict.fromkeys(("user",) * bool(n) + tuple(whose for whose, *_ in drifts)):
            shapes[f"times.{whose}"] = (np.int64, (n,))
            shapes[f"starts.{whose}"] = (np.int64, (n_groups[whose] + 1,))
        shapes |= {f"level.{index}": (np.float32, (n,)) for index in range(len(drifts))}
        if n:
            n_occasions = sum(sizes_of(self._occasion_kinds, n_items))
            shapes |= {"context.rated": (np.int32, (n,)), "context.bias": (np.float32, (n_occasions,))}
            for name, rows in (("factors", n_occasions), ("user", n_users + 1), ("item", n_items + 1)):
                shapes[f"context.{name}"] = (np.float32, (rows, self.rank))
        return shapes

    def _restore(self, learned: Tensors, summary: dict[str, Any]) -> None:
        if set(summary) != {"history", "rating_steps", "timescales"}:
            raise ValueError(f"expected history, rating_steps and timescales, found {sorted(summary)}")
        self.history_ = History.checked(summary["history"])
        timescales, steps = (np.array(summary[name], np.float64) for name in ("timescales", "rating_steps"))
        n_drifts = len(DRIFTS) if self._n_timed and self.drift else 0
        if timescales.shape != (n_drifts,) or not ((timescales > 0) & (timescales < np.inf)).all():
            raise ValueError(
                f"timescales: expected one above 0 for each drift, found {summary['timescales']}"
            )
        if steps.ndim != 1 or not (np.isfinite(steps).all() and (steps[1:] > steps[:-1]).all()):
            raise ValueError(f"rating_steps: expected an ascending list, found {summary['rating_steps']}")
        self.rating_steps_ = steps.astype(np.float32)
        timelines = {
            whose: Timeline.checked(learned.pop(f"starts.{whose}"), learned.pop(f"times.{whose}"))
            for whose in ("user", "item", "all")
            if f"starts.{whose}" in learned
        }
        self._drifts = tuple(
            Levels(whose, timelines[whose], learned.pop(f"level.{n}"), float(timescale))
            for n, ((whose, *_), timescale) in enumerate(zip(DRIFTS, timescales, strict=False))
        )
        self._context = None
        if self._n_timed:
            rated = learned.pop("context.rated")
            n_items = len(self.item_ids_)
            if len(rated) and not (rated.min() >= 0 and rated.max() < n_items):
                raise ValueError("context.rated: expected rows of items")
            occasions = Occasions(self._occasion_kinds, timelines["user"], rated, n_items)
            self._context = Context(occasions, *(learned.pop(f"context.{name}") for name in CONTEXT))
        self.deviation_ = learned.pop("deviation")
        if not (self.deviation_ > 0).all():
            raise ValueError("deviation: expected numbers above 0")
        self.parameters_ = learned
        self._fold_drift()
