"""The engine to read: one optimisation step of neural matrix factorisation, made of the layers in nn/."""

from collections.abc import Callable

import numpy as np

from ... import nn
from ...mf.parameters import FEATURES, KINDS, TIME_BINS, Entity, Kind, Side, table_name
from ...mf.side_information import FeaturesOfBatch
from ...nn import GroupedIds
from ...nn.parameter import Array, Gradient, IntArray
from .base import Bins, Engine, require_time_bins

# A term of the prediction, shape (n,), and the function that takes dL/dr̂ to the gradients of its parameters.
Term = tuple[Array, Callable[[Array], None]]

# The users, or the items, of a batch: rows of each table that a rating looks up, and features.
_BatchSide = tuple[Side, dict[Entity, GroupedIds], FeaturesOfBatch | None]


class NumpyEngine(Engine):
    """Computes predictions, gradients and updates of the parameters that it is given: see `Engine`."""

    def _prepare(self) -> None:
        self._learned = {name: nn.Parameter(value) for name, value in self.parameters.items()}
        self._mlp = self._build_mlp()
        _keep_freed_memory()

    def step(self, users: IntArray, items: IntArray, ratings: Array, time_bins: Bins = None) -> float:
        loss, gradients = self.loss_and_gradients(users, items, ratings, time_bins, training=True)
        if decay := self.objective.weight_decay:
            for n in range(self.architecture.n_layers):
                self.parameters[f"mlp.{n}.weight"] *= 1 - self.optimizer.learning_rate * decay
        self.optimizer.step(self.parameters, gradients)
        return loss

    def loss_and_gradients(
        self, users: IntArray, items: IntArray, ratings: Array, time_bins: Bins = None, training: bool = False
    ) -> tuple[float, dict[str, Gradient]]:
        """Loss of a batch, and the gradient of that plus the penalty, by parameter name."""
        prediction, backward = self.forward(users, items, time_bins, training)
        if self.objective.ordinal is None:
            loss, dr = nn.mse(prediction, ratings)
        else:
            cutpoints = self._learned["cutpoints"]
            loss, dr, gradient = self.objective.ordinal.loss(prediction, ratings, cutpoints.value)
            cutpoints.accumulate(gradient)
        backward(dr)
        return loss, {name: p.pop_grad() for name, p in self._learned.items()}

    def penalty(self, users: IntArray, items: IntArray, time_bins: Bins = None) -> float:
        """What regularisation adds to the loss of a batch."""
        total = 0.0
        for side, ids, features in self._sides(users, items, time_bins):
            for kind in KINDS:
                if table_name(side, kind) not in self.parameters:
                    continue
                for entity, grouped in ids.items():
                    rows = self.parameters[table_name(entity, kind)][grouped.ids]
                    total += float((self._penalty[entity][grouped.ids, None] * rows**2).sum()) / len(rows)
                if features is not None:
                    rows = self.parameters[table_name(FEATURES[side], kind)][features.columns]
                    total += float((features.shrinkage * rows**2).sum()) / 2
        return total

    def predict(self, users: IntArray, items: IntArray, time_bins: Bins = None) -> Array:
        return self.forward(users, items, time_bins)[0]

    def forward(
        self, users: IntArray, items: IntArray, time_bins: Bins = None, training: bool = False
    ) -> Term:
        """r̂ of shape (n,), and the function that turns dL/dr̂ into gradients of all parameters."""
        u, i = self._sides(users, items, time_bins)
        mu = self._learned["intercept"]
        of_all: Term = np.repeat(mu.value, len(users)), lambda dr: mu.accumulate(dr.sum(keepdims=True))
        terms = [of_all]
        if self.architecture.biases:
            terms += [self._bias(u), self._bias(i)]
        if self.architecture.has_embeddings:
            terms += [self._interaction(u, i, training)]
        return _sum(terms)

    def _sides(self, users: IntArray, items: IntArray, time_bins: Bins) -> tuple[_BatchSide, _BatchSide]:
        require_time_bins(self.architecture, time_bins)
        bins = None if time_bins is None else GroupedIds(time_bins)

        def of_side(side: Side, ids: IntArray) -> _BatchSide:
            own, features = GroupedIds(ids), self._features.get(side)
            of_bins: dict[Entity, GroupedIds] = {} if bins is None else {TIME_BINS[side]: bins}
            return side, {side: own, **of_bins}, None if features is None else features.of(own)

        return of_side("user", users), of_side("item", items)

    def _vectors(self, of_side: _BatchSide, kind: Kind) -> Term:
        """P_u + X_u E + Y_t of each rating, shape (n, d); without features, or time, without these terms.

        Another part of a user's vector, such as the state of a sequence, would be one more term here.
        """
        side, ids, features = of_side
        terms = [self._rows(entity, grouped, kind) for entity, grouped in ids.items()]
        if features is not None:
            terms.insert(1, self._feature_rows(side, features, kind))
        return _sum(terms)

    def _rows(self, entity: Entity, ids: GroupedIds, kind: Kind) -> Term:
        """Rows of a table; backward adds the gradient of the penalty: 2 λ / n · row of each rating."""
        rows, backward_rows = nn.Embedding.of(self._learned[table_name(entity, kind)]).forward(ids)

        def backward(dy: Array) -> None:
            gradient = rows * (self._penalty[entity].take(ids.ids) * (2 / len(rows)))[:, None]
            gradient += dy
            backward_rows(gradient)

        return rows, backward

    def _feature_rows(self, side: Side, features: FeaturesOfBatch, kind: Kind) -> Term:
        """X E of each rating, computed once for each distinct user, or item."""
        columns, E = features.columns, self._learned[table_name(FEATURES[side], kind)]
        shared, backward_shared = nn.EmbeddingBag.of(E).forward(features.matrix, rows=columns)

        def backward(dy: Array) -> None:
            backward_shared(features.ids.sum(dy))
            E.accumulate(nn.RowGradient(columns, features.shrinkage * E.value.take(columns, axis=0)))

        return shared.take(features.ids.positions, axis=0), backward

    def _bias(self, side: _BatchSide) -> Term:
        """b_u or b_i."""
        b, backward = self._vectors(side, "bias")
        return b[:, 0], lambda dr: backward(dr[:, None])

    def _interaction(self, u: _BatchSide, i: _BatchSide, training: bool) -> Term:
        """p · q + f([p, q])."""
        p, backward_p = self._vectors(u, "embedding")
        q, backward_q = self._vectors(i, "embedding")
        product, k = self.architecture.product, self.architecture.embedding_dim
        y = np.einsum("nk,nk->n", p, q) if product else np.zeros(len(p), p.dtype)
        if self._mlp:
            f, backward_f = self._mlp.forward(np.concatenate([p, q], axis=1), training)
            y += f[:, 0]

        def backward(dr: Array) -> None:
            dp, dq = (dr[:, None] * q, dr[:, None] * p) if product else (0 * p, 0 * q)
            if self._mlp:
                dx = backward_f(dr[:, None])
                dp += dx[:, :k]
                dq += dx[:, k:]
            backward_p(dp)
            backward_q(dq)

        return y, backward

    def _build_mlp(self) -> nn.Sequential | None:
        layers: list[nn.Layer] = []
        for n in range(self.architecture.n_layers):
            if n:
                layers.append(nn.Activation(nn.ACTIVATIONS[self.architecture.activation]))
            if self.architecture.dropout:
                layers.append(nn.Dropout(self.architecture.dropout, self._rng))
            layers.append(nn.Dense.of(self._learned[f"mlp.{n}.weight"], self._learned.get(f"mlp.{n}.bias")))
        return nn.Sequential(*layers) if layers else None


def _sum(terms: list[Term]) -> Term:
    """The sum of terms, to each of which its gradient goes back."""

    def backward(dy: Array) -> None:
        for _, backward_term in terms:
            backward_term(dy)

    return sum((term for term, _ in terms[1:]), terms[0][0]), backward


def _keep_freed_memory() -> None:
    """Let arrays that one step frees serve the next: with large batches, half of the time went to new pages.

    Linux's C library returns large blocks to the system, until a large one was freed: from then on it keeps
    twice that size (mallopt(3), M_MMAP_THRESHOLD), of which 32 MB is the largest. This one is never written.
    """
    np.empty(2**25 - 2**13, np.uint8)
