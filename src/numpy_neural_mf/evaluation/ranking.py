"""How good recommended lists are: pure functions of what was recommended and what was relevant.

Every function takes the lists of many users at once and returns one number for each user; `mean_over_users`
makes one of them. What holds for all:

- Relevance is binary. Lists come in their order, so there are no ties to break.
- A place that is masked, or beyond the end of a shorter list, is empty: it is no hit, and it counts.
- A user with nothing relevant has no score: NaN, left out of the mean, as trec_eval does.
- Relevant items are a set: one named twice counts once. A list that names an item twice is an error.

Written: rel_i is 1 where the item at place i, from 1, is relevant, otherwise 0; R is the number of relevant
items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.ids import index_of

Scores = NDArray[np.float64]


def precision_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """Share of the k places that hold a relevant item: Σ_{i≤k} rel_i / k.

    Parameters
    ----------
    recommended : array-like of shape (n_users, width), possibly masked
        Ids of items, best first; one row for each user.
    relevant : sequence of n_users array-likes
        Ids of the relevant items of each user, in any order.
    k : int, default 10
        Places looked at.

    Returns
    -------
    float64 array of shape (n_users,)
        From 0 to 1; NaN for a user with nothing relevant.

    Raises
    ------
    ValueError
        If the shapes do not match, k is below 1, a list names an item twice, or ids are integers here and
        strings there.
    """
    hit, n_relevant = _hits(recommended, relevant, k)
    return _where_relevant(hit.sum(axis=1) / k, n_relevant)


def recall_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """Share of the relevant items within the k places: Σ_{i≤k} rel_i / R; otherwise as `precision_at_k`.

    Where R > k it cannot reach 1.
    """
    hit, n_relevant = _hits(recommended, relevant, k)
    return _share(hit.sum(axis=1), n_relevant)


def hit_rate_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """1 where a relevant item is within the k places, otherwise 0; otherwise as `precision_at_k`."""
    hit, n_relevant = _hits(recommended, relevant, k)
    return _where_relevant(hit.any(axis=1), n_relevant)


def reciprocal_rank_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """1 / the first place of a relevant item, 0 where there is none within k; otherwise as `precision_at_k`.

    The mean over users is MRR@k (Voorhees, "The TREC-8 question answering track report", 1999).
    """
    hit, n_relevant = _hits(recommended, relevant, k)
    first = hit.argmax(axis=1) + 1
    return _where_relevant(hit.any(axis=1) / first, n_relevant)


def average_precision_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """Mean over relevant items of the precision at their place, 0 beyond k; otherwise as `precision_at_k`.

    AP@k = Σ_{i≤k} rel_i · precision@i / R, with R and not min(R, k) below, as trec_eval's map_cut. The mean
    over users is MAP@k (Manning, Raghavan and Schütze, *Introduction to Information Retrieval*, 2008, 8.4).
    """
    hit, n_relevant = _hits(recommended, relevant, k)
    precision = np.cumsum(hit, axis=1) / np.arange(1, k + 1)
    return _share((hit * precision).sum(axis=1), n_relevant)


def ndcg_at_k(recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int = 10) -> Scores:
    """Hits discounted by place, as a share of the best list possible; otherwise as `precision_at_k`.

    DCG@k = Σ_{i≤k} rel_i / log₂(i + 1), divided by Σ_{i≤min(R,k)} 1 / log₂(i + 1)
    (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002, with the discount
    that is usual today).
    """
    hit, n_relevant = _hits(recommended, relevant, k)
    discount = 1 / np.log2(np.arange(2, k + 2))
    best = np.append(0.0, np.cumsum(discount))[np.minimum(n_relevant, k)]
    # Added up in order, as the best list is: a perfect list scores 1 exactly, whoever else is scored.
    return _share(np.cumsum(hit * discount, axis=1)[:, -1], best)


def mean_over_users(scores: ArrayLike) -> float:
    """Mean of the scores that are one; NaN where none is."""
    values = np.asarray(scores, np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _hits(
    recommended: ArrayLike, relevant: Sequence[ArrayLike], k: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """rel_i of every user, shape (n_users, k), and R, shape (n_users,)."""
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    lists: np.ma.MaskedArray[Any, Any] = np.ma.asarray(recommended)
    if lists.ndim != 2 or len(lists) != len(relevant):
        raise ValueError(
            f"expected lists of shape (n_users, width) and n_users sets of relevant items, "
            f"found lists of shape {lists.shape} and {len(relevant)} sets"
        )
    lists = lists[:, :k]
    place_filled = ~np.ma.getmaskarray(lists)
    row_listed, place = np.nonzero(place_filled)
    row_wanted = np.repeat(np.arange(len(relevant)), [np.size(items) for items in relevant])
    listed, wanted = _keys(lists.data[place_filled], row_listed, _joined(relevant), row_wanted)
    in_order = np.sort(listed)
    if np.any(in_order[1:] == in_order[:-1]):
        raise ValueError("recommended: expected each item at most once in a list")
    wanted, first = np.unique(wanted, return_index=True)
    hit = np.zeros((len(relevant), k), bool)
    hit[row_listed, place] = index_of(wanted, listed) >= 0
    return hit, np.bincount(row_wanted[first], minlength=len(relevant))


def _joined(relevant: Sequence[ArrayLike]) -> NDArray[Any]:
    parts = [np.asarray(items).ravel() for items in relevant if np.size(items)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _keys(
    listed: NDArray[Any], row_listed: NDArray[np.intp], wanted: NDArray[Any], row_wanted: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One integer for each pair of user and item, the same for the same pair."""
    if listed.size and wanted.size and (listed.dtype.kind == "U") != (wanted.dtype.kind == "U"):
        raise ValueError(
            f"expected ids of one kind, found {listed.dtype} recommended, {wanted.dtype} relevant"
        )
    items = np.concatenate([part for part in (listed, wanted) if part.size] or [wanted])
    known, code = np.unique(items, return_inverse=True)
    keys = np.concatenate([row_listed, row_wanted]).astype(np.int64) * len(known) + code
    return keys[: len(listed)], keys[len(listed) :]


def _where_relevant(scores: ArrayLike, n_relevant: NDArray[np.int64]) -> Scores:
    return np.where(n_relevant > 0, scores, np.nan)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Scores:
    """part / whole, NaN where whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))
