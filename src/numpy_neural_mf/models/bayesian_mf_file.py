"""A fitted BayesianMF, and its way to a file and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..bayesian import Context, Levels, Occasions, Timeline, sizes_of
from ..bayesian.posterior_mean import PosteriorMean
from ..bayesian.sampling import DRIFTS
from ..mf.architecture import Architecture
from ..mf.forward import Factorization
from ..mf.likelihood import Normal
from ..mf.regularization import RowPenalty
from ..training.loop import History
from .files import Contents, Saved
from .fitted import FittedModel
from .model_file import Tensors

if TYPE_CHECKING:
    from .bayesian_mf import BayesianMF

SETTINGS = (
    "embedding_dim", "kinds", "n_samples", "warm_up", "features", "implicit", "drift", "previous_item",
    "user_noise", "rank",
)  # fmt: skip

# What is saved of the context, in the order of its fields.
CONTEXT = ("bias", "factors", "user", "item")


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedBayesianMF(FittedModel):
    """A fitted `BayesianMF`.

    Attributes
    ----------
    mean : PosteriorMean
    deviation : float32 array of shape (n_users + 1,)
        Standard deviation of a rating of each user from its prediction; the last, of any user.
    rating_steps : float32 array
        The distinct training ratings, ascending, if they are few.
    history : History
    """

    mean: PosteriorMean
    deviation: NDArray[np.float32]
    rating_steps: NDArray[np.float32]
    history: History

    @property
    def n_timed(self) -> int:
        """Number of ratings whose time is used."""
        return 0 if self.mean.context is None else len(self.mean.context.occasions.items)


def assemble(
    mean: PosteriorMean,
    scale: tuple[float, float],
    deviation: NDArray[np.float32],
    rating_steps: NDArray[np.float32],
    history: History,
) -> FittedBayesianMF:
    """A fitted model of its parts. The penalty of a row is σ² of a rating over that of a bias.

    The factors of users are on the scale of the biases.
    """
    noise, parameters = float(deviation[-1] ** 2), mean.factorization.parameters
    user, item = (
        noise / max(float(parameters[f"{side}_bias.weight"][:-1].var()), 1e-6) for side in ("user", "item")
    )
    return FittedBayesianMF(
        mean.at_last_time(),
        Normal(scale),
        RowPenalty(user, item),
        timed=mean,
        mean=mean,
        deviation=deviation,
        rating_steps=rating_steps,
        history=history,
    )


def saved(model: BayesianMF, fitted: FittedBayesianMF) -> Saved:
    """The settings of a model and what it learned."""
    settings = {name: getattr(model, name) for name in SETTINGS} | {"n_timed": fitted.n_timed}
    is_generator = isinstance(model.random_state, np.random.Generator)
    settings["random_state"] = None if is_generator else model.random_state
    mean = fitted.mean
    summary = {
        "history": asdict(fitted.history),
        "rating_steps": fitted.rating_steps.tolist(),
        "timescales": [drift.timescale for drift in mean.drifts],
    }
    arrays: Tensors = mean.factorization.parameters | {"deviation": fitted.deviation}
    for n, drift in enumerate(mean.drifts):
        arrays[f"times.{drift.whose}"] = drift.timeline.times
        arrays[f"starts.{drift.whose}"] = drift.timeline.starts
        arrays[f"level.{n}"] = drift.level
    if (context := mean.context) is not None:
        timeline = context.occasions.timeline
        arrays |= {"times.user": timeline.times, "starts.user": timeline.starts}
        arrays["context.rated"] = context.occasions.items
        arrays |= {f"context.{name}": getattr(context, name) for name in CONTEXT}
    return Saved(settings, summary, arrays)


def fitted_of(contents: Contents) -> FittedBayesianMF:
    """The way back, for settings that have been checked.

    Raises
    ------
    TypeError, ValueError, KeyError
        A part is missing, or not as the settings ask for.
    """
    settings, summary = contents.settings, contents.summary
    n_timed, rank = settings["n_timed"], settings["rank"]
    if not (isinstance(n_timed, int) and n_timed >= 0):
        raise ValueError(f"n_timed: expected a number of ratings, found {n_timed!r}")
    if set(summary) != {"history", "rating_steps", "timescales"}:
        raise ValueError(f"expected history, rating_steps and timescales, found {sorted(summary)}")
    n_users, n_items = len(contents.user_ids), len(contents.item_ids)
    architecture = Architecture(embedding_dim=rank)
    parameters = {
        name: contents.take(name, np.float32, shape)
        for name, shape in architecture.parameter_shapes(n_users, n_items).items()
    }
    drifts, context = _time(contents, settings, summary["timescales"], n_timed)
    steps = np.array(summary["rating_steps"], np.float64)
    if steps.ndim != 1 or not (np.isfinite(steps).all() and (steps[1:] > steps[:-1]).all()):
        raise ValueError(f"rating_steps: expected an ascending list, found {summary['rating_steps']}")
    deviation = contents.take("deviation", np.float32, (n_users + 1,))
    if not (deviation > 0).all():
        raise ValueError("deviation: expected numbers above 0")
    mean = PosteriorMean(Factorization(architecture, parameters), drifts, context)
    history = History.checked(summary["history"])
    return assemble(mean, contents.rating_scale, deviation, steps.astype(np.float32), history)


def _time(
    contents: Contents, settings: dict[str, Any], timescales: Any, n: int
) -> tuple[tuple[Levels, ...], Context | None]:
    """Drifts and context of n ratings with times."""
    drifts = DRIFTS if n and settings["drift"] else ()
    found = np.array(timescales, np.float64)
    if found.shape != (len(drifts),) or not ((found > 0) & (found < np.inf)).all():
        raise ValueError(f"timescales: expected one above 0 for each drift, found {timescales}")
    n_groups = {"user": len(contents.user_ids), "item": len(contents.item_ids), "all": 1}
    timelines = {
        whose: Timeline.checked(
            contents.take(f"starts.{whose}", np.int64, (n_groups[whose] + 1,)),
            contents.take(f"times.{whose}", np.int64, (n,)),
        )
        for whose in dict.fromkeys(("user",) * bool(n) + tuple(whose for whose, *_ in drifts))
    }
    levels = tuple(
        Levels(whose, timelines[whose], contents.take(f"level.{k}", np.float32, (n,)), float(timescale))
        for k, ((whose, *_), timescale) in enumerate(zip(drifts, found, strict=True))
    )
    return levels, _context(contents, settings, timelines["user"]) if n else None


def _context(contents: Contents, settings: dict[str, Any], timeline: Timeline) -> Context:
    n_users, n_items = len(contents.user_ids), len(contents.item_ids)
    kinds = ("period",) * settings["drift"] + ("previous",) * settings["previous_item"]
    n_occasions, rank = sum(sizes_of(kinds, n_items)), settings["rank"]
    rated = contents.take("context.rated", np.int32, (len(timeline.times),))
    if len(rated) and not (rated.min() >= 0 and rated.max() < n_items):
        raise ValueError("context.rated: expected rows of items")
    shapes = (n_occasions,), (n_occasions, rank), (n_users + 1, rank), (n_items + 1, rank)
    arrays = (
        contents.take(f"context.{name}", np.float32, shape)
        for name, shape in zip(CONTEXT, shapes, strict=True)
    )
    return Context(Occasions(kinds, timeline, rated, n_items), *arrays)
