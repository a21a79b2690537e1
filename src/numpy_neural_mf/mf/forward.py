"""Neural matrix factorisation of users against all items at once, without pairing them one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..nn import ACTIVATIONS
from ..nn.parameter import Array, IntArray
from .architecture import Architecture, Parameters

# Rows of the tables of users, shape (m,) -> r̂ of each with each item, shape (m, n), not clipped.
Scorer = Callable[[IntArray], Array]

# Pairs that go through the MLP at a time: their hidden units stay in the processor's cache.
TILE = 8_192


def item_scorer(architecture: Architecture, parameters: Parameters, items: IntArray) -> Scorer:
    """What `Engine.predict` says of every pair of some users with `items`, to rounding.

    Biased matrix factorisation is one product of the rows [p_u, b_u, 1] and [q_i, 1, μ + b_i]. The first
    layer of the MLP is linear in [p_u, q_i]: W [p_u, q_i] + c = W_u p_u + (W_i q_i + c), whose second half is
    computed here, once, and whose first half once for each user.

    Parameters
    ----------
    architecture : Architecture
    parameters : dict of str to array
    items : integer array of shape (n,)
        Rows of the tables of items.

    Returns
    -------
    callable
        Rows of the tables of users, shape (m,), to scores of shape (m, n).
    """
    mu = parameters["intercept"]
    item_columns = [np.ones((len(items), 1), mu.dtype), np.repeat(mu, len(items))[:, None]]
    if architecture.biases:
        item_columns[1] += parameters["item_bias.weight"][items]
    if architecture.product:
        item_columns.insert(0, parameters["item_embedding.weight"][items])
    by_item = np.ascontiguousarray(np.hstack(item_columns).T)  # (k + 2, n)
    add_mlp = _mlp_scorer(architecture, parameters, items) if architecture.hidden_layer_sizes else None

    def score(users: IntArray) -> Array:
        user_columns = [np.zeros((len(users), 1), mu.dtype), np.ones((len(users), 1), mu.dtype)]
        if architecture.biases:
            user_columns[0] += parameters["user_bias.weight"][users]
        if architecture.product:
            user_columns.insert(0, parameters["user_embedding.weight"][users])
        scores: Array = np.hstack(user_columns) @ by_item
        if add_mlp:
            add_mlp(users, scores)
        return scores

    return score


def _mlp_scorer(
    architecture: Architecture, parameters: Parameters, items: IntArray
) -> Callable[[IntArray, Array], None]:
    """A function that adds f([p_u, q_i]) to the scores of users; hidden units come first, pairs last."""
    k, activation = architecture.embedding_dim, ACTIVATIONS[architecture.activation]
    weights = [parameters[f"mlp.{n}.weight"] for n in range(architecture.n_layers)]
    biases = [parameters[f"mlp.{n}.bias"][:, None] for n in range(architecture.n_layers - 1)]
    item_half = weights[0][:, k:] @ parameters["item_embedding.weight"][items].T + biases[0]  # (h, n)
    n_users_at_once = max(1, TILE // max(1, len(items)))

    def add(users: IntArray, scores: Array) -> None:
        user_half = weights[0][:, :k] @ parameters["user_embedding.weight"][users].T  # (h, m)
        for first_user in range(0, len(users), n_users_at_once):
            some_users = slice(first_user, first_user + n_users_at_once)
            for first_item in range(0, len(items), TILE):
                some_items = slice(first_item, first_item + TILE)
                tile = scores[some_users, some_items]
                h = user_half[:, some_users, None] + item_half[:, None, some_items]
                tile += later_layers(h.reshape(len(h), -1)).reshape(tile.shape)

    def later_layers(h: Array) -> Array:
        """From the first layer's output, (h, pairs), to f, (1, pairs)."""
        for weight, bias in zip(weights[1:-1], biases[1:], strict=True):
            h = weight @ activation(h)[0]
            h += bias
        return np.asarray(weights[-1] @ activation(h)[0])

    return add
