"""What is kept of the samples of a posterior: their mean, as the parameters of a plain model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture import Parameters
from ..gibbs import Levels, MeanProduct, Sampler

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]


class Posterior:
    """Collects the samples of a sampler.

    Parameters
    ----------
    sampler : Sampler
        At work.
    rank : int
        Columns to keep of the mean of p · q.
    """

    def __init__(self, sampler: Sampler, rank: int) -> None:
        self._sampler = sampler
        self._product = MeanProduct(len(sampler.users.bias), len(sampler.items.bias), rank)
        self._n = 0
        self._intercept = 0.0
        self._user_bias = np.zeros(len(sampler.users.bias))
        self._item_bias = np.zeros(len(sampler.items.bias))
        self._levels = [np.zeros(len(drift.level)) for drift in sampler.drifts]
        self._log_timescales = np.zeros(len(sampler.drifts))
        self._noise = np.zeros(len(sampler.users.bias))
        self._residual, self._residual_squared = np.zeros((2, len(sampler.residual)))

    def add(self) -> None:
        """Count the sample that the sampler holds."""
        s = self._sampler
        self._n += 1
        self._intercept += s.intercept
        self._user_bias += s.users.bias
        self._item_bias += s.items.bias
        self._product.add(s.users.factors.T, s.items.factors.T)
        for total, drift in zip(self._levels, s.drifts, strict=True):
            total += drift.level
        self._log_timescales += np.log([drift.timescale for drift in s.drifts])
        self._noise += 1 / s.noise_precision
        self._residual += s.residual
        self._residual_squared += s.residual**2

    def latest(self, users: IntArray, items: IntArray, times: NDArray[np.int64] | None) -> Float64Array:
        """What the sample that the sampler holds predicts for pairs of rows, -1 for the unknown."""
        s = self._sampler
        by_user, by_item = (np.pad(side.by_row, ((0, 0), (0, 1))) for side in (s.users, s.items))
        u, i = by_user[:, users], by_item[:, items]
        prediction = s.intercept + u[0] + i[0] + np.einsum("kn,kn->n", u[1:], i[1:])
        if times is not None:
            for drift in s.drifts:
                prediction += drift.levels.at(users, items, times)
        return np.asarray(prediction)

    def parameters(self) -> Parameters:
        """The mean, as the parameters of an architecture of biases and product; float32.

        Biases and factors have mean zero, what is common being in μ, and so has the last row of each table,
        which stands for the unknown. The columns of the factors of users have the mean square of their bias:
        before any rating as much is thought possible of each.
        """
        user_part, item_part, P, Q = self._product.centred()
        b_u, b_i = self._user_bias / self._n + user_part, self._item_bias / self._n + item_part
        mu = self._intercept / self._n + b_u.mean() + b_i.mean()
        b_u, b_i = b_u - b_u.mean(), b_i - b_i.mean()
        scale = max(float(b_u.std()), 1e-3)
        parameters = {
            "intercept": np.array([mu]),
            "user_embedding.weight": np.pad(P * scale, ((0, 1), (0, 0))),
            "item_embedding.weight": np.pad(Q / scale, ((0, 1), (0, 0))),
            "user_bias.weight": np.append(b_u, 0.0)[:, None],
            "item_bias.weight": np.append(b_i, 0.0)[:, None],
        }
        return {name: value.astype(np.float32) for name, value in parameters.items()}

    def deviations(self) -> NDArray[np.float32]:
        """Standard deviation of a rating from its prediction, of each user and of the unknown: n_users + 1.

        The variance is that of the noise, σ², and that of the prediction. The latter is known from samples
        for the ratings learned from; without these it would have been v σ² / (σ² - v), by the formulas of
        leave-one-out for a normal posterior.
        """
        users = self._sampler.users.row_of
        noise = self._noise / self._n
        sigma2 = noise[users]
        v = np.clip(self._residual_squared / self._n - (self._residual / self._n) ** 2, 0, 0.9 * sigma2)
        of_rating = sigma2 + v * sigma2 / (sigma2 - v)
        n_ratings = np.bincount(users, minlength=len(noise))
        mean = float(of_rating.mean())
        of_user = np.bincount(users, of_rating, minlength=len(noise)) / np.maximum(n_ratings, 1)
        return np.asarray(np.sqrt(np.append(np.where(n_ratings, of_user, mean), mean)), np.float32)

    def drifts(self) -> tuple[Levels, ...]:
        """The mean of each drift."""
        return tuple(
            Levels(
                drift.whose,
                drift.timeline,
                (total / self._n).astype(np.float32),
                float(np.exp(log / self._n)),
            )
            for drift, total, log in zip(
                self._sampler.drifts, self._levels, self._log_timescales, strict=True
            )
        )
