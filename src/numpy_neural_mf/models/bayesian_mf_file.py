"""A fitted BayesianMF, and its file format."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..bayesian.posterior_mean import PosteriorMean
from ..mf.likelihood import Normal
from ..mf.regularization import RowPenalty
from ..training.loop import History
from .files import Contents, Saved
from .fitted import FittedModel

if TYPE_CHECKING:
    from .bayesian_mf import BayesianMF

SETTINGS = (
    "embedding_dim", "latent_clusters", "n_samples", "burn_in", "features", "implicit", "drift",
    "previous_item", "user_noise", "rank",
)  # fmt: skip

# Former names of settings, which older files have.
OLD_NAMES = {"kinds": "latent_clusters", "warm_up": "burn_in"}


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
        return self.mean.n_timed


def assemble(
    mean: PosteriorMean,
    scale: tuple[float, float],
    deviation: NDArray[np.float32],
    rating_steps: NDArray[np.float32],
    history: History,
) -> FittedBayesianMF:
    """A fitted model from its parts. The penalty of a row is the ratio σ²/σ_b² of noise and bias variance.

    The factors of users are on the scale of their biases, so one penalty serves both.
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
    summary = {
        "history": asdict(fitted.history),
        "rating_steps": fitted.rating_steps.tolist(),
        "timescales": [drift.timescale for drift in fitted.mean.drifts],
    }
    return Saved(settings, summary, fitted.mean.tensors() | {"deviation": fitted.deviation})


def fitted_of(contents: Contents) -> FittedBayesianMF:
    """The fitted model in a file whose settings have been checked.

    Raises
    ------
    TypeError, ValueError, KeyError
        A part is missing, or does not fit the settings.
    """
    settings, summary, n_timed = contents.settings, contents.summary, contents.settings["n_timed"]
    if not (isinstance(n_timed, int) and not isinstance(n_timed, bool) and n_timed >= 0):
        raise ValueError(f"n_timed: expected a number of ratings, found {n_timed!r}")
    if set(summary) != {"history", "rating_steps", "timescales"}:
        raise ValueError(f"expected history, rating_steps and timescales, found {sorted(summary)}")
    n_users, n_items = len(contents.user_ids), len(contents.item_ids)
    mean = PosteriorMean.from_tensors(
        contents.take,
        n_users,
        n_items,
        n_timed=n_timed,
        timescales=summary["timescales"],
        **{name: settings[name] for name in ("rank", "drift", "previous_item")},
    )
    steps = np.array(summary["rating_steps"], np.float64)
    if steps.ndim != 1 or not (np.isfinite(steps).all() and (steps[1:] > steps[:-1]).all()):
        raise ValueError(f"rating_steps: expected an ascending list, found {summary['rating_steps']}")
    deviation = contents.take("deviation", np.float32, (n_users + 1,))
    if not (deviation > 0).all():
        raise ValueError("deviation: expected numbers above 0")
    history = History.checked(summary["history"])
    return assemble(mean, contents.rating_scale, deviation, steps.astype(np.float32), history)
