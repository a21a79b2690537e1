"""The cumulative logit model: the probability of each ordinal category of a rating, given a score y."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..utils.settings import check_number
from .activations import sigmoid
from .parameter import Array, IntArray


class StepTerms(NamedTuple):
    """-log P of each rating, its first two derivatives with respect to y, and its sum's gradient in θ."""

    value: Array
    dy: Array
    d2y: Array
    d_theta: Array


@dataclass(frozen=True, slots=True, eq=False)
class CumulativeLogit:
    """The cumulative logit model of ratings in categories v_1 < ... < v_S (McCullagh, 1980, section 2.3)::

        P(r ≤ v_s | y) = σ((θ_s - y) / τ)        for s = 1 ... S - 1

    OrdRec uses it for ratings (Koren and Sill, 2011, eq. 4 to 6). The cutpoints θ are learned through an
    unconstrained vector ``raw``: θ_1 and log(θ_{s+1} - θ_s). The scale τ is fixed, because a model that
    overfits would learn a small τ, which weakens its regularisation and makes it overfit more.
    """

    steps: Array  # v, shape (S,): at least 2 categories, ascending
    deviation: float  # standard deviation, above 0, of the logistic distribution with τ: of a rating around y

    def __post_init__(self) -> None:
        if len(self.steps) < 2 or not (np.diff(self.steps) > 0).all():
            raise ValueError(f"expected at least 2 distinct ratings, ascending, found {self.steps}")
        check_number("deviation", self.deviation, above=0)

    @property
    def tau(self) -> float:
        """τ, √3 / π times the deviation."""
        return self.deviation * math.sqrt(3) / math.pi

    def first(self) -> Array:
        """Return the initial ``raw``, shape (S - 1,): cutpoints at `middles` put y near the rating scale."""
        return np.concatenate([self.middles[:1], np.log(np.diff(self.middles))])

    @property
    def middles(self) -> Array:
        """Midpoints between neighbouring categories, shape (S - 1,)."""
        steps = self.steps.astype(np.float64)
        return np.asarray((steps[1:] + steps[:-1]) / 2)

    def number(self, ratings: Array) -> IntArray:
        """Return the index, from 0, of the category nearest to each rating."""
        return np.searchsorted(self.middles, ratings)

    def cutpoints(self, raw: Array) -> Array:
        """Return θ, shape (S - 1,)."""
        return np.cumsum(np.concatenate([raw[:1], np.exp(raw[1:])]), dtype=raw.dtype)

    def backward(self, raw: Array, d_theta: Array) -> Array:
        """Return dL/draw given dL/dθ: each element of ``raw`` moves its own cutpoint and all later ones."""
        d_from = np.cumsum(d_theta[::-1])[::-1]
        return np.concatenate([d_from[:1], d_from[1:] * np.exp(raw[1:])]).astype(raw.dtype)

    def loss(self, y: Array, ratings: Array, raw: Array) -> tuple[float, Array, Array]:
        """Return the mean of -log P(r | y) and its gradients with respect to y and to ``raw``."""
        terms, n = self.terms(y, ratings, raw), len(y)
        return float(terms.value.sum()) / n, terms.dy / n, self.backward(raw, terms.d_theta / n)

    def terms(self, y: Array, ratings: Array, raw: Array) -> StepTerms:
        """Return -log P of each rating and its derivatives; its category lies between cutpoints a' and b'.

        With a = (a' - y) / τ and b = (b' - y) / τ, P = σ(b) - σ(a) = σ(b) σ(-a) (1 - e^(a-b)). So -log P is
        log(1 + e^-b) + log(1 + e^a) - log(1 - e^(a-b)), in which no terms cancel far from the cutpoints. The
        last term does not depend on y, so the derivative with respect to y is (σ(-b) - σ(a)) / τ.
        """
        step, theta, tau = self.number(ratings), self.cutpoints(raw), self.tau
        last = len(theta)
        has_a, has_b = step > 0, step < last
        a = np.where(has_a, (theta[step - 1] - y) / tau, -np.inf)
        b = np.where(has_b, (theta[np.minimum(step, last - 1)] - y) / tau, np.inf)
        is_inner = has_a & has_b
        gap = np.where(is_inner, np.where(is_inner, b, 0) - np.where(is_inner, a, 0), np.inf)
        value = np.logaddexp(0, -b) + np.logaddexp(0, a) - np.log(-np.expm1(-gap))
        below, above = sigmoid(a)[0], sigmoid(-b)[0]
        crowding = np.where(is_inner, 1 / np.expm1(gap), 0)
        da, db = below + crowding, -above - crowding
        d_theta = np.bincount(step[has_a] - 1, da[has_a], last) + np.bincount(step[has_b], db[has_b], last)
        d2y = (below * (1 - below) + above * (1 - above)) / tau**2
        return StepTerms(value, (above - below) / tau, d2y, d_theta / tau)

    def probabilities(self, y: Array, raw: Array, variance: Array | float = 0.0) -> Array:
        """Return P(r = v_s | y), shape (..., S); a variance of y is added to the variance of a rating."""
        tau = self.tau * np.sqrt(1 + np.asarray(variance)[..., None] / self.deviation**2)
        below = sigmoid((self.cutpoints(raw) - y[..., None]) / tau.astype(y.dtype))[0]
        ends = np.zeros_like(below[..., :1])
        return np.diff(below, axis=-1, prepend=ends, append=ends + 1)

    def expected(self, y: Array, raw: Array) -> Array:
        """Return E(r | y), with the shape of y: v_S - Σ_s (v_{s+1} - v_s) P(r ≤ v_s | y)."""
        mean, tau = np.full_like(y, self.steps[-1]), y.dtype.type(self.tau)
        for theta, step in zip(self.cutpoints(raw), np.diff(self.steps), strict=True):
            mean -= step.astype(y.dtype) * sigmoid((theta - y) / tau)[0]
        return mean
