"""Averages of posterior samples, and the model that they amount to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mf.architecture import Architecture
from ..mf.forward import Factorization
from ..mf.parameters import Parameters
from ..utils.arrays import Float64Array, IntArray
from .context import ContextEffects, ContextVariables
from .drift import TimeVaryingBias
from .low_rank_mean import LowRankMean
from .posterior_mean import PosteriorMean
from .sampler import Sampler


class Posterior:
    """Sums over the samples of a sampler.

    Parameters
    ----------
    sampler : Sampler
    rank : int
        Number of columns of the mean of P Qᵀ.
    context_variables : ContextVariables, optional
        Those of the sampler's context blocks.
    """

    def __init__(
        self, sampler: Sampler, rank: int, context_variables: ContextVariables | None = None
    ) -> None:
        self._sampler, self._context_variables = sampler, context_variables
        n_users, n_items = len(sampler.users.bias), len(sampler.items.bias)
        n_categories = sum(len(context.bias) for context in sampler.contexts)
        # The number of samples, and the sums of the intercept and of the logarithms of the timescales.
        self._numbers = np.zeros(2 + len(sampler.drifts))
        self._user_bias, self._item_bias = np.zeros(n_users), np.zeros(n_items)
        self._context_bias = np.zeros(n_categories)
        self._products = {
            "user_item": LowRankMean(n_users, n_items, rank),
            "pair_context": LowRankMean(n_users + n_items, n_categories, rank),
        }
        self._paths = [np.zeros(len(drift.path)) for drift in sampler.drifts]
        self._noise = np.zeros(n_users)
        self._residual, self._residual_squared = np.zeros((2, len(sampler.residual)))

    @property
    def n_samples(self) -> int:
        """Number of samples in the sums."""
        return int(self._numbers[0])

    def add(self) -> None:
        """Add the sampler's current sample."""
        s = self._sampler
        self._numbers += 1, s.intercept, *np.log([drift.timescale for drift in s.drifts])
        self._user_bias += s.users.bias
        self._item_bias += s.items.bias
        self._products["user_item"].add(s.users.factors.T, s.items.factors.T)
        if s.contexts:
            self._context_bias += np.concatenate([context.bias for context in s.contexts])
            self._products["pair_context"].add(
                np.hstack([s.users.factors, s.items.factors]).T,
                np.hstack([context.factors for context in s.contexts]).T,
            )
        for total, drift in zip(self._paths, s.drifts, strict=True):
            total += drift.path
        self._noise += 1 / s.noise_precision
        self._residual += s.residual
        self._residual_squared += s.residual**2

    def predict_sample(
        self, users: IntArray, items: IntArray, times: NDArray[np.int64] | None
    ) -> Float64Array:
        """Predictions of the sampler's current sample for pairs of rows, -1 for the unknown: shape (n,).

        The unknown user is the mean of all users, and the unknown item that of all items.
        """
        s = self._sampler
        by_user, by_item = (np.pad(x.by_row, ((0, 0), (0, 1)), mode="mean") for x in (s.users, s.items))
        u, i = by_user[:, users], by_item[:, items]
        prediction = s.intercept + u[0] + i[0] + np.einsum("kn,kn->n", u[1:], i[1:])
        if times is not None:
            for drift in s.drifts:
                prediction += drift.bias.at(users, items, times)
            variables = self._context_variables
            categories = [] if variables is None else variables.categories(users, times)
            for context, category in zip(s.contexts, categories, strict=True):
                z = context.by_row[:, category]
                prediction += z[0] + np.einsum("kn,kn->n", u[1:] + i[1:], z[1:])
        return np.asarray(s.rating_std * prediction)

    def mean(self) -> PosteriorMean:
        """The posterior mean as a model."""
        form = Architecture(embedding_dim=self._products["user_item"].rank)
        return PosteriorMean(Factorization(form, self._parameters()), self._drifts(), self._context())

    def deviations(self) -> NDArray[np.float32]:
        """Predictive standard deviation of a rating of each user, then of any user: shape (n_users + 1,).

        The variance is the sum of that of the noise, σ², and that of the mean r̂. The latter is estimated from
        the training ratings; the posterior without the rating itself has v σ² / (σ² - v) in place of v
        (leave-one-out of a normal posterior).
        """
        users = self._sampler.users.row_of
        noise = self._noise / self.n_samples
        sigma2 = noise[users]
        square, mean = self._residual_squared / self.n_samples, self._residual / self.n_samples
        v = np.clip(square - mean**2, 0, 0.9 * sigma2)
        of_rating = sigma2 + v * sigma2 / (sigma2 - v)
        n_ratings = np.bincount(users, minlength=len(noise))
        of_all = float(of_rating.mean())
        of_user = np.bincount(users, of_rating, minlength=len(noise)) / np.maximum(n_ratings, 1)
        variance = np.append(np.where(n_ratings, of_user, of_all), of_all)
        return np.asarray(self._sampler.rating_std * np.sqrt(variance), np.float32)

    def state(self) -> dict[str, NDArray[Any]]:
        """All sums, by name."""
        return self._sums() | {
            f"{which}.{name}": array
            for which, product in self._products.items()
            for name, array in product.state().items()
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state` returned."""
        for name, total in self._sums().items():
            total[...] = state[name]
        for which, product in self._products.items():
            product.restore({name: state[f"{which}.{name}"] for name in ("P", "Q", "n")})

    def _parameters(self) -> Parameters:
        """Float32 tables of an architecture with biases and product.

        Biases and factors have mean zero; their means are part of μ. The last row of each table, which stands
        for the unknown, is zero. Each column of the user factors has the variance of the user biases, so one
        prior serves both.
        """
        user_part, item_part, P, Q = self._products["user_item"].centred()
        b_u, b_i = self._user_bias / self.n_samples + user_part, self._item_bias / self.n_samples + item_part
        mu = self._numbers[1] / self.n_samples + b_u.mean() + b_i.mean()
        b_u, b_i = b_u - b_u.mean(), b_i - b_i.mean()
        std = self._sampler.rating_std
        scale = std * max(float(b_u.std()), 1e-3)
        parameters = {
            "intercept": np.array([std * mu]),
            "user_embedding.weight": np.pad(P * scale, ((0, 1), (0, 0))),
            "item_embedding.weight": np.pad(Q * (std / scale), ((0, 1), (0, 0))),
            "user_bias.weight": std * np.append(b_u, 0.0)[:, None],
            "item_bias.weight": std * np.append(b_i, 0.0)[:, None],
        }
        return {name: value.astype(np.float32) for name, value in parameters.items()}

    def _drifts(self) -> tuple[TimeVaryingBias, ...]:
        """Means of the paths, and geometric means of the timescales."""
        return tuple(
            TimeVaryingBias(
                drift.entity,
                drift.timeline,
                (self._sampler.rating_std * total / self.n_samples).astype(np.float32),
                float(np.exp(log / self.n_samples)),
            )
            for drift, total, log in zip(self._sampler.drifts, self._paths, self._numbers[2:], strict=True)
        )

    def _context(self) -> ContextEffects | None:
        if self._context_variables is None:
            return None
        std, (pairs, factors) = self._sampler.rating_std, self._products["pair_context"].factors()
        user, item = (
            np.pad(std * rows, ((0, 1), (0, 0)), mode="mean")
            for rows in np.split(pairs, [len(self._user_bias)])
        )
        tables = std * self._context_bias / self.n_samples, factors, user, item
        return ContextEffects(self._context_variables, *(table.astype(np.float32) for table in tables))

    def _sums(self) -> dict[str, Float64Array]:
        paths = {f"path.{n}": total for n, total in enumerate(self._paths)}
        return paths | {
            "numbers": self._numbers,
            "user_bias": self._user_bias,
            "item_bias": self._item_bias,
            "context_bias": self._context_bias,
            "noise": self._noise,
            "residual": self._residual,
            "residual_squared": self._residual_squared,
        }
