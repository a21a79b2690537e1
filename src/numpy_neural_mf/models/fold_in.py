"""A row of a user, or of an item, fitted to ratings while everything else stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mf.architecture import Architecture, Parameters
from ..mf.likelihood import Terms
from ..nn import ACTIVATIONS
from .interactions import SeenRatings

Float64Array = NDArray[np.float64]

MAX_STEPS = 50
ENOUGH = 1e-6  # relative fall of the objective below which nothing more is to be had


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NewUser:
    """Somebody whom training did not see, in place of users for the model that folded them in.

    Attributes
    ----------
    row : dict of str to array
        The model's tables of users, with their row alone.
    seen : SeenRatings
        What they rated: their row is 0.
    model_seen : SeenRatings
        What the model had learned from: it tells whether the model is still the same.
    """

    row: Parameters
    seen: SeenRatings
    model_seen: SeenRatings

    def __repr__(self) -> str:
        return f"NewUser: {len(self.seen.items)} ratings folded in"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NewItem:
    """Something that training did not see, in place of items for the model that folded it in.

    Attributes
    ----------
    id : int or str
        Its raw id.
    row : dict of str to array
        The model's tables of items, with its row alone.
    seen : SeenRatings
        Who rated it, with the sides exchanged: the item's row is 0, and its "items" are users.
    model_seen : SeenRatings
        What the model had learned from: it tells whether the model is still the same.
    """

    id: int | str
    row: Parameters
    seen: SeenRatings
    model_seen: SeenRatings

    def __repr__(self) -> str:
        return f"NewItem {self.id!r}: {len(self.seen.items)} ratings folded in"


def mirrored(parameters: Parameters) -> Parameters:
    """The same model, users and items exchanged: r̂ is symmetric but for the first layer of f."""
    other = {"user": "item", "item": "user"}
    swapped = {other.get(name[:4], name[:4]) + name[4:]: value for name, value in parameters.items()}
    if "mlp.0.weight" in swapped:
        W = swapped["mlp.0.weight"]
        swapped["mlp.0.weight"] = np.roll(W, W.shape[1] // 2, axis=1)  # (h, 2 k): halves exchanged
    return swapped


def prior_of(prior: Parameters, parameters: Parameters, user: int) -> Float64Array:
    """The same of what features say of a user, shape (d,): zero where there are none."""
    names = tables_of_users(parameters)
    return np.concatenate(
        [prior[name][user] if name in prior else np.zeros(parameters[name].shape[1]) for name in names]
    ).astype(np.float64)


def theta_of(parameters: Parameters, user: int) -> Float64Array:
    """θ = (p, b), what belongs to a user, shape (d,)."""
    return np.concatenate([parameters[name][user] for name in tables_of_users(parameters)]).astype(np.float64)


def rows_of(parameters: Parameters, theta: Float64Array) -> Parameters:
    """The way back: θ of shape (..., d) as rows of the tables of users, by name."""
    names = tables_of_users(parameters)
    widths = [parameters[name].shape[1] for name in names]
    parts = np.split(theta, np.cumsum(widths)[:-1], axis=-1)
    return {
        name: part.astype(parameters[name].dtype, copy=False) for name, part in zip(names, parts, strict=True)
    }


def tables_of_users(parameters: Parameters) -> list[str]:
    return [name for name in ("user_embedding.weight", "user_bias.weight") if name in parameters]


def fitted_row(
    predict: Predictor,
    loss: Callable[[Float64Array], Terms],
    penalty: float,
    start: Float64Array,
    max_steps: int = MAX_STEPS,
    prior: Float64Array | float = 0.0,
) -> Float64Array:
    """The row θ that minimises Σ loss(r̂_i(θ)) + penalty ‖θ - prior‖², from `start` on.

    Gauss-Newton steps, (Jᵀ W J + penalty I) δ = Jᵀ e - penalty (θ - prior), with J = ∂r̂/∂θ and, of the
    squared error, e = r - r̂ and W = 1 (see `Terms`), each halved until the objective falls (Nocedal and
    Wright, *Numerical Optimization*, 2006, section 10.3). Without an MLP r̂ is linear in θ, and of squared
    errors the first step is the solution: ridge regression.

    Parameters
    ----------
    predict : Predictor
        Of the n items that were rated.
    loss : callable
        Scores of these, shape (n,), to what a `Likelihood` says of their ratings.
    penalty : float
    start : float64 array of shape (d,)
    max_steps : int, default 50
    prior : float64 array of shape (d,), default zero
        What features say of the row.

    Returns
    -------
    float64 array of shape (d,)
    """

    def objective(theta: Float64Array, terms: Terms) -> float:
        own = theta - prior
        return terms.total + float(penalty * own @ own)

    theta = start
    prediction, J = predict(theta)
    terms = loss(prediction)
    value = objective(theta, terms)
    for _ in range(max_steps):
        gradient = J.T @ terms.pull - penalty * (theta - prior)
        curvature = J.T @ (terms.weight[:, None] * J) + penalty * np.eye(len(theta))
        delta = np.linalg.lstsq(curvature, gradient)[0]
        for _ in range(30):
            new_prediction, new_J = predict(theta + delta)
            new_terms = loss(new_prediction)
            new_value = objective(theta + delta, new_terms)
            if new_value < value:
                break
            delta /= 2
        else:
            break
        fall = value - new_value
        theta, terms, J, value = theta + delta, new_terms, new_J, new_value
        if fall <= ENOUGH * value:
            break
    return theta


class Predictor:
    """θ to r̂ of some rows of the tables of items, shape (n,), and its Jacobian, shape (n, d), in float64."""

    def __init__(self, architecture: Architecture, parameters: Parameters, items: NDArray[np.int32]) -> None:
        wide: dict[str, Any] = {
            name: (value[items] if name.startswith("item") else value).astype(np.float64)
            for name, value in parameters.items()
            if not name.startswith("user")
        }
        self.architecture = architecture
        self.activation = ACTIVATIONS[architecture.activation]
        self.fixed = np.repeat(wide["intercept"], len(items))
        if architecture.biases:
            self.fixed += wide["item_bias.weight"][:, 0]
        self.Q: Any = wide.get("item_embedding.weight")
        self.weights = [wide[f"mlp.{n}.weight"] for n in range(architecture.n_layers)]
        self.mlp_biases = [wide[f"mlp.{n}.bias"] for n in range(architecture.n_layers - 1)]

    def __call__(self, theta: Float64Array) -> tuple[Float64Array, Float64Array]:
        k = self.architecture.embedding_dim if self.architecture.has_embeddings else 0
        p, J = theta[:k], np.zeros((len(self.fixed), len(theta)))
        prediction = self.fixed.copy()
        if self.architecture.biases:
            prediction += theta[k]
            J[:, k] = 1
        if self.architecture.product:
            prediction += self.Q @ p
            J[:, :k] += self.Q
        if self.weights:
            f, df = self._mlp(p)
            prediction += f
            J[:, :k] += df
        return prediction, J

    def _mlp(self, p: Float64Array) -> tuple[Float64Array, Float64Array]:
        """f([p, q_i]), shape (n,), and its derivative by p, shape (n, k)."""
        y, backwards = np.hstack([np.tile(p, (len(self.Q), 1)), self.Q]), []
        for W, c in zip(self.weights[:-1], self.mlp_biases, strict=True):
            y, backward = self.activation(y @ W.T + c)
            backwards.append(backward)
        dy = np.repeat(self.weights[-1], len(y), axis=0)
        for W, backward in zip(reversed(self.weights[:-1]), reversed(backwards), strict=True):
            dy = backward(dy) @ W
        return (y @ self.weights[-1].T)[:, 0], dy[:, : len(p)]
