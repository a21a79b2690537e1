"""A fitted BayesianMF, and its file format."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bayesian.posterior_mean import PosteriorMean
from ..mf.likelihood import Normal
from ..mf.parameters import SIDES
from ..mf.regularization import RowPenalty
from ..training.loop import History
from ..utils.arrays import Float32Array
from .files import Contents, Saved
from .fitted import FittedModel

if TYPE_CHECKING:
    from .bayesian_mf import BayesianMF

SETTINGS = (
    "embedding_dim", "latent_clusters", "n_samples", "burn_in", "features", "implicit", "drift",
    "previous_item", "user_noise", "rank", "random_state",
)  # fmt: skip

# Former names of settings, which older files have.
OLD_NAMES = {"kinds": "latent_clusters", "warm_up": "burn_in"}


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedBayesianMF(FittedModel):
    """A fitted `BayesianMF`."""

    mean: PosteriorMean
    deviation: Float32Array  # of a rating of each user from its prediction; the last, of any user
    rating_steps: Float32Array  # the distinct training ratings, ascending, if they are few
    history: History


def assemble(
    mean: PosteriorMean,
    scale: tuple[float, float],
    deviation: Float32Array,
    rating_steps: Float32Array,
    history: History,
) -> FittedBayesianMF:
    """A fitted model from its parts. The penalty of a row is the ratio σ²/σ_b² of noise and bias variance.

    The factors of users are on the scale of their biases, so one penalty serves both.
    """
    noise, tables = float(deviation[-1] ** 2), mean.factorization.parameters
    penalty = RowPenalty(*(noise / max(float(tables[f"{s}_bias.weight"][:-1].var()), 1e-6) for s in SIDES))
    parts: Any = {"mean": mean, "deviation": deviation, "rating_steps": rating_steps, "history": history}
    return FittedBayesianMF(mean.at_last_time(), Normal(scale), penalty, timed=mean, **parts)


def saved(model: BayesianMF, fitted: FittedBayesianMF) -> Saved:
    """The settings of a model and what it learned."""
    settings = {name: getattr(model, name) for name in SETTINGS} | {"n_timed": fitted.mean.n_timed}
    summary = {
        "history": asdict(fitted.history),
        "rating_steps": fitted.rating_steps.tolist(),
        "timescales": [drift.timescale for drift in fitted.mean.drifts],
    }
    return Saved(settings, summary, fitted.mean.tensors() | {"deviation": fitted.deviation})


def fitted_of(contents: Contents) -> FittedBayesianMF:
    """The fitted model in a file whose settings have been checked."""
    settings, summary, n_timed = contents.settings, contents.summary, contents.settings["n_timed"]
    if not (isinstance(n_timed, int) and not isinstance(n_timed, bool) and n_timed >= 0):
        raise ValueError(f"n_timed: expected a number of ratings, found {n_timed!r}")
    if set(summary) != {"history", "rating_steps", "timescales"}:
        raise ValueError(f"expected history, rating_steps and timescales, found {sorted(summary)}")
    n_users, n_items = len(contents.user_ids), len(contents.item_ids)
    parts = {name: settings[name] for name in ("n_timed", "rank", "drift", "previous_item")}
    parts |= {"timescales": summary["timescales"]}
    mean = PosteriorMean.from_tensors(contents.take, n_users, n_items, **parts)
    steps = np.array(summary["rating_steps"], np.float64)
    if steps.ndim != 1 or not (np.isfinite(steps).all() and (steps[1:] > steps[:-1]).all()):
        raise ValueError(f"rating_steps: expected an ascending list, found {summary['rating_steps']}")
    deviation = contents.take("deviation", np.float32, (n_users + 1,))
    if not (deviation > 0).all():
        raise ValueError("deviation: expected numbers above 0")
    history = History.checked(summary["history"])
    return assemble(mean, contents.rating_scale, deviation, steps.astype(np.float32), history)
