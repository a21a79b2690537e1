"""Simulated ratings with a noise floor known exactly, to hold a model against the best possible one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from .ratings import Ratings
from .splits import RandomState

LEVELS = np.arange(1.0, 6.0)
ROUNDING_EDGES = np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
MEAN = 3.5
BUMP_WIDTH = 0.8
# Standard deviation of the ratings without structure, after rounding and clipping.
UNSTRUCTURED_SD = 0.953


def conditional_moments(
    scores: NDArray[np.float64], sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of clip(round(score + sigma * z), 1, 5) for a standard normal z, exactly.

    P(rating = k) is the probability that the normal falls between the edges k ± 1/2, open at 1 and 5: a
    difference of normal distribution functions. The mean is the best possible prediction in squared error,
    and the mean of the variances its mean squared error.

    Parameters
    ----------
    scores : float64 array of any shape
    sigma : float, above 0

    Returns
    -------
    mean, variance : float64 arrays of the shape of `scores`
    """
    below = ndtr((ROUNDING_EDGES - np.asarray(scores)[..., None]) / sigma)
    probabilities = np.diff(below, axis=-1)  # (..., 5)
    mean = probabilities @ LEVELS
    variance = (probabilities * (LEVELS - mean[..., None]) ** 2).sum(axis=-1)
    return mean, variance


