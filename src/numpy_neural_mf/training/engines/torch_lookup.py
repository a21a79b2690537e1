"""The table rows that a batch uses, and their part of the objective, on a device."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag

from ...mf.parameters import SIDES, TIME_BINS, Entity, Side
from ...nn.parameter import Array
from ..objective import MOST, Objective
from .torch_compat import gradient_of_embedding
from .torch_processes import Exchange, TorchCommunicator
from .torch_state import Copies, JoinedTables


class Found(NamedTuple):
    """The distinct `rows` of an entity that n ratings use, and `counts`, their numbers of ratings.

    `positions`, shape (n,), are the positions of each rating's row in `rows`, which this process gets by
    `exchange`. `order` sorts the ratings by row; it is None in fixed shapes, where `used` marks the time bins
    that any rating uses.
    """

    rows: Tensor
    positions: Tensor
    counts: Tensor
    exchange: Exchange
    order: Tensor | None = None
    used: Tensor | None = None

    def sum(self, values: Tensor) -> Tensor:
        """Sum values, shape (n, d), over the ratings of each row, in the same order each time."""
        if self.order is None or values.device.type != "cpu":
            return gradient_of_embedding(values, self.positions, len(self.rows))
        return embedding_bag(self.order, values, self.counts.cumsum(0) - self.counts, mode="sum")


def find(ids: Tensor, communicator: TorchCommunicator) -> Found:
    """Return the rows of a batch."""
    ordered, order = torch.sort(ids, stable=True)
    rows, numbers, counts = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    positions = torch.empty_like(numbers).scatter_(0, order, numbers)
    rows = rows.long()  # as indexing would convert them each time
    return Found(rows, positions, counts, communicator.exchange(rows), order)


def find_in_fixed_shape(entity: Entity, ids: Tensor, n_rows: int, communicator: TorchCommunicator) -> Found:
    """Return the rows of a batch in shapes that depend only on the number of ratings; all time bins."""
    if entity in SIDES:  # training has no unknown ids
        rows, positions, counts = distinct_of_fixed_shape(ids, n_rows)
        return Found(rows, positions, counts, communicator.exchange(rows))
    every, ones = torch.arange(n_rows, device=ids.device), torch.ones_like(ids, dtype=torch.int64)
    counts = torch.zeros_like(every).index_add_(0, ids, ones)
    return Found(every, ids, counts, communicator.exchange(every), used=counts > 0)


def distinct_of_fixed_shape(ids: Tensor, n_rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the results of `torch.unique` for ids, (n,), in fixed shapes and with int32 positions.

    Of the min(n, n_rows) rows, the distinct ids come first, in order; the rest are the last row, the unknown,
    with count 0.
    """
    ordered, source = torch.sort(ids)
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=is_new[1:])
    number = is_new.cumsum(0) - 1
    rows = number.new_full((min(len(ids), n_rows),), n_rows - 1)
    rows.scatter_(0, number, ordered.long())
    positions = torch.empty_like(number, dtype=torch.int32).scatter_(0, source, number.int())
    counts = torch.zeros_like(rows).scatter_add_(0, number, torch.ones_like(number))
    return rows, positions, counts


def vectors(values: Mapping[Entity, Tensor], side: Side, d: int) -> Tensor:
    """Return P_u + Y_t of each rating's user, or the same of its item, shape (n, d); P_u without time.

    They are the first d columns of `values`, shape (n, ·) by entity.
    """
    entities: tuple[Entity, Entity] = side, TIME_BINS[side]
    first, *more = (values[entity][:, :d] for entity in entities if entity in values)
    return first + more[0] if more else first


class Lookup(NamedTuple):
    """Rows of joined tables and their variances, the leaves to which autograd takes gradients.

    `fetched`, by the exchange, has them side by side, then Σ Λ (row - m)². Only users and items have
    variances; for other rows their shape is (m, 0).
    """

    row_leaf: Tensor
    variance_leaf: Tensor
    fetched: Tensor


