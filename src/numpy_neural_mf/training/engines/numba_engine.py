"""The engine for speed on a CPU: the step of the NumPy engine, fused into compiled loops (extra "fast")."""

from __future__ import annotations

import logging
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ...mf.parameters import KINDS, SIDES, TIME_BINS, Entity, Parameters, table_name
from ...nn.parameter import Array, IntArray, zeros_aligned
from ...utils.extras import naming_the_extra
from .base import Bins, Engine, require_context

if TYPE_CHECKING:
    from .numba_kernels import Model, Pairs, Spread

# Number of parts of a batch whose weight gradients are summed separately, then together; it does not depend
# on the number of threads.
MAX_CHUNKS = 16

# For a model without time or previous items, and for a step without an MLP.
NO_BINS, NO_KEY = np.zeros(0, np.int32), np.uint32(0)

logger = logging.getLogger(__name__)


@cache
def announce(kernel: Any, seconds: str) -> None:
    """Warn once per process that a kernel is about to be compiled, unless it is cached."""
    from .numba_compat import is_cached

    if not is_cached(kernel):
        logger.warning("compiling the numba engine, once on this machine: it takes %s seconds", seconds)


class NumbaEngine(Engine):
    """Computes the same step as `NumpyEngine` to rounding; only the random signs differ.

    The same seed gives the same bits for any number of threads. Raises ModuleNotFoundError if Numba is not
    installed, TypeError for an optimizer that is not from this package, and RuntimeError in a process forked
    from one in which an engine had started Numba's threads.
    """

    def _prepare(self) -> None:
        with naming_the_extra('engine "numba"', "fast"):
            import numba  # noqa: F401

            from . import numba_compat, numba_kernels, numba_layers, numba_optimizers, numba_rows
        self._kernels, self._of_rows, self._launch = numba_kernels, numba_rows, numba_compat.launch
        self._tile = numba_layers.TILE
        self._n_threads = numba_compat.start_threads()
        self._optimizers = numba_optimizers
        self._updates = numba_optimizers.NumbaOptimizer(self.optimizer, self.parameters)
        dtype, form = self._dtype, self.architecture
        self._k = form.embedding_dim if form.has_embeddings else 0
        self._sizes = np.array(form.layer_sizes, np.int64)
        self._factors = None if form.n_layers else self._sizes
        self._layers = self._sizes if form.n_layers else None
        n_weights = [n_in * n_out + n_out for n_in, n_out in pairwise(self._sizes)]
        self._starts = np.cumsum([0, *n_weights], dtype=np.int64)
        self._weights, self._transposed = (np.zeros(self._starts[-1], dtype) for _ in range(2))
        self._by_chunk = zeros_aligned((MAX_CHUNKS, len(self._weights)), dtype)
        self._activation = getattr(numba_layers, form.activation.upper())
        self._width = max(2 * self._k + int(self._sizes[:-1].sum()), 6)
        self._scratch = self._new_scratch(self._n_threads)
        self._place = [np.full(len(self._share[side]), -1, np.int32) for side in SIDES]
        self._no_cutpoints = np.zeros(0, dtype)
        self._reserve(0)

    def step(
        self, users: IntArray, items: IntArray, ratings: Array, time_bins: Bins = None, previous: Bins = None
    ) -> float:
        announce(self._kernels.gradients, "about 10")
        n, pairs = len(users), self._pairs(users, items, time_bins, previous)
        if n > len(self._residuals):
            self._reserve(n)
        ratings = np.ascontiguousarray(ratings, self._dtype)
        loss, of_weights, of_cutpoints, of_bins = self._gradients(pairs, ratings)
        step = self._updates.count_steps()
        self._launch(
            self._of_rows.update_rows,
            self._n_threads, step, pairs.users, pairs.items, self._share["user"],
            self._share["item"], self._row_gradients, self._residuals, self._curvatures, self._squares,
            *self._row_tables, *self._place, self._mine, self._rows, self._sums, self._bias_sums,
            self._shrink, self.objective.squares,
        )  # fmt: skip
        if len(of_bins):
            self._update_bins(pairs.bins, of_bins, n, step)
        kept = 1 - self.optimizer.learning_rate * self.objective.weight_decay
        decayed = step._replace(decay=step.decay * kept)
        self._updates.update_dense("intercept", self._residuals[:n].sum(keepdims=True), step)
        if (ordinal := self.objective.ordinal) is not None:
            gradient = ordinal.backward(self.parameters["cutpoints"], of_cutpoints / n)
            self._updates.update_dense("cutpoints", gradient, step)
        for name, part in self._weight_parts.items():
            self._updates.update_dense(name, of_weights[part], step if name.endswith("bias") else decayed)
        return loss

    def step_per_sample(self, *batch: Any) -> float:
        """See `Engine.step_per_sample`; one loop serves plain SGD without MLP, context and categories."""
        is_plain = self._updates.is_plain_sgd and not self.architecture.layer_sizes
        form = self.architecture
        if not is_plain or form.periods or form.previous_item or self.objective.ordinal:
            return super().step_per_sample(*batch)
        announce(self._of_rows.descend, "a few")
        users, items, ratings = batch
        pairs = self._pairs(users, items, None, None)
        self._updates.count_steps(len(users))
        loss: float = self._of_rows.descend(
            pairs.users, pairs.items, np.ascontiguousarray(ratings, self._dtype), *self._row_tables,
            self.parameters["intercept"], self._share["user"], self._share["item"], self._spread(),
            float(self.optimizer.learning_rate), self.objective.squares,
        )  # fmt: skip
        return loss

    def predict(
        self, users: IntArray, items: IntArray, time_bins: Bins = None, previous: Bins = None
    ) -> Array:
        predictions, pairs = np.empty(len(users), self._dtype), self._pairs(users, items, time_bins, previous)
        self._kernels.predict(pairs, self._model(), self._new_scratch(1)[0], predictions)
        return predictions

    def _pairs(self, users: IntArray, items: IntArray, time_bins: Bins, previous: Bins) -> Pairs:
        require_context(self.architecture, time_bins, previous)
        columns = users, items, *(NO_BINS if ids is None else ids for ids in (time_bins, previous))
        return self._kernels.Pairs(*(np.ascontiguousarray(ids, np.int32) for ids in columns))

    def _gradients(self, pairs: Pairs, ratings: Array) -> tuple[float, Array, Array, Array]:
        """Return the loss and the gradients of weights, cutpoints and time bins; row gradients go to buffers.

        The gradients of bins, shape (n_time_bins, 2 k + 1), are those of user vectors, item vectors and bias.
        """
        n_chunks = min(MAX_CHUNKS, -(-len(ratings) // self._tile))
        key = np.uint32(self._rng.integers(2**32)) if self.architecture.n_layers and n_chunks else NO_KEY
        model, spread = self._model(), self._spread(key)
        by_chunk, losses = self._by_chunk[:n_chunks], np.empty(n_chunks)
        if (ordinal := self.objective.ordinal) is not None:
            ratings = ordinal.number(ratings).astype(self._dtype)
        theta_by_chunk = np.empty((n_chunks, len(model.theta)), self._dtype)
        bins_by_chunk = np.empty((n_chunks, self.architecture.periods, 2 * self._k + 1), self._dtype)
        self._launch(
            self._kernels.gradients,
            min(self._n_threads, n_chunks), self._factors, self._layers, pairs, ratings, model, spread,
            self._scratch, by_chunk, theta_by_chunk, bins_by_chunk, losses, self._row_gradients,
            self._residuals, self._squares, self._curvatures,
        )  # fmt: skip
        loss = float(losses.sum() / len(ratings))
        # A sum over nothing takes as long as any other small one.
        of_cutpoints = theta_by_chunk.sum(axis=0) if len(model.theta) else model.theta
        of_bins = bins_by_chunk.sum(axis=0) if self.architecture.periods else by_chunk[:0]
        return loss, by_chunk.sum(axis=0), of_cutpoints, of_bins

    def _update_bins(self, bins: IntArray, of_bins: Array, n: int, step: Any) -> None:
        counts, k = np.bincount(bins, minlength=len(of_bins)), self._k
        used = np.flatnonzero(counts)
        for place, side in enumerate(SIDES):
            shrinkage = ((2 / n) * counts * self._share[TIME_BINS[side]]).astype(self._dtype)[used]
            for kind in KINDS:
                if (name := table_name(TIME_BINS[side], kind)) in self.parameters:
                    part = slice(place * k, (place + 1) * k) if kind == "embedding" else slice(2 * k, None)
                    learned = self._learned_table(name, self.parameters[name])
                    self._updates.update_rows(learned, used, of_bins[used, part], shrinkage, step)

    def _model(self) -> Model:
        """Return parameters and architecture as the kernels take them."""
        for name, part in self._weight_parts.items():
            W = self.parameters[name]
            self._weights[part], self._transposed[part] = W.ravel(), W.T.ravel()
        theta, tau, steps = self._no_cutpoints, 1.0, self._no_cutpoints
        if (ordinal := self.objective.ordinal) is not None:
            theta, tau = ordinal.cutpoints(self.parameters["cutpoints"]), ordinal.tau
            steps = ordinal.steps.astype(self._dtype)
        return self._kernels.Model._make([
            *self._tables.values(), self._previous[0], self.parameters["intercept"][0],
            self.architecture.product, self._sizes, self._activation, self._weights, self._transposed,
            self._starts, theta, self._dtype.type(tau), steps,
        ])  # fmt: skip

    def _spread(self, key: np.uint32 = NO_KEY) -> Spread:
        """Return variances and related quantities as the kernels take them."""
        o, tables = self.objective, list(self._tables.items())[:4]
        of_rows = [o.variance.get(name, table) for name, table in tables]
        return self._kernels.Spread._make(
            [*of_rows, self._previous[1], o.weight, self._dtype.type(o.curvature), o.noise[0], key]
        )

    @cached_property
    def _tables(self) -> Parameters:
        """Embeddings and biases of users and items, then of time bins; empty arrays for missing ones."""
        tables: Parameters = {}
        entities: tuple[tuple[Entity, ...], ...] = SIDES, (*TIME_BINS.values(),)
        for entity, kind in ((e, kind) for some in entities for kind in KINDS for e in some):
            shape = (0, 1) if kind == "bias" else (len(self._share.get(entity, ())), 0)
            name = table_name(entity, kind)
            tables[name] = self.parameters.get(name, np.zeros(shape, self._dtype))
        return tables

    @cached_property
    def _previous(self) -> tuple[Array, Array]:
        """y and w of previous items, and the variances of y; zeros for a model without them."""
        o, nothing = self.objective, np.zeros((1, self._k + 1), self._dtype)
        if o.previous is None or o.previous_variance is None:
            return nothing, nothing
        return o.previous, o.previous_variance

    @cached_property
    def _row_tables(self) -> list[Any]:
        """Each table of users and of items, with its prior and the optimizer's state for it."""
        return [self._learned_table(*named) for named in list(self._tables.items())[:4]]

    def _learned_table(self, name: str, table: Array) -> Any:
        o, nothing = self.objective, np.zeros((1, table.shape[1]), self._dtype)
        value, a, b = self._updates.memory(name, table)
        prior, precision = o.prior.get(name, nothing), o.precision.get(name, nothing[0])
        return self._optimizers.Learned(value, precision, prior, a, b, o.data.get(name, table[:0]))

    @cached_property
    def _weight_parts(self) -> dict[str, slice]:
        """The position of each weight and bias of the MLP in the array of all of them."""
        parts: dict[str, slice] = {}
        for layer, start in enumerate(self._starts[:-1]):
            for name in (f"mlp.{layer}.weight", f"mlp.{layer}.bias"):
                if name in self.parameters:
                    parts[name] = slice(start, start + self.parameters[name].size)
                    start = parts[name].stop
        return parts

    def _new_scratch(self, n_threads: int) -> Array:
        """Allocate for each thread: layer inputs, slopes, gradients, r̂ and other values by rating, and J²."""
        return zeros_aligned((n_threads, 5, self._width, self._tile), self._dtype)

    def _reserve(self, n: int) -> None:
        """Allocate buffers for batches of up to n ratings."""
        parts = 2 * self._n_threads  # users and items for each thread
        self._row_gradients = zeros_aligned((n, 2 * self._k), self._dtype)
        self._curvatures = zeros_aligned((n, 2 * self._k + 1), self._dtype)
        self._residuals, self._squares = (np.zeros(n, self._dtype) for _ in range(2))
        self._mine, self._rows = (np.zeros((parts, n), np.int32) for _ in range(2))
        self._sums = zeros_aligned((parts, n, self._k), self._dtype)
        self._bias_sums = np.zeros((parts, n, 1), self._dtype)
        self._shrink = np.zeros((parts, n), self._dtype)
