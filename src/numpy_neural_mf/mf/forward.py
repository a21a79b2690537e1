"""The inference formula r̂ = μ + b_u + b_i + p_u · q_i + f([p_u, q_i]) for pairs, all items, or a row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from ..nn import ACTIVATIONS
from ..nn.parameter import Array, IntArray
from ..utils.arrays import Float64Array
from .architecture import Architecture
from .parameters import KINDS, SIDES, TIME_BINS, Parameters, Side, table_name, variance_name

# Maps rows of the user tables, shape (m,), to scores of m users and n items, shape (m, n).
Scorer = Callable[[IntArray], Array]

# Maps a row of the user tables, shape (d,), to scores of n items, (n,), and their Jacobian, (n, d).
RowScorer = Callable[[Float64Array], tuple[Float64Array, Float64Array]]

# Pairs that go through the MLP at once: their hidden units stay in the processor's cache.
TILE = 8_192

# The table of time bins that is added to each table of rows.
TIME_TABLES = {table_name(side, kind): table_name(TIME_BINS[side], kind) for side in SIDES for kind in KINDS}


class _MLP:
    """The MLP f of an architecture; arrays have units in rows and pairs in columns."""

    def __init__(self, architecture: Architecture, parameters: Parameters) -> None:
        n_layers = architecture.n_layers
        first, *self._weights = [parameters[f"mlp.{n}.weight"] for n in range(n_layers)]
        self._biases = [parameters[f"mlp.{n}.bias"][:, None] for n in range(n_layers - 1)]
        self._activation = ACTIVATIONS[architecture.activation]
        self.user_weight, self.item_weight = np.split(first, 2, axis=1)  # (h, k) each

    def of_users(self, p: Array) -> Array:
        """Return W_u p, shape (h, n)."""
        return np.asarray(self.user_weight @ p.T)

    def of_items(self, q: Array) -> Array:
        """Return W_i q + c, shape (h, n)."""
        return np.asarray(self.item_weight @ q.T + self._biases[0])

    def later(self, h: Array) -> tuple[Array, Callable[[], Array]]:
        """Return f, (n,), of the first layer's output h, (h, n), and a function that returns df/dh."""
        backwards = []
        for n, weight in enumerate(self._weights, start=1):
            h, backward = self._activation(h)
            backwards.append(backward)
            h = weight @ h
            if n < len(self._weights):
                h += self._biases[n]

        def derive() -> Array:
            dh = np.ones_like(h)
            for weight, backward in zip(reversed(self._weights), reversed(backwards), strict=True):
                dh = backward(weight.T @ dh)
            return dh

        return h[0], derive


