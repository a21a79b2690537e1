"""The engine for speed on a CPU: the step of the NumPy engine, fused into compiled loops (extra "fast")."""

from __future__ import annotations

import logging
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...mf.architecture import Architecture
from ...mf.parameters import FEATURES, KINDS, SIDES, TIME_BINS, Entity, Kind, Parameters, Side, table_name
from ...mf.side_information import FeaturesOfBatch, as_dtype
from ...nn import GroupedIds, Optimizer
from ...nn.parameter import Array, IntArray, zeros_aligned
from ..objective import Objective
from .base import Engine, require_time_bins

if TYPE_CHECKING:
    from .numba_kernels import Model, Pairs

# Parts of a batch whose weight gradients are summed each by itself, then together: the same for any number of
# threads.
MAX_CHUNKS = 16

# The time bins of a model without any.
NO_BINS = np.zeros(0, np.int32)

logger = logging.getLogger(__name__)


class _Gradients(NamedTuple):
    """Of the loss of a batch; those of rows are in buffers, rating by rating."""

    loss: float
    weights: Array
    cutpoints: Array
    bins: Array
    """Shape (n_time_bins, 2 k + 1): of the vectors of users, of items, and of the bias."""


class NumbaEngine(Engine):
    """Computes the same step as `NumpyEngine`, where the parameters are explained, to rounding.

    Only the masks of dropout differ. The same seed gives the same bits for any number of threads.

    Raises
    ------
    ModuleNotFoundError
        Numba is not installed.
    RuntimeError
        This process was forked from one in which an engine had started Numba's threads.
    TypeError
        The optimizer is not one of this package, whose formulas are compiled.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: Parameters,
        optimizer: Optimizer,
        objective: Objective,
        rng: np.random.Generator | None = None,
    ) -> None:
        try:
            import numba  # noqa: F401

            from . import numba_compat, numba_kernels, numba_layers, numba_optimizer, numba_rows, numba_sgd
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'engine "numba" needs {error.name}: pip install "numpy-neural-mf[fast]"', name=error.name
            ) from error
        self._kernels, self._of_rows, self._sgd = numba_kernels, numba_rows, numba_sgd
        self._launch = numba_compat.launch
        self._tile = numba_layers.TILE
        self._n_threads = numba_compat.start_threads()
        self.architecture = architecture
        self.parameters = parameters
        self.optimizer = optimizer
        self.objective = objective
        self._updates = numba_optimizer.NumbaOptimizer(optimizer, parameters)
        self._rng = np.random.default_rng() if rng is None else rng
        self._dtype = dtype = parameters["intercept"].dtype
        self._penalty = {
            entity: penalty.astype(dtype, copy=False) for entity, penalty in objective.row_penalty.items()
        }
        self._features = as_dtype(objective.side_features, dtype)
        self._k = architecture.embedding_dim if architecture.has_embeddings else 0
        self._sizes = np.array(architecture.layer_sizes, np.int64)
        n_weights = [n_in * n_out + n_out for n_in, n_out in pairwise(self._sizes)]
        self._starts = np.cumsum([0, *n_weights], dtype=np.int64)
        self._weights = np.zeros(self._starts[-1], dtype)
        self._by_chunk = zeros_aligned((MAX_CHUNKS, len(self._weights)), dtype)
        self._activation = getattr(numba_layers, architecture.activation.upper())
        self._width = max(2 * self._k + int(self._sizes[:-1].sum()), 2)
        self._scratch = self._new_scratch(self._n_threads)
        self._place = [np.full(len(self._penalty[side]), -1, np.int32) for side in SIDES]
        self._reserve(0)
        if not numba_compat.is_cached(numba_kernels.gradients):
            logger.warning("compiling the numba engine, once on this machine: it takes about half a minute")

    def step(
        self, users: IntArray, items: IntArray, ratings: Array, time_bins: IntArray | None = None
    ) -> float:
        """Learn from one batch: see `Engine.step`."""
        n, pairs = len(users), self._pairs(users, items, time_bins)
        if n > len(self._residuals):
            self._reserve(n)
        features = self._features_of(pairs)
        found = self._gradients(pairs, np.ascontiguousarray(ratings, self._dtype), features)
        h = self._updates.count_steps()
        self._launch(
            self._of_rows.update_rows,
            self._n_threads, self._updates.kind, h, pairs.users, pairs.items, self._penalty["user"],
            self._penalty["item"], self._row_gradients, self._residuals, *self._row_tables, *self._place,
            self._mine, self._rows, self._sums, self._bias_sums, self._shrink,
        )  # fmt: skip
        for place, side in enumerate(SIDES if features or len(found.bins) else ()):
            own = slice(place * self._k, (place + 1) * self._k)
            for kind in KINDS:
                if table_name(side, kind) not in self.parameters:
                    continue
                if side in features:
                    by_rating = (
                        self._row_gradients[:n, own] if kind == "embedding" else self._residuals[:n, None]
                    )
                    self._update_features(side, kind, features[side], by_rating, h)
                if len(found.bins):
                    by_bin = found.bins[:, own] if kind == "embedding" else found.bins[:, 2 * self._k :]
                    self._update_time_bins(TIME_BINS[side], kind, pairs.bins, by_bin, h)
        decayed = h.copy()
        decayed[4] *= 1 - self.optimizer.learning_rate * self.objective.weight_decay
        self._updates.update_dense("intercept", self._residuals[:n].sum(keepdims=True), h)
        if (ordinal := self.objective.ordinal) is not None:
            gradient = ordinal.backward(self.parameters["cutpoints"], found.cutpoints / n)
            self._updates.update_dense("cutpoints", gradient, h)
        for name, part in self._weight_parts.items():
            self._updates.update_dense(name, found.weights[part], h if name.endswith("bias") else decayed)
        return found.loss

    def step_per_sample(
        self, users: IntArray, items: IntArray, ratings: Array, time_bins: IntArray | None = None
    ) -> float:
        """See `Engine.step_per_sample`: one loop for plain SGD without MLP, features, time and categories."""
        is_plain = self._updates.kind == self._of_rows.SGD and not self.architecture.layer_sizes
        if not is_plain or self._features or self.architecture.periods or self.objective.ordinal:
            return super().step_per_sample(users, items, ratings, time_bins)
        pairs = self._pairs(users, items, None)
        model = self._model(self.parameters)
        self._updates.count_steps(len(users))
        loss: float = self._sgd.descend(
            pairs.users, pairs.items, np.ascontiguousarray(ratings, self._dtype), model.P, model.Q, model.b_u,
            model.b_i, self.parameters["intercept"], self._penalty["user"], self._penalty["item"],
            float(self.optimizer.learning_rate),
        )  # fmt: skip
        return loss

    def predict(self, users: IntArray, items: IntArray, time_bins: IntArray | None = None) -> Array:
        """r̂ of pairs, shape (n,), not clipped."""
        predictions, pairs = np.empty(len(users), self._dtype), self._pairs(users, items, time_bins)
        pairs, model = self._rows_of_batch(pairs, self._features_of(pairs))
        nothing_dropped = self._kernels.Dropout(1.0, np.uint32(0))
        self._kernels.predict(pairs, model, nothing_dropped, self._new_scratch(1)[0], predictions)
        return predictions

    def _pairs(self, users: IntArray, items: IntArray, time_bins: IntArray | None) -> Pairs:
        require_time_bins(self.architecture, time_bins)
        bins = NO_BINS if time_bins is None else time_bins
        return self._kernels.Pairs(*(np.ascontiguousarray(ids, np.int32) for ids in (users, items, bins)))

    def _gradients(self, pairs: Pairs, ratings: Array, features: dict[Side, FeaturesOfBatch]) -> _Gradients:
        pairs, model = self._rows_of_batch(pairs, features)
        n_chunks = min(MAX_CHUNKS, -(-len(ratings) // self._tile))
        by_chunk, losses = self._by_chunk[:n_chunks], np.empty(n_chunks)
        theta, tau = np.zeros(0, self._dtype), 1.0
        if (ordinal := self.objective.ordinal) is not None:
            theta, tau = ordinal.cutpoints(self.parameters["cutpoints"]), ordinal.tau
            ratings = ordinal.number(ratings).astype(self._dtype)
        theta_by_chunk = np.empty((n_chunks, len(theta)), self._dtype)
        bins_by_chunk = np.empty((n_chunks, self.architecture.periods, 2 * self._k + 1), self._dtype)
        rate = self.architecture.dropout
        key = np.uint32(self._rng.integers(2**32) if rate and n_chunks else 0)
        self._launch(
            self._kernels.gradients,
            min(self._n_threads, n_chunks), pairs, ratings, model, self._transposed(), theta,
            self._dtype.type(tau), self._kernels.Dropout(1.0 - rate, key), self._scratch, by_chunk,
            theta_by_chunk, bins_by_chunk, losses, self._row_gradients, self._residuals,
        )  # fmt: skip
        loss = float(losses.sum() / len(ratings))
        # A sum over nothing takes as long as any other small one.
        of_cutpoints = theta_by_chunk.sum(axis=0) if len(theta) else theta
        of_bins = bins_by_chunk.sum(axis=0) if self.architecture.periods else by_chunk[:0]
        return _Gradients(loss, by_chunk.sum(axis=0), of_cutpoints, of_bins)

    def _features_of(self, pairs: Pairs) -> dict[Side, FeaturesOfBatch]:
        """For the sides that have features."""
        ids: dict[Side, IntArray] = {"user": pairs.users, "item": pairs.items}
        return {side: features.of(GroupedIds(ids[side])) for side, features in self._features.items()}

    def _rows_of_batch(self, pairs: Pairs, features: dict[Side, FeaturesOfBatch]) -> tuple[Pairs, Model]:
        """Pairs and model as kernels take them: with features, P + X E of the batch's rows in place of P."""
        if not features:
            return pairs, self._model(self.parameters)
        rows, ids = {}, {"user": pairs.users, "item": pairs.items}
        for side, of_side in features.items():
            ids[side] = of_side.ids.positions.astype(np.int32)
            for kind in KINDS:
                if (own := self.parameters.get(table_name(side, kind))) is not None:
                    shared = self.parameters[table_name(FEATURES[side], kind)]
                    rows[table_name(side, kind)] = of_side.rows(own, shared)
        return self._kernels.Pairs(ids["user"], ids["item"], pairs.bins), self._model(self.parameters | rows)

    def _update_features(
        self, side: Side, kind: Kind, features: FeaturesOfBatch, by_rating: Array, h: NDArray[np.float64]
    ) -> None:
        name, shrinkage = table_name(FEATURES[side], kind), features.shrinkage[:, 0]
        self._updates.update_rows(name, features.columns, features.gradient(by_rating), shrinkage, h)

    def _update_time_bins(
        self, entity: Entity, kind: Kind, bins: IntArray, by_bin: Array, h: NDArray[np.float64]
    ) -> None:
        counts, penalty = np.bincount(bins, minlength=len(by_bin)), self._penalty[entity]
        shrinkage = ((2 / len(bins)) * counts * penalty).astype(self._dtype)
        used = np.flatnonzero(counts)
        self._updates.update_rows(table_name(entity, kind), used, by_bin[used], shrinkage[used], h)

    def _model(self, parameters: Parameters) -> Model:
        """Parameters and form as the kernels take them."""
        for name, part in self._weight_parts.items():
            self._weights[part] = self.parameters[name].ravel()
        tables = self._own_tables if parameters is self.parameters else self._tables_of(parameters)
        return self._kernels.Model._make([
            *tables, self.parameters["intercept"][0], self.architecture.product,
            self._sizes, self._activation, self._weights, self._starts,
        ])  # fmt: skip

    @cached_property
    def _own_tables(self) -> list[Any]:
        return self._tables_of(self.parameters)

    def _tables_of(self, parameters: Parameters) -> list[Any]:
        """Embeddings and biases of users and items, then of time bins; empty where there are none."""

        def table(entity: Entity, kind: Kind) -> Array:
            nothing = (0, 1) if kind == "bias" else (len(self._penalty.get(entity, ())), 0)
            return parameters.get(table_name(entity, kind), np.zeros(nothing, self._dtype))

        entities: tuple[tuple[Entity, ...], ...] = SIDES, (*TIME_BINS.values(),)
        return [table(entity, kind) for some in entities for kind in KINDS for entity in some]

    @cached_property
    def _row_tables(self) -> list[Array]:
        """Each table of users and of items, and the two arrays of the optimizer's state for it."""
        model = self._model(self.parameters)
        tables = {"user": (model.P, model.b_u), "item": (model.Q, model.b_i)}
        return [
            array
            for place, kind in enumerate(KINDS)
            for side in SIDES
            for array in self._updates.memory(table_name(side, kind), tables[side][place])
        ]

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

    def _transposed(self) -> Array:
        """The matrices of the MLP, transposed, each at its place among the weights."""
        transposed = np.zeros_like(self._weights)
        for layer, start in enumerate(self._starts[:-1]):
            W = self.parameters[f"mlp.{layer}.weight"]
            transposed[start : start + W.size] = W.T.ravel()
        return transposed

    def _new_scratch(self, n_threads: int) -> Array:
        """For each thread: inputs of layers, slopes, gradients, then r̂ and its gradient."""
        return zeros_aligned((n_threads, 4, self._width, self._tile), self._dtype)

    def _reserve(self, n: int) -> None:
        """Make room for batches of up to n ratings."""
        parts = 2 * self._n_threads  # of users and of items for each thread
        self._row_gradients = zeros_aligned((n, 2 * self._k), self._dtype)
        self._residuals = np.zeros(n, self._dtype)
        self._mine = np.zeros((parts, n), np.int32)
        self._rows = np.zeros((parts, n), np.int32)
        self._sums = zeros_aligned((parts, n, self._k), self._dtype)
        self._bias_sums = np.zeros((parts, n, 1), self._dtype)
        self._shrink = np.zeros((parts, n), self._dtype)
