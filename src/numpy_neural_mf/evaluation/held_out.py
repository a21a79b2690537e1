"""Evaluation of a fitted model on held-out ratings: the errors of its predictions and its top-N lists.

A pair is warm if its user and its item both have a rating in training, otherwise cold.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings, RatingsLike, read_ratings
from ..data.columns import blocks, count
from ..data.ids import index_of
from ..utils.settings import check_integer
from .ranking_metrics import RANKING_METRICS, catalogue_coverage, gini, novelty
from .rating_metrics import calibration, fcp, mae, mae_per_user, r2, rmse, rmse_per_user
from .results import Errors, Evaluation, RankingQuality, RatingErrors


class SupportsPredict(Protocol):
    """A model that predicts the ratings of pairs of raw ids, shape (n,), at the given times, if any."""

    def predict(self, users: Any, items: Any, timestamps: Any = None) -> Any: ...


@runtime_checkable
class SupportsRecommend(Protocol):
    """A model that recommends items by raw id, best first: shape (len(users), n), empty places masked."""

    def recommend(self, users: Any, n: int, *, exclude_seen: bool = True) -> Any: ...


def evaluate(
    model: SupportsPredict,
    train: RatingsLike = None,
    test: RatingsLike = None,
    k: int = 10,
    relevant: float | None = None,
) -> Evaluation:
    """Evaluate the predictions and the top-N lists of a fitted model on held-out ratings.

    For a model of this package, ``evaluate(model, test)`` is the same as ``evaluate(model, train, test)``.

    Parameters
    ----------
    model : object with ``predict(users, items, timestamps)``, fitted on `train`
        Its lists are evaluated if it has ``recommend(users, n, exclude_seen=True)`` too.
    train, test : Ratings, or what `read_ratings` takes
        `train` determines which users and items are warm and which items can be recommended. A single part is
        the test part; `train` is then the model's `ratings_`, from which it learned.
    k : int, default 10, the length of the lists
    relevant : float, optional
        The lowest rating of a relevant item; by default `relevance_threshold` of the scale, which may be a
        guess (see `Ratings`). If no test rating reaches the default, the metrics of the lists are NaN.

    Raises
    ------
    TypeError : `train` is not given, and the model has no `ratings_`
    ValueError
        If the test part is empty, no test rating reaches the given `relevant`, the test part shares a pair of
        user and item with training or with ratings that the model has learned since, or a prediction is NaN.
    """
    if test is None:
        train, test = None, train
    train = getattr(model, "ratings_", None) if train is None else train
    if train is None or test is None:
        missing = "test" if test is None else "train"
        raise TypeError(f"{missing}: expected ratings; a {type(model).__name__} has no ratings_ of its own")
    train, test, ranking = read_ratings(train), read_ratings(test), None
    if isinstance(model, SupportsRecommend):
        ranking = evaluate_ranking(model, train, test, k, relevant)
    return Evaluation(evaluate_ratings(model, train, test), ranking)


def evaluate_ratings(model: SupportsPredict, train: RatingsLike, test: RatingsLike) -> RatingErrors:
    """Return the errors of the predictions of held-out ratings; parameters and errors as in `evaluate`."""
    train, test = _unknown_to(model, train, test)

    def predicted(block: slice) -> Any:
        times = None if test.timestamps is None else test.timestamps[block]
        return model.predict(test.user_ids[test.users[block]], test.item_ids[test.items[block]], times)

    prediction = np.concatenate([predicted(block) for block in blocks(len(test))])

    def errors_where(chosen: NDArray[np.bool_]) -> Errors:
        n = int(chosen.sum())
        if not n:
            return Errors(0, *[float("nan")] * 4)
        rows = chosen if n < len(chosen) else slice(None)  # a slice makes no copy
        p, r = prediction[rows], test.values[rows]
        return Errors(n, rmse(p, r), mae(p, r), r2(p, r), fcp(p, r, test.users[rows]))

    user_is_warm, item_is_warm = warm_ids(train, test)
    is_warm = warm_rows(train, test)
    users, items = np.unique(test.users), np.unique(test.items)
    return RatingErrors(
        overall=errors_where(np.ones(len(test), bool)),
        warm=errors_where(is_warm),
        cold=errors_where(~is_warm),
        n_cold_users=int(np.sum(~user_is_warm[users])),
        n_cold_items=int(np.sum(~item_is_warm[items])),
        user_ids=test.user_ids[users],
        user_rmse=rmse_per_user(prediction, test.values, test.users),
        user_mae=mae_per_user(prediction, test.values, test.users),
        calibration=calibration(prediction, test.values),
    )


def evaluate_ranking(
    model: SupportsRecommend,
    train: RatingsLike,
    test: RatingsLike,
    k: int = 10,
    relevant: float | None = None,
) -> RankingQuality:
    """Return the quality of the default lists of `recommend`; parameters and errors as in `evaluate`.

    The relevant items of a user are those that the user rated highly in the test part. Every other item
    counts as not relevant, even if the user would have liked it: the metrics compare models and do not
    measure satisfaction. A relevant item without a rating in training cannot be recommended and counts as a
    miss.
    """
    check_integer("k", k, at_least=1)
    train, test = _unknown_to(model, train, test)
    threshold = relevance_threshold(test.scale) if relevant is None else relevant
    liked = test.take(test.values >= np.float32(threshold))
    if not len(liked) and relevant is not None:
        raise ValueError(f"relevant: the test part has no rating of {threshold:g} or more")
    users, n_liked = np.unique(liked.users, return_counts=True)
    by_user = np.argsort(liked.users, kind="stable")
    relevant_items = np.split(liked.raw_items[by_user], np.cumsum(n_liked)[:-1]) if len(users) else []

    user_ids, no_lists = test.user_ids[users], np.empty((0, k), train.item_ids.dtype)
    lists = model.recommend(user_ids, k, exclude_seen=True) if len(users) else no_lists
    n_items = int(np.count_nonzero(count(train.items, train.n_items)))
    per_user = {name: metric(lists, relevant_items, k) for name, metric in RANKING_METRICS.items()}
    return RankingQuality(
        k=k,
        relevant=threshold,
        user_ids=user_ids,
        is_warm=warm_ids(train, test)[0][users],
        per_user=per_user | {"novelty": novelty(lists, train)},
        coverage=catalogue_coverage(lists, n_items) if len(users) else float("nan"),
        gini=gini(lists, n_items),
    )


def relevance_threshold(scale: tuple[float, float]) -> float:
    """Return the start of the upper quarter of a rating scale: 4 on a scale from 1 to 5, 7.75 on 1 to 10."""
    lowest, highest = scale
    return lowest + 0.75 * (highest - lowest)


def warm_rows(train: Ratings, test: Ratings) -> NDArray[np.bool_]:
    """Return which test ratings have a user and an item that both occur in training, shape (len(test),)."""
    user_is_warm, item_is_warm = warm_ids(train, test)
    return user_is_warm[test.users] & item_is_warm[test.items]


def warm_ids(train: Ratings, test: Ratings) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which of ``test.user_ids`` and which of ``test.item_ids`` have a rating in training."""
    users = train.user_ids[count(train.users, train.n_users) > 0]
    items = train.item_ids[count(train.items, train.n_items) > 0]
    return index_of(users, test.user_ids) >= 0, index_of(items, test.item_ids) >= 0


