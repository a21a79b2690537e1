"""Simulated ratings with an exactly known noise floor, to compare models with the Bayes-optimal predictor."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...utils.settings import check_integer
from ...utils.shortened import quoted
from ..features import Features
from ..ratings import Ratings
from ..splits import RandomState
from .world import N_DAYS, Indices, World, described, latent_world, unstructured_world

DAY = 86_400
START = 1_704_067_200  # 2024-01-01, seconds since 1970
# Per unit of the sequence effect, an item a quarter turn on is e to this power likelier to come next.
PULL = 3.0
MAX_IDS = 2**31 - 1  # rows are int32
HIGHEST = {"drift": 5.0, "side_information": 1.0, "sequence": 5.0}


def simulate_ratings(
    n_users: int = 5000,
    n_items: int = 2000,
    n_ratings: int = 200_000,
    *,
    structure: str = "latent",
    drift: float = 0.0,
    side_information: float = 0.0,
    sequence: float = 0.0,
    random_state: RandomState = 0,
) -> Ratings:
    """Simulate ratings of distinct (user, item) pairs with known noise, whole numbers from 1 to 5.

    A few items have many ratings and many items have few (a Zipf-like tail), and users differ in activity.
    With drift or a sequence effect, the ratings have timestamps, spread over a year, and are in time order.
    They have `expected` and `noise_variance`, and so `noise_floor`: no model can expect a lower RMSE on
    unseen ratings, even if it knows the day, the descriptions and the previous item. A ValueError if a size
    or a strength is out of range, the structure is unknown, or an effect is requested with structure "none".

    Parameters
    ----------
    n_users, n_items : int, default 5000, 2000; ids are 1..n; ids without a rating are left out
    n_ratings : int, default 200,000, at most ``n_users * n_items``
    structure : {"latent", "none"}, default "latent"
        "latent": biases, an inner product and a non-linear term (see `World`), which a model linear in users
        and items cannot follow. "none": independent ratings; only the mean can be learned.
    drift : float, default 0
        Amplitude, in rating steps, of the time-varying biases of users and items; at least 0.
    side_information : float, default 0
        How well an item's genres reveal its latent cluster and its decade its bias, from 0 to 1 (see
        `described`); both are in `item_features` of the ratings, also for items without a rating.
    sequence : float, default 0
        How much lower, in rating steps, an item is rated if the user's previous item was in the same latent
        cluster, and how much higher after one in the opposite cluster; at least 0. The next item depends on
        the previous one as well; a model knows that one only if it is not held out: use `leave_last_out`.
    random_state : int, numpy.random.Generator or None, default 0; the same seed gives the same ratings
    """
    check_integer("n_users", n_users, at_least=1, at_most=MAX_IDS)
    check_integer("n_items", n_items, at_least=1, at_most=MAX_IDS)
    check_integer("n_ratings", n_ratings, at_least=1, at_most=n_users * n_items)
    _check_strengths(structure, drift=drift, side_information=side_information, sequence=sequence)
    rng = np.random.default_rng(random_state)
    latent = structure == "latent"
    world = latent_world(n_users, n_items, rng) if latent else unstructured_world(n_users, n_items)
    world = replace(world, drift=drift, sequence=sequence)
    features = None
    if side_information:
        world, frame = described(world, side_information, rng)
        features = Features.from_frame(frame, many_valued=["genres"], categories=["decade"])
    users, items, times, previous = _log(world, n_ratings, rng)
    days = None if times is None else (times - START) // DAY
    values = world.rate(users, items, rng, days, previous)
    expected, variance = (moment.astype(np.float32) for moment in world.moments(users, items, days, previous))
    ids = np.arange(1, n_users + 1), np.arange(1, n_items + 1)
    ratings = Ratings(
        users, items, values, *ids, (1.0, 5.0), times, variance, expected, item_features=features
    )
    return ratings.compact()


def _check_strengths(structure: str, **strengths: float) -> None:
    if structure not in ("latent", "none"):
        raise ValueError(f"structure: expected 'latent' or 'none', found {quoted(structure)}")
    for name, strength in strengths.items():
        if not 0 <= strength <= HIGHEST[name]:
            raise ValueError(f"{name}: expected a strength from 0 to {HIGHEST[name]:g}, found {strength}")
        if strength and structure == "none":
            raise ValueError(f"{name}: expected 0 with structure='none', found {strength}")


def _log(
    world: World, n_ratings: int, rng: np.random.Generator
) -> tuple[Indices, Indices, NDArray[np.int64] | None, Indices | None]:
    """Return users, items, times (in the year from START on) and previous items, -1 for none: (n_ratings,).

    Rows are in time order if there are times.
    """
    n_users, n_items = len(world.user_bias), len(world.item_bias)
    if not (world.drift or world.sequence):
        return *_distinct_pairs(n_users, n_items, n_ratings, rng), None, None
    if world.sequence:
        # Draw twice as many as needed, so that a user's last items are a choice too, not the remainder.
        users, items = _distinct_pairs(n_users, n_items, min(2 * n_ratings, n_users * n_items), rng)
        users, items = _sequences(*_by_user(users, items), world, rng)
        early = np.argsort(_place(users) / np.bincount(users)[users], kind="stable")[:n_ratings]
        early.sort()
        users, items = users[early], items[early]
    else:
        users, items = _by_user(*_distinct_pairs(n_users, n_items, n_ratings, rng))
    previous = np.where(_place(users) > 0, np.roll(items, 1), np.int32(-1))
    times = START + rng.integers(N_DAYS * DAY, size=n_ratings)
    times = times[np.lexsort((times, users))]  # ascending for each user; the sort below is stable
    order = np.argsort(times, kind="stable")
    return users[order], items[order], times[order], previous[order]


def _by_user(users: Indices, items: Indices) -> tuple[Indices, Indices]:
    order = np.argsort(users, kind="stable")
    return users[order], items[order]


def _place(users: Indices) -> NDArray[np.int64]:
    """Return the position of each row among the rows of its user, from 0; `users` is sorted."""
    return np.arange(len(users)) - np.searchsorted(users, users)


def _sequences(
    users: Indices, items: Indices, world: World, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Return pairs by user, each user's items in an order in which the next item depends on the previous one.

    i follows j in proportion to exp(PULL · sequence · q_i·Rq_j), R a quarter turn (Gumbel noise; Yellott,
    1977).
    """
    q = world.item_factors
    left = np.arange(len(users))
    wish = np.zeros((users[-1] + 1, 2))  # Rq_j of each user, at first none
    placed: list[NDArray[np.intp]] = []
    while len(left):
        who = users[left]
        pull = PULL * world.sequence * (q[items[left]] * wish[who]).sum(axis=1)
        appeal = pull + rng.gumbel(size=len(left))
        starts = np.flatnonzero(np.diff(who, prepend=-1))
        best = np.maximum.reduceat(appeal, starts)
        taken = appeal == np.repeat(best, np.diff(starts, append=len(left)))
        chosen = left[taken]
        wish[users[chosen]] = np.stack([-q[items[chosen], 1], q[items[chosen], 0]], axis=1)
        placed.append(chosen)
        left = left[~taken]
    drawn = np.concatenate(placed)
    return _by_user(users[drawn], items[drawn])


def _distinct_pairs(
    n_users: int, n_items: int, n_ratings: int, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Draw distinct (user, item) pairs in random order; active users and popular items are more likely."""
    activity = rng.lognormal(0.0, 0.7, n_users)
    popularity = rng.permutation((np.arange(n_items) + 10.0) ** -0.8)
    n_cells = n_users * n_items
    if 4 * n_ratings > n_cells:
        # Dense: the smallest exponential variates with these rates are a weighted draw without replacement
        # (Efraimidis and Spirakis, 2006).
        waits = rng.standard_exponential((n_users, n_items)) / np.outer(activity, popularity)
        # The order of argpartition depends on the processor.
        cells = np.sort(np.argpartition(waits, n_ratings - 1, axis=None)[:n_ratings])
    else:
        cells = np.empty(0, np.int64)
        while len(cells) < n_ratings:
            item = rng.choice(n_items, n_ratings, p=popularity / popularity.sum())
            user = rng.choice(n_users, n_ratings, p=activity / activity.sum())
            cells = np.unique(np.concatenate([cells, user * n_items + item]))
    cells = rng.permutation(cells)[:n_ratings]
    return (cells // n_items).astype(np.int32), (cells % n_items).astype(np.int32)
