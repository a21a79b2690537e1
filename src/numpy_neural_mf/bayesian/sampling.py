"""Sampling for BayesianMF: builds the sampler, draws samples, and records the history."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np
import scipy

from ..data import Ratings
from ..mf.drift import Timeline
from ..mf.side_information import OneSide
from ..training.checkpoint import Checkpoint
from ..training.loop import History, Progress, ProgressCallback, log_end, log_epoch, log_start
from .context import ContextVariables
from .drift import DRIFTS, Drift
from .factor_block import FactorBlock
from .posterior import Posterior
from .resumption import ValidationMonitor, resumed, state_of
from .sampler import Sampler

# Mean number of ratings per row and latent cluster; with fewer, clusters would fit noise.
RATINGS_PER_CLUSTER = 10

# Number of samples between two checkpoints; the state is larger than the ratings.
SAVE_EVERY = 10


def context_variables_of(ratings: Ratings, names: tuple[str, ...]) -> ContextVariables | None:
    """Return the named context variables, or None without names or times or if all ratings are equal."""
    if not names or not _vary_in_time(ratings):
        return None
    assert ratings.timestamps is not None
    order, timeline = Timeline.of(ratings.users, ratings.timestamps, ratings.n_users)
    return ContextVariables(names, timeline, ratings.items[order], ratings.n_items)


def build_sampler(
    ratings: Ratings, rng: np.random.Generator, *, n_factors: int, latent_clusters: int, features: bool,
    implicit: bool, drift: bool, user_noise: bool, context_variables: ContextVariables | None = None,
) -> Sampler:  # fmt: skip
    """Build the sampler of a model with these parts, if the ratings have the data: see `BayesianMF`.

    Its ratings are sorted by user and time, which makes sums over the ratings of a row faster.
    """
    times = ratings.users if ratings.timestamps is None else ratings.timestamps
    r = ratings.take(np.lexsort((times, ratings.users)))

    def block(side: OneSide) -> FactorBlock:
        """Build a block with a field of ids, one for each feature, and one of implicit feedback."""
        fields = [scipy.sparse.csr_array(scipy.sparse.eye_array(len(side.ids)))]
        if features and side.features is not None:
            X, names = side.features.rows_for(side.ids).tocsc(), np.array(side.features.fields)
            for name in dict.fromkeys(side.features.fields):
                fields.append(scipy.sparse.csr_array(X[:, names == name]))
        if implicit:
            fields.append(sets_without_own(side))
        n_rated = len(np.unique(side.rows))
        n_clusters = max(1, min(latent_clusters, len(side.rows) // (RATINGS_PER_CLUSTER * n_rated)))
        return FactorBlock(side.rows, fields, n_factors, rng, n_clusters=n_clusters)

    users, items = map(block, OneSide.both(r))
    drifts, contexts = [], []
    if drift and _vary_in_time(r):
        assert r.timestamps is not None
        groups = {"user": (r.users, r.n_users), "item": (r.items, r.n_items), "all": (0 * r.users, 1)}
        for entity, timescale, variance in DRIFTS:
            of_ratings, n_groups = groups[entity]
            drifts.append(Drift(entity, of_ratings, r.timestamps, n_groups, timescale, variance))
    if (variables := context_variables) is not None:
        assert r.timestamps is not None
        categories = variables.categories(r.users, r.timestamps)
        for name, rows, size in zip(variables.names, categories, variables.sizes, strict=True):
            regressor = items if name == "previous_item" else None
            fields = [scipy.sparse.csr_array(scipy.sparse.eye_array(size))]
            contexts.append(FactorBlock(rows, fields, n_factors, rng, regressor))
    return Sampler(r.values, users, items, drifts, rng, user_noise, contexts)


def sets_without_own(side: OneSide) -> scipy.sparse.csr_array:
    """Return implicit feedback with weight √(1 - 1/n)/√n for n ratings of a row, which is 0 for one rating.

    One of the n ratings is the rating to be explained, so only the others count. With one rating for each
    user, the effect of implicit feedback would not be identifiable.
    """
    sets = side.rated_sets()
    n = np.diff(sets.indptr)
    return scipy.sparse.csr_array(sets.multiply(np.sqrt(1 - 1 / np.maximum(n, 1))[:, None]))


def _vary_in_time(ratings: Ratings) -> bool:
    """Return whether the ratings have times and are not all equal."""
    return ratings.timestamps is not None and bool(ratings.values.min() < ratings.values.max())


def draw_samples(
    sampler: Sampler, posterior: Posterior, *, n_samples: int, burn_in: int,
    monitor: ValidationMonitor | None = None, on_progress: ProgressCallback | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:  # fmt: skip
    """Draw samples from the start or from the checkpoint; add those after the burn-in to the posterior.

    `monitor` affects only the history. `on_progress` is called after each sample; the checkpoint is written
    after every tenth sample and after the last one. Raises ValueError if the checkpoint belongs to another
    training or is damaged.
    """
    n, n_sweeps = len(sampler.residual), burn_in + n_samples
    history = History(best_epoch=n_sweeps)
    if checkpoint is not None:
        history = resumed(checkpoint, (sampler, posterior), monitor, n_sweeps, burn_in) or history
    log_start(n, history, n_sweeps)
    for sweep in range(len(history.train_loss), n_sweeps):
        start = time.perf_counter()
        sampler.sweep(burn_in=sweep < burn_in)
        if sweep >= burn_in:
            posterior.add()
        history.train_loss.append(float(np.mean(sampler.residual**2)) * sampler.rating_std**2)
        history.seconds.append(time.perf_counter() - start)
        if monitor is not None:
            history.validation_loss.append(monitor.loss(posterior))
        if checkpoint is not None and ((sweep + 1) % SAVE_EVERY == 0 or sweep + 1 == n_sweeps):
            state = state_of((sampler, posterior), monitor)
            checkpoint.write(state, asdict(history))
        if on_progress is not None:
            losses = history.train_loss[-1], history.validation_loss[-1] if monitor else float("nan")
            on_progress(Progress(sweep + 1, n_sweeps, (sweep + 1) * n, n_sweeps * n, *losses))
        log_epoch(history, n_sweeps)
    log_end(history)
    return history
