"""The engine for speed on a CPU: the step of the NumPy engine, fused into compiled loops (extra "fast")."""

from __future__ import annotations

import logging
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...mf.parameters import FEATURES, KINDS, SIDES, TIME_BINS, Entity, Parameters, Side, table_name
from ...mf.side_information import FeaturesOfBatch
from ...nn import GroupedIds
from ...nn.parameter import Array, IntArray, zeros_aligned
from ...utils.extras import naming_the_extra
from .base import Bins, Engine, require_time_bins

if TYPE_CHECKING:
    from .numba_kernels import Model, Pairs

# Parts of a batch whose weight gradients are summed each by itself, then together: the same for any number of
# threads.
MAX_CHUNKS = 16

# Of a model without time, and of a step without dropout.
NO_BINS, NO_KEY = np.zeros(0, np.int32), np.uint32(0)

logger = logging.getLogger(__name__)


class NumbaEngine(Engine):
    """Computes the same step as `NumpyEngine` to rounding; only the masks of dropout differ.

    The same seed gives the same bits for any number of threads. Numba that is not installed is a
    ModuleNotFoundError, an optimizer not of this package a TypeError, and a process forked from one in which
    an engine had started Numba's threads a RuntimeError.
    """

    def _prepare(self) -> None:
        with naming_the_extra('engine "numba"', "fast"):
            import numba  # noqa: F401

            from . import numba_compat, numba_kernels, numba_layers, numba_rows
        self._kernels, self._of_rows, self._launch = numba_kernels, numba_rows, numba_compat.launch
        self._tile = numba_layers.TILE
        self._n_threads = numba_compat.start_threads()
        self._updates = numba_rows.NumbaOptimizer(self.optimizer, self.parameters)
        dtype, form = self._dtype, self.architecture
        self._k = form.embedding_dim if form.has_embeddings else 0
        self._sizes = np.array(form.layer_sizes, np.int64)
        n_weights = [n_in * n_out + n_out for n_in, n_out in pairwise(self._sizes)]
        self._starts = np.cumsum([0, *n_weights], dtype=np.int64)
        self._weights, self._transposed = (np.zeros(self._starts[-1], dtype) for _ in range(2))
        self._by_chunk = zeros_aligned((MAX_CHUNKS, len(self._weights)), dtype)
        self._activation = getattr(numba_layers, form.activation.upper())
        self._width = max(2 * self._k + int(self._sizes[:-1].sum()), 2)
        self._scratch = self._new_scratch(self._n_threads)
        self._place = [np.full(len(self._penalty[side]), -1, np.int32) for side in SIDES]
        self._no_cutpoints = np.zeros(0, dtype)
        self._reserve(0)
        if not numba_compat.is_cached(numba_kernels.gradients):
            logger.warning("compiling the numba engine, once on this machine: it takes about half a minute")

    def step(self, users: IntArray, items: IntArray, ratings: Array, time_bins: Bins = None) -> float:
        n, pairs = len(users), self._pairs(users, items, time_bins)
        if n > len(self._residuals):
            self._reserve(n)
        features = self._features_of(pairs)
        ratings = np.ascontiguousarray(ratings, self._dtype)
        loss, of_weights, of_cutpoints, of_bins = self._gradients(pairs, ratings, features)
        h = self._updates.count_steps()
        self._launch(
            self._of_rows.update_rows,
            self._n_threads, self._updates.kind, h, pairs.users, pairs.items, self._penalty["user"],
            self._penalty["item"], self._row_gradients, self._residuals, *self._row_tables, *self._place,
            self._mine, self._rows, self._sums, self._bias_sums, self._shrink,
        )  # fmt: skip
        if features or len(of_bins):
            self._update_features_and_bins(features, pairs.bins, of_bins, n, h)
        decayed = h.copy()
        decayed[4] *= 1 - self.optimizer.learning_rate * self.objective.weight_decay
        self._updates.update_dense("intercept", self._residuals[:n].sum(keepdims=True), h)
        if (ordinal := self.objective.ordinal) is not None:
            gradient = ordinal.backward(self.parameters["cutpoints"], of_cutpoints / n)
            self._updates.update_dense("cutpoints", gradient, h)
        for name, part in self._weight_parts.items():
            self._updates.update_dense(name, of_weights[part], h if name.endswith("bias") else decayed)
        return loss

    def step_per_sample(self, *batch: Any) -> float:
        """See `Engine.step_per_sample`: one loop for plain SGD without MLP, features, time and categories."""
        is_plain = self._updates.kind == self._of_rows.OF_SGD and not self.architecture.layer_sizes
        if not is_plain or self._features or self.architecture.periods or self.objective.ordinal:
            return super().step_per_sample(*batch)
        users, items, ratings = batch
        pairs, model = self._pairs(users, items, None), self._model({})
        self._updates.count_steps(len(users))
        loss: float = self._of_rows.descend(
            pairs.users, pairs.items, np.ascontiguousarray(ratings, self._dtype), model.P, model.Q, model.b_u,
            model.b_i, self.parameters["intercept"], self._penalty["user"], self._penalty["item"],
            float(self.optimizer.learning_rate),
        )  # fmt: skip
        return loss

    def predict(self, users: IntArray, items: IntArray, time_bins: Bins = None) -> Array:
        predictions, pairs = np.empty(len(users), self._dtype), self._pairs(users, items, time_bins)
        pairs, model = self._rows_of_batch(pairs, self._features_of(pairs))
        self._kernels.predict(pairs, model, self._new_scratch(1)[0], predictions)
        return predictions

    def _pairs(self, users: IntArray, items: IntArray, time_bins: Bins) -> Pairs:
        require_time_bins(self.architecture, time_bins)
        bins = NO_BINS if time_bins is None else time_bins
        return self._kernels.Pairs(*(np.ascontiguousarray(ids, np.int32) for ids in (users, items, bins)))

    def _gradients(
        self, pairs: Pairs, ratings: Array, features: dict[Side, FeaturesOfBatch]
    ) -> tuple[float, Array, Array, Array]:
        """Loss, and gradients of weights, of cutpoints and of time bins; those of rows are in buffers.

        Those of bins, shape (n_time_bins, 2 k + 1), are of the vectors of users, of items, and of the bias.
        """
        rate, n_chunks = self.architecture.dropout, min(MAX_CHUNKS, -(-len(ratings) // self._tile))
        key = np.uint32(self._rng.integers(2**32)) if rate and n_chunks else NO_KEY
        pairs, model = self._rows_of_batch(pairs, features, 1.0 - rate, key)
        by_chunk, losses = self._by_chunk[:n_chunks], np.empty(n_chunks)
        if (ordinal := self.objective.ordinal) is not None:
            ratings = ordinal.number(ratings).astype(self._dtype)
        theta_by_chunk = np.empty((n_chunks, len(model.theta)), self._dtype)
        bins_by_chunk = np.empty((n_chunks, self.architecture.periods, 2 * self._k + 1), self._dtype)
        self._launch(
            self._kernels.gradients,
            min(self._n_threads, n_chunks), pairs, ratings, model, self._scratch, by_chunk, theta_by_chunk,
            bins_by_chunk, losses, self._row_gradients, self._residuals,
        )  # fmt: skip
        loss = float(losses.sum() / len(ratings))
        # A sum over nothing takes as long as any other small one.
        of_cutpoints = theta_by_chunk.sum(axis=0) if len(model.theta) else model.theta
        of_bins = bins_by_chunk.sum(axis=0) if self.architecture.periods else by_chunk[:0]
        return loss, by_chunk.sum(axis=0), of_cutpoints, of_bins

    def _features_of(self, pairs: Pairs) -> dict[Side, FeaturesOfBatch]:
        """For the sides that have features."""
        ids: dict[Side, IntArray] = {"user": pairs.users, "item": pairs.items}
        return {side: features.of(GroupedIds(ids[side])) for side, features in self._features.items()}

    def _rows_of_batch(
        self, pairs: Pairs, features: dict[Side, FeaturesOfBatch], *dropout: Any
    ) -> tuple[Pairs, Model]:
        """Pairs and model as kernels take them: with features, P + X E of the batch's rows in place of P."""
        rows: Parameters = {}
        for side, of_side in features.items():
            pairs = pairs._replace(**{f"{side}s": of_side.ids.positions.astype(np.int32)})
            for kind in KINDS:
                if (own := self.parameters.get(name := table_name(side, kind))) is not None:
                    rows[name] = of_side.rows(own, self.parameters[table_name(FEATURES[side], kind)])
        return pairs, self._model(rows, *dropout)

    def _update_features_and_bins(
        self, features: dict[Side, FeaturesOfBatch], bins: IntArray, of_bins: Array, n: int,
        h: NDArray[np.float64],
    ) -> None:  # fmt: skip
        counts, k, update_rows = np.bincount(bins, minlength=len(of_bins)), self._k, self._updates.update_rows
        used = np.flatnonzero(counts)
        for place, side in enumerate(SIDES):
            own = slice(place * k, (place + 1) * k)
            for kind in KINDS:
                if table_name(side, kind) not in self.parameters:
                    continue
                is_bias = kind == "bias"
                if (found := features.get(side)) is not None:
                    dy = self._residuals[:n, None] if is_bias else self._row_gradients[:n, own]
                    name, shrinkage = table_name(FEATURES[side], kind), found.shrinkage[:, 0]
                    update_rows(name, found.columns, found.gradient(dy), shrinkage, h)
                if len(of_bins):
                    shrinkage = ((2 / n) * counts * self._penalty[TIME_BINS[side]]).astype(self._dtype)
                    by_bin = of_bins[:, 2 * k :] if is_bias else of_bins[:, own]
                    update_rows(table_name(TIME_BINS[side], kind), used, by_bin[used], shrinkage[used], h)

    def _model(self, rows: Parameters, keep: float = 1.0, key: np.uint32 = NO_KEY) -> Model:
        """Parameters, some tables of which `rows` replace, form and dropout as the kernels take them."""
        for name, part in self._weight_parts.items():
            W = self.parameters[name]
            self._weights[part], self._transposed[part] = W.ravel(), W.T.ravel()
        theta, tau = self._no_cutpoints, 1.0
        if (ordinal := self.objective.ordinal) is not None:
            theta, tau = ordinal.cutpoints(self.parameters["cutpoints"]), ordinal.tau
        return self._kernels.Model._make([
            *(self._tables | rows).values(), self.parameters["intercept"][0], self.architecture.product,
            self._sizes, self._activation, self._weights, self._transposed, self._starts, theta,
            self._dtype.type(tau), keep, key,
        ])  # fmt: skip

    @cached_property
    def _tables(self) -> Parameters:
        """Embeddings and biases of users and items, then of time bins; empty where there are none."""
        tables: Parameters = {}
        entities: tuple[tuple[Entity, ...], ...] = SIDES, (*TIME_BINS.values(),)
        for entity, kind in ((e, kind) for some in entities for kind in KINDS for e in some):
            shape = (0, 1) if kind == "bias" else (len(self._penalty.get(entity, ())), 0)
            name = table_name(entity, kind)
            tables[name] = self.parameters.get(name, np.zeros(shape, self._dtype))
        return tables

    @cached_property
    def _row_tables(self) -> list[Array]:
        """Each table of users and of items, and the two arrays of the optimizer's state for it."""
        own = list(self._tables.items())[:4]
        return [array for name, table in own for array in self._updates.memory(name, table)]

    @cached_property
    def _weight_parts(self) -> dict[str, slice]:
        """Where each weight and bias of the MLP is in the array of all of them."""
        parts: dict[str, slice] = {}
        for layer, start in enumerate(self._starts[:-1]):
            for name in (f"mlp.{layer}.weight", f"mlp.{layer}.bias"):
                if name in self.parameters:
                    parts[name] = slice(start, start + self.parameters[name].size)
                    start = parts[name].stop
        return parts

    def _new_scratch(self, n_threads: int) -> Array:
        """For each thread: inputs of layers, slopes, gradients, then r̂ and its gradient."""
        return zeros_aligned((n_threads, 4, self._width, self._tile), self._dtype)

    def _reserve(self, n: int) -> None:
        """Make room for batches of up to n ratings."""
        parts = 2 * self._n_threads  # of users and of items for each thread
        self._row_gradients = zeros_aligned((n, 2 * self._k), self._dtype)
        self._residuals = np.zeros(n, self._dtype)
        self._mine, self._rows = (np.zeros((parts, n), np.int32) for _ in range(2))
        self._sums = zeros_aligned((parts, n, self._k), self._dtype)
        self._bias_sums = np.zeros((parts, n, 1), self._dtype)
        self._shrink = np.zeros((parts, n), self._dtype)
