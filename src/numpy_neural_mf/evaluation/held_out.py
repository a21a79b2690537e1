"""A model judged on ratings that it has not seen: errors, and the lists that it would have shown.

What is warm and what is cold is decided by training alone: warm is a pair whose user and whose item both have
a rating there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data import Ratings
from ..data.columns import blocks, count
from ..data.ids import index_of
from .beyond_accuracy import catalogue_coverage, gini, novelty
from .metrics import Calibration, calibration, fcp, mae, mae_per_user, r2, rmse, rmse_per_user
from .ranking import (
    average_precision_at_k,
    hit_rate_at_k,
    mean_over_users,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)

# The means of these over users go by these names.
RANKING_METRICS: dict[str, Callable[[ArrayLike, Sequence[ArrayLike], int], NDArray[np.float64]]] = {
    "precision": precision_at_k,
    "recall": recall_at_k,
    "ndcg": ndcg_at_k,
    "map": average_precision_at_k,
    "mrr": reciprocal_rank_at_k,
    "hit_rate": hit_rate_at_k,
}


class Predictor(Protocol):
    """What can be asked how a user would rate an item."""

    def predict(self, users: Any, items: Any, timestamps: Any = None) -> Any:
        """Ratings of pairs of raw ids, shape (n,), at these times where they are known."""


@runtime_checkable
class Ranker(Protocol):
    """What can be asked which items to show a user."""

    def recommend(self, users: Any, n: int, *, exclude_seen: bool = True) -> Any:
        """Raw ids of items, best first, shape (len(users), n); places without an item are masked."""


@dataclass(frozen=True)
class Errors:
    """Errors over some ratings together; all but `n` are NaN where there are none.

    Attributes
    ----------
    n : int
        Ratings.
    rmse, mae, r2, fcp : float
        See the functions of these names.
    """

    n: int
    rmse: float
    mae: float
    r2: float
    fcp: float


@dataclass(frozen=True, eq=False)
class RatingErrors:
    """How far predictions are from held-out ratings.

    Attributes
    ----------
    overall, warm, cold : Errors
        All ratings; those whose user and item training knows; the others.
    n_cold_users, n_cold_items : int
        Users and items of the test part that training does not know.
    user_ids : array of shape (n_users,)
        Raw ids of the users of the test part, sorted.
    user_rmse, user_mae : float64 arrays of shape (n_users,)
        Errors of each of them.
    mean_user_rmse, mean_user_mae : float
        Their means, in which each user weighs the same.
    calibration : Calibration
        Mean prediction by rating.
    """

    overall: Errors
    warm: Errors
    cold: Errors
    n_cold_users: int
    n_cold_items: int
    user_ids: NDArray[Any]
    user_rmse: NDArray[np.float64]
    user_mae: NDArray[np.float64]
    calibration: Calibration

    @property
    def mean_user_rmse(self) -> float:
        return float(self.user_rmse.mean())

    @property
    def mean_user_mae(self) -> float:
        return float(self.user_mae.mean())


@dataclass(frozen=True, eq=False)
class RankingQuality:
    """How good the lists of k items are for the users who have something relevant in the test part.

    Attributes
    ----------
    k : int
    relevant : float
        The lowest rating that makes an item relevant.
    user_ids : array of shape (n_users,)
        Raw ids of those users, sorted.
    is_warm : bool array of shape (n_users,)
        Whether training knows the user.
    per_user : dict of float64 arrays of shape (n_users,)
        By name of the metric (`RANKING_METRICS` and "novelty").
    coverage, gini : float
        Of all lists together, over the items that training knows.
    """

    k: int
    relevant: float
    user_ids: NDArray[Any]
    is_warm: NDArray[np.bool_]
    per_user: dict[str, NDArray[np.float64]]
    coverage: float
    gini: float

    @property
    def overall(self) -> dict[str, float]:
        """Means over all users, by name of the metric."""
        return self._means(np.ones(len(self.is_warm), bool))

    @property
    def warm(self) -> dict[str, float]:
        """Means over the users that training knows; NaN where there are none."""
        return self._means(self.is_warm)

    @property
    def cold(self) -> dict[str, float]:
        """Means over the users that training does not know; NaN where there are none."""
        return self._means(~self.is_warm)

    def _means(self, chosen: NDArray[np.bool_]) -> dict[str, float]:
        return {name: mean_over_users(scores[chosen]) for name, scores in self.per_user.items()}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found: errors of predicted ratings and, of a model that recommends, its lists."""

    ratings: RatingErrors
    ranking: RankingQuality | None


def evaluate(
    model: Predictor, train: Ratings, test: Ratings, k: int = 10, relevant: float | None = None
) -> Evaluation:
    """Judge a fitted model on held-out ratings, both by its predictions and by its lists.

    Parameters
    ----------
    model : object with ``predict(users, items)``
        Fitted on `train`. If it has ``recommend(users, n, exclude_seen=True)`` too, its lists are judged.
    train, test : Ratings
        Two parts of a split. `train` says what is warm, and which items there are to recommend.
    k : int, default 10
        Length of the lists.
    relevant : float, optional
        The lowest rating that makes an item relevant; by default that of `relevance_threshold`.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If the test part is empty, has nothing relevant, or has a rating of a pair that training has too, or
        that the model has learned since.
    """
    ranking = evaluate_ranking(model, train, test, k, relevant) if isinstance(model, Ranker) else None
    return Evaluation(evaluate_ratings(model, train, test), ranking)


