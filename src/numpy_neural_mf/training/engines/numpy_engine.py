"""The reference engine: an optimisation step of neural matrix factorisation, built from the layers in nn/."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ... import nn
from ...mf.parameters import KINDS, SIDES, TIME_BINS, Entity, Kind, Side, table_name
from ...nn import GroupedIds
from ...nn.parameter import Array, Gradient, IntArray
from ..objective import LEAST_SLOPE, MOST, TINY
from .base import Bins, Engine, keep_freed_memory, require_context

# A term of the prediction, shape (n,), and the function that adds its parameters' gradients, given dL/dr̂.
Term = tuple[Array, Callable[[Array], None]]

# r̂ and the variance of p · q, shape (n,) each, and the function that adds the gradients of the parameters,
# given the derivatives of the loss by both. It returns J: the derivatives of r̂ by the vectors of users and of
# items, shape (n, k) each.
Forward = tuple[Array, Array, Callable[[Array, Array], tuple[Array, Array]]]


# The signs that each byte stands for: one of `np.unpackbits` for each of its bits.
SIGNS = 2 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32) - 1


class _BatchSide(NamedTuple):
    """The users or the items of a batch: the rows of each table that a rating looks up.

    For users, the item that they rated just before adds `added` and `added_variance`, shape (n, k), to the
    vectors in the product and their variances, and `offset`, shape (n,), to the rating. All three are 0
    without previous_item. `variances` has those of the rows, once they were looked up.
    """

    name: Side
    ids: dict[Entity, GroupedIds]
    variances: dict[Kind, Array]
    added: Array | float = 0.0
    added_variance: Array | float = 0.0
    offset: Array | float = 0.0


class NumpyEngine(Engine):
    """Computes predictions, gradients and updates of the given parameters: see `Engine`."""

    def _prepare(self) -> None:
        self._learned = {name: nn.Parameter(value) for name, value in self.parameters.items()}
        self._mlp = self._build_mlp()
        keep_freed_memory()

    def step(
        self, users: IntArray, items: IntArray, ratings: Array, time_bins: Bins = None, previous: Bins = None
    ) -> float:
        loss, gradients = self.loss_and_gradients(users, items, ratings, time_bins, previous)
        if decay := self.objective.weight_decay:
            for n in range(self.architecture.n_layers):
                weight = self.parameters[f"mlp.{n}.weight"]
                weight *= 1 - self.optimizer.learning_rate * decay
                weight[np.abs(weight) < TINY] = 0
        self.optimizer.step(self.parameters, gradients)
        return loss

    def loss_and_gradients(
        self, users: IntArray, items: IntArray, ratings: Array, time_bins: Bins = None, previous: Bins = None
    ) -> tuple[float, dict[str, Gradient]]:
        """Return the mean loss of a batch and the gradient of its objective by parameter name."""
        o, n = self.objective, len(ratings)
        dr: Array
        weight = o.weight.take(users).astype(self._dtype)
        u, i = self._sides(users, items, time_bins, previous)
        prediction, variance, backward = self.forward(u, i)
        error = prediction - ratings
        if o.ordinal is None:
            loss, dr = float((error * error).mean()), (2 / n) * weight * error
        else:
            cutpoints = self._learned["cutpoints"]
            loss, dr, gradient = o.ordinal.loss(prediction, ratings, cutpoints.value)
            cutpoints.accumulate(gradient)
        curvature = self._dtype.type(o.curvature) * weight
        self._record(u, i, error, variance, curvature, backward(dr, curvature / n))
        return loss, {name: p.pop_grad() for name, p in self._learned.items()}

    def _record(
        self,
        u: _BatchSide,
        i: _BatchSide,
        error: Array,
        variance: Array,  # of p · q
        curvature: Array,
        J: tuple[Array, Array],
    ) -> None:
        """Add the contributions of a batch to `squares` and `data` of the objective."""
        o = self.objective
        for of_batch, of_side, other in ((u, J[0], i), (i, J[1], u)):
            for kind in KINDS:
                side, ids = of_batch.name, of_batch.ids
                if (name := table_name(side, kind)) not in self.parameters:
                    continue
                is_bias = kind == "bias"
                squared = np.ones((len(error), 1), self._dtype) if is_bias else of_side * of_side
                if is_bias:
                    variance = variance + self._variance(of_batch, kind)[:, 0]
                if self.architecture.product and not is_bias:  # q is also uncertain
                    squared += self._variance(other, kind) + other.added_variance
                squared *= curvature[:, None]
                o.data[name][ids[side].rows] += ids[side].sum(squared)
        # The rating had a share h in its own prediction; without it, the error would be e / (1 - h).
        h = np.minimum(curvature * variance / o.noise, MOST)
        users = u.ids["user"]
        o.squares[users.rows] += users.sum((error * error / (1 - h))[:, None])[:, 0]

    def expected_loss(
        self, users: IntArray, items: IntArray, ratings: Array, time_bins: Bins = None, previous: Bins = None
    ) -> float:
        """Return the objective of a batch, whose gradient `loss_and_gradients` returns: see `Objective`."""
        o, n, total = self.objective, len(ratings), 0.0
        weight = o.weight[users]
        sides = self._sides(users, items, time_bins, previous)
        prediction, variance, _ = self.forward(*sides)
        if o.ordinal is None:
            total += float(weight @ (prediction - ratings) ** 2) / n
        else:
            total += o.ordinal.loss(prediction, ratings, self.parameters["cutpoints"])[0]
        total += o.curvature * float(weight @ variance) / n
        for side in sides:
            for entity, grouped in side.ids.items():
                for name in (table_name(entity, kind) for kind in KINDS):
                    if name in self.parameters:
                        rows = self.parameters[name][grouped.ids] - self._prior(name, grouped.ids)
                        share = self._share[entity][grouped.ids, None]
                        total += float((share * o.precision[name] * rows**2).sum()) / n
        return total

    def predict(
        self, users: IntArray, items: IntArray, time_bins: Bins = None, previous: Bins = None
    ) -> Array:
        return self.forward(*self._sides(users, items, time_bins, previous), training=False)[0]

    def forward(self, u: _BatchSide, i: _BatchSide, training: bool = True) -> Forward:
        """Return r̂, the variance of p · q (0 unless training), and the backward function."""
        mu, n = self._learned["intercept"], len(u.ids["user"].ids)
        of_all: Term = np.repeat(mu.value, n), lambda dr: mu.accumulate(dr.sum(keepdims=True))
        y, backward = _sum([of_all, *([self._bias(u), self._bias(i)] if self.architecture.biases else [])])
        if not self.architecture.has_embeddings:
            nothing = np.zeros((n, 0), self._dtype)

            def backward_biases(dr: Array, dv: Array) -> tuple[Array, Array]:
                backward(dr)
                return nothing, nothing

            return y, np.zeros_like(y), backward_biases
        of_rows, variance, backward_rows = self._interaction(u, i) if training else self._score(u, i)

        def backward_all(dr: Array, dv: Array) -> tuple[Array, Array]:
            backward(dr)
            return backward_rows(dr, dv)

        return y + u.offset + of_rows, variance, backward_all

    def _sides(
        self, users: IntArray, items: IntArray, time_bins: Bins, previous: Bins = None
    ) -> tuple[_BatchSide, _BatchSide]:
        require_context(self.architecture, time_bins, previous)
        bins = None if time_bins is None else GroupedIds(time_bins)

        def of_side(side: Side, ids: IntArray) -> dict[Entity, GroupedIds]:
            return {side: GroupedIds(ids)} if bins is None else {side: GroupedIds(ids), TIME_BINS[side]: bins}

        u, i = (
            _BatchSide(side, of_side(side, ids), {}) for side, ids in zip(SIDES, (users, items), strict=True)
        )
        o = self.objective
        if previous is not None and o.previous is not None and o.previous_variance is not None:
            found = o.previous.take(previous, axis=0).astype(self._dtype, copy=False)
            variance = o.previous_variance.take(previous, axis=0).astype(self._dtype, copy=False)
            u = u._replace(added=found[:, :-1], added_variance=variance, offset=found[:, -1])
        return u, i

    def _vectors(self, of_side: _BatchSide, kind: Kind) -> Term:
        """Return P_u + Y_t of each rating, shape (n, d), or P_u without time.

        Another part of a user's vector, such as the state of a sequence, would be one more term here.
        """
        return _sum([self._rows(entity, grouped, kind) for entity, grouped in of_side.ids.items()])

    def _rows(self, entity: Entity, ids: GroupedIds, kind: Kind) -> Term:
        """Return rows of a table; backward adds the gradient of their prior: 2 Λ / (n n_row) · (row - m)."""
        name = table_name(entity, kind)
        rows, backward_rows = nn.Embedding.of(self._learned[name]).forward(ids)

        def backward(dy: Array) -> None:
            gradient = (rows - self._prior(name, ids.ids)) * self.objective.precision[name]
            gradient *= (self._share[entity].take(ids.ids) * (2 / len(rows)))[:, None]
            gradient += dy
            backward_rows(gradient)

        return rows, backward

    def _prior(self, name: str, ids: IntArray) -> Array:
        prior = self.objective.prior[name]
        return prior if len(prior) == 1 else prior.take(ids, axis=0)

    def _variance(self, side: _BatchSide, kind: Kind) -> Array:
        if kind not in side.variances:
            table = self.objective.variance[table_name(side.name, kind)]
            side.variances[kind] = table.take(side.ids[side.name].ids, axis=0)
        return side.variances[kind]

    def _bias(self, side: _BatchSide) -> Term:
        """Return b_u or b_i."""
        b, backward = self._vectors(side, "bias")
        return b[:, 0], lambda dr: backward(dr[:, None])

    def _interaction(self, u: _BatchSide, i: _BatchSide) -> Forward:
        """Return p · q + f([p, q]) for normal p and q."""
        p, backward_p = self._vectors(u, "embedding")
        q, backward_q = self._vectors(i, "embedding")
        v_p, v_q = (self._variance(side, "embedding") for side in (u, i))
        with_added, v_with_added = p + u.added, v_p + u.added_variance  # in the product
        y, variance = np.zeros(len(p), p.dtype), np.zeros(len(p), p.dtype)
        product, k = self.architecture.product, self.architecture.embedding_dim
        if product:
            slope_p, slope_q = with_added * v_q, q * v_with_added  # half of d variance / dp and / dq
            y += np.einsum("nk,nk->n", with_added, q)
            variance += np.einsum("nk,nk->n", with_added, slope_p)
            variance += np.einsum("nk,nk->n", q, slope_q)
        if self._mlp:
            x, v = np.concatenate([p, q], axis=1), np.concatenate([v_p, v_q], axis=1)
            f, backward_f = self._mlp.forward(x + self._signs(x.shape) * np.sqrt(v))
            y += f[:, 0]

        def backward(dr: Array, dv: Array) -> tuple[Array, Array]:
            if product:
                dp, dq = dr[:, None] * q, dr[:, None] * with_added
            else:
                dp, dq = np.zeros_like(p), np.zeros_like(q)
            if self._mlp:
                dx = backward_f(dr[:, None])
                dp += dx[:, :k]
                dq += dx[:, k:]
            inverse = np.divide(1, dr, out=np.zeros_like(dr), where=np.abs(dr) > LEAST_SLOPE)[:, None]
            J = dp * inverse, dq * inverse
            if product:
                dp += (2 * dv)[:, None] * slope_p
                dq += (2 * dv)[:, None] * slope_q
            backward_p(dp)
            backward_q(dq)
            return J

        return y, variance, backward

    def _score(self, u: _BatchSide, i: _BatchSide) -> Forward:
        """Return p · q + f([p, q]) for the means."""
        p, q = self._vectors(u, "embedding")[0], self._vectors(i, "embedding")[0]
        is_product = self.architecture.product
        y = np.einsum("nk,nk->n", p + u.added, q) if is_product else np.zeros(len(p), p.dtype)
        if self._mlp:
            y += self._mlp.forward(np.concatenate([p, q], axis=1))[0][:, 0]
        return y, np.zeros_like(y), lambda dr, dv: (p, q)

    def _signs(self, shape: tuple[int, ...]) -> Array:
        """Draw random signs; a draw of 64 bits gives the signs of 64 elements."""
        n = math.prod(shape)
        drawn = self._rng.integers(2**64, size=-(-n // 64), dtype=np.uint64).view(np.uint8)
        return SIGNS.take(drawn, axis=0).ravel()[:n].reshape(shape)

    def _build_mlp(self) -> nn.Sequential | None:
        layers: list[nn.Layer] = []
        for n in range(self.architecture.n_layers):
            if n:
                layers.append(nn.Activation(nn.ACTIVATIONS[self.architecture.activation]))
            layers.append(nn.Dense.of(self._learned[f"mlp.{n}.weight"], self._learned.get(f"mlp.{n}.bias")))
        return nn.Sequential(*layers) if layers else None


def _sum(terms: list[Term]) -> Term:
    """Return the sum of terms; its backward function passes the gradient to each term."""

    def backward(dy: Array) -> None:
        for _, backward_term in terms:
            backward_term(dy)

    return sum((term for term, _ in terms[1:]), terms[0][0]), backward
