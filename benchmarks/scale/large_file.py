"""A ratings.csv in the shape and format of MovieLens 25M, as large as asked for, for benchmarks to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from numpy_neural_mf.data.datasets.synthetic import World, latent_world

# MovieLens 25M.
N_RATINGS, N_USERS, N_ITEMS, LAST_ITEM_ID = 25_000_095, 162_541, 59_047, 209_171
FIRST_TIME, LAST_TIME = 789_652_009, 1_574_327_703
FEWEST, MOST = 20, 8_000  # ratings of a user
USERS_AT_ONCE = 4_096


def users_for(n_ratings: int) -> int:
    """The number of users with as many ratings each as in MovieLens 25M."""
    return max(1, round(n_ratings * N_USERS / N_RATINGS))


def write_large_file(
    path: Path, n_ratings: int, n_users: int | None = None, n_items: int = N_ITEMS, seed: int = 0
) -> None:
    """Write users in order, each with their items in order; half stars with structure that can be learned."""
    rng = np.random.default_rng(seed)
    n_users = users_for(n_ratings) if n_users is None else n_users
    world = latent_world(n_users, n_items, rng)
    popularity = rng.permutation((np.arange(n_items) + 100.0) ** -1.2)
    reach = np.cumsum(popularity / popularity.sum())
    last_id = max(LAST_ITEM_ID, 4 * n_items)
    item_ids = np.sort(rng.choice(last_id, n_items, replace=False)) + 1
    counts = _activity(n_users, n_ratings, min(MOST, n_items // 8), rng)
    with path.open("wb") as file:
        file.write(b"userId,movieId,rating,timestamp\n")
        for first in range(0, n_users, USERS_AT_ONCE):
            of_block = counts[first : first + USERS_AT_ONCE]
            users, items = _distinct_items(of_block, reach, rng)
            users += first
            frame = pl.DataFrame(
                {
                    "userId": users + 1,
                    "movieId": item_ids[items],
                    "rating": _half_stars(world, users, items, rng),
                    "timestamp": _times(of_block, rng),
                }
            )
            frame.write_csv(file, include_header=False)


def _activity(n_users: int, n_ratings: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Ratings of each user, few of whom give many; their sum is `n_ratings`."""
    fewest = min(FEWEST, n_ratings // n_users)
    weights = rng.lognormal(0.0, 1.4, n_users)
    counts = np.zeros(n_users, np.int64)
    while (rest := n_ratings - counts.sum()) > 0:  # ratings above the maximum go to the others
        open_to = counts < most
        more = fewest * (counts == 0) + weights * open_to * rest / (weights @ open_to)
        counts = np.minimum(counts + np.ceil(more).astype(np.int64), most)
    surplus = counts.sum() - n_ratings
    while surplus > 0:
        able = np.flatnonzero(counts > fewest)
        chosen = rng.permutation(able)[:surplus]
        cut = np.minimum(counts[chosen] - fewest, -(-surplus // len(able)))
        cut[np.cumsum(cut) > surplus] = 0
        counts[chosen] -= cut
        surplus = counts.sum() - n_ratings
    return counts


def _distinct_items(
    counts: np.ndarray, reach: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct items of each user, drawn by popularity, in order of user and item."""
    n_items, missing, pairs = len(reach), counts, np.empty(0, np.int64)
    draws = 1
    while missing.any():
        # Who rates much has most of the popular items, and draws long for the others.
        users, draws = np.repeat(np.arange(len(counts)), missing * draws), 2 * draws
        items = np.searchsorted(reach, rng.random(len(users)) * reach[-1])
        pairs = np.unique(np.concatenate([pairs, users * n_items + items]))
        missing = np.maximum(counts - np.bincount(pairs // n_items, minlength=len(counts)), 0)
    pairs = rng.permutation(pairs)
    pairs = pairs[np.argsort(pairs // n_items, kind="stable")]
    users = pairs // n_items
    starts = np.searchsorted(users, np.arange(len(counts)))
    kept = np.sort(pairs[np.arange(len(pairs)) - starts[users] < counts[users]])
    return kept // n_items, kept % n_items


def _half_stars(world: World, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noisy = world.scores(users, items) + world.sigma * rng.standard_normal(len(users))
    return np.clip(np.rint(2 * noisy) / 2, 0.5, 5)


def _times(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A user comes once and rates within a day."""
    starts = rng.integers(FIRST_TIME, LAST_TIME - 86_400, len(counts))
    return np.repeat(starts, counts) + rng.integers(0, 86_400, counts.sum())
