"""The training of a BayesianMF: what its sampler is made of, and sample after sample with a history."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from ..data import Ratings
from ..mf.side_information import OneSide
from ..training.checkpoint import Checkpoint
from ..training.loop import History, Progress, ProgressCallback
from . import Design, Drift, Occasions, Sampler, Timeline
from .posterior import Posterior

DAY = 86_400.0

# Whose levels drift, the timescale to begin with, in seconds, and the share of the ratings' variance. What a
# timescale really is, is drawn: ratings of one sitting go together, and so, less, do those of one evening.
DRIFTS = (("user", 120.0, 0.03), ("user", 3_600.0, 0.03), ("item", 365 * DAY, 0.03), ("all", 7 * DAY, 0.01))

# Ratings that a row must have, on average, for each kind of rows that is told apart: fewer do not tell.
RATINGS_A_KIND = 10

# Samples between two checkpoints: the state is larger than the ratings.
SAVE_EVERY = 10


def occasions_of(ratings: Ratings, kinds: tuple[str, ...]) -> Occasions | None:
    """Occasions of these kinds, if there are any, and the ratings have times and are not all alike."""
    if not kinds or ratings.timestamps is None or ratings.values.min() == ratings.values.max():
        return None
    order, timeline = Timeline.of(ratings.users, ratings.timestamps, ratings.n_users)
    return Occasions(kinds, timeline, ratings.items[order], ratings.n_items)


def new_sampler(
    ratings: Ratings,
    rng: np.random.Generator,
    *,
    n_factors: int,
    kinds: int,
    features: bool,
    implicit: bool,
    drift: bool,
    user_noise: bool,
    occasions: Occasions | None = None,
) -> Sampler:
    """The sampler of a model with what it is to know of users and items, and of time, if the ratings tell.

    Of users and of items, `kinds` are told apart at most.
    """
    r, designs = ratings, []
    for side in OneSide.both(ratings):
        fields = [csr_array(eye_array(len(side.ids)))]
        if features and side.features is not None:
            X, names = side.features.rows_for(side.ids).tocsc(), np.array(side.features.fields)
            fields += [csr_array(X[:, names == name]) for name in dict.fromkeys(side.features.fields)]
        if implicit:
            fields.append(side.rated_sets())
        n_rated = len(np.unique(side.rows))
        n_kinds = max(1, min(kinds, len(r) // (RATINGS_A_KIND * n_rated)))
        designs.append(Design(side.rows, fields, n_factors, rng, n_kinds=n_kinds))
    drifts = []
    if drift and r.timestamps is not None and r.values.min() < r.values.max():
        groups = {"user": (r.users, r.n_users), "item": (r.items, r.n_items), "all": (0 * r.users, 1)}
        drifts = [
            Drift(who, groups[who][0], r.timestamps, groups[who][1], timescale, share)
            for who, timescale, share in DRIFTS
        ]
    users, items = designs
    contexts = []
    if occasions is not None and r.timestamps is not None:
        rows = occasions.rows(r.users, r.timestamps)
        for kind, of_kind, size in zip(occasions.kinds, rows, occasions.sizes, strict=True):
            followed = items if kind == "previous" else None
            contexts.append(Design(of_kind, [csr_array(eye_array(size))], n_factors, rng, followed))
    return Sampler(r.values, users, items, drifts, rng, user_noise, contexts)


class Watched:
    """Ratings that are predicted by the mean of the samples so far.

    Parameters
    ----------
    users, items : integer arrays of shape (n,)
        Rows, -1 for the unknown.
    timestamps : int64 array of shape (n,) or None
    values : float32 array of shape (n,)
    scale : (float, float)
        Predictions are clipped to it.
    occasions : Occasions, optional
        Those of the sampler's contexts.
    """

    def __init__(
        self,
        users: NDArray[Any],
        items: NDArray[Any],
        timestamps: NDArray[np.int64] | None,
        values: NDArray[np.float32],
        scale: tuple[float, float],
        occasions: Occasions | None = None,
    ) -> None:
        self._pairs = users, items, timestamps, occasions
        self._values = values
        self._scale = scale
        self.total = np.zeros(len(values))  # of the predictions of the samples that count

    def loss(self, posterior: Posterior) -> float:
        """Mean squared error after one more sample; while none counts, of the latest alone."""
        prediction = posterior.latest(*self._pairs)
        if posterior.n_samples:
            self.total += prediction
            prediction = self.total / posterior.n_samples
        return float(np.mean((np.clip(prediction, *self._scale) - self._values) ** 2))


def draw_samples(
    sampler: Sampler,
    posterior: Posterior,
    *,
    n_samples: int,
    warm_up: int,
    watched: Watched | None = None,
    on_progress: ProgressCallback | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Collect samples, from the first or from where the checkpoint is.

    Parameters
    ----------
    sampler : Sampler
    posterior : Posterior
        Collects all samples but those of the warm-up.
    n_samples, warm_up : int
    watched : Watched, optional
        Changes nothing but the history.
    on_progress : callable, optional
        Called after each sample.
    checkpoint : Checkpoint, optional
        Saved to after every tenth sample and the last.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        The checkpoint is of another training, or damaged.
    """
    n, n_sweeps = len(sampler.residual), warm_up + n_samples
    history = History(best_epoch=n_sweeps)
    saved = checkpoint.read() if checkpoint is not None else None
    if saved is not None:
        arrays, progress = saved
        for part, owner in (("sampler", sampler), ("posterior", posterior)):
            of_part = {name: a for name, a in arrays.items() if name.startswith(part)}
            owner.restore({name.removeprefix(f"{part}/"): a for name, a in of_part.items()})
        if watched is not None:
            watched.total[...] = arrays["watched"]
        history = History.checked(progress)
    for sweep in range(len(history.train_loss), n_sweeps):
        start, warming_up = time.perf_counter(), sweep < warm_up
        sampler.sweep(warming_up)
        if not warming_up:
            posterior.add()
        history.train_loss.append(float(np.mean(sampler.residual**2)) * sampler.unit**2)
        history.seconds.append(time.perf_counter() - start)
        if watched is not None:
            history.validation_loss.append(watched.loss(posterior))
        if checkpoint is not None and ((sweep + 1) % SAVE_EVERY == 0 or sweep + 1 == n_sweeps):
            arrays = {f"sampler/{name}": a for name, a in sampler.state().items()}
            arrays |= {f"posterior/{name}": a for name, a in posterior.state().items()}
            arrays |= {"watched": watched.total} if watched is not None else {}
            checkpoint.write(arrays, asdict(history))
        if on_progress is not None:
            losses = history.train_loss[-1], history.validation_loss[-1] if watched else float("nan")
            on_progress(Progress(sweep + 1, n_sweeps, (sweep + 1) * n, n_sweeps * n, *losses))
    return history
