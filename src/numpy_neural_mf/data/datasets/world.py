"""The model that generates simulated ratings, and with it the Bayes-optimal prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

LEVELS = np.arange(1.0, 6.0)
ROUNDING_EDGES = np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
MEAN = 3.5
BUMP_WIDTH = 0.8
# Standard deviation of ratings without structure, after rounding and clipping.
UNSTRUCTURED_SD = 0.953

N_DAYS = 365
# Two genres for each of the four latent clusters of items in `latent_world`.
GENRES = np.array(
    [["Action", "Thriller"], ["Comedy", "Romance"], ["Documentary", "Drama"], ["Animation", "Fantasy"]]
)
# Not linear in time: the decade is a category.
DECADES = {"1970s": 0.4, "1980s": -0.2, "1990s": 0.0, "2000s": 0.2, "2010s": -0.4}

Floats = NDArray[np.float64]
Indices = NDArray[np.int32]
Rows = NDArray[np.integer[Any]]


def conditional_moments(scores: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Return the exact mean and variance of clip(round(score + sigma * z), 1, 5) for a standard normal z."""
    # P(rating = k) is the normal probability between the edges k ± 1/2, open at 1 and 5. The mean is the
    # Bayes-optimal prediction for squared error, and the mean of the variances is its mean squared error.
    below = scipy.special.ndtr((ROUNDING_EDGES - np.asarray(scores)[..., None]) / sigma)
    probabilities = np.diff(below, axis=-1)  # (..., 5)
    mean = probabilities @ LEVELS
    variance = (probabilities * (LEVELS - mean[..., None]) ** 2).sum(axis=-1)
    return mean, variance


@dataclass(frozen=True)
class World:
    """Everything except chance that determines how a user rates an item.

    score = MEAN + user_bias[u] + item_bias[i] + linear · p_u·q_i + bump · exp(−|p_u − q_i|² / 2w²)
            + drift · (p_u + q_i)·h(day) − sequence · q_i·q_j
    and rating = clip(round(score + sigma · z), 1, 5) with z standard normal. p and q, the rows of
    `user_factors` and `item_factors`, of shape (n, 2), are the tastes of users and the characters of items,
    points on the unit circle. h(day) goes round it once a year, and j is the item that the user rated just
    before.
    """

    user_bias: Floats
    item_bias: Floats
    user_factors: Floats
    item_factors: Floats
    linear: float
    bump: float
    sigma: float
    drift: float = 0.0
    sequence: float = 0.0

    def scores(
        self, users: Indices, items: Indices, days: Rows | None = None, previous: Rows | None = None
    ) -> Floats:
        """Return expected ratings before rounding and clipping; all arrays have shape (n,).

        Drift needs days, from 0; a sequence needs the item that the user rated just before, -1 for none.
        """
        p, q = self.user_factors[users], self.item_factors[items]
        nearness = np.exp(-((p - q) ** 2).sum(axis=1) / (2 * BUMP_WIDTH**2))
        biases = self.user_bias[users] + self.item_bias[items]
        scores = MEAN + biases + self.linear * (p * q).sum(axis=1) + self.bump * nearness
        if self.drift:
            angle = 2 * np.pi * np.asarray(days) / N_DAYS
            scores += self.drift * ((p + q) * np.stack([np.cos(angle), np.sin(angle)], axis=1)).sum(axis=1)
        if self.sequence:
            before = np.where(np.asarray(previous)[:, None] < 0, 0.0, self.item_factors[previous])
            scores -= self.sequence * (q * before).sum(axis=1)
        return np.asarray(scores)

    def moments(self, users: Indices, items: Indices, *context: Rows | None) -> tuple[Floats, Floats]:
        """Return mean (the Bayes-optimal prediction) and variance of each rating; context: days, previous."""
        return conditional_moments(self.scores(users, items, *context), self.sigma)

    def rate(
        self, users: Indices, items: Indices, rng: np.random.Generator, *context: Rows | None
    ) -> NDArray[np.float32]:
        """Draw ratings, whole numbers from 1 to 5, shape (n,)."""
        noisy = self.scores(users, items, *context) + self.sigma * rng.standard_normal(len(users))
        return np.clip(np.rint(noisy), 1, 5).astype(np.float32)


def latent_world(n_users: int, n_items: int, rng: np.random.Generator) -> World:
    """Return a learnable world: users are near one of 2 opposite points of the unit circle, items of 4.

    Forty ratings suffice to distinguish two tastes, but k free parameters for each user would multiply the
    squared error by 1 + k/40. A good model can therefore come within 3 % of the noise floor. For the same
    reason biases follow the position.
    """
    p, q = _near_points(n_users, 2, rng), _near_points(n_items, 4, rng)
    user_bias = 0.3 * p[:, 0] + 0.05 * rng.standard_normal(n_users)
    item_bias = 0.3 * q[:, 0] + 0.08 * rng.standard_normal(n_items)
    # The bump is 0.37 on average; subtracting this centres scores on MEAN.
    return World(user_bias, item_bias - 0.37, p, q, linear=0.25, bump=1.0, sigma=0.8)


def described(world: World, strength: float, rng: np.random.Generator) -> tuple[World, pl.DataFrame]:
    """Return a `latent_world` and a frame of its items: item_id, genres (such as "Action|Thriller"), decade.

    With probability `strength` the genres are those of the item's latent cluster, otherwise they are drawn at
    random; the effects of `DECADES` on biases are multiplied by `strength`.
    """
    import polars as pl

    q = world.item_factors
    n = len(q)
    character = np.rint(np.arctan2(q[:, 1], q[:, 0]) * 2 / np.pi).astype(np.intp) % 4
    shown = np.where(rng.random(n) < strength, character, rng.integers(4, size=n))
    one, two = GENRES[shown].T
    genres = np.choose(rng.integers(3, size=n), [one, two, np.char.add(np.char.add(one, "|"), two)])
    decade = rng.integers(len(DECADES), size=n)
    frame = {"item_id": np.arange(1, n + 1), "genres": genres, "decade": np.array([*DECADES])[decade]}
    bias = world.item_bias + strength * np.array([*DECADES.values()])[decade]
    return replace(world, item_bias=bias), pl.DataFrame(frame)


def unstructured_world(n_users: int, n_items: int) -> World:
    """Return a world of independent ratings with standard deviation 0.953; only the mean can be learned."""

    def excess(sigma: float) -> float:
        return float(np.sqrt(conditional_moments(np.array(MEAN), sigma)[1]) - UNSTRUCTURED_SD)

    sigma = float(scipy.optimize.brentq(excess, 0.1, 3.0, xtol=1e-14))
    no_factors = np.zeros((n_users, 2)), np.zeros((n_items, 2))
    return World(np.zeros(n_users), np.zeros(n_items), *no_factors, linear=0.0, bump=0.0, sigma=sigma)


def _near_points(n: int, n_points: int, rng: np.random.Generator) -> Floats:
    """Draw points on the unit circle, shape (n, 2), each near one of `n_points` evenly spaced points."""
    angle = 2 * np.pi / n_points * rng.integers(n_points, size=n) + 0.05 * rng.standard_normal(n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)
