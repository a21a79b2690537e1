"""Closed-form inference between epochs: variances of rows, of their priors, and of the noise.

It is a mean-field variational posterior (Lim and Teh, 2007; empirical Bayes as in Nakajima and Sugiyama,
2011). The engine updates the means of rows for one epoch, then this module updates everything else, given
the means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.columns import blocks
from ..mf.architecture import Architecture
from ..mf.parameters import KINDS, SIDES, TIME_BINS, Entity, Kind, Parameters, Side, table_name
from ..nn import CumulativeLogit
from ..nn.parameter import Array
from .distributed import Communicator
from .drift import UserDrift
from .engines.base import Engine
from .objective import TINY, Objective
from .previous_item import PreviousItems
from .prior_means import PriorMeans
from .statistics import RatingStatistics

# Number of pseudo-ratings with noise σ² that are added to a user's ratings to estimate σ_u².
NOISE_RATINGS = 30
# Prior variance τ² of a factor without evidence, as a multiple of `noise_edge`: more is better if rows have
# very different numbers of ratings. Later, τ² is the mean of this value and the spread of the rows, so a
# factor that is still small is not given up.
ABOVE_EDGE = 1.3
# Sweeps of the closed-form estimate of biases: at most, and the relative change that ends them. A million
# ratings take six.
SWEEPS, SETTLED = 30, 1e-4
AT_ONCE = 2**16  # ratings predicted at once
# Minimum of the deviation of ratings in units, which is about 1, or 0 if all are equal.
LEAST_DEVIATION = 1e-3
# Minimum of τ² of a bias, relative to σ²: a lower one would make SGD diverge and biases hardly smaller.
LEAST_TAU2 = 1e-3
OTHER: dict[Side, Side] = {"user": "item", "item": "user"}


def first_objective(
    architecture: Architecture,
    statistics: RatingStatistics,
    ratings: Ratings,
    features: Mapping[Side, PriorMeans],
    communicator: Communicator,
    weight_decay: float,
    ordinal: CumulativeLogit | None,
    unit: float,
) -> Objective:
    """Return the objective before the first epoch, for ratings in units."""
    counts, rows = statistics.counts, communicator.rows
    noise, of_biases = bias_variances(ratings, counts, communicator)
    of_factors = ABOVE_EDGE * math.sqrt(noise) * noise_edge(counts)
    if ordinal is not None:  # -log P is not divided by 2 σ²
        noise, of_biases = 0.5, {side: of_biases[side] for side in SIDES}
    prior: Parameters = {}
    precision: Parameters = {}
    variance: Parameters = {}
    for table in architecture.tables(ratings.n_users, ratings.n_items):
        side: Side = "user" if table.entity.startswith("user") else "item"
        is_side, (n_rows, d) = table.entity in SIDES, table.shape
        own = len(range(n_rows)[rows])
        tau2 = of_biases[side] if table.kind == "bias" else of_factors
        precision[table.name] = np.full(d, noise / tau2, np.float32)
        prior[table.name] = np.zeros((own if is_side and side in features else 1, d), np.float32)
        if is_side:
            # Factors start with variance 0: noise in the other side's factors would keep them from growing.
            variance[table.name] = np.full((own, d), tau2 / 4 if table.kind == "bias" else 0, np.float32)
    by_entity: dict[Entity, NDArray[np.int64]] = {side: counts[side] for side in SIDES}
    by_entity |= dict.fromkeys(TIME_BINS.values(), statistics.time_counts)
    share = {e: (n > 0) / np.maximum(n, 1).astype(np.float32) for e, n in by_entity.items() if len(n)}
    n_users, n_items, k = len(counts["user"]), len(counts["item"]), architecture.embedding_dim
    return Objective(
        {entity: np.asarray(s, np.float32) for entity, s in share.items()},
        prior,
        precision,
        variance,
        weight=np.ones(n_users, np.float32),
        noise=np.full(1, noise, np.float32),
        squares=np.zeros(n_users, np.float32),
        data={name: np.zeros_like(v) for name, v in variance.items()},
        weight_decay=weight_decay,
        previous=np.zeros((n_items, k + 1), np.float32) if architecture.previous_item else None,
        previous_variance=np.zeros((n_items, k), np.float32) if architecture.previous_item else None,
        ordinal=ordinal,
    )


def noise_edge(counts: Mapping[Side, NDArray[np.int64]]) -> float:
    """Return τ²/σ at which a factor is as likely to grow from noise as to vanish: the least to find signals.

    With n_u ratings of each user and n_i of each item, the largest singular value of their noise is about
    σ (√n_u + √n_i) (Marchenko and Pastur, 1967). At this τ², its square equals the product of the penalties
    σ²/v on a factor of users and of items, with v = σ² / (n v' + σ²/τ²), where v' is v of the other side.
    """
    n_u, n_i = (float(counts[side].sum()) / max(int(np.count_nonzero(counts[side])), 1) for side in SIDES)
    g = 2 * math.sqrt(n_u * n_i)
    return math.sqrt((n_u + n_i + g) / ((n_u + g) * (n_i + g)))


def bias_variances(
    ratings: Ratings, counts: Mapping[Side, NDArray[np.int64]], communicator: Communicator
) -> tuple[float, dict[Side, float]]:
    """Estimate σ² and the τ² of b_u and b_i in a model with only biases, by its mean-field posterior.

    τ² is updated by MacKay's fixed point (1992, "Bayesian interpolation", eq. 4.20), which converges faster
    than EM.
    """
    n = int(counts["user"].sum())
    total = communicator.all_reduce(np.array([ratings.values.sum(dtype=np.float64)]))[0]
    mean, rows = np.float32(total / max(n, 1)), {"user": ratings.users, "item": ratings.items}
    b = {side: np.zeros(len(counts[side]), np.float32) for side in SIDES}

    def squares() -> float:
        found = 0.0
        for part in blocks(len(ratings)):  # columns may be larger than memory
            error = ratings.values[part] - mean - sum(b[side][rows[side][part]] for side in SIDES)
            found += float(error @ error)
        return float(communicator.all_reduce(np.array([found]))[0])

    least = LEAST_DEVIATION**2
    noise = max(squares() / max(n, 1), least)
    tau2: dict[Side, float] = dict.fromkeys(SIDES, 0.2 * noise)
    for _ in range(SWEEPS):
        spread, before = 0.0, np.array([noise, *tau2.values()])
        for side in SIDES:
            other = OTHER[side]
            sums = np.zeros(len(counts[side]))
            for part in blocks(len(ratings)):
                error = ratings.values[part] - mean - b[other][rows[other][part]]
                sums += np.bincount(rows[side][part], error, len(sums))
            sums = communicator.all_reduce(sums)
            v = 1 / (1 / tau2[side] + counts[side] / noise)
            b[side] = (v * sums / noise).astype(np.float32)
            seen = counts[side] > 0
            found = float(b[side][seen] @ b[side][seen]) / max(float((1 - v[seen] / tau2[side]).sum()), 1e-9)
            spread += float(v @ counts[side])
            tau2[side] = max(found, LEAST_TAU2 * noise)
        noise = max((squares() + spread) / max(n, 1), least)
        if np.allclose(before, [noise, *tau2.values()], rtol=SETTLED, atol=0):
            break
    return noise, tau2


@dataclass(eq=False)
class Inference:
    """Updates an `Objective` after each epoch, and also the means of rows if their priors move.

    Without a product, embeddings have variance 0: noise would drown out what the MLP has to learn.
    """

    objective: Objective
    ratings: Ratings  # of this process, in units, as the engine learns from them: minus `drift`
    counts: Mapping[Side, NDArray[np.int64]]
    communicator: Communicator
    features: Mapping[Side, PriorMeans] = field(default_factory=dict)
    drift: UserDrift | None = None
    bins: NDArray[np.int32] | None = None  # time bins of the ratings, for an architecture with periods
    previous: PreviousItems | None = None

    def __post_init__(self) -> None:
        o, noise = self.objective, float(self.objective.noise[0])
        self._of_factors = {n: noise / float(precision[0]) for n, precision in o.precision.items()}
        for side, means in self.features.items():
            for kind in KINDS:
                if (name := table_name(side, kind)) in self.objective.variance:
                    precision = self.objective.precision[name]
                    means.reserve(name, len(precision), float((noise / precision).mean()))

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that change, by name, to be saved; those named ".../TABLE" have this process's rows."""
        o = self.objective
        found: dict[str, NDArray[np.generic]] = {}
        for kind, tables in (("prior", o.prior), ("precision", o.precision), ("variance", o.variance)):
            for name, table in tables.items():
                is_shard = kind == "variance" or (len(table) > 1 and kind == "prior")
                found[f"{kind}/{name}" if is_shard else f"{kind}.{name}"] = table
        found |= {"weight": o.weight, "noise": o.noise}
        for side, means in self.features.items():
            found |= {f"{side}.{name}": array for name, array in means.arrays.items()}
        if self.previous is not None and o.previous is not None and o.previous_variance is not None:
            found |= {"previous_item.mean": o.previous, "previous_item.variance": o.previous_variance}
            found |= self.previous.arrays
        return found if self.drift is None else found | self.drift.arrays

    def resume(self) -> None:
        """Subtract the drift from the ratings after `arrays` are restored; raise ValueError for bad ones."""
        o = self.objective
        for name, array in {"noise": o.noise, "weight": o.weight, **o.precision}.items():
            if not (array > 0).all():
                raise ValueError(f"{name}: a variance that is not above 0")
        if self.drift is not None:
            self.drift.resume(self.ratings)

    def update(self, engine: Engine) -> float | None:
        """Infer everything given an engine's means; return the mean of e² / (1 - h), which estimates σ_u².

        Returns None for an ordinal likelihood, whose errors are not errors of ratings.
        """
        o = self.objective
        squares = self.communicator.all_reduce(o.squares.astype(np.float64))
        if self.drift is not None or self.previous is not None:
            residual = self._residual(engine)
            if self.previous is not None:
                residual = self.previous.follow(engine, o, residual, self.bins)
            if self.drift is not None:
                squares *= self.drift.follow(o, self.ratings, residual)
        o.squares[:] = 0
        n = self.counts["user"]
        expected = float(squares.sum()) / int(n.sum())
        if o.ordinal is None:
            before, noise = float(o.noise[0]), max(expected, LEAST_DEVIATION**2)
            o.noise[0] = noise
            o.weight[:] = noise * (NOISE_RATINGS + n) / (NOISE_RATINGS * noise + squares)
            for name, precision in o.precision.items():
                if name.endswith("bias.weight"):
                    precision[...] = np.minimum(precision * (noise / before), 1 / LEAST_TAU2)
        for side in SIDES:
            for kind in KINDS:
                if table_name(side, kind) in engine.parameters:
                    self._infer(engine, side, kind)
        return expected if o.ordinal is None else None

    def _residual(self, engine: Engine) -> NDArray[np.float64]:
        """Return the engine's targets minus its predictions, for the ratings of all processes."""
        r, residual = self.ratings, np.empty(len(self.ratings))
        columns = self.bins, None if self.previous is None else self.previous.column
        for part in blocks(len(r), AT_ONCE):
            context = (None if column is None else column[part] for column in columns)
            residual[part] = r.values[part] - engine.predict(r.users[part], r.items[part], *context)
        engine.all_reduce(0.0)
        return np.asarray(self.communicator.all_gather(residual))

    def _infer(self, engine: Engine, side: Side, kind: Kind) -> None:
        """Infer the variances of a table, then the prior of its rows."""
        o, name, noise = self.objective, table_name(side, kind), float(self.objective.noise[0])
        own, m, v = self.communicator.rows, engine.parameters[name], self.objective.variance[name]
        # Σ w J² over the ratings of a row: its precision without the prior, times σ².
        data = o.data[name].copy()
        o.data[name][:] = 0
        if kind == "bias" or engine.architecture.product:
            v += (noise / (data + o.precision[name]) - v) / 2  # v of both sides depend on each other
        seen = (self.counts[side] > 0)[own]
        if side in self.features:
            self.features[side].update(name, m, data, o.prior[name], o.precision[name], noise)
        elif kind == "embedding":
            o.prior[name][...] = self._mean(m[seen])
        distance = m[seen] - (o.prior[name] if len(o.prior[name]) == 1 else o.prior[name][seen])
        spread = self._mean(distance**2 + v[seen])
        if kind == "embedding":
            explained = self._mean((o.prior[name] - self._mean(o.prior[name])) ** 2)
            share = np.maximum(spread / np.maximum(spread + explained, TINY), 0.1)
            o.precision[name][...] = 2 * noise / (self._of_factors[name] * share + spread)
        elif side in self.features:
            o.precision[name][...] = noise / np.maximum(spread, LEAST_TAU2 * noise)

    def _mean(self, rows: Array) -> Array:
        """Return the mean of the rows of all processes, shape (d,)."""
        sums = np.append(rows.sum(axis=0, dtype=np.float64), len(rows))
        *total, n = self.communicator.all_reduce(sums)
        return np.asarray(total / np.maximum(n, 1), np.float32)