@dataclass(frozen=True)
class World:
    """Everything that decides how a user rates an item, but for chance.

    score(u, i) = MEAN + user_bias[u] + item_bias[i] + linear · p_u·q_i + bump · exp(−|p_u − q_i|² / 2w²)
    and rating = clip(round(score + sigma · z), 1, 5) with z standard normal.

    Attributes
    ----------
    user_bias, item_bias : float64 arrays of shape (n_users,), (n_items,)
    user_factors, item_factors : float64 arrays of shape (n_users, 2), (n_items, 2)
        p and q: tastes of users and characters of items, points on the unit circle.
    linear, bump : float
        Weights of the inner product and of the term that no inner product of p and q expresses.
    sigma : float
        Standard deviation of the noise before rounding.
    """

    user_bias: NDArray[np.float64]
    item_bias: NDArray[np.float64]
    user_factors: NDArray[np.float64]
    item_factors: NDArray[np.float64]
    linear: float
    bump: float
    sigma: float

    def scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float64]:
        """Expected ratings before rounding and clipping, shape (n,)."""
        p, q = self.user_factors[users], self.item_factors[items]
        nearness = np.exp(-((p - q) ** 2).sum(axis=1) / (2 * BUMP_WIDTH**2))
        biases = self.user_bias[users] + self.item_bias[items]
        return np.asarray(MEAN + biases + self.linear * (p * q).sum(axis=1) + self.bump * nearness)

    def moments(
        self, users: NDArray[np.int32], items: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and variance of the rating of each pair, shape (n,); the mean is the best prediction."""
        return conditional_moments(self.scores(users, items), self.sigma)

    def rate(
        self, users: NDArray[np.int32], items: NDArray[np.int32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Ratings drawn for each pair, whole numbers from 1 to 5, shape (n,)."""
        noisy = self.scores(users, items) + self.sigma * rng.standard_normal(len(users))
        return np.clip(np.rint(noisy), 1, 5).astype(np.float32)


def latent_world(n_users: int, n_items: int, rng: np.random.Generator) -> World:
    """A world that can be learned: two tastes meet four characters.

    Users lie near one of two opposite points of the unit circle, items near one of four. Forty ratings
    tell two tastes apart, whereas they cannot pin down free parameters for each user (k of them cost a
    relative k/40 in squared error): so a good model can come within 3 % of the noise floor. For the same
    reason biases follow mostly from the position.
    """
    p, q = _near_points(n_users, 2, rng), _near_points(n_items, 4, rng)
    user_bias = 0.3 * p[:, 0] + 0.05 * rng.standard_normal(n_users)
    item_bias = 0.3 * q[:, 0] + 0.08 * rng.standard_normal(n_items)
    # The bump is 0.37 on average; without that, scores centre on MEAN.
    return World(user_bias, item_bias - 0.37, p, q, linear=0.25, bump=1.0, sigma=0.8)


def unstructured_world(n_users: int, n_items: int) -> World:
    """A world with nothing to learn but the mean: ratings are independent, with standard deviation 0.953."""

    def excess(sigma: float) -> float:
        return float(np.sqrt(conditional_moments(np.array(MEAN), sigma)[1]) - UNSTRUCTURED_SD)

    sigma = float(brentq(excess, 0.1, 3.0, xtol=1e-14))
    no_factors = np.zeros((n_users, 2)), np.zeros((n_items, 2))
    return World(np.zeros(n_users), np.zeros(n_items), *no_factors, linear=0.0, bump=0.0, sigma=sigma)


def simulate_ratings(
    n_users: int = 5000,
    n_items: int = 2000,
    n_ratings: int = 200_000,
    *,
    structure: str = "latent",
    random_state: RandomState = 0,
) -> Ratings:
    """Ratings of distinct (user, item) pairs with known noise, whole numbers from 1 to 5.

    Few items are rated often and many seldom (a Zipf-like tail), and users differ in activity.

    Parameters
    ----------
    n_users, n_items : int, default 5000, 2000
        Users and items there are; ids are 1..n, and those without a rating do not occur.
    n_ratings : int, default 200,000
        At most ``n_users * n_items``.
    structure : {"latent", "none"}, default "latent"
        "latent": biases, an inner product and a non-linear term (see `World`, `latent_world`), which a model
        linear in users and items cannot follow. "none": independent ratings, nothing to learn but the mean.
    random_state : int, numpy.random.Generator or None, default 0
        The same seed gives the same ratings.

    Returns
    -------
    Ratings
        With `noise_variance`, and so `noise_floor`: no model can expect a lower RMSE on unseen ratings.

    Raises
    ------
    ValueError
        If a size is impossible or the structure unknown.
    """
    if min(n_users, n_items, n_ratings) < 1 or n_ratings > n_users * n_items:
        raise ValueError(
            "expected n_users, n_items ≥ 1 and 1 ≤ n_ratings ≤ n_users * n_items, "
            f"found n_users={n_users}, n_items={n_items}, n_ratings={n_ratings}"
        )
    if structure not in ("latent", "none"):
        raise ValueError(f"structure: expected 'latent' or 'none', found {structure!r}")
    rng = np.random.default_rng(random_state)
    latent = structure == "latent"
    world = latent_world(n_users, n_items, rng) if latent else unstructured_world(n_users, n_items)
    users, items = _distinct_pairs(n_users, n_items, n_ratings, rng)
    return Ratings(
        users,
        items,
        world.rate(users, items, rng),
        np.arange(1, n_users + 1),
        np.arange(1, n_items + 1),
        (1.0, 5.0),
        noise_variance=world.moments(users, items)[1].astype(np.float32),
    ).compact()


def _near_points(n: int, n_points: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Places on the unit circle, shape (n, 2), each near one of `n_points` evenly spaced."""
    angle = 2 * np.pi / n_points * rng.integers(n_points, size=n) + 0.05 * rng.standard_normal(n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _distinct_pairs(
    n_users: int, n_items: int, n_ratings: int, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Distinct (user, item) pairs in random order; likelier the more active the user and popular the item."""
    activity = rng.lognormal(0.0, 0.7, n_users)
    popularity = rng.permutation((np.arange(n_items) + 10.0) ** -0.8)
    n_cells = n_users * n_items
    if 4 * n_ratings > n_cells:
        # Dense: the smallest of exponential variates with these rates are a weighted draw without replacement
        # (Efraimidis and Spirakis, 2006).
        waits = rng.standard_exponential((n_users, n_items)) / np.outer(activity, popularity)
        cells = np.argpartition(waits, n_ratings - 1, axis=None)[:n_ratings]
    else:
        cells = np.empty(0, np.int64)
        while len(cells) < n_ratings:
            item = rng.choice(n_items, n_ratings, p=popularity / popularity.sum())
            user = rng.choice(n_users, n_ratings, p=activity / activity.sum())
            cells = np.unique(np.concatenate([cells, user * n_items + item]))
    cells = rng.permutation(cells)[:n_ratings]
    return (cells // n_items).astype(np.int32), (cells % n_items).astype(np.int32)
