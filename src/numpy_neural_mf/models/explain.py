"""Explanations of predictions: mean, biases, interaction, and the ratings that contribute most."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..mf.parameters import SIDES
from ..utils.arrays import Float32Array, Float64Array, IntArray
from ..utils.tables import Table, html_table
from .fitted import Fitted, FittedModel
from .fold_in import Located, NewUser, RowFit, locate

SHOWN = 10  # number of ratings that `str` lists individually


@dataclass(frozen=True, slots=True)
class Reason:
    """A user's rating of an item, a raw id, and its weight: the part of a prediction that comes from it.

    The title of the item is "" if it is not known.
    """

    item: int | str
    rating: float
    weight: float
    title: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """The parts of a prediction, shown as a short text, or as tables in a notebook.

    mean + user_bias + item_bias + interaction + clipped is the prediction, to rounding, and the weights of
    all reasons + rest are user_bias + interaction, the part of the prediction that depends on the user.

    Attributes
    ----------
    prediction, mean : float, the result of `predict`, and μ
    user_bias, item_bias : float, b_u and b_i, 0 if the model has none
    interaction : float, p_u · q_i + f([p_u, q_i]), if the model has these terms
    clipped : float, what clipping adds; for an ordinal likelihood, what converting the score to the mean over
        the categories adds
    reasons : tuple of Reason, the user's ratings, highest absolute weight first; empty for unknown ids
    rest : float, the part that no rating accounts for: the contribution of the prior, which ratings have not
        replaced; in a model with features or `implicit`, their contribution. With an MLP, it includes what
        the MLP predicts for all users, and after training also the row's distance from its optimum.
    """

    prediction: float
    mean: float
    user_bias: float
    item_bias: float
    interaction: float
    clipped: float
    reasons: tuple[Reason, ...]
    rest: float

    def _parts(self) -> list[tuple[float, str]]:
        """Return the parts that add up to the prediction."""
        parts = [
            (self.mean, "mean"),
            (self.user_bias, "bias of the user"),
            (self.item_bias, "bias of the item"),
            (self.interaction, "interaction of both"),
        ]
        return parts + [(self.clipped, "brought onto the scale")] * bool(self.clipped)

    def _weights(self) -> list[tuple[float, str]]:
        """Return the parts that add up to the user's part; nothing without reasons."""
        if not self.reasons:
            return []
        weights = [(r.weight, f"{r.title or r.item}, rated {r.rating:g}") for r in self.reasons[:SHOWN]]
        if others := self.reasons[SHOWN:]:
            weights.append((sum(r.weight for r in others), f"{len(others)} others"))
        total = self.user_bias + self.interaction, "bias of the user and interaction"
        return [*weights, (self.rest, "not from any rating"), total]

    def __repr__(self) -> str:
        lines = [f"{amount:+8.3f}  {name}" for amount, name in self._parts()]
        lines.append(f"{self.prediction:8.3f}  predicted")
        if weights := self._weights():
            lines += ["", "of which from the ratings of the user:"]
            lines += [f"{amount:+8.3f}  {name}" for amount, name in weights]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        tables = {f"Predicted: {self.prediction:.3f}": self._parts()}
        tables["Of which from the ratings of the user"] = self._weights()
        return "".join(
            html_table(Table(caption, ["", ""], [(name, f"{amount:+.3f}") for amount, name in rows]))
            for caption, rows in tables.items()
            if rows
        )


def explain(fitted: Fitted, user: Any, item: Any) -> Explanation:
    """Return the explanation of `Recommender.explain`."""
    located = one_pair(locate(fitted, user, item))
    model, u, i = located.model, int(located.users), int(located.items)
    interactions = user.interactions if isinstance(user, NewUser) else fitted.interactions
    rated, ratings = interactions.of_row(u if i >= 0 else -1)
    form, unit = model.factorization, model.likelihood.unit
    score = float(form.row_scorer(np.array([i], np.int32))(form.row(u))[0][0])
    weights = unit * rating_weights(model, u, i, rated, ratings)
    reasons = sorted_reasons(fitted, rated, ratings, weights)
    mean, total = unit * model.intercept, unit * score
    user_bias, item_bias = (
        unit * float(form.parameters[f"{side}_bias.weight"][row, 0]) if form.architecture.biases else 0.0
        for side, row in zip(SIDES, (u, i), strict=True)
    )
    interaction = total - mean - user_bias - item_bias if form.architecture.has_embeddings else 0.0
    return Explanation(
        float(located.ratings()),
        mean,
        user_bias,
        item_bias,
        interaction,
        float(model.likelihood.rating(np.array([score]))[0]) - total,
        reasons,
        user_bias + interaction - sum(reason.weight for reason in reasons),
    )


def one_pair(located: Located) -> Located:
    """Return a single pair unchanged; several pairs are a TypeError."""
    if located.users.ndim:
        raise TypeError(f"expected one user and one item, found ids of shape {located.users.shape}")
    return located


def rating_weights(
    model: FittedModel, user: int, item: int, rated: IntArray, ratings: Float32Array
) -> Float64Array:
    """Return how much each rating of a user, shape (n,), contributes to r̂ of an item, by the fold-in fit.

    At the optimum θ of Σ (r_j - r̂_j(θ))² + Σ_k λ_k (θ_k - m_k)², with J = ∂r̂/∂θ over the rated items,
    Λ = diag(λ), A = JᵀJ + Λ and e = r - r̂ + J θ, θ = A⁻¹ (Jᵀ e + Λ m). So the user's part of r̂_i, J_i θ, is
    J_i A⁻¹ Λ m, which comes from the prior, and the sum of w_j = (J_i A⁻¹ J_jᵀ) e_j (Hu, Koren and Volinsky,
    "Collaborative filtering for implicit feedback datasets", 2008, section 5, for alternating least squares).
    For another loss, r - r̂ is minus half its first derivative, and J θ and JᵀJ are weighted by half its
    second (see `Terms`).
    """
    form, theta = model.factorization, model.factorization.row(user)
    if not len(theta):
        return np.zeros(len(rated))
    _, J_i = form.row_scorer(np.array([item], np.int32))(theta)
    fit = RowFit.of(model, user, rated, ratings)
    _, terms, J = fit.objective(theta)
    similarity = J @ np.linalg.lstsq(fit.curvature(terms, J), J_i[0])[0]
    return np.asarray(similarity * (terms.pull + terms.weight * (J @ theta)))


def sorted_reasons(
    fitted: Fitted, rated: IntArray, ratings: Float32Array, weights: Float64Array
) -> tuple[Reason, ...]:
    """Return reasons, highest absolute weight first."""
    items, titles = fitted.item_ids[rated].tolist(), fitted.titles or {}
    order = np.argsort(-np.abs(weights), kind="stable").tolist()
    return tuple(
        Reason(items[j], float(ratings[j]), float(weights[j]), titles.get(items[j], "")) for j in order
    )
