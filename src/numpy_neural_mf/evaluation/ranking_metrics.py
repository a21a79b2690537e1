"""Metrics of recommended lists: their relevance, and their coverage, Gini coefficient and novelty.

The metrics of relevance return one score for each user; `mean_over_users` averages them. Their conventions:

- Relevance is binary. Lists are ordered, so there are no ties to break.
- A masked place, or a place beyond the end of a shorter list, is empty: it is not a hit, but it counts as one
  of the k places.
- The score of a user without relevant items is NaN, which the mean leaves out, as in trec_eval.
- A duplicate among the relevant items counts once. A duplicate in a list is an error.

Notation: rel_i is 1 if the item at place i (from 1) is relevant, otherwise 0; R is the number of relevant
items.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data import RatingsLike, read_ratings
from ..data.columns import count
from ..data.ids import index_of
from ..utils.settings import check_integer
from ..utils.shortened import quoted

Scores = NDArray[np.float64]


def precision_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """Return the share of the k places that hold a relevant item: Σ_{i≤k} rel_i / k.

    Parameters
    ----------
    recommended : ids, best first: array-like of shape (n_users, width), possibly masked, or n_users lists
    relevant : sequence of n_users array-likes or sets, ids of the relevant items of each user, in any order
    k : int, default 10

    Returns
    -------
    float64 array of shape (n_users,), from 0 to 1; NaN for a user without relevant items

    Raises
    ------
    TypeError : `k` is not an integer, or `relevant` is not a sequence of collections of ids
    ValueError : numbers of users differ, k < 1, a list names an item twice, or ids are integers and strings
    """
    hit, n_relevant = _hits(recommended, relevant, k)
    return _where_relevant(hit.sum(axis=1) / k, n_relevant)


def recall_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """Return the share of the relevant items within the k places: Σ_{i≤k} rel_i / R, below 1 where R > k.

    Parameters, result and errors are those of `precision_at_k`.
    """
    hit, n_relevant = _hits(recommended, relevant, k)
    return _share(hit.sum(axis=1), n_relevant)


def hit_rate_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """Return 1 where a relevant item is within the k places, otherwise 0; the rest as in `precision_at_k`."""
    hit, n_relevant = _hits(recommended, relevant, k)
    return _where_relevant(hit.any(axis=1), n_relevant)


def reciprocal_rank_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """Return 1 / (place of the first relevant item), 0 if none is within k; the rest as in `precision_at_k`.

    The mean over users is MRR@k (Voorhees, "The TREC-8 question answering track report", 1999).
    """
    hit, n_relevant = _hits(recommended, relevant, k)
    first = hit.argmax(axis=1) + 1
    return _where_relevant(hit.any(axis=1) / first, n_relevant)


def average_precision_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """Return the mean over the relevant items of the precision at their place, 0 beyond k.

    Parameters, result and errors are those of `precision_at_k`.

    AP@k = Σ_{i≤k} rel_i · precision@i / R; the denominator is R, not min(R, k), as in trec_eval's map_cut.
    The mean over users is MAP@k (Manning, Raghavan and Schütze, *Introduction to Information Retrieval*,
    2008, 8.4).
    """
    hit, n_relevant = _hits(recommended, relevant, k)
    precision = np.cumsum(hit, axis=1) / np.arange(1, k + 1)
    return _share((hit * precision).sum(axis=1), n_relevant)


def ndcg_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """Return the discounted cumulative gain divided by that of an ideal list.

    Parameters, result and errors are those of `precision_at_k`.

    DCG@k = Σ_{i≤k} rel_i / log₂(i + 1), divided by Σ_{i≤min(R,k)} 1 / log₂(i + 1)
    (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002, with the discount
    that is usual today).
    """
    hit, n_relevant = _hits(recommended, relevant, k)
    discount = 1 / np.log2(np.arange(2, k + 2))
    best = np.append(0.0, np.cumsum(discount))[np.minimum(n_relevant, k)]
    # Summed in the same order as `best`, so that a perfect list scores exactly 1.
    return _share(np.cumsum(hit * discount, axis=1)[:, -1], best)


def mean_over_users(scores: ArrayLike) -> float:
    """Return the mean of the scores that are not NaN; NaN if all are."""
    values = np.asarray(scores, np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


# Metrics of `RankingQuality`, by the names of their means over users.
RANKING_METRICS: dict[str, Callable[[ArrayLike, Sequence[ArrayLike], int], Scores]] = {
    "precision": precision_at_k, "recall": recall_at_k, "ndcg": ndcg_at_k, "map": average_precision_at_k,
    "mrr": reciprocal_rank_at_k, "hit_rate": hit_rate_at_k,
}  # fmt: skip


def catalogue_coverage(recommended: ArrayLike, n_items: int) -> float:
    """Return the share of the catalogue that is recommended to at least one user: |∪_u L_u| / n_items.

    `recommended` is as in `precision_at_k`; raises ValueError if it has more than `n_items` items.

    Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy: evaluating recommender systems by coverage and
    serendipity", RecSys 2010.
    """
    return float(np.mean(_times_recommended(recommended, n_items) > 0))


def gini(recommended: ArrayLike, n_items: int) -> float:
    """Return the Gini coefficient of how often items are recommended.

    It is 0 if all items are recommended equally often and 1 if it is always the same item:
    G = Σ_{j=1}^{n} (2j - n - 1) p_j / (n - 1), where p_j is the share in all recommendations of the j-th
    least recommended of n items, including items that are never recommended. It is NaN if nothing is
    recommended, and 0 for a catalogue of one item. Parameters and errors are those of `catalogue_coverage`.

    Shani and Gunawardana, "Evaluating recommendation systems", *Recommender Systems Handbook*, 2011.
    """
    x = np.sort(_times_recommended(recommended, n_items))
    if not x.sum():
        return float("nan")
    j = np.arange(1, n_items + 1)
    return float((2 * j - n_items - 1) @ (x / x.sum()) / max(n_items - 1, 1))


def novelty(recommended: ArrayLike, train: RatingsLike) -> NDArray[np.float64]:
    """Return the mean self-information of each list, in bits: the mean over its items of log₂(n_users / n_i).

    n_users is the number of users with ratings in training, where a user rates an item at most once, and n_i
    the number of those that rated item i; an item without ratings counts as rated by one user. The result is
    float64, NaN for an empty list (see `mean_over_users`). Raises ValueError if training has no ratings.

    Zhou, Kuscsik, Liu, Medo, Wakeling and Zhang, "Solving the apparent diversity-accuracy dilemma of
    recommender systems", PNAS 2010.
    """
    train = read_ratings(train)
    if not len(train):
        raise ValueError("train: expected ratings, found none")
    lists = masked_lists(recommended)
    filled = ~np.ma.getmaskarray(lists)
    # The last entry is for unknown items, whose index is -1.
    n_raters = count(train.items, train.n_items + 1)
    n_users = np.count_nonzero(count(train.users, train.n_users))
    bits = np.log2(n_users / np.maximum(n_raters, 1))[index_of(train.item_ids, lists.data)]
    n = filled.sum(axis=1)
    return np.asarray(np.divide((bits * filled).sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0))


def masked_lists(recommended: Any) -> np.ma.MaskedArray[Any, Any]:
    """Return lists as an array of shape (n_users, width), masked beyond the ends of shorter lists."""
    rows = [np.ma.asarray(row) for row in recommended] if isinstance(recommended, list | tuple) else []
    n_listed = np.array([row.size for row in rows], int)
    if not rows or n_listed.min() == n_listed.max():
        return np.ma.asarray(recommended)
    width = n_listed.max()
    ids = np.concatenate([row.data for row in rows if row.size])
    items, is_masked = np.zeros((len(rows), width), ids.dtype), np.ones((len(rows), width), bool)
    is_listed = np.arange(width) < n_listed[:, None]
    items[is_listed] = ids
    is_masked[is_listed] = np.concatenate([np.ma.getmaskarray(row) for row in rows])
    return np.ma.array(items, mask=is_masked)


def _hits(
    recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return rel_i of every user, shape (n_users, k), and R, shape (n_users,)."""
    check_integer("k", k, at_least=1)
    lists = masked_lists(recommended)
    if isinstance(relevant, Mapping | Set):
        found = type(relevant).__name__
        raise TypeError(f"relevant: expected a sequence, in the order of the lists, found a {found}")
    if lists.ndim != 2 or len(lists) != len(relevant):
        found = f"found lists of shape {lists.shape} and {len(relevant)} sets"
        raise ValueError(f"expected lists of shape (n_users, width) and n_users sets, {found}")
    lists = lists[:, :k]
    place_filled = ~np.ma.getmaskarray(lists)
    row_listed, place = np.nonzero(place_filled)
    relevant_ids = [_ids(items) for items in relevant]
    row_relevant = np.repeat(np.arange(len(relevant)), [len(ids) for ids in relevant_ids])
    relevant_items = np.concatenate([ids for ids in relevant_ids if len(ids)] or [np.empty(0, np.int64)])
    listed, wanted = _keys(lists.data[place_filled], row_listed, relevant_items, row_relevant)
    in_order = np.sort(listed)
    if np.any(in_order[1:] == in_order[:-1]):
        raise ValueError("recommended: expected each item at most once in a list")
    wanted, first = np.unique(wanted, return_index=True)
    hit = np.zeros((len(relevant), k), bool)
    hit[row_listed, place] = index_of(wanted, listed) >= 0
    return hit, np.bincount(row_relevant[first], minlength=len(relevant))


