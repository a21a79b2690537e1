"""A Gibbs sampler of matrix factorisation with side information, drift, and a noise of each user's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from scipy.special import gammaln

from .drift import Drift

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]

# Standard deviations of coefficients are thought of as half-Cauchy of this scale, ratings having one of 1.
FIELD_SCALE = 0.3

# Proposals of the scale of a field in a sweep, and their step in e-folds.
SCALINGS, SCALING_STEP = 10, 0.3

# How many ratings the noise of all counts for beside those of a user, before ratings have spoken: the centre
# and the spread, in e-folds, of what is thought; and proposals in a sweep with their step.
NOISE_RATINGS, NOISE_SPREAD = 10.0, 0.5
NOISE_PROPOSALS, NOISE_STEP = 3, 0.3

# Standard deviation of the first factors: too small to matter, too large to be stuck at zero.
FIRST_FACTORS = 0.1


class Design:
    """What a side, the users or the items, is made of: columns of X in fields, a coefficient for each column.

    A row of X has a 1 for the id itself and whatever else is known: side information, implicit sets. Bias
    b = X w and factors P = X V, column by column, with a normal prior for the coefficients of each field,
    whose mean and precision are drawn, too.

    Parameters
    ----------
    row_of : int32 array of shape (n_ratings,)
        Row of each rating.
    fields : sequence of scipy.sparse.csr_array of shape (n_rows, n_columns of the field)
    n_factors : int
    rng : numpy.random.Generator
        Draws the first factors.
    followed : Design, optional
        Of what the first rows are, one by one: its factors, as they were when the warm-up ended, are columns
        of X, too, a field more. The first field is then that of the rows themselves. See `follow`.

    Attributes
    ----------
    bias : float64 array of shape (n_rows,)
    factors : float64 array of shape (n_factors, n_rows)
    """

    def __init__(
        self,
        row_of: IntArray,
        fields: Sequence[csr_array],
        n_factors: int,
        rng: np.random.Generator,
        followed: Design | None = None,
    ) -> None:
        if followed is not None:
            fields = [*fields, csr_array(np.ones((fields[0].shape[0], n_factors)))]
        X = hstack(fields).tocsc()
        self.row_of = row_of
        self._columns = X.indptr.astype(np.int64), X.indices, X.data.astype(np.float64)
        self.sizes = np.array([field.shape[1] for field in fields])
        self.field = np.repeat(np.arange(len(fields)), self.sizes)
        shape = 1 + n_factors, X.shape[1]
        self.coefficients = np.zeros(shape)  # of the bias, then of each factor
        self.coefficients[1:] = FIRST_FACTORS * rng.standard_normal((n_factors, shape[1]))
        self.mean = np.zeros((shape[0], len(fields)))
        self.precision = np.full((shape[0], len(fields)), 1.0)
        self.precision[1:] = FIRST_FACTORS**-2
        self._followed = followed
        if followed is not None:
            self.coefficients[:, -n_factors:] = 0
            self._lent = self._columns[2][-n_factors * X.shape[0] :].reshape(n_factors, -1)
            self._lent[:] = 0
        self.by_row = np.ascontiguousarray((X @ self.coefficients.T).T)
        self._sums = np.empty((3, X.shape[0]))

    @property
    def bias(self) -> Float64Array:
        return np.asarray(self.by_row[0])

    @property
    def factors(self) -> Float64Array:
        return np.asarray(self.by_row[1:])

    @property
    def state(self) -> dict[str, Float64Array]:
        """All that moves, by name, and what is written into these arrays, the design has."""
        names = ("coefficients", "by_row", "mean", "precision")
        lent = {} if self._followed is None else {"lent": self._lent}
        return {name: getattr(self, name) for name in names} | lent

    def follow(self, warming_up: bool, rng: np.random.Generator) -> None:
        """Draw what the design followed tells, given bias and factors, which stay what they are.

        With rows z = e + F w, e ~ N(m, 1/Λ) of the rows themselves and F the factors followed, taken as they
        are now while warming up, w given z is a linear regression. Given e, as `draw` has it, it hardly moves
        (Yu and Meng, 2011, "To center or not to center: that is not the question").
        """
        if self._followed is None:
            return
        F, (n_factors, n_rows) = self._lent, self._lent.shape
        if warming_up:
            F[:, : self._followed.factors.shape[1]] = self._followed.factors
        squares, identity = F @ F.T, np.eye(n_factors)
        for z, v, mean, precision in zip(
            self.by_row, self.coefficients, self.mean, self.precision, strict=True
        ):
            root = np.linalg.cholesky(precision[0] * squares + precision[-1] * identity)
            known = precision[0] * F @ (z - mean[0]) + precision[-1] * mean[-1]
            drawn = np.linalg.solve(root, known) + rng.standard_normal(n_factors)
            v[n_rows:] = np.linalg.solve(root.T, drawn)
            v[:n_rows] = z - v[n_rows:] @ F

    def of_ratings(self, n: int) -> Float64Array:
        """The bias (n = 0) or a factor that each rating has by its row."""
        return np.asarray(self.by_row[n][self.row_of])

    def draw(
        self, n: int, h: Float64Array, residual: Float64Array, precision: Float64Array, rng: Any
    ) -> None:
        """Draw the coefficients of the bias (n = 0) or of a factor, which a rating has with weight h."""
        from .kernels import draw_columns, put_back, scale_fields, take_out

        v, Xv, prior = self.coefficients[n], self.by_row[n], (self.mean[n], self.precision[n])
        A, B, part = self._sums
        rate = self._draw_prior(n, rng)
        take_out(self.row_of, h, precision, Xv, residual, A, B)
        draw_columns(*self._columns, self.field, *prior, rng.standard_normal(len(v)), v, Xv, A, B)
        steps = SCALING_STEP * rng.standard_normal((len(self.sizes), SCALINGS))
        log_u = -rng.standard_exponential(steps.shape)
        scale_fields(*self._columns, np.cumsum(self.sizes), steps, log_u, rate, *prior, v, Xv, A, B, part)
        put_back(self.row_of, h, Xv, residual)

    def _draw_prior(self, n: int, rng: np.random.Generator) -> Float64Array:
        """Draw the rate r of each field, which is returned, its mean m and its precision Λ.

        m ~ N(0, 1/Λ) and Λ ~ Gamma(1/2, r/2), as in Rendle (2012), 3.2, where r is 1. It is drawn so that
        1/√Λ is half-Cauchy (Makalic and Schmidt, 2016, "A simple sampler for the horseshoe estimator"): a
        field that tells nothing can be as good as out.
        """
        v, sizes, n_fields = self.coefficients[n], self.sizes, len(self.sizes)
        total = np.bincount(self.field, v, minlength=n_fields)
        m = total / (sizes + 1) + rng.standard_normal(n_fields) / np.sqrt(self.precision[n] * (sizes + 1))
        squares = np.bincount(self.field, (v - m[self.field]) ** 2, minlength=n_fields) + m**2
        rate = 2 * rng.standard_exponential(n_fields) / (FIELD_SCALE**-2 + self.precision[n])
        self.mean[n] = m
        self.precision[n] = rng.gamma((2 + sizes) / 2) / ((rate + squares) / 2)
        return np.asarray(rate)


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
        for context in self.contexts:
            context.follow(warming_up, rng)
        precision = self._draw_noise()
        total = precision.sum() + 1
        mean = (precision @ residual + self._mean - self.intercept) / total
        step = mean + rng.standard_normal() / np.sqrt(total)
        self.intercept += float(step)
        residual -= step
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
