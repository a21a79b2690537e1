"""A new user with a few ratings: their row is found by least squares, everything else stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture import Architecture, Parameters
from ..nn import ACTIVATIONS
from .ranking import SeenItems
from .scoring import Scorer, item_scorer

Float64Array = NDArray[np.float64]

MAX_STEPS = 50
ENOUGH = 1e-6  # relative fall of the objective below which nothing more is to be had


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NewUser:
    """Somebody whom training did not see, for `predict` and `recommend` of the model that folded them in.

    Attributes
    ----------
    architecture : Architecture
    parameters : dict of str to array
        Those of the model, with tables of users of one row.
    seen : SeenItems
        What they rated.
    """

    architecture: Architecture
    parameters: Parameters
    seen: SeenItems

    def __repr__(self) -> str:
        return f"NewUser: {len(self.seen.items)} ratings folded in"

    def scorer(self, items: NDArray[np.int32]) -> Scorer:
        """Their row, 0, to the ratings of rows of the tables of items."""
        return item_scorer(self.architecture, self.parameters, items)


def fold_in(
    architecture: Architecture,
    parameters: Parameters,
    items: NDArray[np.int32],
    ratings: Float64Array,
    penalty: float,
) -> NewUser:
    """The row θ = (p, b) that minimises Σ (r_i - r̂_i(θ))² + penalty ‖θ‖², from the unknown user's row on.

    Gauss-Newton steps, (JᵀJ + penalty I) δ = Jᵀ(r - r̂) - penalty θ with J = ∂r̂/∂θ, each halved until the
    objective falls. Without an MLP r̂ is linear in θ, and the first step is the solution: ridge regression.

    Parameters
    ----------
    architecture : Architecture
    parameters : dict of str to array
        The model's.
    items : int32 array of shape (n,)
        Rows of the tables of items, ascending.
    ratings : float64 array of shape (n,)
    penalty : float
    """
    tables = [name for name in ("user_embedding.weight", "user_bias.weight") if name in parameters]
    theta = np.concatenate([parameters[name][-1] for name in tables]).astype(np.float64)
    predict = _Predictor(architecture, parameters, items)

    def objective(theta: Float64Array, prediction: Float64Array) -> float:
        return float(((ratings - prediction) ** 2).sum() + penalty * theta @ theta)

    prediction, J = predict(theta)
    value = objective(theta, prediction)
    for _ in range(MAX_STEPS):
        gradient = J.T @ (ratings - prediction) - penalty * theta
        delta = np.linalg.lstsq(J.T @ J + penalty * np.eye(len(theta)), gradient)[0]
        for _ in range(30):
            new_prediction, new_J = predict(theta + delta)
            new_value = objective(theta + delta, new_prediction)
            if new_value < value:
                break
            delta /= 2
        else:
            break
        fall = value - new_value
        theta, prediction, J, value = theta + delta, new_prediction, new_J, new_value
        if fall <= ENOUGH * value:
            break
    rows = np.split(theta.astype(np.float32)[None], [architecture.embedding_dim], axis=1)
    own = dict(
        zip(tables, rows if architecture.has_embeddings else [theta.astype(np.float32)[None]], strict=False)
    )
    return NewUser(architecture, parameters | own, SeenItems(items, np.array([0, len(items)])))


class _Predictor:
    """θ to r̂ of some items, shape (n,), and its Jacobian, shape (n, d), in float64."""

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