@dataclass(frozen=True, eq=False)
class Factorization:
    """An architecture with its parameters; row -1 of each table stands for an unknown user or item.

    If the variances of rows are known, they are among the parameters: see `variance_name`.

    The first layer of the MLP is linear in [p, q]: W [p, q] + c = W_u p + W_i q + c. So it is computed once
    per user and per item, and only the later layers per pair. Features are part of the rows.
    """

    architecture: Architecture
    parameters: Parameters

    @property
    def means(self) -> Parameters:
        """The parameters without the variances of rows."""
        return {name: value for name, value in self.parameters.items() if not name.endswith(".variance")}

    def scores(self, users: IntArray, items: IntArray, time_bins: IntArray | None = None) -> Array:
        """Return r̂ of pairs of rows, shape (n,), not clipped; `time_bins`, if the model has any, are (n,)."""
        form, mlp = self.architecture, self._mlp
        p, b_u = self._rows("user", users, time_bins)
        q, b_i = self._rows("item", items, time_bins)
        scores: Array = self.parameters["intercept"] + b_u + b_i
        if form.product:
            scores += np.einsum("nk,nk->n", p, q)
        if mlp:
            for first in range(0, len(users), TILE):
                tile = slice(first, first + TILE)
                scores[tile] += mlp.later(mlp.of_users(p[tile]) + mlp.of_items(q[tile]))[0]
        return scores

    def item_vectors(self, items: IntArray, time_bins: IntArray | None = None) -> Array:
        """Return q of these rows, shape (n, k), at time bins if the model has any."""
        return self._rows("item", items, time_bins)[0]

    def variance(self, users: IntArray, items: IntArray) -> Array:
        """Return the variance of r̂ of pairs, shape (n,), to first order, for independent normal rows.

        It is Σ_k ((∂r̂/∂p_k)² v_uk + (∂r̂/∂q_k)² v_ik) plus the variances of the biases. Σ_k v_uk v_ik is left
        out: most of it comes from factors without support in the data, whose variances training keeps from
        vanishing.
        """
        product, mlp = self.architecture.product, self._mlp
        (p, _), (q, _) = self._rows("user", users), self._rows("item", items)
        (v, of_user), (w, of_item) = self._variances_of("user", users), self._variances_of("item", items)
        by_user, by_item = (q.copy(), p.copy()) if product else (np.zeros_like(q), np.zeros_like(p))
        if mlp:
            for first in range(0, len(users), TILE):
                tile = slice(first, first + TILE)
                by_hidden = mlp.later(mlp.of_users(p[tile]) + mlp.of_items(q[tile]))[1]().T
                by_user[tile] += by_hidden @ mlp.user_weight
                by_item[tile] += by_hidden @ mlp.item_weight
        return np.asarray(of_user + of_item + (by_user**2 * v + by_item**2 * w).sum(axis=1))

    def scorer(self, items: IntArray) -> Scorer:
        """Return a function from users to their scores of these items.

        Biased matrix factorisation is one product of the rows [p_u, b_u, 1] and [q_i, 1, μ + b_i].
        """
        form, mlp = self.architecture, self._mlp
        by_item, item_half = self.item_columns(items)
        n_at_once = max(1, TILE // max(1, len(items)))

        def score(users: IntArray) -> Array:
            p, b_u = self._rows("user", users)
            columns = [b_u[:, None], np.ones((len(users), 1), p.dtype)]
            scores: Array = np.hstack([p, *columns] if form.product else columns) @ by_item
            if mlp:
                user_half = mlp.of_users(p)
                for first_user in range(0, len(users), n_at_once):
                    some_users = slice(first_user, first_user + n_at_once)
                    for first_item in range(0, len(items), TILE):
                        some_items = slice(first_item, first_item + TILE)
                        tile = scores[some_users, some_items]
                        h = user_half[:, some_users, None] + item_half[:, None, some_items]
                        tile += mlp.later(h.reshape(len(h), -1))[0].reshape(tile.shape)
            return scores

        return score

    def item_columns(self, items: IntArray) -> tuple[Array, Array]:
        """Return what all users' scores share: columns [q_i, 1, μ + b_i], and the MLP's W_i q_i + c."""
        mlp = self._mlp
        q, b_i = self._rows("item", items)
        columns = [np.ones((len(items), 1), q.dtype), (self.parameters["intercept"] + b_i)[:, None]]
        by_item = np.hstack([q, *columns] if self.architecture.product else columns)
        return np.ascontiguousarray(by_item.T), mlp.of_items(q) if mlp else q.T

    def row_scorer(self, items: IntArray) -> RowScorer:
        """Return a function from a row θ = (p, b) of the user tables to scores of these items, in float64."""
        form = self.architecture
        q, b_i = (rows.astype(np.float64) for rows in self._rows("item", items))
        shared = [name for name in self.parameters if name == "intercept" or name.startswith("mlp.")]
        wide: Parameters = {name: self.parameters[name].astype(np.float64) for name in shared}
        mlp = _MLP(form, wide) if form.hidden_layer_sizes else None
        fixed, k = wide["intercept"] + b_i, q.shape[1]
        item_half = mlp.of_items(q) if mlp else q.T

        def score(theta: Float64Array) -> tuple[Float64Array, Float64Array]:
            scores, J = fixed.copy(), np.zeros((len(items), len(theta)))
            if form.biases:
                scores += theta[k]
                J[:, k] = 1
            if form.product:
                scores += q @ theta[:k]
                J[:, :k] += q
            if mlp:
                f, backward = mlp.later(item_half + mlp.of_users(theta[None, :k]))
                scores += f
                J[:, :k] += backward().T @ mlp.user_weight
            return scores, J

        return score

    def row(self, user: int) -> Float64Array:
        """Return θ = (p, b) of a user, shape (d,), with only the parts that the model has."""
        return np.concatenate([np.zeros(0), *(self.parameters[name][user] for name in self._tables("user"))])

    def as_rows(self, theta: Float64Array, variance: Float64Array | None = None) -> Parameters:
        """Return θ of shape (..., d) as rows of the user tables, by name, with its variances if given."""
        rows = self._split(theta, self._tables("user"))
        return rows if variance is None else rows | self._split(variance, self._variances("user"))

    def _split(self, row: Float64Array, names: list[str]) -> Parameters:
        rows, start = {}, 0
        for name in names:
            table = self.parameters[name]
            end = start + table.shape[1]
            rows[name], start = row[..., start:end].astype(table.dtype), end
        return rows

    def item_variances(self, items: IntArray, weight: Float64Array) -> Float64Array:
        """Return Σ weight · variances of item rows, shape (d,), by columns of a user's θ; 0 for the bias."""
        form, total = self.architecture, np.zeros(len(self.row(-1)))
        if form.product and (name := variance_name("item", "embedding")) in self.parameters:
            total[: form.embedding_dim] = weight @ self.parameters[name][items].astype(np.float64)
        return total

    def mirrored(self) -> Self:
        """Return the model with users and items exchanged: r̂ is symmetric except for the first layer of f."""
        swapped = mirrored(self.parameters)
        if "mlp.0.weight" in swapped:
            W = swapped["mlp.0.weight"]
            swapped["mlp.0.weight"] = np.roll(W, W.shape[1] // 2, axis=1)  # (h, 2 k): halves exchanged
        return replace(self, parameters=swapped)

    def with_user(self, row: Parameters) -> Self:
        """Return the model of one user, row 0, given their rows of the user tables, by name, shape (1, d)."""
        return replace(self, parameters=self.parameters | row)

    def with_items(self, rows: Sequence[Parameters]) -> Self:
        """Return the model with more items, inserted after the others and before the unknown item."""
        tables = {}
        for name in [*self._tables("item"), *self._variances("item")]:
            table = self.parameters[name]
            tables[name] = np.concatenate([table[:-1], *(row[name] for row in rows), table[-1:]])
        return replace(self, parameters=self.parameters | tables)

    def at_last_time_bin(self) -> Self:
        """Return the model without time bins that predicts as this one does in the last time bin."""
        parameters = {name: a for name, a in self.parameters.items() if name not in TIME_TABLES.values()}
        for name, of_time in TIME_TABLES.items():
            if of_time in self.parameters:
                parameters[name] = parameters[name] + self.parameters[of_time][-1]
        return replace(self, architecture=replace(self.architecture, periods=0), parameters=parameters)

    def with_last_time_bin(self, now: Self) -> Self:
        """Return the model with these time bins whose `at_last_time_bin` is `now`."""
        parameters = dict(now.parameters)
        for name, of_time in TIME_TABLES.items():
            if of_time in self.parameters:
                parameters[of_time] = self.parameters[of_time]
                parameters[name] = parameters[name] - parameters[of_time][-1]
        return replace(self, parameters=parameters)

    def _rows(self, side: Side, rows: IntArray, time_bins: IntArray | None = None) -> tuple[Array, Array]:
        """Return embeddings, shape (n, k), without columns if the model has none, and biases, shape (n,)."""
        dtype = self.parameters["intercept"].dtype
        found = [np.zeros((len(rows), 0), dtype), np.zeros((len(rows), 1), dtype)]
        for place, name in enumerate(_names(side)):
            if name in self.parameters:
                found[place] = self.parameters[name][rows]
                if time_bins is not None and TIME_TABLES[name] in self.parameters:
                    found[place] += self.parameters[TIME_TABLES[name]][time_bins]
        return found[0], found[1][:, 0]

    def _variances_of(self, side: Side, rows: IntArray) -> tuple[Array, Array]:
        """Return the variances of the values that `_rows` returns."""
        found = [np.zeros_like(part) for part in self._rows(side, rows)]
        for place, kind in enumerate(KINDS):
            if (name := variance_name(side, kind)) in self.parameters:
                found[place] = self.parameters[name][rows]
        return found[0], found[1].reshape(len(rows))

    def _tables(self, side: Side) -> list[str]:
        return [name for name in _names(side) if name in self.parameters]

    def _variances(self, side: Side) -> list[str]:
        names = [variance_name(side, kind) for kind in KINDS]
        return [name for name in names if name in self.parameters]

    @cached_property
    def _mlp(self) -> _MLP | None:
        return _MLP(self.architecture, self.parameters) if self.architecture.hidden_layer_sizes else None


def mirrored(tables: Parameters) -> Parameters:
    """Return user tables under the names of the item tables, and vice versa."""
    swapped: dict[str, str] = {}
    for name_of in (table_name, variance_name):
        for kind in KINDS:
            user, item = name_of("user", kind), name_of("item", kind)
            swapped |= {user: item, item: user}
    return {swapped.get(name, name): table for name, table in tables.items()}


def _names(side: Side) -> list[str]:
    return [table_name(side, kind) for kind in KINDS]
