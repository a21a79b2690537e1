"""The effect on a rating of the item that the user rated just before, solved for between epochs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.columns import blocks
from ..mf.drift import Timeline
from ..mf.parameters import TIME_BINS, table_name
from ..mf.previous_item import PreviousItemEffect, effect_of, previous_items
from ..utils.extras import naming_the_extra
from .distributed import Communicator
from .engines.base import Bins, Engine
from .objective import TINY, Objective

LEAST = 1e-6  # minimum of a prior variance, relative to σ², and of its divisor
AT_ONCE = 2**16  # ratings whose effect is computed at once
Floats = NDArray[np.float64]


class PreviousItems:
    """y_j and w_j of each item j, with a normal prior of mean zero and a variance for each column.

    Given everything else, the residual of a rating after item j is y_j · q_i + w_j plus noise, so their
    posterior mean is a ridge regression. Prior variances are inferred by MacKay's fixed point (1992,
    "Bayesian interpolation", eq. 4.20). The vectors are centred over ratings; user vectors take up the mean.
    """

    def __init__(self, ratings: Ratings, width: int, variance: float, communicator: Communicator) -> None:
        """Take this process's ratings and the initial prior variance; each process solves for all items."""
        if ratings.timestamps is None:
            expected = "expected timestamps, since the architecture has previous_item"
            raise ValueError(f"ratings: {expected}, found none")
        with naming_the_extra("previous_item", "fast"):
            from .kernels import regress
        self._regress, self._communicator = regress, communicator
        self._users, self._items = map(communicator.all_gather, (ratings.users, ratings.items))
        times = communicator.all_gather(ratings.timestamps)
        self._n_items = ratings.n_items
        order, self._timeline = Timeline.of(self._users, times, ratings.n_users)
        self._rated = np.asarray(self._items[order], np.int32)
        self._previous = self.before(self._users, times)
        self._order = np.argsort(self._previous, kind="stable")
        self._counts = np.bincount(self._previous, minlength=self._n_items + 1)[:-1]
        self.column = self._previous[communicator.place(len(ratings))]
        self._variances = np.full(width + 1, variance)

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that change, except the vectors, to be saved."""
        return {"previous_item.variances": self._variances}

    def before(self, users: NDArray[np.int32], times: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the item that each user rated before these times: see `previous_items`."""
        return previous_items(self._timeline, self._rated, self._n_items, users, times)

    def effect(self, objective: Objective) -> PreviousItemEffect:
        """Return the effect of the fitted model."""
        assert objective.previous is not None
        return PreviousItemEffect(self._timeline, self._rated, objective.previous)

    def follow(self, engine: Engine, objective: Objective, residual: Floats, bins: Bins) -> Floats:
        """Solve for all vectors given the residuals of all ratings; return the remaining residuals."""
        table, variances = objective.previous, objective.previous_variance
        name = table_name("item", "embedding")
        assert table is not None
        assert variances is not None
        q, v = self._whole(engine.parameters[name]), self._whole(objective.variance[name])
        z, at = np.zeros((1, q.shape[1]), q.dtype), np.zeros(len(residual), np.int32)
        if bins is not None:
            z = self._whole(engine.parameters[table_name(TIME_BINS["item"], "embedding")])
            at = self._communicator.all_gather(bins)
        noise = float(objective.noise[0])
        precision = objective.weight.astype(np.float64)[self._users] / noise
        before = table.astype(np.float64)
        target = residual + self._effect(before, q, z, at)
        starts = np.append(0, np.cumsum(self._counts))
        found, spread = np.zeros_like(before), np.zeros_like(before)
        self._regress(
            starts, self._order, self._items, at, q, v, z, target, precision, 1 / self._variances, found,
            spread,
        )  # fmt: skip
        seen = np.flatnonzero(self._counts)
        shown = np.maximum((1 - spread[seen] / self._variances).sum(axis=0), LEAST)
        self._variances[:] = np.maximum((found[seen] ** 2).sum(axis=0) / shown, LEAST * noise)
        # If one factor shows an effect, another may show one after q has learned it: until then it keeps a
        # prior variance, at most that of user vectors, in the proportion in which q is uncertain.
        most = noise / objective.precision[table_name("user", "embedding")]
        uncertain = v.sum(axis=0) / np.maximum((q * q + v).sum(axis=0), TINY)
        kept = uncertain * np.minimum(self._variances[:-1].max(), most)
        self._variances[:-1] = np.maximum(self._variances[:-1], kept)
        found[seen] -= self._counts @ found[:-1] / max(int(self._counts.sum()), 1)
        table[...], variances[...] = found, spread[:, :-1]
        return target - self._effect(table.astype(np.float64), q, z, at)

    def _effect(self, table: Floats, q: NDArray[np.floating], z: NDArray[np.floating], at: Bins) -> Floats:
        """Return y_j · (q_i + z_t) + w_j for all ratings, shape (n,)."""
        assert at is not None
        effect = np.empty(len(self._items))
        for part in blocks(len(effect), AT_ONCE):
            effect[part] = effect_of(table[self._previous[part]], q[self._items[part]] + z[at[part]])
        return effect

    def _whole(self, shard: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the whole table, given this process's shard."""
        rows = self._communicator.rows
        n = int(self._communicator.all_reduce(np.array([len(shard)]))[0])
        whole = np.zeros((n, shard.shape[1]), shard.dtype)
        whole[rows] = shard
        return self._communicator.all_reduce(whole)
