"""What is kept of the samples of a posterior: their mean, as the parameters of a plain model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mf.architecture import Parameters
from . import Context, Levels, MeanProduct, Occasions, Sampler

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
        # How many, and the sums of the intercept and of the logarithms of the timescales.
        self._numbers = np.zeros(2 + len(sampler.drifts))
        self._user_bias = np.zeros(len(sampler.users.bias))
        self._item_bias = np.zeros(len(sampler.items.bias))
        self._occasion_bias = np.zeros(sum(len(context.bias) for context in sampler.contexts))
        n_either = len(self._user_bias) + len(self._item_bias)
        self._meeting = MeanProduct(n_either, len(self._occasion_bias), rank)
        self._levels = [np.zeros(len(drift.level)) for drift in sampler.drifts]
        self._noise = np.zeros(len(sampler.users.bias))
        self._residual, self._residual_squared = np.zeros((2, len(sampler.residual)))

    def add(self) -> None:
        """Count the sample that the sampler holds."""
        s = self._sampler
        self._numbers += 1, s.intercept, *np.log([drift.timescale for drift in s.drifts])
        self._user_bias += s.users.bias
        self._item_bias += s.items.bias
        self._product.add(s.users.factors.T, s.items.factors.T)
        if s.contexts:
            self._occasion_bias += np.concatenate([context.bias for context in s.contexts])
            self._meeting.add(
                np.hstack([s.users.factors, s.items.factors]).T,
                np.hstack([context.factors for context in s.contexts]).T,
            )
        for total, drift in zip(self._levels, s.drifts, strict=True):
            total += drift.level
        self._noise += 1 / s.noise_precision
        self._residual += s.residual
        self._residual_squared += s.residual**2

    def latest(
        self,
        users: IntArray,
        items: IntArray,
        times: NDArray[np.int64] | None,
        occasions: Occasions | None = None,
    ) -> Float64Array:
        """What the sample that the sampler holds predicts for pairs of rows, -1 for the unknown.

        The unknown is the mean of all, as in `parameters`.
        """
        s = self._sampler
        by_user, by_item = (np.pad(x.by_row, ((0, 0), (0, 1)), mode="mean") for x in (s.users, s.items))
        u, i = by_user[:, users], by_item[:, items]
        prediction = s.intercept + u[0] + i[0] + np.einsum("kn,kn->n", u[1:], i[1:])
        if times is not None:
            for drift in s.drifts:
                prediction += drift.levels.at(users, items, times)
            rows = [] if occasions is None else occasions.rows(users, times)
            for context, of_kind in zip(s.contexts, rows, strict=True):
                z = context.by_row[:, of_kind]
                prediction += z[0] + np.einsum("kn,kn->n", u[1:] + i[1:], z[1:])
        return np.asarray(s.unit * prediction)

    def parameters(self) -> Parameters:
        """The mean, as the parameters of an architecture of biases and product; float32.

        Biases and factors have mean zero, what is common being in μ, and so has the last row of each table,
        which stands for the unknown. The columns of the factors of users have the mean square of their bias:
        before any rating as much is thought possible of each.
        """
        unit, (user_part, item_part, P, Q) = self._sampler.unit, self._product.centred()
        b_u, b_i = self._user_bias / self.n_samples + user_part, self._item_bias / self.n_samples + item_part
        mu = self._numbers[1] / self.n_samples + b_u.mean() + b_i.mean()
        b_u, b_i = b_u - b_u.mean(), b_i - b_i.mean()
        scale = unit * max(float(b_u.std()), 1e-3)
        parameters = {
            "intercept": np.array([unit * mu]),
            "user_embedding.weight": np.pad(P * scale, ((0, 1), (0, 0))),
            "item_embedding.weight": np.pad(Q * (unit / scale), ((0, 1), (0, 0))),
            "user_bias.weight": unit * np.append(b_u, 0.0)[:, None],
            "item_bias.weight": unit * np.append(b_i, 0.0)[:, None],
        }
        return {name: value.astype(np.float32) for name, value in parameters.items()}

    def context(self, occasions: Occasions) -> Context:
        """The mean of what occasions tell; the unknown is the mean of all."""
        unit, (pairs, factors) = self._sampler.unit, self._meeting.mean()
        n_users = len(self._user_bias)
        user, item = (
            np.pad(unit * rows, ((0, 1), (0, 0)), mode="mean") for rows in (pairs[:n_users], pairs[n_users:])
        )
        bias = unit * self._occasion_bias / self.n_samples
        return Context(occasions, *(array.astype(np.float32) for array in (bias, factors, user, item)))

    def deviations(self) -> NDArray[np.float32]:
        """Standard deviation of a rating from its prediction, of each user and of the unknown: n_users + 1.

        The variance is that of the noise, σ², and that of the prediction. The latter is known from samples
        for the ratings learned from; without these it would have been v σ² / (σ² - v), by the formulas of
        leave-one-out for a normal posterior.
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
        return np.asarray(self._sampler.unit * np.sqrt(variance), np.float32)

    def drifts(self) -> tuple[Levels, ...]:
        """The mean of each drift."""
        return tuple(
            Levels(
                drift.whose,
                drift.timeline,
                (self._sampler.unit * total / self.n_samples).astype(np.float32),
                float(np.exp(log / self.n_samples)),
            )
            for drift, total, log in zip(self._sampler.drifts, self._levels, self._numbers[2:], strict=True)
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """All that was collected, by name."""
        return self._sums() | {
            f"{which}.{name}": array
            for which, product in self._products.items()
            for name, array in product.state().items()
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        for name, total in self._sums().items():
            total[...] = state[name]
        for which, product in self._products.items():
            product.restore({name: state[f"{which}.{name}"] for name in ("P", "Q", "n")})

    @property
    def n_samples(self) -> int:
        """How many were collected."""
        return int(self._numbers[0])

    @property
    def _products(self) -> dict[str, MeanProduct]:
        return {"product": self._product, "meeting": self._meeting}

    def _sums(self) -> dict[str, Float64Array]:
        levels = {f"level.{n}": total for n, total in enumerate(self._levels)}
        return levels | {
            "numbers": self._numbers,
            "user_bias": self._user_bias,
            "item_bias": self._item_bias,
            "occasion_bias": self._occasion_bias,
            "noise": self._noise,
            "residual": self._residual,
            "residual_squared": self._residual_squared,
        }