def seen_rows(train: Ratings, test: Ratings) -> NDArray[np.bool_]:
    """Return which test ratings have a pair of user and item that training has too, shape (len(test),)."""
    user_in_test = index_of(test.user_ids, train.user_ids)
    item_in_test = index_of(test.item_ids, train.item_ids)
    tested = test.users.astype(np.int64) * test.n_items + test.items
    pairs = np.sort(tested)  # index_of finds the first of equal pairs, and so does searchsorted below
    is_seen = np.zeros(len(pairs), bool)
    for block in blocks(len(train)):
        users, items = user_in_test[train.users[block]], item_in_test[train.items[block]]
        shared = (users >= 0) & (items >= 0)
        # Sorting first makes millions of look-ups several times faster.
        found = index_of(pairs, np.sort(users[shared].astype(np.int64) * test.n_items + items[shared]))
        is_seen[found[found >= 0]] = True
    seen = np.empty(len(tested), bool)
    for block in blocks(len(tested)):
        seen[block] = is_seen[np.searchsorted(pairs, tested[block])]
    return seen


def require_held_out(train: RatingsLike, test: RatingsLike) -> tuple[Ratings, Ratings]:
    """Return both parts as `Ratings`; raise ValueError if the test part is empty or has a pair of `train`."""
    train, test = read_ratings(train), read_ratings(test)
    if not len(test):
        raise ValueError("test: expected ratings to evaluate on, found none")
    if n_seen := int(seen_rows(train, test).sum()):
        raise ValueError(f"test: {n_seen} of its {len(test)} ratings are of a user and an item in train too")
    return train, test


def _unknown_to(model: object, train: RatingsLike, test: RatingsLike) -> tuple[Ratings, Ratings]:
    """Return both parts as `Ratings`; raise ValueError if `fit` or `partial_fit` has learned a test pair."""
    train, test = require_held_out(train, test)
    learned = getattr(model, "ratings_", None)
    if learned is not None and (n_seen := int(seen_rows(learned, test).sum())):
        raise ValueError(f"test: the model has learned from {n_seen} of its {len(test)} ratings")
    return train, test
