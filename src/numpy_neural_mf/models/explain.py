"""A prediction taken apart: mean, biases, interaction, and the ratings that moved it most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mf.architecture import Architecture, Parameters
from ..mf.likelihood import Likelihood
from .fold_in import Float64Array, Predictor, theta_of

# Ratings that `str` names one by one.
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Reason:
    """One rating of the user, and what it has to do with a prediction.

    Attributes
    ----------
    item : int or str
        Raw id.
    rating : float
        What the user gave it.
    weight : float
        How much of the prediction comes from it, in units of the rating.
    """

    item: int | str
    rating: float
    weight: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a model predicts what it does: ``str`` of it is a small text.

    mean + user_bias + item_bias + interaction + clipped is the prediction, to rounding, and the weights of
    all reasons + rest are user_bias + interaction, the part of the prediction in which the user takes part.

    Attributes
    ----------
    prediction : float
        What `predict` says.
    mean : float
        μ.
    user_bias, item_bias : float
        b_u and b_i, 0 where the model has none.
    interaction : float
        p_u · q_i + f([p_u, q_i]), as far as the model has them.
    clipped : float
        What clipping to the rating scale adds, 0 mostly; of an ordinal likelihood, whose other parts are on
        a scale of their own, what the mean over the steps adds.
    reasons : tuple of Reason
        What the user rated, highest absolute weight first; empty for the unknown.
    rest : float
        What no rating accounts for: of biased matrix factorisation next to nothing, if the row is at its
        optimum, which training only comes near to; with an MLP, what this predicts for everybody.
    """

    prediction: float
    mean: float
    user_bias: float
    item_bias: float
    interaction: float
    clipped: float
    reasons: tuple[Reason, ...]
    rest: float

    def __str__(self) -> str:
        parts = [
            (self.mean, "mean"),
            (self.user_bias, "bias of the user"),
            (self.item_bias, "bias of the item"),
            (self.interaction, "interaction of both"),
        ]
        if self.clipped:
            parts.append((self.clipped, "brought onto the scale"))
        lines = [f"{weight:+8.3f}  {name}" for weight, name in parts]
        lines.append(f"{self.prediction:8.3f}  predicted")
        if self.reasons:
            lines += ["", "of which from the ratings of the user:"]
            lines += [f"{r.weight:+8.3f}  {r.item}, rated {r.rating:g}" for r in self.reasons[:SHOWN]]
            if others := self.reasons[SHOWN:]:
                lines.append(f"{sum(r.weight for r in others):+8.3f}  {len(others)} others")
            lines.append(f"{self.rest:+8.3f}  not from any rating")
            lines.append(f"{self.user_bias + self.interaction:+8.3f}  bias of the user and interaction")
        return "\n".join(lines)


def weights_of_ratings(
    architecture: Architecture,
    parameters: Parameters,
    user: int,
    item: int,
    rated: NDArray[np.int32],
    ratings: NDArray[np.float32],
    penalty: float,
    likelihood: Likelihood,
) -> Float64Array:
    """How much each rating of a user moved r̂ of an item, by the fit that folds them in.

    At the optimum θ of Σ (r_j - r̂_j(θ))² + λ ‖θ‖², with J = ∂r̂/∂θ over the rated items, A = JᵀJ + λ I and
    e = r - r̂ + J θ, what the ratings say beyond the others' parameters, θ = A⁻¹ Jᵀ e. So the user's part of
    r̂_i, J_i θ, is the sum of w_j = (J_i A⁻¹ J_jᵀ) e_j (Hu, Koren and Volinsky, "Collaborative filtering for
    implicit feedback datasets", 2008, section 5, for alternating least squares). Of another loss, r - r̂ is
    how it pulls, and J θ and JᵀJ are weighted by how it bends (see `Terms`).

    Parameters
    ----------
    architecture : Architecture
    parameters : dict of str to array
    user, item : int
        Rows of the tables.
    rated : int32 array of shape (n,)
        Rows of the items that the user rated.
    ratings : float32 array of shape (n,)
    penalty : float
        λ.
    likelihood : Likelihood

    Returns
    -------
    float64 array of shape (n,)
    """
    theta = theta_of(parameters, user)
    prediction, J = Predictor(architecture, parameters, rated)(theta)
    _, J_i = Predictor(architecture, parameters, np.array([item], np.int32))(theta)
    terms = likelihood.terms(prediction, ratings.astype(np.float64))
    A = J.T @ (terms.weight[:, None] * J) + penalty * np.eye(len(theta))
    similarity = J @ np.linalg.lstsq(A, J_i[0])[0]
    return np.asarray(similarity * (terms.pull + terms.weight * (J @ theta)))


def explained(
    architecture: Architecture,
    parameters: Parameters,
    user: int,
    item: int,
    likelihood: Likelihood,
    prediction: float,
    rated: list[Any],
    ratings: NDArray[np.float32],
    weights: Float64Array,
) -> Explanation:
    """Put together the explanation; `rated` has the raw ids of the items that `weights` are of."""
    r, _ = Predictor(architecture, parameters, np.array([item], np.int32))(theta_of(parameters, user))
    unit, weights = likelihood.unit, weights * likelihood.unit
    mean = unit * float(parameters["intercept"][0])
    user_bias, item_bias = (
        unit * float(parameters[f"{side}_bias.weight"][row, 0]) if architecture.biases else 0.0
        for side, row in (("user", user), ("item", item))
    )
    total = unit * float(r[0])
    interaction = total - mean - user_bias - item_bias if architecture.has_embeddings else 0.0
    order = np.argsort(-np.abs(weights), kind="stable")
    reasons = tuple(Reason(rated[j], float(ratings[j]), float(weights[j])) for j in order)
    return Explanation(
        prediction,
        mean,
        user_bias,
        item_bias,
        interaction,
        float(likelihood.rating(r)[0]) - total,
        reasons,
        user_bias + interaction - sum(reason.weight for reason in reasons),
    )
