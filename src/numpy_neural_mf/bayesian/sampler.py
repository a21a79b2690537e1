"""A Gibbs sampler of matrix factorisation with side information, drift, and a noise of each user's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from .drift import Drift
from .factor_block import Design, Float64Array, IntArray

# How many ratings the noise of all counts for beside those of a user, before ratings have spoken: the centre
# and the spread, in e-folds, of what is thought; and proposals in a sweep with their step.
NOISE_RATINGS, NOISE_SPREAD = 10.0, 0.5
NOISE_PROPOSALS, NOISE_STEP = 3, 0.3


class Sampler:
    """Draws μ, biases, factors, drifts and noise in turn, each from its distribution given all others.

    A rating of user u for item i at time t is normal with mean ::

        r̂_ui(t) = μ + b_u + b_i + p_u · q_i + Σ (w_c + (p_u + q_i) · z_c) + Σ d(t)

    and precision α γ_u: Bayesian matrix factorisation (Salakhutdinov and Mnih, 2008) whose biases and factors
    are sums over columns, as in a factorisation machine (Rendle, 2012), where the occasions c of a rating,
    too, have biases and factors, which meet those of user and item; with levels d that drift, and with
    γ_u ~ Gamma(ν/2, ν/2): some users mean the same by the same stars more than others do; how much more, ν
    says. μ is thought to be near the mean of the ratings, as if one more rating said so.

    Parameters
    ----------
    values : float32 array of shape (n,)
        Ratings. Whatever is drawn is in units of their standard deviation, so that the priors mean the same
        on every scale.
    users, items : Design
    drifts : sequence of Drift
    rng : numpy.random.Generator
    user_noise : bool, default True
        Whether γ_u, and ν, are drawn, and γ_u is not 1.
    contexts : sequence of Design, default ()
        Of each kind of occasion one, with a row for each occasion. What they follow, they follow through the
        warm-up: to go on would be no draw given all others.

    Attributes
    ----------
    unit : float
        The standard deviation of the ratings, or 1 where all are equal.
    intercept : float
        μ.
    residual : float64 array of shape (n,)
        What is left of each rating.
    noise_precision : float64 array of shape (n_users,)
        α γ_u.
    noise_ratings : float
        ν.
    """

    def __init__(
        self,
        values: NDArray[np.float32],
        users: Design,
        items: Design,
        drifts: Sequence[Drift],
        rng: np.random.Generator,
        user_noise: bool = True,
        contexts: Sequence[Design] = (),
    ) -> None:
        self.user_noise = user_noise
        self.contexts = contexts
        self.users, self.items, self.drifts, self._rng = users, items, drifts, rng
        self.unit = float(values.std(dtype=np.float64)) or 1.0
        self.residual = values.astype(np.float64) / self.unit
        self.intercept = self._mean = float(self.residual.mean())
        self.residual -= self.intercept
        for p, q in zip(users.factors, items.factors, strict=True):
            self.residual -= p[users.row_of] * q[items.row_of]
        for context in contexts:
            for p, q, z in zip(users.factors, items.factors, context.factors, strict=True):
                self.residual -= (p[users.row_of] + q[items.row_of]) * z[context.row_of]
        self._n_ratings = np.bincount(users.row_of, minlength=len(users.bias))
        self._share = np.ones(len(users.bias))  # γ
        self.noise_precision = self._share.copy()
        self.noise_ratings = NOISE_RATINGS

    def sweep(self, warming_up: bool) -> None:
        """Draw everything once."""
        rng, residual, users, items = self._rng, self.residual, self.users, self.items
        for design in (users, items, *self.contexts):
            design.draw_scale(rng)
        for context in self.contexts:
            context.follow(warming_up, rng)
        precision = self._draw_noise()
        total = precision.sum() + 1
        mean = (precision @ residual + self._mean - self.intercept) / total
        step = mean + rng.standard_normal() / np.sqrt(total)
        self.intercept += float(step)
        residual -= step
        for design, other in ((users, items), (items, users)):
            design.draw_kinds(partial(self._meeting, other), residual, precision, rng)
        ones = np.ones(len(residual))
        for design in (users, items, *self.contexts):
            design.draw(0, ones, residual, precision, rng)
        for n in range(1, 1 + len(users.factors)):
            of_context = sum(context.of_ratings(n) for context in self.contexts)
            users.draw(n, items.of_ratings(n) + of_context, residual, precision, rng)
            items.draw(n, users.of_ratings(n) + of_context, residual, precision, rng)
            if self.contexts:
                of_pair = users.of_ratings(n) + items.of_ratings(n)
            for context in self.contexts:
                context.draw(n, of_pair, residual, precision, rng)
        for drift in self.drifts:
            drift.draw(residual, precision, rng, warming_up)

    def _meeting(self, other: Design, some: slice | IntArray) -> Float64Array:
        """The factors that meet those of a side in some of the ratings: of the other, and of occasions."""
        sides = (other, *self.contexts)
        return np.asarray(sum(side.factors[:, side.row_of[some]] for side in sides))

    def state(self) -> dict[str, Float64Array]:
        """All that the next sweep depends on besides ratings and generator, by name."""
        drifts = [(drift.variance, drift.timescale) for drift in self.drifts]
        return self._arrays() | {"numbers": np.array([self.intercept, self.noise_ratings, *np.ravel(drifts)])}

    def restore(self, state: Mapping[str, Float64Array]) -> None:
        """Go on from what `state` returned."""
        for name, array in self._arrays().items():
            array[...] = state[name]
        self.intercept, self.noise_ratings, *of_drifts = state["numbers"].tolist()
        for drift, variance, timescale in zip(self.drifts, of_drifts[::2], of_drifts[1::2], strict=True):
            drift.variance, drift.timescale = variance, timescale

    def _arrays(self) -> dict[str, Float64Array]:
        sides = {"users": self.users, "items": self.items}
        sides |= {f"context.{n}": context for n, context in enumerate(self.contexts)}
        of_sides = {f"{side}.{name}": a for side, design in sides.items() for name, a in design.state.items()}
        levels = {f"level.{n}": drift.level for n, drift in enumerate(self.drifts)}
        return of_sides | levels | {"residual": self.residual, "share": self._share}

    def _draw_noise(self) -> Float64Array:
        """Draw α, then ν and γ; the precision of each rating."""
        users, rng = self.users.row_of, self._rng
        squares = np.bincount(users, self.residual**2, minlength=len(self._share))
        alpha = rng.gamma((1 + len(users)) / 2) / ((1 + self._share @ squares) / 2)
        if self.user_noise:
            self._draw_noise_ratings(alpha * squares)
            nu = self.noise_ratings
            self._share[:] = rng.gamma((nu + self._n_ratings) / 2) / ((nu + alpha * squares) / 2)
        self.noise_precision = alpha * self._share
        return np.asarray(self.noise_precision[users])

    def _draw_noise_ratings(self, squares: Float64Array) -> None:
        """Walk over log ν by the likelihood with γ integrated out: given γ it would hardly move.

        Parameters
        ----------
        squares : float64 array of shape (n_users,)
            α Σ e² of each user.
        """
        n, rng = self._n_ratings, self._rng

        def log_density(nu: float) -> float:
            a, b = (nu + n) / 2, (nu + squares) / 2
            of_users = gammaln(a) - gammaln(nu / 2) + nu / 2 * np.log(nu / 2) - a * np.log(b)
            return float(of_users.sum()) - 0.5 * (math.log(nu / NOISE_RATINGS) / NOISE_SPREAD) ** 2

        old = log_density(self.noise_ratings)
        for _ in range(NOISE_PROPOSALS):
            nu = self.noise_ratings * math.exp(NOISE_STEP * rng.standard_normal())
            new = log_density(nu)
            if -rng.standard_exponential() < new - old:
                self.noise_ratings, old = nu, new