class TorchObjective:
    """The arrays of an `Objective` as tensors; arrays of the tables `names_of` an entity are joined.

    With a `device`, they are copies there: `send` writes them again, `fetch` brings back squares and data.
    """

    def __init__(
        self,
        objective: Objective,
        share: Mapping[Entity, Array],
        names_of: Mapping[Entity, Sequence[str]],
        device: torch.device | None,
    ) -> None:
        self._constants, self._summed = Copies(device), Copies(device)
        constants, o = self._constants, objective
        self.share = {entity: constants.tensor(of_rows) for entity, of_rows in share.items()}
        self.weight, self.noise = constants.tensor(o.weight), constants.tensor(o.noise)
        self.squares = self._summed.tensor(o.squares)
        self._previous = [constants.tensor(a) for a in (o.previous, o.previous_variance) if a is not None]
        self._prior = {e: constants.joined([o.prior[n] for n in names]) for e, names in names_of.items()}
        self._by_row = {e for e, names in names_of.items() if len(o.prior[names[0]]) > 1}
        self._precision = {
            e: constants.joined([o.precision[n][None] for n in names]) for e, names in names_of.items()
        }
        of_sides = {e: names for e, names in names_of.items() if e in SIDES}
        self._variance = {
            e: constants.joined([o.variance[n] for n in names]) for e, names in of_sides.items()
        }
        self._data = {e: self._summed.joined([o.data[n] for n in names]) for e, names in of_sides.items()}

    def look_up(self, entity: Entity, tables: JoinedTables, exchange: Exchange) -> Lookup:
        """Return the rows of an entity's tables that this process asked for."""
        owned = exchange.owned
        rows = tables[owned].requires_grad_()
        v = self._variance[entity][owned] if entity in self._variance else rows.new_zeros(len(rows), 0)
        prior = self._prior[entity][owned if entity in self._by_row else slice(None)]
        cost = (self._precision[entity][:] * (rows - prior) ** 2).sum(dim=1, keepdim=True)
        return Lookup(rows, v, exchange.fetch(torch.cat([rows, v.requires_grad_(), cost], dim=1)))

    def previous(self, items: Tensor | None) -> list[Tensor]:
        """Return y and w of previous items, (n, k + 1), and the variances of y, (n, k); [] without items."""
        return [] if items is None else [embedding(items, table) for table in self._previous]

    def shrinkage(self, entity: Entity, found: Found) -> Tensor:
        """Return the weight of each row's Σ Λ (row - m)² in the sum over a batch."""
        return found.counts * self.share[entity][found.rows]

    def record_errors(self, users: Found, error: Tensor, variance: Tensor) -> None:
        """Add e² / (1 - h) of each rating to `squares`, where `variance` is h σ²."""
        # The rating had a share h in its own prediction; without it, the error would be e / (1 - h).
        h = (variance / self.noise).clamp(max=MOST)
        added = (error**2 / (1 - h)).to(self.squares.dtype)
        self.squares[users.rows] += users.sum(added[:, None])[:, 0]

    def record_data(self, found: Mapping[Entity, Found], lookups: Mapping[Entity, Lookup]) -> None:
        """Add the gradients of variances, w E[J²] summed by row, to `data`."""
        for entity, data in self._data.items():
            added = lookups[entity].variance_leaf.grad
            assert added is not None
            data[found[entity].exchange.owned] += added

    def fetch(self) -> None:
        """Update squares and data of the objective from the tensors, if these are copies."""
        self._summed.fetch()

    def send(self) -> None:
        """Update the tensors from all arrays of the objective, if they are copies."""
        self._constants.send()
        self._summed.send()


def looked_up(found: Mapping[Entity, Found], rows: Mapping[Entity, Tensor]) -> dict[Entity, Tensor]:
    """Return the row of each rating, shape (n, d), by entity, given the rows of `found`."""
    return {entity: embedding(found[entity].positions, some) for entity, some in rows.items()}
