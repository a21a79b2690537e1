"""The engine for speed on a CPU: the step of the NumPy engine, fused into compiled loops (extra "fast")."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...mf.architecture import Architecture, Parameters
from ...mf.side_features import Bags, BagsOfBatch, of_dtype
from ...nn import SGD, AdaGrad, Adam, AdamW, CumulativeLogit, GroupedIds, Optimizer, RMSProp
from ...nn.optimizers import State
from ...nn.parameter import Array, IntArray, zeros_aligned
from .base import Engine

# Parts of a batch whose weight gradients are summed each by itself, then together: for any number of threads
# the same.
MAX_CHUNKS = 16

SIDES = ("user", "item")
KINDS = ("embedding", "bias")

logger = logging.getLogger(__name__)


class NumbaEngine(Engine):
    """Computes the same step as `NumpyEngine`, which has the parameters explained, to rounding.

    Only the masks of dropout are others. The same seed gives the same bits for any number of threads.

    Raises
    ------
    ModuleNotFoundError
        Numba is not installed.
    TypeError
        The optimizer is not one of this package, whose formulas are compiled.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: Parameters,
        optimizer: Optimizer,
        user_penalty: Array,
        item_penalty: Array,
        weight_decay: float = 0.0,
        rng: np.random.Generator | None = None,
        bags: Mapping[str, Bags] | None = None,
        ordinal: CumulativeLogit | None = None,
    ) -> None:
        try:
            import numba

            from . import numba_kernels, numba_rows, numba_sgd
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'engine "numba" needs {error.name}: pip install "numpy-neural-mf[fast]"', name=error.name
            ) from error
        self._kernels, self._of_rows, self._sgd = numba_kernels, numba_rows, numba_sgd
        self._n_threads = numba.get_num_threads()
        self.architecture = architecture
        self.parameters = parameters
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self._ordinal = ordinal
        self._kind = self._kind_of(optimizer)
        self._rng = np.random.default_rng() if rng is None else rng
        self._dtype = dtype = parameters["intercept"].dtype
        self._penalty = [penalty.astype(dtype, copy=False) for penalty in (user_penalty, item_penalty)]
        self._bags = of_dtype(bags or {}, dtype)
        n_rows = [len(penalty) for penalty in self._penalty]
        self._tables, self._biases = self._tables_of(parameters)
        self._k = self._tables[0].shape[1]
        self._sizes = np.array(architecture.layer_sizes, np.int64)
        n_weights = [n_in * n_out + n_out for n_in, n_out in pairwise(self._sizes)]
        self._starts = np.cumsum([0, *n_weights], dtype=np.int64)
        self._weights = np.zeros(self._starts[-1], dtype)
        self._by_chunk = zeros_aligned((MAX_CHUNKS, len(self._weights)), dtype)
        self._activation = getattr(numba_kernels, architecture.activation.upper())
        n_features = 2 * self._k + int(self._sizes[:-1].sum())
        self._width = max(n_features, 2)
        self._scratch = self._new_scratch(self._n_threads)
        self._place = [np.full(n, -1, np.int32) for n in n_rows]
        self._reserve(0)
        if _compiles_anew(numba_kernels):
            logger.warning("compiling the numba engine, once on this machine: it takes about half a minute")

    def step(self, users: IntArray, items: IntArray, ratings: Array) -> float:
        """Learn from one batch: see `NumpyEngine.step`."""
        n = len(users)
        users, items = (np.ascontiguousarray(ids, np.int32) for ids in (users, items))
        ratings = np.ascontiguousarray(ratings, self._dtype)
        if n > len(self._residuals):
            self._reserve(n)
        batch = self._bags_of(users, items)
        losses, weight_gradients, d_theta = self._gradients(users, items, ratings, batch)
        n_steps = self._state["intercept"]["step"]
        n_steps += 1
        h = self._numbers(int(n_steps))
        own = (
            np.ascontiguousarray(self._bags[side].rows(ids), np.int32) if side in batch else ids
            for side, ids in zip(SIDES, (users, items), strict=True)
        )
        self._of_rows.update_rows(
            self._n_threads, self._kind, h, *own, *self._penalty, self._row_gradients,
            self._residuals, *self._row_tables, *self._place, self._mine, self._rows, self._sums,
            self._bias_sums, self._shrink,
        )  # fmt: skip
        for side, bags in batch.items():
            self._update_features(side, bags, h)
        decayed = h.copy()
        decayed[4] *= 1 - self.optimizer.learning_rate * self.weight_decay
        self._update(self._intercept, self._residuals[:n].sum(keepdims=True), h)
        if self._ordinal is not None:
            gradient = self._ordinal.backward(self.parameters["cutpoints"], d_theta / n)
            self._update(self._as_one_row("cutpoints"), gradient, h)
        for weights, part, is_bias in self._dense:
            self._update(weights, weight_gradients[part], h if is_bias else decayed)
        return float(losses.sum() / n)

    def one_by_one(self, users: IntArray, items: IntArray, ratings: Array) -> float:
        """See `Engine.one_by_one`: of plain SGD without MLP and features, one loop."""
        if self._kind != self._of_rows.SGD or self.architecture.layer_sizes or self._bags or self._ordinal:
            return super().one_by_one(users, items, ratings)
        n_steps = self._state["intercept"]["step"]
        n_steps += len(users)
        users, items = (np.ascontiguousarray(ids, np.int32) for ids in (users, items))
        loss: float = self._sgd.descend(
            users, items, np.ascontiguousarray(ratings, self._dtype), *self._tables, *self._biases,
            self.parameters["intercept"], *self._penalty, float(self.optimizer.learning_rate),
        )  # fmt: skip
        return loss

    def predict(self, users: IntArray, items: IntArray) -> Array:
        """Ratings of pairs, shape (n,), not clipped."""
        predictions = np.empty(len(users), self._dtype)
        users, items = (np.ascontiguousarray(ids, np.int32) for ids in (users, items))
        users, items, tables, biases = self._rows_at_work(users, items, self._bags_of(users, items))
        self._kernels.predict(
            users, items, *self._model(tables, biases), self._new_scratch(1)[0], predictions,
        )  # fmt: skip
        return predictions

    def _gradients(
        self, users: IntArray, items: IntArray, ratings: Array, batch: Mapping[str, BagsOfBatch]
    ) -> tuple[Array, Array, Array]:
        """Losses by chunk, gradients of weights, of cutpoints (of the sum); those of rows stay in buffers."""
        users, items, tables, biases = self._rows_at_work(users, items, batch)
        n_chunks = min(MAX_CHUNKS, -(-len(users) // self._kernels.TILE))
        by_chunk, losses = self._by_chunk[:n_chunks], np.empty(n_chunks)
        theta, tau = np.zeros(0, self._dtype), 1.0
        if self._ordinal is not None:
            theta, tau = self._ordinal.cutpoints(self.parameters["cutpoints"]), self._ordinal.tau
            ratings = self._ordinal.number(ratings).astype(self._dtype)
        theta_by_chunk = np.empty((n_chunks, len(theta)), self._dtype)
        dropout = self.architecture.dropout
        key = np.uint32(self._rng.integers(2**32) if dropout and n_chunks else 0)
        self._kernels.gradients(
            min(self._n_threads, n_chunks), users, items, ratings, *self._model(tables, biases),
            self._transposed(), theta, self._dtype.type(tau), 1.0 - dropout, key, self._scratch, by_chunk,
            theta_by_chunk, losses, self._row_gradients, self._residuals,
        )  # fmt: skip
        return losses, by_chunk.sum(axis=0), theta_by_chunk.sum(axis=0)

    def _bags_of(self, users: IntArray, items: IntArray) -> dict[str, BagsOfBatch]:
        """Of the sides that have bags."""
        return {
            side: self._bags[side].of(GroupedIds(ids))
            for side, ids in zip(SIDES, (users, items), strict=True)
            if side in self._bags
        }

    def _rows_at_work(
        self, users: IntArray, items: IntArray, batch: Mapping[str, BagsOfBatch]
    ) -> tuple[IntArray, IntArray, list[Array], list[Array]]:
        """Users, items, embeddings and biases; where there are bags, the rows P + X E that the batch has."""
        if not batch:
            return users, items, self._tables, self._biases
        users, items = (
            batch[side].ids.positions.astype(np.int32) if side in batch else ids
            for side, ids in zip(SIDES, (users, items), strict=True)
        )
        return users, items, *self._tables_of(self._rows_of(batch))

    def _rows_of(self, batch: Mapping[str, BagsOfBatch]) -> Parameters:
        """The parameters with tables of the rows of a batch in place of those of sides with features."""
        rows = {}
        for side, bags in batch.items():
            for kind in KINDS:
                if (own := self.parameters.get(f"{side}_{kind}.weight")) is not None:
                    shared = self.parameters[f"{side}_feature_{kind}.weight"]
                    rows[f"{side}_{kind}.weight"] = bags.rows(own, shared)
        return self.parameters | rows

    def _update_features(self, side: str, bags: BagsOfBatch, h: NDArray[np.float64]) -> None:
        """A step on the rows of the feature tables that the batch has in a bag."""
        n, first = len(bags.ids.ids), SIDES.index(side) * self._k
        of_kind = (self._row_gradients[:n, first : first + self._k], self._residuals[:n, None])
        columns = bags.columns.astype(np.int32)
        for kind, gradient in zip(KINDS, of_kind, strict=True):
            name = f"{side}_feature_{kind}.weight"
            if name in self.parameters:
                value, a, b = self._with_memory(name, self.parameters[name])
                self._of_rows.update(
                    self._kind, value, columns, len(columns), bags.gradient(gradient),
                    bags.shrinkage[:, 0], a, b, h,
                )  # fmt: skip

    def _tables_of(self, parameters: Parameters) -> tuple[list[Array], list[Array]]:
        """Embeddings and biases; a part that the architecture has not is a table without columns, or rows."""
        n_rows = [len(penalty) for penalty in self._penalty]
        tables = [
            parameters.get(f"{side}_embedding.weight", np.zeros((n, 0), self._dtype))
            for side, n in zip(SIDES, n_rows, strict=True)
        ]
        return tables, [
            parameters.get(f"{side}_bias.weight", np.zeros((0, 1), self._dtype)) for side in SIDES
        ]

    def _update(self, of_one_row: list[Array], gradient: Array, h: NDArray[np.float64]) -> None:
        """A step on a dense array, which is a table of one row."""
        value, a, b = of_one_row
        gradient, shrink = gradient.reshape(1, -1), np.zeros(1, self._dtype)
        self._of_rows.update(self._kind, value, np.zeros(1, np.int32), 1, gradient, shrink, a, b, h)

    @cached_property
    def _state(self) -> dict[str, State]:
        """The optimizer's, with one count of steps for all: every step changes every parameter.

        First asked for when the engine is first used: by then it is new, or has come from a checkpoint.
        """
        state = self.optimizer.state
        for name, value in self.parameters.items():
            state.setdefault(name, self.optimizer.new_state(value))
        for of_parameter in state.values():
            of_parameter["step"] = state["intercept"]["step"]
        return state

    @cached_property
    def _row_tables(self) -> list[Array]:
        """Each table of rows and the two arrays that the optimizer remembers for it."""
        tables = {"embedding": self._tables, "bias": self._biases}
        return [
            array
            for kind in KINDS
            for side, table in zip(SIDES, tables[kind], strict=True)
            for array in self._with_memory(f"{side}_{kind}.weight", table)
        ]

    @cached_property
    def _intercept(self) -> list[Array]:
        return self._as_one_row("intercept")

    @cached_property
    def _dense(self) -> list[tuple[list[Array], slice, bool]]:
        """Weights and biases of the MLP, each as a table of one row, and where its gradient is."""
        found = []
        for layer, start in enumerate(self._starts[:-1]):
            for part in ("weight", "bias"):
                name = f"mlp.{layer}.{part}"
                if name in self.parameters:
                    end = start + self.parameters[name].size
                    found.append((self._as_one_row(name), slice(start, end), part == "bias"))
                    start = end
        return found

    def _as_one_row(self, name: str) -> list[Array]:
        return [array.reshape(1, -1) for array in self._with_memory(name, self.parameters[name])]

    def _with_memory(self, name: str, value: Array) -> list[Array]:
        """A parameter and the two arrays remembered for it; in place of one that there is not, any array."""
        state = self._state.get(name, {})
        return [value, *(state[slot] for slot in self.optimizer.slots if slot in state), value, value][:3]

    def _numbers(self, t: int) -> NDArray[np.float64]:
        """What the optimizer's formula needs in step t: rate, two decays, epsilon, decay of the value."""
        o, rate = self.optimizer, self.optimizer.learning_rate
        if isinstance(o, Adam):
            root = math.sqrt(1 - o.beta2**t)
            decay = 1 - rate * o.weight_decay if isinstance(o, AdamW) else 1
            numbers = [rate * root / (1 - o.beta1**t), o.beta1, o.beta2, root * o.epsilon, decay]
        elif isinstance(o, RMSProp):
            numbers = [rate, o.decay, 0, o.epsilon, 1]
        elif isinstance(o, AdaGrad):
            numbers = [rate, 0, 0, o.epsilon, 1]
        else:
            numbers = [rate, getattr(o, "momentum", 0), 0, 0, 1]
        return np.array(numbers, np.float64)

    def _kind_of(self, optimizer: Optimizer) -> Any:
        rows = self._of_rows
        if type(optimizer) is SGD:
            with_momentum = rows.NESTEROV if optimizer.nesterov else rows.MOMENTUM
            return with_momentum if optimizer.momentum else rows.SGD
        kinds = {
            Adam: rows.ADAM, AdamW: rows.ADAM, RMSProp: rows.RMSPROP, AdaGrad: rows.ADAGRAD,
        }  # fmt: skip
        if type(optimizer) not in kinds:
            raise TypeError(f'engine "numba" has no compiled {type(optimizer).__name__}: use engine "numpy"')
        return kinds[type(optimizer)]

    def _model(self, tables: list[Array], biases: list[Array]) -> tuple[object, ...]:
        """Parameters and form, as the kernels take them."""
        for (value, *_), part, _ in self._dense:
            self._weights[part] = value[0]
        return (
            *tables, *biases, self.parameters["intercept"][0], self.architecture.product,
            self._sizes, self._activation, self._weights, self._starts,
        )  # fmt: skip

    def _transposed(self) -> Array:
        """The matrices of the MLP, transposed, each where it is among the weights."""
        transposed = np.zeros_like(self._weights)
        for layer, start in enumerate(self._starts[:-1]):
            W = self.parameters[f"mlp.{layer}.weight"]
            transposed[start : start + W.size] = W.T.ravel()
        return transposed

    def _new_scratch(self, n_threads: int) -> Array:
        """For each thread: inputs of layers, slopes, gradients, then r̂ and its gradient."""
        return zeros_aligned((n_threads, 4, self._width, self._kernels.TILE), self._dtype)

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


def _compiles_anew(kernels: object) -> bool:
    """Whether no run before has left compiled code where Numba keeps it."""
    cache = getattr(getattr(kernels, "gradients", None), "_cache", None)
    folder = getattr(cache, "cache_path", None)
    return folder is not None and not any(Path(folder).glob("numba_kernels.gradients-*.nbi"))
