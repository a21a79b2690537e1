"""The engine of PyTorch: derivatives by autograd, on a CPU or a GPU (extra "torch")."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import mse_loss

from ..architecture import Architecture, Parameters
from ..data.batches import Batch, cut
from ..nn import Optimizer
from ..nn.parameter import Array
from .bags import Bags
from .base import Engine
from .torch_bags import TorchBag, TorchBags, collapsed_rows
from .torch_batches import DeviceBatches, cut_share
from .torch_module import Drop, NeuralMFModule
from .torch_optimizers import TorchOptimizer
from .torch_processes import processes

# Under this name the optimiser's state keeps the scale of the loss, so that a checkpoint has it.
LOSS_SCALE = "loss_scale"

SIXTEEN_BITS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchEngine(Engine):
    """Computes the same step as `NumpyEngine`, which has the parameters explained, to rounding.

    Only the masks of dropout are others. On the CPU it learns in the arrays that it is given. On another
    device, arrays and moments go there at the first step, and `fetch` brings them back.

    Parameters
    ----------
    architecture, parameters, optimizer, user_penalty, item_penalty, weight_decay, rng, bags
        See `NumpyEngine`.
    device : {"auto", "cpu", "cuda", "mps"}, default "cpu"
        "auto" is the first there is of CUDA, MPS and the CPU.
    precision : {"float32", "tf32", "bfloat16", "float16"}, default "float32"
        Of the MLP's products in training: "float32" is that of the parameters, "tf32" rounds factors to 10
        bits on CUDA, the others compute in 16 bits where `torch.autocast` finds it safe, "float16" with the
        loss scaled (Micikevicius et al., 2018). Parameters, moments, losses and predictions are not rounded.

    Raises
    ------
    TypeError
        The optimizer is not one of this package.
    ValueError
        The device is not there, or has not the precision.
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
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        self.architecture = architecture
        self.parameters = parameters
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.device = find_device(device)
        self.precision = precision
        if precision == "tf32" and self.device.type != "cuda":
            raise ValueError(f'precision "tf32" is for device "cuda", not for {self.device.type!r}')
        dtype = parameters["intercept"].dtype
        self._penalty = {
            side: torch.from_numpy(penalty.astype(dtype)).to(self.device)
            for side, penalty in (("user", user_penalty), ("item", item_penalty))
        }
        self._bags = {side: TorchBags(of_side, dtype, self.device) for side, of_side in (bags or {}).items()}
        self._penalty |= {f"{side}_feature": of_side.penalty for side, of_side in self._bags.items()}
        self._rng = np.random.default_rng() if rng is None else rng
        self._generator = torch.Generator(self.device)
        self._optimizer = TorchOptimizer(optimizer)
        self._elsewhere: list[tuple[Array, Tensor]] = []
        self._shares_memory = self.device.type == "cpu"
        self._processes = processes(self.device)
        self._batches = DeviceBatches(self.device, self._processes)
        self._scaler = self._processes.scaler(self.device, precision == "float16")
        self._is_loaded = False

    def step(self, users: Any, items: Any, ratings: Any, is_own: Any = None) -> float:
        """Learn from one batch, arrays or tensors: see `NumpyEngine.step`.

        Many processes learn from a batch together. Each is given its part, as `cut` does, and with `is_own`,
        bool of shape (n,), which of the n ratings of the whole batch these are. The loss is that of all.
        """
        if (is_own is None) != (self._processes.size == 1):
            raise ValueError("expected what `cut` makes: in many processes, a part of a batch")
        self._load()
        n = len(ratings) if is_own is None else len(is_own)
        ids = {"user": self._here(users), "item": self._here(items)}
        known = self._here(ratings).to(self.module.intercept.dtype)
        rows, positions, counts = {}, {}, {}
        for side in ids:
            rows[side], positions[side], counts[side] = torch.unique(
                ids[side], return_inverse=True, return_counts=True
            )
        bags = {side: of_side.of(rows[side], counts[side]) for side, of_side in self._bags.items()}
        for side, bag in bags.items():
            rows[f"{side}_feature"], counts[f"{side}_feature"] = bag.columns, bag.uses
        exchange = {side: self._processes.exchange(rows[side]) for side in rows}
        owned = {side: exchange[side].owned for side in exchange}
        # Autograd sees the rows of the batch in place of the tables: gradients come summed, row by row.
        leaves = {
            name: self._values[name].detach()[owned[side]].requires_grad_()
            for name, side in self._side_of.items()
        }
        touched = {name: exchange[side].fetch(leaves[name]) for name, side in self._side_of.items()}
        with _products_in_tf32(self.precision == "tf32"):
            with torch.autocast(
                self.device.type, SIXTEEN_BITS.get(self.precision), self.precision in SIXTEEN_BITS
            ):
                drop = self._drop(n, is_own)
                vectors = collapsed_rows(touched, bags)
                prediction, more = self._forward(vectors, positions, drop)
            loss = mse_loss(prediction, known, reduction="sum") / n
            penalty = more
            for name, side in self._side_of.items():
                weight = counts[side] * self._penalty[side][rows[side]]
                penalty = penalty + (weight[:, None] * touched[name] ** 2).sum()
            torch.autograd.backward(self._scaler.scale(loss + penalty / n))
        with torch.no_grad():
            dense = [value.grad for name, value in self._values.items() if name not in leaves]
            self._processes.sum([loss, *(gradient for gradient in dense if gradient is not None)])
            self._update(leaves, owned)
        return loss.item()

    def _forward(
        self, vectors: dict[str, Tensor], positions: dict[str, Tensor], drop: Drop | None
    ) -> tuple[Tensor, Tensor]:
        """Predictions of a batch, and what else there is to minimise, summed over its ratings."""
        prediction: Tensor = functional_call(self.module, vectors, (*positions.values(), drop))
        return prediction, prediction.new_zeros(())

    def predict(self, users: Any, items: Any) -> Array:
        """Ratings of pairs, shape (n,), not clipped."""
        self._load()
        with torch.inference_mode():
            if self._processes.size > 1:  # each has the whole tables where `fetch` has left them
                whole = {name: torch.from_numpy(value) for name, value in self.parameters.items()}
                pairs = (torch.from_numpy(np.array(ids)) for ids in (users, items))
                whole = collapsed_rows(whole, self._all_bags())
                of_whole: Tensor = NeuralMFModule(self.architecture, whole)(*pairs)
                return of_whole.numpy()
            if self._elsewhere:  # whoever predicts has written the row of the unknown, which no step touches
                for name, side in self._side_of.items():
                    if side in ("user", "item"):
                        self._values[name][-1:] = torch.from_numpy(self.parameters[name][-1:])
            vectors = collapsed_rows(self._values, self._all_bags())
            here = (self._here(users), self._here(items))
            ratings: Tensor = functional_call(self.module, vectors, here)
            return ratings.cpu().numpy()

    def _all_bags(self) -> dict[str, TorchBag]:
        return {side: of_side.all() for side, of_side in self._bags.items()}

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Any]:
        """Batches in the order of `rows`: on the CPU arrays, elsewhere tensors that are there already.

        Of many processes each reads its range of the rows alone, and gets its part of each batch.
        """
        if not self._shares_memory:
            return self._batches.cut(columns, rows, size)
        if self._processes.size == 1:
            return cut(columns, rows, size)
        return cut_share(columns, rows, size, self._processes.part(len(columns[0])))

    def part(self, n: int) -> slice:
        """See `Engine.part`."""
        return self._processes.part(n)

    def total(self, number: float) -> float:
        """See `Engine.total`."""
        if self._processes.size == 1:
            return number
        total = torch.tensor(number, dtype=torch.float64, device=self.device)
        self._processes.sum([total])
        return total.item()

    def fetch(self) -> None:
        """Bring the arrays of `parameters` and `optimizer.state` up to date, where they are elsewhere."""
        self._load()
        for array, tensor in self._elsewhere:
            torch.from_numpy(array).copy_(tensor)
        for name in self._side_of:
            self._processes.complete(self.parameters[name])
            for slot in self.optimizer.slots:
                self._processes.complete(self.optimizer.state[name][slot])
        if self._scaler.is_enabled():
            told = self._scaler.state_dict()
            self.optimizer.state[LOSS_SCALE] = {
                name: np.array(float(told[name])) for name in ("scale", "_growth_tracker")
            }

    def _load(self) -> None:
        """Make tensors of the arrays, at the first use: until then, a checkpoint may put others there."""
        if self._is_loaded:
            return
        self._is_loaded = True
        self._processes.require_same(self.parameters.values())
        self.module = NeuralMFModule(
            self.architecture,
            {name: self._there(self._own(name, value)) for name, value in self.parameters.items()},
        )
        self._values = dict(self.module.named_parameters())
        self._side_of = {
            name: name.rpartition("_")[0] for name in self._values if name.startswith(("user", "item"))
        }
        state = self.optimizer.state
        for name, value in self.parameters.items():
            if name not in state:
                state[name] = self.optimizer.new_state(value)
            state[name]["step"] = state[name]["step"].copy()  # PyTorch counts for each, others may count once
        self._state = {
            name: {slot: self._there(self._own(name, array)) for slot, array in state[name].items()}
            for name in self._values
        }
        if self._scaler.is_enabled() and LOSS_SCALE in state:
            told = {name: float(value) for name, value in state[LOSS_SCALE].items()}
            told["_growth_tracker"] = int(told["_growth_tracker"])
            self._scaler.load_state_dict(self._scaler.state_dict() | told)

    def _own(self, name: str, array: Array) -> Array:
        """Of tables and their moments, the rows that are with this process; the array's own memory."""
        is_table = name.startswith(("user", "item")) and array.ndim == 2
        return array[self._processes.rank :: self._processes.size] if is_table else array

    def _there(self, array: Array) -> Tensor:
        """The array's memory as a tensor, or a copy on the device, of which `fetch` knows."""
        tensor = torch.from_numpy(array)
        if self._shares_memory:
            return tensor
        # PyTorch's kernels count steps, the one array without dimensions, in float32.
        copy = tensor.to(self.device, torch.float32 if array.ndim == 0 else None, copy=True)
        self._elsewhere.append((array, copy))
        return copy

    def _here(self, column: Any) -> Tensor:
        """A column of a batch on the device."""
        if not isinstance(column, Tensor):
            column = torch.from_numpy(np.require(column, requirements=["C", "W"]))
        tensor: Tensor = column.to(self.device)
        return tensor

    def _drop(self, n: int, is_own: Any) -> Drop | None:
        """Inverted dropout (Srivastava et al., 2014): what is kept is divided by the chance to be kept.

        The masks are drawn for the whole batch, so that they are the same in any number of processes, by a
        key from the host's generator, which a checkpoint keeps.
        """
        dropout = self.architecture.dropout
        if not (dropout and self.architecture.n_layers):
            return None
        self._generator.manual_seed(int(self._rng.integers(2**63)))
        part = slice(None) if is_own is None else self._here(is_own)

        def drop(x: Tensor) -> Tensor:
            drawn = torch.rand((n, x.shape[1]), generator=self._generator, device=self.device)
            return x * (drawn[part] >= dropout) / (1 - dropout)

        return drop

    def _update(self, leaves: dict[str, Tensor], owned: dict[str, Tensor]) -> None:
        """Decay, a step of the optimiser, and rows and their state back into the tables."""
        if self.weight_decay:
            for name, value in self._values.items():
                if name.startswith("mlp") and name.endswith("weight"):
                    value.mul_(1 - self.optimizer.learning_rate * self.weight_decay)
        state = self._state | {
            name: {
                slot: array if slot == "step" else array[owned[side]]
                for slot, array in self._state[name].items()
            }
            for name, side in self._side_of.items()
        }
        self._optimizer.step(self._values | leaves, state, self._scaler)
        for name, side in self._side_of.items():
            self._values[name][owned[side]] = leaves[name]
            for slot in self.optimizer.slots:
                self._state[name][slot][owned[side]] = state[name][slot]


def find_device(name: str) -> torch.device:
    """The device of that name; for "auto" the first there is of "cuda", "mps" and "cpu".

    Raises
    ------
    ValueError
        It is not there.
    """
    is_there = {
        "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True,
    }  # fmt: skip
    there = [device for device in is_there if is_there[device]]
    if name != "auto" and name not in there:
        raise ValueError(f"device must be one that PyTorch finds here ({', '.join(there)}), not {name!r}")
    device = there[0] if name == "auto" else name
    # Torchrun tells each process of a machine which of the GPUs is its own.
    return torch.device(device, int(os.environ.get("LOCAL_RANK", 0)) if device == "cuda" else 0)


@contextmanager
def _products_in_tf32(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    products = torch.backends.cuda.matmul
    before, products.fp32_precision = products.fp32_precision, "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before
