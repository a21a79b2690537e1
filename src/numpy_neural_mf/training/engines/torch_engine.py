"""The engine of PyTorch: derivatives by autograd, on a CPU or a GPU (extra "torch")."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from ...data.batches import Batch, cut
from ...mf.parameters import FEATURES, SIDES, Entity, is_table, table_name, tables_in
from ...nn import AdaGrad
from ...nn.parameter import Array
from .base import Engine, require_same_process, require_time_bins
from .torch_device import DeviceBatches, GraphedSteps, cut_share, find_device, products_in_tf32
from .torch_lookup import LONGEST, Lookup, RowFinder
from .torch_module import Drop, NeuralMFModule, OrdinalLoss
from .torch_processes import TorchCommunicator, communicator_on
from .torch_state import TorchOptimizer, TorchState

# The key of the scale of the loss in the optimiser's state, so that a checkpoint has it.
LOSS_SCALE = "loss_scale"

SIXTEEN_BITS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchEngine(Engine):
    """Computes the same step as `NumpyEngine` to rounding; only the masks of dropout differ.

    On the CPU it learns in the arrays that it is given. On another `device`, arrays and the optimiser's state
    are copied there at the first step, and `fetch` brings them back. Each of many processes has its own shard
    of every table, and the objective of all rows. The `precision` is that of the MLP's products in training:
    "tf32" rounds factors to 10 bits, on CUDA, "bfloat16" and "float16" compute in 16 bits where
    `torch.autocast` finds it safe, "float16" with the loss scaled (Micikevicius et al., 2018).

    A process forked from one in which the engine had trained is a RuntimeError, an optimizer not of this
    package a TypeError, and a device that is not there, or has not the precision, a ValueError.
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
        self._finder = RowFinder(self.objective, self._dtype, self.device, self.communicator)
        self._ordinal = None if ordinal is None else OrdinalLoss(ordinal, self._dtype, self.device)
        self._generator = torch.Generator(self.device)
        self._shares_memory = self.device.type == "cpu"
        self._batches = DeviceBatches(self.device, self.communicator)
        self._scaler = self.communicator.scaler(self.device, self.precision == "float16")
        is_graphed = self._is_graphed(self._dtype)
        self._graphs = GraphedSteps(self._generator) if is_graphed else None
        self._optimizer = TorchOptimizer(self.optimizer, self.device if is_graphed else None)
        self._is_loaded = False

    def _is_graphed(self, dtype: np.dtype[Any]) -> bool:
        """Whether a step is the same kernels every time, none of which the host waits for."""
        return (
            self.device.type == "cuda"
            and self.communicator.size == 1
            and not self._scaler.is_enabled()
            and all(features.longest <= LONGEST for features in self._finder.features.values())
            and not isinstance(self.optimizer, AdaGrad)  # PyTorch's reads its step on the host
            and dtype == np.float32  # PyTorch's fused optimisers read a rate of float32
        )

    def step(self, users: Any, items: Any, ratings: Any, time_bins: Any = None, is_own: Any = None) -> Any:
        """Learn from one batch, arrays or tensors: see `Engine.step`.

        Each of many processes is given its share of a batch, as `cut` makes it, with `is_own`, which marks it
        among all ratings. The loss is that of all: a float, on CUDA a float64 tensor without dimensions, for
        which the host need not wait.
        """
        if (is_own is None) != (self.communicator.size == 1):
            raise ValueError("expected what `cut` makes: with many processes, a share of a batch")
        self._load()
        if self.architecture.dropout and self.architecture.n_layers:
            self._generator.manual_seed(int(self._rng.integers(2**63)))
        known = self._here(ratings).to(self.module.intercept.dtype)
        columns = [known, *self._ids(users, items, time_bins)]
        if self._graphs is None:
            loss = self._learn(*columns, is_own=is_own)
        else:
            self._optimizer.read_rate()
            loss = self._graphs.take(self._learn, *columns)
        return loss.double() if self.device.type == "cuda" else loss.item()

    def _learn(self, known: Tensor, *ids: Tensor, is_own: Any = None) -> Tensor:
        n = len(known) if is_own is None else len(is_own)
        found, leaves, rows = self._look_up(*ids, in_fixed_shapes=self._graphs is not None)
        with products_in_tf32(self.precision == "tf32"):
            bits = SIXTEEN_BITS.get(self.precision)
            with torch.autocast(self.device.type, bits, enabled=bits is not None):
                prediction = self.module.rate(*found.vectors(rows), self._drop(n, is_own))
            if self._ordinal is None:
                loss = mse_loss(prediction, known, reduction="sum") / n
            else:
                loss = self._ordinal(prediction, known, self._dense["cutpoints"]) / n
            penalty = self._finder.penalty(found, rows) / n
            torch.autograd.backward(self._scaler.scale(loss + penalty))
        with torch.no_grad():
            dense = [value.grad for value in self._dense.values()]
            self.communicator.sum([loss, *(gradient for gradient in dense if gradient is not None)])
            if decay := self.objective.weight_decay:
                for layer in range(self.architecture.n_layers):
                    self._dense[f"mlp.{layer}.weight"].mul_(1 - self._optimizer.rate * decay)
            owned = {entity: exchange.owned for entity, exchange in found.exchange.items()}
            slots, by_name = self._held.slots(owned), dict[str, Tensor](leaves.items())
            self._optimizer.step(self._dense | by_name, slots, self._scaler)
            self._held.put_back(owned, leaves, slots, found.used)
        return loss.detach()

    def _look_up(
        self, *ids: Tensor, in_fixed_shapes: bool = False
    ) -> tuple[Lookup, dict[Entity, Tensor], dict[Entity, Tensor]]:
        """By entity, the rows of this process that any process asks for, and from these the rows of a batch.

        Autograd sees them in place of the tables: gradients are summed by row.
        """
        found = self._finder.find(*ids, in_fixed_shapes=in_fixed_shapes)
        leaves = {
            entity: self._held.rows(entity, exchange.owned).requires_grad_(torch.is_grad_enabled())
            for entity, exchange in found.exchange.items()
        }
        rows = {entity: found.exchange[entity].fetch(leaf) for entity, leaf in leaves.items()}
        return found, leaves, rows

    def predict(self, users: Any, items: Any, time_bins: Any = None) -> Array:
        """See `Engine.predict`; each of many processes predicts as often as it likes before `all_reduce`."""
        columns = self._ids(users, items, time_bins)
        if self.communicator.any(np.array(self.communicator.size > 1)):
            return self._predict_by_row(*columns)
        self._load()
        with torch.inference_mode():
            if self._held.is_elsewhere:  # the caller has written the row of the unknown, which no step does
                for name in (name for side in SIDES for name in self._held.names_of[side]):
                    self._held.values[name][-1:] = torch.from_numpy(self.parameters[name][-1:])
            if self.objective.side_features or self.architecture.periods:
                return self._predict_by_row(*columns)
            return np.asarray(self.module(*columns).cpu())

    def _predict_by_row(self, *columns: Tensor) -> Array:
        self._load()
        with torch.inference_mode():
            found, _, rows = self._look_up(*columns)
            return self.module.rate(*found.vectors(rows)).cpu().numpy()

    def _ids(self, users: Any, items: Any, time_bins: Any) -> list[Tensor]:
        require_time_bins(self.architecture, time_bins)
        return [self._here(column) for column in (users, items, time_bins) if column is not None]

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Any]:
        """Batches, or the shares of this process, arrays on the CPU, otherwise tensors on the device."""
        if not self._shares_memory:
            return self._batches.cut(columns, rows, size)
        if self.communicator.size == 1:
            return cut(columns, rows, size)
        return cut_share(columns, rows, size, self.communicator.place(len(columns[0])))

    def all_reduce(self, number: float) -> float:
        nothing = torch.zeros(0, dtype=torch.int32, device=self.device)
        columns = [nothing] * (3 if self.architecture.periods else 2)
        while self.communicator.any(np.array(False)):  # others predict, and need rows of this process
            self._predict_by_row(*columns)
        return float(self.communicator.all_reduce(np.array(number)))

    def fetch(self) -> None:
        """Bring the arrays of `parameters` and `optimizer.state` up to date, if the engine has copies."""
        self._load()
        if self.communicator.size > 1:
            self._fill_unknown()
        self._held.fetch()
        if self._scaler.is_enabled():
            state, names = self._scaler.state_dict(), ("scale", "_growth_tracker")
            self.optimizer.state[LOSS_SCALE] = {name: np.array(float(state[name])) for name in names}

    def _load(self) -> None:
        """Make tensors of the arrays, at the first use: until then, a checkpoint may replace their values."""
        if self._is_loaded:
            return
        self._is_loaded = True
        if self.communicator.size > 1:
            dense = [float(value.sum()) for name, value in self.parameters.items() if not is_table(name)]
            self.communicator.require_same([*dense, self._rng.spawn(1)[0].random()])
        device = None if self._shares_memory else self.device
        self._held = TorchState(self.parameters, self.optimizer, device)
        self.module = NeuralMFModule(self.architecture, self._held.values)
        self._dense = {name: self.module.get_parameter(name) for name in self._held.dense}
        state = self.optimizer.state
        if self._scaler.is_enabled() and LOSS_SCALE in state:
            saved = {name: float(value) for name, value in state[LOSS_SCALE].items()}
            saved["_growth_tracker"] = int(saved["_growth_tracker"])
            self._scaler.load_state_dict(self._scaler.state_dict() | saved)
        if self.communicator.size > 1:
            self._fill_unknown()

    def _fill_unknown(self) -> None:
        """Let the last row of each table be the mean of the others, features included, of all processes."""
        own = self.communicator.rows
        for table in tables_in(self._held.values):
            if table.entity not in SIDES:
                continue
            side, rows = table.entity, self._held.values[table.name]
            n = len(self._finder.penalties[side]) - 1
            total = rows[: len(range(n)[own])].sum(dim=0, dtype=torch.float64)
            if side in self._finder.features:
                shared = self._held.values[table_name(FEATURES[side], table.kind)]
                total += self._finder.features[side].column_sums()[own] @ shared.double()
            self.communicator.sum([total])
            if n % self.communicator.size == self.communicator.rank:
                rows[-1] = total / n

    def _here(self, column: Any) -> Tensor:
        """A column of a batch on the device."""
        if isinstance(column, Tensor):
            return column.to(self.device)
        return torch.from_numpy(np.require(column, requirements=["C", "W"])).to(self.device)

    def _drop(self, n: int, is_own: Any) -> Drop | None:
        """Inverted dropout (Srivastava et al., 2014), by a key of the host's generator.

        Masks are drawn for the whole batch, so that they are the same in any number of processes.
        """
        dropout = self.architecture.dropout
        if not (dropout and self.architecture.n_layers):
            return None
        part = slice(None) if is_own is None else self._here(is_own)

        def drop(x: Tensor) -> Tensor:
            drawn = torch.rand((n, x.shape[1]), generator=self._generator, device=self.device)
            return x * (drawn[part] >= dropout) / (1 - dropout)

        return drop
