"""The engine of PyTorch: derivatives by autograd, on a CPU or a GPU (extra "torch")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding, mse_loss

from ...data.batches import Batch, cut
from ...mf.architecture import Architecture, Parameters
from ...mf.side_features import Bags
from ...nn import AdaGrad, CumulativeLogit, Optimizer
from ...nn.parameter import Array
from ..distributed import is_table
from .base import Engine
from .torch_bags import LONGEST, TorchBag, TorchBags, collapsed_rows
from .torch_batches import DeviceBatches, cut_share
from .torch_device import find_device, products_in_tf32
from .torch_graph import GraphedSteps, distinct_of_fixed_shape
from .torch_module import Drop, NeuralMFModule
from .torch_optimizers import TorchOptimizer
from .torch_ordinal import OrdinalLoss
from .torch_processes import Exchange, OneTorchProcess, processes
from .torch_state import TorchState

# Under this name the optimiser's state keeps the scale of the loss, so that a checkpoint has it.
LOSS_SCALE = "loss_scale"

SIXTEEN_BITS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Lookup:
    """What of the tables some ratings are made of: by side, "user", "item" and, of their bags, "…_feature".

    Attributes
    ----------
    rows : dict of str to int64 tensor
        The distinct rows.
    positions : dict of str to int64 tensor
        Of each rating, which of `rows`, or of the bags.
    counts : dict of str to tensor
        How many of the ratings use each of `rows`; a feature as often as its squared weights say.
    bags : dict of str to TorchBag
    exchange : dict of str to Exchange
        How the rows come here.
    """

    rows: dict[str, Tensor]
    positions: dict[str, Tensor]
    counts: dict[str, Tensor]
    bags: dict[str, TorchBag]
    exchange: dict[str, Exchange]


class TorchEngine(Engine):
    """Computes the same step as `NumpyEngine`, which has the parameters explained, to rounding.

    Only the masks of dropout are others. On the CPU it learns in the arrays that it is given. On another
    device, arrays and moments go there at the first step, and `fetch` brings them back. Each of many
    processes is given, and holds, its own rows of every table alone.

    Parameters
    ----------
    architecture, parameters, optimizer, user_penalty, item_penalty, weight_decay, rng, bags, ordinal
        See `NumpyEngine`. Penalties and bags are of all rows, in each of many processes.
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

    processes: OneTorchProcess

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
        ordinal: CumulativeLogit | None = None,
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
        of_torch = torch.from_numpy(parameters["intercept"]).dtype
        self._ordinal = OrdinalLoss(ordinal, of_torch, self.device) if ordinal is not None else None
        self._rng = np.random.default_rng() if rng is None else rng
        self._generator = torch.Generator(self.device)
        self._shares_memory = self.device.type == "cpu"
        self.processes = processes(self.device)
        self._batches = DeviceBatches(self.device, self.processes)
        self._scaler = self.processes.scaler(self.device, precision == "float16")
        is_graphed = self._is_graphed(parameters["intercept"].dtype)
        self._graphs = GraphedSteps(self._generator) if is_graphed else None
        self._optimizer = TorchOptimizer(optimizer, self.device if is_graphed else None)
        self._is_loaded = False

    def _is_graphed(self, dtype: np.dtype[Any]) -> bool:
        """Whether a step is the same kernels every time, and asks the host for nothing."""
        return (
            self.device.type == "cuda"
            and self.processes.size == 1
            and not (self.architecture.sequence or self._scaler.is_enabled())
            and all(of_side.longest <= LONGEST for of_side in self._bags.values())
            and not isinstance(self.optimizer, AdaGrad)  # PyTorch's reads its step on the host
            and dtype == np.float32  # PyTorch's fused optimisers read a rate of float32
        )

    def step(self, users: Any, items: Any, ratings: Any, is_own: Any = None) -> Any:
        """Learn from one batch, arrays or tensors: see `NumpyEngine.step`.

        Many processes learn from a batch together. Each is given its part, as `cut` does, and with `is_own`,
        bool of shape (n,), which of the n ratings of the whole batch these are. The loss is that of all: a
        float, on CUDA a float64 tensor without dimensions, for which the host need not wait.
        """
        if (is_own is None) != (self.processes.size == 1):
            raise ValueError("expected what `cut` makes: in many processes, a part of a batch")
        self._load()
        if self.architecture.dropout and self.architecture.n_layers:
            self._generator.manual_seed(int(self._rng.integers(2**63)))
        known = self._here(ratings).to(self.module.intercept.dtype)
        if self._graphs is None:
            loss = self._learn(users, items, known, is_own)
        else:
            self._optimizer.read_rate()
            loss = self._graphs.take(self._learn, self._here(users), self._here(items), known)
        return loss.double() if self.device.type == "cuda" else loss.item()

    def _learn(self, users: Any, items: Any, known: Tensor, is_own: Any = None) -> Tensor:
        n = len(known) if is_own is None else len(is_own)
        found = self._look_up(users, items)
        # Autograd sees the rows of the batch in place of the tables: gradients come summed, row by row.
        leaves = {side: leaf.requires_grad_() for side, leaf in self._leaves(found).items()}
        touched = {side: found.exchange[side].fetch(leaf) for side, leaf in leaves.items()}
        with products_in_tf32(self.precision == "tf32"):
            with torch.autocast(
                self.device.type, SIXTEEN_BITS.get(self.precision), self.precision in SIXTEEN_BITS
            ):
                drop = self._drop(n, is_own)
                vectors = collapsed_rows(touched, found.bags)
                prediction, more = self._forward(vectors, found.positions, drop)
            if self._ordinal is None:
                loss = mse_loss(prediction, known, reduction="sum") / n
            else:
                loss = self._ordinal(prediction, known, self._dense["cutpoints"]) / n
            penalty = more
            for side, rows in touched.items():
                weight = found.counts[side] * self._penalty[side][found.rows[side]]
                penalty = penalty + (weight[:, None] * rows**2).sum()
            torch.autograd.backward(self._scaler.scale(loss + penalty / n))
        with torch.no_grad():
            dense = [value.grad for value in self._dense.values()]
            self.processes.sum([loss, *(gradient for gradient in dense if gradient is not None)])
            self._update(leaves, found)
        return loss.detach()

    def _look_up(self, users: Any, items: Any) -> Lookup:
        """What rows of the tables these users and items are made of, and how they come here."""
        rows, positions, counts, bags = {}, {}, {}, {}
        for side, given in (("user", users), ("item", items)):
            of_side, n_rows = self._bags.get(side), len(self._penalty[side])
            n_periods = of_side.n_periods if of_side is not None else 0
            found = self._distinct(self._here(given), n_rows * max(n_periods, 1))
            rows[side], positions[side], counts[side] = found
            if of_side is None:
                continue
            moments, uses, own = rows[side], counts[side], None
            if n_periods:
                rows[side], own, _ = self._distinct(of_side.rows(moments), n_rows)
                counts[side] = uses.new_zeros(len(rows[side])).index_add_(0, own, uses)
            bag_of = of_side.of if self._graphs is None else of_side.of_fixed_shape
            bags[side] = bag = bag_of(moments, uses, own)
            rows[f"{side}_feature"], counts[f"{side}_feature"] = bag.columns, bag.uses
        exchange = {side: self.processes.exchange(rows[side]) for side in rows}
        return Lookup(rows, positions, counts, bags, exchange)

    def _distinct(self, ids: Tensor, n_rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `distinct_of_fixed_shape`, for the unknown is not among the ids where steps are graphs."""
        if self._graphs is None:
            rows, positions, counts = torch.unique(ids, return_inverse=True, return_counts=True)
            return rows, positions, counts
        return distinct_of_fixed_shape(ids, n_rows)

    def _leaves(self, found: Lookup) -> dict[str, Tensor]:
        """Of the tables of each side the rows of this process that any process has asked for."""
        return {side: self._held.rows(side, exchange.owned) for side, exchange in found.exchange.items()}

    def _forward(
        self, vectors: dict[str, Tensor], positions: dict[str, Tensor], drop: Drop | None
    ) -> tuple[Tensor, Tensor]:
        """Predictions of a batch, and what else there is to minimise, summed over its ratings."""
        users, items = (embedding(positions[side], vectors[side]) for side in ("user", "item"))
        prediction = self.module.rate(users, items, drop)
        return prediction, prediction.new_zeros(())

    def predict(self, users: Any, items: Any) -> Array:
        """Ratings of pairs, shape (n,), not clipped.

        Many processes may do so together, each its own pairs, as often as it likes before all call `total`.
        """
        if self.processes.anywhere(np.array(self.processes.size > 1)):
            return self._predict_by_row(users, items)
        self._load()
        with torch.inference_mode():
            if self._held.is_elsewhere:  # whoever predicts has written the row of the unknown, no step does
                for name in self._held.names_of["user"] + self._held.names_of["item"]:
                    self._held.values[name][-1:] = torch.from_numpy(self.parameters[name][-1:])
            if self._bags:
                return self._predict_by_row(users, items)
            ratings: Tensor = self.module(self._here(users), self._here(items))
            return ratings.cpu().numpy()

    def _predict_by_row(self, users: Any, items: Any) -> Array:
        self._load()
        with torch.inference_mode():
            found = self._look_up(users, items)
            rows = {side: found.exchange[side].fetch(leaf) for side, leaf in self._leaves(found).items()}
            prediction, _ = self._forward(collapsed_rows(rows, found.bags), found.positions, None)
            return prediction.cpu().numpy()

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Any]:
        """Batches in the order of `rows`: on the CPU arrays, elsewhere tensors that are there already.

        Of many processes each reads its range of the rows alone, and gets its part of each batch.
        """
        if not self._shares_memory:
            return self._batches.cut(columns, rows, size)
        if self.processes.size == 1:
            return cut(columns, rows, size)
        return cut_share(columns, rows, size, self.processes.place(len(columns[0])))

    def total(self, number: float) -> float:
        """See `Engine.total`."""
        nothing = np.zeros(0, np.int32)
        while self.processes.anywhere(np.array(False)):  # others predict, and need rows that are here
            self._predict_by_row(nothing, nothing)
        return float(self.processes.total(np.array(number)))

    def fetch(self) -> None:
        """Bring the arrays of `parameters` and `optimizer.state` up to date, where they are elsewhere."""
        self._load()
        if self.processes.size > 1:
            self._fill_unknown()
        self._held.fetch()
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
        if self.processes.size > 1:
            shared = [value for name, value in self.parameters.items() if not is_table(name, value.ndim)]
            self.processes.require_same([*map(float, map(np.sum, shared)), self._rng.spawn(1)[0].random()])
        device = None if self._shares_memory else self.device
        self._held = TorchState(self.parameters, self.optimizer, list(self._penalty), device)
        self.module = NeuralMFModule(self.architecture, self._held.values)
        self._dense = {name: self.module.get_parameter(name) for name in self._held.dense}
        state = self.optimizer.state
        if self._scaler.is_enabled() and LOSS_SCALE in state:
            told = {name: float(value) for name, value in state[LOSS_SCALE].items()}
            told["_growth_tracker"] = int(told["_growth_tracker"])
            self._scaler.load_state_dict(self._scaler.state_dict() | told)
        if self.processes.size > 1:
            self._fill_unknown()

    def _fill_unknown(self) -> None:
        """Let the last row of each table be the mean of the others, features included, of all processes."""
        for side in ("user", "item"):
            n = len(self._penalty[side]) - 1
            for name in self._held.names_of[side]:
                rows = self._held.values[name]
                total = rows[: len(range(n)[self.processes.rows])].sum(dim=0, dtype=torch.float64)
                if side in self._bags:
                    shared = self._held.values[name.replace(side, f"{side}_feature")]
                    total += self._bags[side].column_sums()[self.processes.rows] @ shared.double()
                self.processes.sum([total])
                if n % self.processes.size == self.processes.rank:
                    rows[-1] = total / n

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
        part = slice(None) if is_own is None else self._here(is_own)

        def drop(x: Tensor) -> Tensor:
            drawn = torch.rand((n, x.shape[1]), generator=self._generator, device=self.device)
            return x * (drawn[part] >= dropout) / (1 - dropout)

        return drop

    def _update(self, leaves: dict[str, Tensor], found: Lookup) -> None:
        """Decay, a step of the optimiser, and rows and their state back into the tables."""
        if self.weight_decay:
            for name, value in self._dense.items():
                if name.startswith("mlp") and name.endswith("weight"):
                    value.mul_(1 - self._optimizer.rate * self.weight_decay)
        owned = {side: exchange.owned for side, exchange in found.exchange.items()}
        moments = self._held.moments(owned)
        self._optimizer.step(self._dense | leaves, moments, self._scaler)
        # Bags of fixed shapes name all features, also those that are in none.
        bags = found.bags.items() if self._graphs is not None else ()
        used = {f"{side}_feature": bag.uses > 0 for side, bag in bags}
        self._held.put_back(owned, leaves, moments, used)