def _ids(items: ArrayLike | Set[Any]) -> NDArray[Any]:
    """Return the ids of the relevant items of one user, shape (R,)."""
    ids = np.asarray(list(items) if isinstance(items, Set) else items)
    if ids.ndim == 0:
        raise TypeError(
            f"relevant: expected the ids of the relevant items of each user, found {quoted(items)}"
        )
    return ids.ravel()


def _keys(
    listed: NDArray[Any], row_listed: NDArray[np.intp], wanted: NDArray[Any], row_wanted: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an integer for each pair of user and item, equal for equal pairs."""
    if listed.size and wanted.size and (listed.dtype.kind == "U") != (wanted.dtype.kind == "U"):
        found = f"{listed.dtype} recommended, {wanted.dtype} relevant"
        raise ValueError(f"expected ids of one kind, found {found}")
    items = np.concatenate([part for part in (listed, wanted) if part.size] or [wanted])
    known, code = np.unique(items, return_inverse=True)
    keys = np.concatenate([row_listed, row_wanted]).astype(np.int64) * len(known) + code
    return keys[: len(listed)], keys[len(listed) :]


def _where_relevant(scores: ArrayLike, n_relevant: NDArray[np.int64]) -> Scores:
    return np.where(n_relevant > 0, scores, np.nan)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Scores:
    """Return part / whole, NaN where whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


def _times_recommended(recommended: ArrayLike, n_items: int) -> NDArray[np.int64]:
    """Return how often each item is recommended, shape (n_items,): zeros first, items in no fixed order."""
    n_times = np.unique(masked_lists(recommended).compressed(), return_counts=True)[1]
    if len(n_times) > n_items or n_items < 1:
        raise ValueError(f"n_items: {len(n_times)} items are recommended, of a catalogue of {n_items}")
    return np.append(np.zeros(n_items - len(n_times), np.int64), n_times)
