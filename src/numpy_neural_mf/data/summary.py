"""Summary statistics of ratings, small enough to keep with results and to print in a report."""

from dataclasses import dataclass

import numpy as np

from .columns import count
from .ratings import Ratings
from .readers import RatingsLike, read_ratings

# Most bars of the histogram; more distinct ratings are counted in this number of bins of equal width.
MOST_BARS = 20


@dataclass(frozen=True)
class RatingsSummary:
    """Summary statistics of ratings; `scale`, `noise_floor` and `n_dropped` are as in `Ratings`.

    Attributes
    ----------
    n_ratings, n_users, n_items : int; users and items without ratings are not counted
    density : float, n_ratings / (n_users · n_items)
    histogram : list of (float, float, int)
        Lower edge, upper edge and number of ratings: one entry per distinct rating, with equal edges, or, for
        more than 20 distinct ratings, bins of equal width.
    time_range : (int, int) or None
        First and last timestamp, as in `Ratings`.
    """

    n_ratings: int
    n_users: int
    n_items: int
    density: float
    scale: tuple[float, float]
    mean: float
    histogram: list[tuple[float, float, int]]
    time_range: tuple[int, int] | None
    noise_floor: float | None
    n_dropped: int


def summarize(ratings: RatingsLike) -> RatingsSummary:
    """Return summary statistics of ratings, or what `read_ratings` takes; without ratings a ValueError."""
    ratings = read_ratings(ratings)
    if not len(ratings):
        raise ValueError("expected at least one rating, found none")
    n_users = int(np.count_nonzero(count(ratings.users, ratings.n_users)))
    n_items = int(np.count_nonzero(count(ratings.items, ratings.n_items)))
    times = ratings.timestamps
    return RatingsSummary(
        n_ratings=len(ratings),
        n_users=n_users,
        n_items=n_items,
        density=len(ratings) / (n_users * n_items),
        scale=ratings.scale,
        mean=ratings.mean,
        histogram=_histogram(ratings),
        time_range=None if times is None else (int(times.min()), int(times.max())),
        noise_floor=ratings.noise_floor,
        n_dropped=ratings.n_dropped,
    )


def _histogram(ratings: Ratings) -> list[tuple[float, float, int]]:
    values, counts = np.unique(ratings.values, return_counts=True)
    if len(values) <= MOST_BARS:
        starts = ends = values.astype(np.float64)
    else:
        counts, edges = np.histogram(ratings.values.astype(np.float64), bins=MOST_BARS)
        starts, ends = edges[:-1], edges[1:]
    return list(zip(starts.tolist(), ends.tolist(), counts.tolist(), strict=True))
