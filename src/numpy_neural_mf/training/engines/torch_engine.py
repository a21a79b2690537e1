"""The PyTorch engine: derivatives by autograd, on a CPU or a GPU (extra "torch")."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.batches import Batch, cut
from ...mf.parameters import SIDES, TIME_BINS, Entity, is_table
from ...nn import AdaGrad
from ...nn.parameter import Array
from ..objective import TINY
from .base import Engine, keep_freed_memory, require_context, require_same_process
from .torch_device import DeviceBatches, GraphedSteps, cut_share, find_device, products_in_tf32
from .torch_lookup import Found, Lookup, TorchObjective, find, find_in_fixed_shape, looked_up, vectors
from .torch_module import NeuralMFModule, OrdinalLoss, random_signs
from .torch_processes import TorchCommunicator, communicator_on
from .torch_state import TorchOptimizer, TorchState

# The key of the loss scale in the optimiser's state, so that a checkpoint includes it.
LOSS_SCALE = "loss_scale"

SIXTEEN_BITS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchEngine(Engine):
    """Computes the same step as `NumpyEngine` to rounding; only random signs differ.

    On the CPU it updates the given arrays. On another `device`, arrays, the optimiser's state and the
    objective are copied there at the first step: `fetch` brings them back, `send` copies them again. With
    several processes, each has its own shard of every table and the objective of all rows. `precision` is
    that of the MLP's products in training: "tf32", on CUDA, rounds factors to 10 bits; "bfloat16" and
    "float16" use 16 bits where `torch.autocast` does; "float16" scales the loss (Micikevicius et al., 2018).

    Raises RuntimeError in a process forked from one in which the engine had trained, TypeError for another
    package's optimizer, and ValueError for a device that is missing or does not support the precision.
    """

    communicator: TorchCommunicator

    def __init__(self, *settings: Any, device: str = "cpu", precision: str = "float32", **more: Any) -> None:
        require_same_process("torch")
        self.device, self.precision = find_device(device), precision
        if precision == "tf32" and self.device.type != "cuda":
            raise ValueError(f'precision "tf32" is for device "cuda", not for {self.device.type!r}')
        super().__init__(*settings, **more)

    def _prepare(self) -> None:
        ordinal = self.objective.ordinal
        self.communicator = communicator_on(self.device)
        self._ordinal = None if ordinal is None else OrdinalLoss(ordinal, self._dtype, self.device)
        self._generator = torch.Generator(self.device)
        self._shares_memory = self.device.type == "cpu"
        if self._shares_memory:
            keep_freed_memory()
        self._batches = DeviceBatches(self.device, self.communicator)
        self._scaler = self.communicator.scaler(self.device, self.precision == "float16")
        is_graphed = self._is_graphed(self._dtype)
        self._graphs = GraphedSteps(self._generator) if is_graphed else None
        self._optimizer = TorchOptimizer(self.optimizer, self.device if is_graphed else None)
        self._is_loaded = False

    def _is_graphed(self, dtype: np.dtype[Any]) -> bool:
        """Return whether every step has the same kernels, none of which the host waits for."""
        return (
            self.device.type == "cuda"
            and self.communicator.size == 1
            and not self._scaler.is_enabled()
            and not isinstance(self.optimizer, AdaGrad)  # PyTorch's AdaGrad reads its step on the host
            and dtype == np.float32  # PyTorch's fused optimisers read a float32 rate
        )

    def step(
        self, users: Any, items: Any, ratings: Any, time_bins: Any = None, previous: Any = None,
        is_own: Any = None,
    ) -> Any:  # fmt: skip
        """Learn from one batch of arrays or tensors: see `Engine.step`.

        With several processes, each takes its share of a batch from `cut`, with `is_own`, which marks the
        share among all ratings. Returns the loss of the whole batch: a float, or on CUDA a float64 tensor
        without dimensions, so the host need not wait.
        """
        if (is_own is None) != (self.communicator.size == 1):
            raise ValueError("expected what `cut` makes: with many processes, a share of a batch")
        self._load()
        if self.architecture.n_layers:
            self._generator.manual_seed(int(self._rng.integers(2**63)))
        known = self._here(ratings).to(self.module.intercept.dtype)
        columns = [known, *self._ids(users, items, time_bins, previous)]
        if self._graphs is None:
            loss = self._learn(*columns, is_own=is_own)
        else:
            self._optimizer.read_rate()
            loss = self._graphs.take(self._learn, *columns)
        return loss.double() if self.device.type == "cuda" else loss.item()

    def _learn(self, known: Tensor, *ids: Tensor, is_own: Any = None) -> Tensor:
        n = len(known) if is_own is None else len(is_own)
        found = self._find(ids, in_fixed_shapes=self._graphs is not None)
        # Autograd sees rows in place of the tables: gradients are summed by row.
        lookups = {
            entity: self._objective.look_up(entity, self._held.tables[entity], some.exchange)
            for entity, some in found.items()
        }
        with products_in_tf32(self.precision == "tf32"):
            previous = self._objective.previous(ids[-1] if self.architecture.previous_item else None)
            loss = self._differentiate(known, ids[0], found, lookups, n, self._signs(n, is_own), previous)
        with torch.no_grad():
            dense = [value.grad for value in self._dense.values()]
            self.communicator.sum([loss, *(gradient for gradient in dense if gradient is not None)])
            if decay := self.objective.weight_decay:
                for layer in range(self.architecture.n_layers):
                    weight = self._dense[f"mlp.{layer}.weight"].mul_(1 - self._optimizer.rate * decay)
                    weight.masked_fill_(weight.abs() < TINY, 0)
            self._objective.record_data(found, lookups)
            owned = {entity: some.exchange.owned for entity, some in found.items()}
            rows, slots = {entity: some.row_leaf for entity, some in lookups.items()}, self._held.slots(owned)
            self._optimizer.step(self._dense | dict[str, Tensor](rows.items()), slots, self._scaler)
            for entity, some in found.items():
                self._held.put_back(entity, owned[entity], rows[entity], slots[entity], some.used)
        return loss

    def _differentiate(
        self,
        known: Tensor,
        users: Tensor,
        found: Mapping[Entity, Found],
        lookups: Mapping[Entity, Lookup],
        n: int,
        signs: Tensor | None,
        previous: Sequence[Tensor],
    ) -> Tensor:
        """Return the mean loss, and set the leaves' gradients: scaled ones for rows, `data` for variances.

        The first backward pass goes only to the vectors of each rating, where the gradient is J times the
        derivative by r̂.
        """
        o, scale, d = self._objective, self._scaler.scale, lookups["user"].row_leaf.shape[1]
        rows = looked_up(found, {entity: some.fetched.detach() for entity, some in lookups.items()})
        x, biases = self.module.pair(*(vectors(rows, side, d) for side in SIDES))
        v, v_of_biases = self.module.pair(*(rows[side][:, d : 2 * d] for side in SIDES))
        prediction = self._forward(x.requires_grad_(), biases, v, signs, previous)
        prediction.retain_grad()
        error, weight = prediction - known, o.weight[users]
        if self._ordinal is None:
            loss, fit = (error**2).sum(), (weight * error**2).sum()
        else:
            loss = fit = self._ordinal(prediction, known, self._dense["cutpoints"])
        torch.autograd.backward(scale(fit / n))
        with torch.no_grad():
            dr, of_x = prediction.grad, torch.zeros_like(x) if x.grad is None else x.grad
            assert dr is not None
            curvature = self.objective.curvature * weight
            of_x, squares, variance = self.module.add_variance(x, v, of_x, dr, scale(curvature / n), previous)
            o.record_errors(found["user"], error, curvature * (variance + v_of_biases))
            if self._scaler.is_enabled():  # after an overflow the step is skipped, and no values may remain
                squares = squares.nan_to_num(0, 0, 0)
            given = self.module.by_side((of_x, dr), (curvature[:, None] * squares, curvature))
            given |= {bins: given[side][:, :d] for side, bins in TIME_BINS.items() if bins in found}
            by_row = [
                torch.cat([some.sum(given[e]), scale(o.shrinkage(e, some) / n)[:, None]], dim=1)
                for e, some in found.items()
            ]
        torch.autograd.backward([some.fetched for some in lookups.values()], by_row)
        return loss.detach() / n

    def _forward(
        self, x: Tensor, biases: Tensor, v: Tensor, signs: Tensor | None, previous: Sequence[Tensor]
    ) -> Tensor:
        """Return r̂ of each rating, given [p, q], their biases and their variances."""
        offset = None if signs is None else torch.copysign(v.sqrt(), signs)
        bits = SIXTEEN_BITS.get(self.precision)
        with torch.autocast(self.device.type, bits, enabled=bits is not None):
            return self.module.rate(x, biases, offset, *previous[:1])

    def _signs(self, n: int, is_own: Any) -> Tensor | None:
        """Draw random signs for the MLP's input, (n, 2 k), seeded by the host's generator.

        They are drawn for the whole batch, so they are the same in any number of processes.
        """
        if not self.architecture.n_layers:
            return None
        signs = random_signs(n, 2 * self.architecture.embedding_dim, self._generator)
        return signs if is_own is None else signs[self._here(is_own)]

    def _find(self, ids: Sequence[Tensor], in_fixed_shapes: bool = False) -> dict[Entity, Found]:
        """Return the rows of a batch by entity; fixed shapes depend only on the number of ratings."""
        return {
            entity: find_in_fixed_shape(entity, some, len(self._share[entity]), self.communicator)
            if in_fixed_shapes
            else find(some, self.communicator)
            for entity, some in self._by_entity(*ids).items()
        }

    def predict(self, users: Any, items: Any, time_bins: Any = None, previous: Any = None) -> Array:
        """See `Engine.predict`; each process may predict any number of times before `all_reduce`."""
        ids = self._ids(users, items, time_bins, previous)
        self.communicator.any(np.array(self.communicator.size > 1))
        return self._predict(*ids)

    def _predict(self, *ids: Tensor) -> Array:
        self._load()
        with torch.inference_mode():
            if self.communicator.size == 1:
                tables, by_entity = self._held.tables, self._by_entity(*ids)
                rows = {entity: tables[entity][some] for entity, some in by_entity.items()}
            else:
                found, tables = self._find(ids), self._held.tables
                rows = looked_up(
                    found,
                    {e: some.exchange.fetch(tables[e][some.exchange.owned]) for e, some in found.items()},
                )
            previous = self._objective.previous(ids[-1] if self.architecture.previous_item else None)[:1]
            d = rows["user"].shape[1]
            of_pairs = self.module.pair(*(vectors(rows, side, d) for side in SIDES))
            return self.module.rate(*of_pairs, None, *previous).cpu().numpy()

    def _ids(self, users: Any, items: Any, time_bins: Any, previous: Any) -> list[Tensor]:
        require_context(self.architecture, time_bins, previous)
        columns = users, items, time_bins, previous
        return [self._here(column) for column in columns if column is not None]

    def _by_entity(self, users: Tensor, items: Tensor, *context: Tensor) -> dict[Entity, Tensor]:
        """Return the rows that ratings use, by entity."""
        bins = dict.fromkeys(TIME_BINS.values(), context[0]) if self.architecture.periods else {}
        return {"user": users, "item": items, **bins}

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Any]:
        """Yield batches, or this process's shares, as arrays on the CPU and tensors on other devices."""
        if not self._shares_memory:
            return self._batches.cut(columns, rows, size)
        if self.communicator.size == 1:
            return cut(columns, rows, size)
        return cut_share(columns, rows, size, self.communicator.place(len(columns[0])))

    def all_reduce(self, number: float) -> float:
        nothing = torch.zeros(0, dtype=torch.int32, device=self.device)
        form = self.architecture
        columns = [nothing] * (2 + bool(form.periods) + form.previous_item)
        while self.communicator.any(np.array(False)):  # other processes predict and need rows of this one
            self._predict(*columns)
        return float(self.communicator.all_reduce(np.array(number)))

    def fetch(self) -> None:
        """Update parameters, the optimiser's state, `squares` and `data` from copies, if there are any."""
        self._load()
        self._held.fetch()
        self._objective.fetch()
        if self._scaler.is_enabled():
            state, names = self._scaler.state_dict(), ("scale", "_growth_tracker")
            self.optimizer.state[LOSS_SCALE] = {name: np.array(float(state[name])) for name in names}

    def send(self) -> None:
        """Copy parameters and the objective again, if there are copies; set the rows of unknown ids."""
        self._load()
        self._held.send()
        self._objective.send()
        if self.architecture.drift:  # then ratings have changed, too
            self._batches.send()
        if self.communicator.size > 1 or not self._shares_memory:
            self._fill_unknown()

    def _load(self) -> None:
        """Make tensors of the arrays at the first use; until then, a checkpoint may replace their values."""
        if self._is_loaded:
            return
        self._is_loaded = True
        if self.communicator.size > 1:
            dense = [float(value.sum()) for name, value in self.parameters.items() if not is_table(name)]
            self.communicator.require_same([*dense, self._rng.spawn(1)[0].random()])
        device = None if self._shares_memory else self.device
        self._held = TorchState(self.parameters, self.optimizer, device)
        self._objective = TorchObjective(self.objective, self._share, self._held.names_of, device)
        self.module = NeuralMFModule(self.architecture, self._held.dense)
        self._dense = {name: self.module.get_parameter(name) for name in self._held.dense}
        state = self.optimizer.state
        if self._scaler.is_enabled() and LOSS_SCALE in state:
            saved = {name: float(value) for name, value in state[LOSS_SCALE].items()}
            saved["_growth_tracker"] = int(saved["_growth_tracker"])
            self._scaler.load_state_dict(self._scaler.state_dict() | saved)

    def _fill_unknown(self) -> None:
        """Set the last row of each user and item table to the mean of the others, over all processes."""
        for side in SIDES:
            n, tables = len(self._share[side]) - 1, self._held.tables[side]
            total = tables[: len(range(n)[self.communicator.rows])].sum(dim=0, dtype=torch.float64)
            self.communicator.sum([total])
            if n % self.communicator.size == self.communicator.rank:
                tables[-1:] = (total / n)[None]

    def _here(self, column: Any) -> Tensor:
        """Return a column of a batch on the device."""
        if isinstance(column, Tensor):
            return column.to(self.device)
        return torch.from_numpy(np.require(column, requirements=["C", "W"])).to(self.device)