def evaluate_ratings(model: Predictor, train: Ratings, test: Ratings) -> RatingErrors:
    """Errors of the predictions of held-out ratings; parameters and errors as those of `evaluate`."""
    _require_unknown_to(model, train, test)
    times = test.timestamps
    prediction = np.concatenate(
        [
            model.predict(
                test.user_ids[test.users[block]],
                test.item_ids[test.items[block]],
                None if times is None else times[block],
            )
            for block in blocks(len(test))
        ]
    )

    def errors_where(chosen: NDArray[np.bool_]) -> Errors:
        n = int(chosen.sum())
        if not n:
            return Errors(0, *[float("nan")] * 4)
        rows = chosen if n < len(chosen) else slice(None)  # of all, no copy
        p, r = prediction[rows], test.values[rows]
        return Errors(n, rmse(p, r), mae(p, r), r2(p, r), fcp(p, r, test.users[rows]))

    knows_user, knows_item = _known(train, test)
    is_warm = warm_rows(train, test)
    users, items = np.unique(test.users), np.unique(test.items)
    return RatingErrors(
        overall=errors_where(np.ones(len(test), bool)),
        warm=errors_where(is_warm),
        cold=errors_where(~is_warm),
        n_cold_users=int(np.sum(~knows_user[users])),
        n_cold_items=int(np.sum(~knows_item[items])),
        user_ids=test.user_ids[users],
        user_rmse=rmse_per_user(prediction, test.values, test.users),
        user_mae=mae_per_user(prediction, test.values, test.users),
        calibration=calibration(prediction, test.values),
    )


def evaluate_ranking(
    model: Ranker, train: Ratings, test: Ratings, k: int = 10, relevant: float | None = None
) -> RankingQuality:
    """Lists from the full catalogue against what users liked; parameters and errors as those of `evaluate`.

    Relevant is what a user rated highly in the test part. Every other item counts as not relevant, also one
    that the user never saw and would have liked: the numbers compare models, they are no shares of good
    advice. A relevant item that training does not know cannot be recommended and is missed.
    """
    _require_unknown_to(model, train, test)
    threshold = relevance_threshold(test.scale) if relevant is None else relevant
    liked = test.take(test.values >= np.float32(threshold))
    if not len(liked):
        raise ValueError(f"relevant: the test part has no rating of {threshold:g} or more")
    users, n_liked = np.unique(liked.users, return_counts=True)
    by_user = np.argsort(liked.users, kind="stable")
    sets = np.split(liked.raw_items[by_user], np.cumsum(n_liked)[:-1])

    lists = model.recommend(test.user_ids[users], k, exclude_seen=True)
    n_items = int(np.count_nonzero(count(train.items, train.n_items)))
    per_user = {name: metric(lists, sets, k) for name, metric in RANKING_METRICS.items()}
    return RankingQuality(
        k=k,
        relevant=threshold,
        user_ids=test.user_ids[users],
        is_warm=_known(train, test)[0][users],
        per_user=per_user | {"novelty": novelty(lists, train)},
        coverage=catalogue_coverage(lists, n_items),
        gini=gini(lists, n_items),
    )


def relevance_threshold(scale: tuple[float, float]) -> float:
    """Where the upper quarter of a rating scale begins: 4 and more of 1 to 5, in halves too; 8 of 1 to 10."""
    lowest, highest = scale
    return lowest + 0.75 * (highest - lowest)


def warm_rows(train: Ratings, test: Ratings) -> NDArray[np.bool_]:
    """Which test ratings have a user and an item that both occur in training, shape (len(test),)."""
    knows_user, knows_item = _known(train, test)
    return knows_user[test.users] & knows_item[test.items]


def _known(train: Ratings, test: Ratings) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of ``test.user_ids`` and of ``test.item_ids`` have a rating in training."""
    users = train.user_ids[count(train.users, train.n_users) > 0]
    items = train.item_ids[count(train.items, train.n_items) > 0]
    return index_of(users, test.user_ids) >= 0, index_of(items, test.item_ids) >= 0


def seen_rows(train: Ratings, test: Ratings) -> NDArray[np.bool_]:
    """Which test ratings are of a user and an item that have a rating in training too, shape (len(test),)."""
    user_in_test, item_in_test = (
        index_of(test.user_ids, train.user_ids),
        index_of(test.item_ids, train.item_ids),
    )
    judged = test.users.astype(np.int64) * test.n_items + test.items
    pairs = np.sort(judged)  # of equal ones, the first is found and looked up
    is_seen = np.zeros(len(pairs), bool)
    for block in blocks(len(train)):
        users, items = user_in_test[train.users[block]], item_in_test[train.items[block]]
        shared = (users >= 0) & (items >= 0)
        # Sorted, which makes looking up millions several times faster.
        found = index_of(pairs, np.sort(users[shared].astype(np.int64) * test.n_items + items[shared]))
        is_seen[found[found >= 0]] = True
    seen = np.empty(len(judged), bool)
    for block in blocks(len(judged)):
        seen[block] = is_seen[np.searchsorted(pairs, judged[block])]
    return seen


def require_held_out(train: Ratings, test: Ratings) -> None:
    """Raise ValueError if the test part is empty or has a rating of a pair that training has too."""
    if not len(test):
        raise ValueError("test: expected ratings to judge on, found none")
    n_seen = int(seen_rows(train, test).sum())
    if n_seen:
        raise ValueError(f"test: {n_seen} of its {len(test)} ratings are of a user and an item in train too")


def _require_unknown_to(model: object, train: Ratings, test: Ratings) -> None:
    """The same, also of what the model remembers to have learned since, as by `partial_fit`."""
    require_held_out(train, test)
    learned = getattr(model, "ratings_", None)
    if learned is not None and (n_seen := int(seen_rows(learned, test).sum())):
        raise ValueError(f"test: the model has learned from {n_seen} of its {len(test)} ratings")
