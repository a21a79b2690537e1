"""A Gibbs sampler for matrix factorisation with side information, drift, context and user noise."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from ..utils.arrays import Float32Array, Float64Array
from .drift import Drift
from .factor_block import FactorBlock
from .threads import Threads, parts_of

logger = logging.getLogger(__name__)

# Median of the log-normal prior of ν, and the standard deviation of its log.
DF, DF_SPREAD = 10.0, 0.5

# Number of Metropolis proposals of ν per sweep, and the standard deviation of their log.
DF_PROPOSALS, DF_STEP = 3, 0.3


class Sampler:
    """Gibbs sampler: draws μ, biases, factors, time-varying biases and noise in turn, each given the others.

    A rating by user u of item i at time t is normal with mean ::

        r̂_ui(t) = μ + b_u + b_i + p_u · q_i + Σ_c (w_c + (p_u + q_i) · z_c) + Σ d(t)

    and precision α γ_u. This is Bayesian matrix factorisation (Salakhutdinov and Mnih, 2008) with four
    extensions. Biases and factors are sums over columns, as in a factorisation machine (Rendle, 2012). The
    context c of a rating has a bias and factors that interact with user and item. The biases d vary with
    time. The precision differs by user, γ_u ~ Gamma(ν/2, ν/2); integrated out, the residuals of a user have a
    Student distribution with ν degrees of freedom (Geweke, 1993). The prior of μ has the mean of the ratings
    and the weight of one rating.

    Parameters
    ----------
    values : float32 array of shape (n,)
        Ratings. They are divided by their standard deviation, so that priors do not depend on the scale.
    users, items, drifts, rng : FactorBlock, FactorBlock, sequence of Drift, numpy.random.Generator
    user_noise : bool, default True
        Whether γ_u and ν are drawn; otherwise γ_u is 1.
    contexts : sequence of FactorBlock, one for each context variable, with a row for each category
    n_threads : int, optional
        By default the number of processors, or NUMBA_NUM_THREADS. The samples do not depend on it.

    Attributes
    ----------
    rating_std : float, 1 if all ratings are equal
    intercept, noise_df : float, μ and ν
    residual : float64 array of shape (n,), ratings minus their mean r̂
    noise_precision : float64 array of shape (n_users,), α γ_u
    """

    def __init__(
        self, values: NDArray[np.float32], users: FactorBlock, items: FactorBlock, drifts: Sequence[Drift],
        rng: np.random.Generator, user_noise: bool = True, contexts: Sequence[FactorBlock] = (),
        n_threads: int | None = None,
    ) -> None:  # fmt: skip
        from ..training.engines import numba_compat
        from . import kernels

        self.users, self.items, self.drifts, self.contexts = users, items, drifts, contexts
        self.user_noise, self._rng, self._threads = user_noise, rng, Threads(n_threads)
        self.rating_std = float(values.std(dtype=np.float64)) or 1.0
        self.residual = values.astype(np.float64) / self.rating_std
        self.intercept = self._mean = float(self.residual.mean())
        self.residual -= self.intercept
        self._blocks = (users, items, *contexts)
        ends = np.cumsum([len(block.bias) for block in self._blocks])
        self._own = [slice(end - len(block.bias), end) for block, end in zip(self._blocks, ends, strict=True)]
        rows = [block.row_of + own.start for block, own in zip(self._blocks, self._own, strict=True)]
        self._rows = np.stack(rows, dtype=np.min_scalar_type(ends[-1]), casting="unsafe")
        for n in range(1, 1 + len(users.factors)):
            u, i, *z = (block.by_row[n][block.row_of] for block in self._blocks)
            self.residual -= u * i + (u + i) * sum(z)
        self._parts = parts_of(len(values))
        self._sums = [np.empty((len(self._parts) - 1, 2, len(block.bias))) for block in self._blocks]
        self._scratch = np.empty((8, len(values) if drifts else 0))
        self._n_ratings = np.bincount(users.row_of, minlength=len(users.bias))
        self._relative_precision = np.ones(len(users.bias))  # γ
        self.noise_precision = self._relative_precision.copy()
        self.noise_df = DF
        if not numba_compat.is_cached(kernels.sum_rows):
            logger.warning("compiling the Gibbs sampler, once on this machine: it takes some ten seconds")

    def sweep(self, burn_in: bool) -> None:
        """Draw every quantity once."""
        rng, residual = self._rng, self.residual
        for block in self._blocks:
            block.draw_scale(rng)
        for context in self.contexts:
            context.draw_regression(burn_in, rng)
        precision = self._draw_noise()
        self._draw_intercept(precision)
        for own, block in enumerate(self._blocks):
            if block.clusters is not None:
                factors = np.concatenate([block.factors for block in self._blocks], axis=1)
                block.clusters.draw((self._rows, own, factors), residual, precision, rng, self._threads)
        sizes = [block.coefficients.shape[1] for block in self._blocks]
        z = self._threads.normals(len(self.users.by_row) * sum(sizes), rng).reshape(-1, sum(sizes))
        for n in range(len(z)):
            self._draw_coefficients(n, np.split(z[n], np.cumsum(sizes)[:-1]))
        for drift in self.drifts:
            drift.draw(residual, precision, rng, burn_in, self._threads, self._scratch)

    def state(self) -> dict[str, Float64Array]:
        """Return, by name, all that the next sweep depends on besides ratings and generator."""
        drifts = [(drift.variance, drift.timescale) for drift in self.drifts]
        return self._arrays() | {"numbers": np.array([self.intercept, self.noise_df, *np.ravel(drifts)])}

    def restore(self, state: Mapping[str, Float64Array]) -> None:
        """Continue from a result of `state`."""
        for name, array in self._arrays().items():
            array[...] = state[name]
        self.intercept, self.noise_df, *of_drifts = state["numbers"].tolist()
        for drift, variance, timescale in zip(self.drifts, of_drifts[::2], of_drifts[1::2], strict=True):
            drift.variance, drift.timescale = variance, timescale

    def _arrays(self) -> dict[str, Float64Array]:
        blocks = {"users": self.users, "items": self.items}
        blocks |= {f"context.{n}": context for n, context in enumerate(self.contexts)}
        arrays = {f"{name}.{key}": a for name, block in blocks.items() for key, a in block.state.items()}
        arrays |= {f"drift.{n}": drift.path for n, drift in enumerate(self.drifts)}
        return arrays | {"residuals": self.residual, "relative_precision": self._relative_precision}

    def _draw_coefficients(self, n: int, z: list[Float32Array]) -> None:
        """Draw the bias (n = 0) or a factor of each block; each pass over the ratings serves two blocks."""
        from .kernels import sum_rows

        now = np.concatenate([block.by_row[n] for block in self._blocks])
        step = np.zeros_like(now)

        def next_sums(drawn: int) -> Float64Array:
            """Apply the draw before and return the sums for the next one; -1 means no further draw."""
            sums = self._sums[drawn]
            self._threads.run(
                sum_rows, len(sums), self._parts, self._rows, before, drawn, self._own[drawn].start, n == 0,
                now, step, self.noise_precision, self.residual, sums,
            )  # fmt: skip
            return sums

        before = -1
        for drawn, (block, own) in enumerate(zip(self._blocks, self._own, strict=True)):
            block.draw(n, next_sums(drawn), z[drawn], self._rng)
            step[own] = block.by_row[n] - now[own]
            now[own], before = block.by_row[n], drawn
        next_sums(-1)

    def _draw_intercept(self, precision: Float64Array) -> None:
        total = precision.sum() + 1
        mean = (precision @ self.residual + self._mean - self.intercept) / total
        step = mean + self._rng.standard_normal() / np.sqrt(total)
        self.intercept += float(step)
        self.residual -= step

    def _draw_noise(self) -> Float64Array:
        """Draw α, then ν and γ; return the precision of each rating.

        ν is drawn by Metropolis steps of its log with γ integrated out, because it would mix slowly given γ.
        """
        users, n, gamma, rng = self.users.row_of, self._n_ratings, self._relative_precision, self._rng
        of_users = np.bincount(users, self.residual**2, minlength=len(gamma))
        alpha = rng.gamma((1 + len(users)) / 2) / ((1 + gamma @ of_users) / 2)
        squares = alpha * of_users

        def log_density(nu: float) -> float:
            a, b, gammaln = (nu + n) / 2, (nu + squares) / 2, scipy.special.gammaln
            logs = gammaln(a) - gammaln(nu / 2) + nu / 2 * np.log(nu / 2) - a * np.log(b)
            return float(logs.sum()) - 0.5 * (math.log(nu / DF) / DF_SPREAD) ** 2

        if self.user_noise:
            old = log_density(self.noise_df)
            for _ in range(DF_PROPOSALS):
                nu = self.noise_df * math.exp(DF_STEP * rng.standard_normal())
                new = log_density(nu)
                if -rng.standard_exponential() < new - old:
                    self.noise_df, old = nu, new
            gamma[:] = rng.gamma((self.noise_df + n) / 2) / ((self.noise_df + squares) / 2)
        self.noise_precision = alpha * gamma
        return np.asarray(self.noise_precision[users])
