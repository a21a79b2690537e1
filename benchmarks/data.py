"""Ratings for benchmarks: read from a file, simulated, or a large ratings.csv of MovieLens 25M's shape."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from numpy_neural_mf import Ratings, read_features, read_ratings, simulate_ratings
from numpy_neural_mf.data.datasets.synthetic import latent_world

# MovieLens 25M.
N_RATINGS, N_USERS, N_ITEMS, LAST_ITEM_ID = 25_000_095, 162_541, 59_047, 209_171
FIRST_TIME, LAST_TIME = 789_652_009, 1_574_327_703
FEWEST, MOST = 20, 8_000  # ratings of a user
USERS_AT_ONCE = 4_096


def add_data(parser: argparse.ArgumentParser, n_ratings: int = 200_000) -> None:
    """Add the options of `load`."""
    parser.add_argument("ratings", nargs="?", help="such as MovieLens' ratings.csv; simulated if missing")
    parser.add_argument("--item-features", help="such as MovieLens' movies.csv")
    parser.add_argument("--n-ratings", type=int, default=n_ratings, help="number of simulated ratings")


def load(given: argparse.Namespace, **planted: Any) -> Ratings:
    """Read ratings and features from files, or simulate 40 ratings for each user with the planted effects."""
    if not given.ratings:
        n = given.n_ratings
        return simulate_ratings(n // 40, n // 100, n, **planted)
    ratings, features = read_ratings(given.ratings), getattr(given, "item_features", None)
    return ratings.with_features(items=read_features(features)) if features else ratings


def random_ratings(n_users: int, n_items: int, n_ratings: int) -> Ratings:
    """Draw ratings ordered by user, with few popular items; repeated pairs do not change the cost."""
    rng = np.random.default_rng(0)
    users = np.sort(rng.integers(n_users, size=n_ratings, dtype=np.int32))
    items = (n_items * rng.random(n_ratings) ** 3).astype(np.int32)
    values = rng.integers(2, 11, n_ratings, dtype=np.int8).astype(np.float32) / 2
    return Ratings(users, items, values, np.arange(n_users), np.arange(n_items), (0.5, 5.0))


@contextmanager
def large_file(path: Path | str | None, n_ratings: int) -> Iterator[Path]:
    """Return the large file, written if it does not exist; without a path, a temporary file."""
    with TemporaryDirectory() as folder:
        path = Path(path or Path(folder, "ratings.csv"))
        if not path.exists():
            write_large_file(path, n_ratings)
        yield path


def write_large_file(path: Path, n_ratings: int) -> None:
    """Write ratings ordered by user and item, in half stars, with structure that can be learned."""
    rng = np.random.default_rng(0)
    n_users = max(1, round(n_ratings * N_USERS / N_RATINGS))
    world = latent_world(n_users, N_ITEMS, rng)
    popularity = rng.permutation((np.arange(N_ITEMS) + 100.0) ** -1.2)
    reach = np.cumsum(popularity / popularity.sum())
    item_ids = np.sort(rng.choice(LAST_ITEM_ID, N_ITEMS, replace=False)) + 1
    counts = _activity(n_users, n_ratings, rng)
    with path.open("wb") as file:
        file.write(b"userId,movieId,rating,timestamp\n")
        for first in range(0, n_users, USERS_AT_ONCE):
            of_block = counts[first : first + USERS_AT_ONCE]
            users, items = _distinct_items(of_block, reach, rng)
            users += first
            noisy = world.scores(users, items) + world.sigma * rng.standard_normal(len(users))
            days = rng.integers(FIRST_TIME, LAST_TIME - 86_400, len(of_block))  # each user rates within a day
            times = np.repeat(days, of_block) + rng.integers(0, 86_400, len(users))
            columns = {"userId": users + 1, "movieId": item_ids[items]}
            columns |= {"rating": np.clip(np.rint(2 * noisy) / 2, 0.5, 5), "timestamp": times}
            pl.DataFrame(columns).write_csv(file, include_header=False)


def _activity(n_users: int, n_ratings: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the number of ratings of each user, large for few users; the sum is `n_ratings`."""
    fewest = min(FEWEST, n_ratings // n_users)
    weights = rng.lognormal(0.0, 1.4, n_users)
    weights = np.minimum(weights, MOST * n_users / n_ratings * weights.mean())
    return fewest + rng.multinomial(n_ratings - fewest * n_users, weights / weights.sum())


def _distinct_items(counts: Any, reach: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw distinct items for each user by popularity, ordered by user and item."""
    n_items, missing, draws, pairs = len(reach), counts, 1, np.empty(0, np.int64)
    while missing.any():
        # An active user has most popular items already, and needs many draws for others.
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
