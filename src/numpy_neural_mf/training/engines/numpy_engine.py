"""The engine to read: one optimisation step of neural matrix factorisation, made of the layers in nn/."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ...mf.architecture import Architecture, Parameters
from ...mf.side_features import Bags, BagsOfBatch, of_dtype
from ...nn import (
    ACTIVATIONS,
    Activation,
    CumulativeLogit,
    Dense,
    Dropout,
    Embedding,
    EmbeddingBag,
    GroupedIds,
    Layer,
    Optimizer,
    Parameter,
    RowGradient,
    Sequential,
    mse,
)
from ...nn.parameter import Array, Gradient, IntArray
from .base import Engine

# A term of the prediction, shape (n,), and the function that takes dL/dr̂ to the gradients of its parameters.
Term = tuple[Array, Callable[[Array], None]]


class _Side(NamedTuple):
    """The users, or the items, of a batch."""

    name: str
    ids: GroupedIds
    bags: BagsOfBatch | None


class NumpyEngine(Engine):
    """Computes predictions, gradients and updates of the parameters that it is given.

    Parameters
    ----------
    architecture : Architecture
    parameters : dict of str to array
        As `Architecture.initial_parameters` makes them; changed in place.
    optimizer : Optimizer
    user_penalty, item_penalty : arrays of shape (n_users,), (n_items,)
        λ_u and λ_i in the loss of a rating, (r - r̂)² + λ_u (‖p_u‖² + b_u²) + λ_i (‖q_i‖² + b_i²). All equal,
        they are Koren, Bell and Volinsky's (2009, eq. 5).
    weight_decay : float, default 0.0
        Decoupled decay of the MLP's weights (Loshchilov and Hutter, 2019); biases and rows do not decay.
    rng : numpy.random.Generator or None, default None
        Draws dropout masks; None takes a fresh one.
    bags : mapping of "user" or "item" to Bags, optional
        Of the sides that have features.
    ordinal : CumulativeLogit, optional
        Of an ordinal likelihood: then -log P is minimised, and r̂ is where on the scale one is.
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
        self.architecture = architecture
        self.parameters = parameters
        self.optimizer = optimizer
        dtype = parameters["intercept"].dtype
        self._penalty = {
            "user": user_penalty[:, None].astype(dtype, copy=False),
            "item": item_penalty[:, None].astype(dtype, copy=False),
        }
        self.weight_decay = weight_decay
        self._bags = of_dtype(bags or {}, dtype)
        self._ordinal = ordinal
        self._learned = {name: Parameter(value) for name, value in parameters.items()}
        self._mlp = self._build_mlp(np.random.default_rng() if rng is None else rng)
        _keep_freed_memory()

    def step(self, users: IntArray, items: IntArray, ratings: Array) -> float:
        """Learn from one batch.

        Parameters
        ----------
        users, items : integer arrays of shape (n,)
            Rows of the embedding tables, repeated at will; with periods, moments (see `Bags`).
        ratings : array of shape (n,)

        Returns
        -------
        float
            Mean squared error of the batch before the step, or mean -log P, without the penalty.
        """
        loss, gradients = self.loss_and_gradients(users, items, ratings, training=True)
        if self.weight_decay:
            for name, value in self.parameters.items():
                if name.startswith("mlp") and name.endswith("weight"):
                    value *= 1 - self.optimizer.learning_rate * self.weight_decay
        self.optimizer.step(self.parameters, gradients)
        return loss

    def loss_and_gradients(
        self, users: IntArray, items: IntArray, ratings: Array, training: bool = False
    ) -> tuple[float, dict[str, Gradient]]:
        """Loss of a batch, and the gradient of that plus the penalty, by parameter name."""
        prediction, backward = self.forward(users, items, training)
        if self._ordinal is None:
            loss, dr = mse(prediction, ratings)
        else:
            cutpoints = self._learned["cutpoints"]
            loss, dr, gradient = self._ordinal.loss(prediction, ratings, cutpoints.value)
            cutpoints.accumulate(gradient)
        backward(dr)
        return loss, {name: p.pop_grad() for name, p in self._learned.items()}

    def penalty(self, users: IntArray, items: IntArray) -> float:
        """What regularisation adds to the loss of a batch."""
        total = 0.0
        for side in (self._side("user", users), self._side("item", items)):
            for kind in ("embedding", "bias"):
                table = self.parameters.get(f"{side.name}_{kind}.weight")
                if table is None:
                    continue
                ids = side.ids.ids
                total += float((self._penalty[side.name][ids] * table[ids] ** 2).sum()) / len(ids)
                if side.bags is not None:
                    rows = self.parameters[f"{side.name}_feature_{kind}.weight"][side.bags.columns]
                    total += float((side.bags.shrinkage * rows**2).sum()) / 2
        return total

    def predict(self, users: IntArray, items: IntArray) -> Array:
        """r̂, shape (n,), not clipped."""
        return self.forward(users, items)[0]

    def forward(self, users: IntArray, items: IntArray, training: bool = False) -> Term:
        """r̂ of shape (n,), and the function that turns dL/dr̂ into gradients of all parameters."""
        u, i = self._side("user", users), self._side("item", items)
        terms = [self._intercept(len(users))]
        if self.architecture.biases:
            terms += [self._bias(u), self._bias(i)]
        if self.architecture.has_embeddings:
            terms += [self._interaction(u, i, training)]

        def backward(dr: Array) -> None:
            for _, backward_term in terms:
                backward_term(dr)

        prediction = terms[0][0]
        for term, _ in terms[1:]:
            prediction += term
        return prediction, backward

    def _side(self, name: str, ids: IntArray) -> _Side:
        bags, grouped = self._bags.get(name), GroupedIds(ids)
        if bags is None:
            return _Side(name, grouped, None)
        return _Side(name, GroupedIds(bags.rows(ids)) if bags.n_periods else grouped, bags.of(grouped))

    def _intercept(self, n: int) -> Term:
        """μ."""
        mu = self._learned["intercept"]
        return np.repeat(mu.value, n), lambda dr: mu.accumulate(dr.sum(keepdims=True))

    def _vectors(self, side: _Side, kind: str) -> Term:
        """Rows of P, or of P + X E where there are features, of each rating, shape (n, d).

        Backward adds the gradient of the penalty: 2 λ / n · row of each rating.
        """
        ids, bags = side.ids, side.bags
        P = self._learned[f"{side.name}_{kind}.weight"]
        own, backward_own = Embedding.of(P).forward(ids)

        def backward(dy: Array) -> None:
            dP = own * (self._penalty[side.name].take(ids.ids, axis=0) * (2 / len(own)))
            dP += dy
            backward_own(dP)

        if bags is None:
            return own, backward
        columns = bags.columns
        E = self._learned[f"{side.name}_feature_{kind}.weight"]
        shared, backward_shared = EmbeddingBag.of(E).forward(bags.matrix, rows=columns)

        def backward_both(dy: Array) -> None:
            backward(dy)
            backward_shared(bags.ids.sum(dy))
            E.accumulate(RowGradient(columns, bags.shrinkage * E.value.take(columns, axis=0)))

        return own + shared.take(bags.ids.positions, axis=0), backward_both

    def _bias(self, side: _Side) -> Term:
        """b_u or b_i."""
        b, backward = self._vectors(side, "bias")
        return b[:, 0], lambda dr: backward(dr[:, None])

    def _interaction(self, u: _Side, i: _Side, training: bool) -> Term:
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

    def _build_mlp(self, rng: np.random.Generator) -> Sequential | None:
        layers: list[Layer] = []
        for n in range(self.architecture.n_layers):
            if n:
                layers.append(Activation(ACTIVATIONS[self.architecture.activation]))
            if self.architecture.dropout:
                layers.append(Dropout(self.architecture.dropout, rng))
            layers.append(Dense.of(self._learned[f"mlp.{n}.weight"], self._learned.get(f"mlp.{n}.bias")))
        return Sequential(*layers) if layers else None


def _keep_freed_memory() -> None:
    """Let arrays that one step frees serve the next: with large batches, half of the time went to new pages.

    The C library of Linux gives large blocks back to the system as soon as they are free, and gets them anew,
    page by page, until a large one was freed: from then on it keeps twice that size (mallopt(3),
    M_MMAP_THRESHOLD). 32 MB is the most that counts. Nobody writes to this block, so it takes no memory.
    """
    np.empty(2**25 - 2**13, np.uint8)
