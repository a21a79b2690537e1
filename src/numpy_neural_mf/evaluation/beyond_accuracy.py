"""Metrics beyond accuracy: catalogue coverage, Gini coefficient and novelty of recommended lists."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data import Ratings
from ..data.columns import count
from ..data.ids import index_of
from .ranking_metrics import masked_lists


def catalogue_coverage(recommended: ArrayLike, n_items: int) -> float:
    """Share of the catalogue that is recommended to at least one user: |∪_u L_u| / n_items.

    Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy: evaluating recommender systems by coverage and
    serendipity", RecSys 2010.

    Parameters
    ----------
    recommended : array-like of shape (n_users, width), possibly masked, or n_users lists of any lengths
        Ids of items; masked places are empty.
    n_items : int
        Number of items that could have been recommended.

    Returns
    -------
    float
        From 0 (all lists are empty) to 1.

    Raises
    ------
    ValueError
        If more than `n_items` items are recommended.
    """
    return float(np.mean(_times_recommended(recommended, n_items) > 0))


def gini(recommended: ArrayLike, n_items: int) -> float:
    """Gini coefficient of how often items are recommended: 0 if equally often, 1 if always the same item.

    G = Σ_{j=1}^{n} (2j - n - 1) p_j / (n - 1), where p_j is the share in all recommendations of the j-th
    least recommended of n items; items that are never recommended are included. NaN if nothing is
    recommended, 0 for a catalogue of one item. Parameters and errors as those of `catalogue_coverage`.

    Shani and Gunawardana, "Evaluating recommendation systems", *Recommender Systems Handbook*, 2011.
    """
    x = np.sort(_times_recommended(recommended, n_items))
    if not x.sum():
        return float("nan")
    j = np.arange(1, n_items + 1)
    return float((2 * j - n_items - 1) @ (x / x.sum()) / max(n_items - 1, 1))


def novelty(recommended: ArrayLike, train: Ratings) -> NDArray[np.float64]:
    """Mean self-information of a list, in bits: the mean over its items of log₂(n_users / n_i).

    n_i of the n_users with ratings in training rated item i; an item without ratings counts as rated by one
    user. An item that all users have rated has 0 bits, one that a quarter has rated has 2 bits.

    Zhou, Kuscsik, Liu, Medo, Wakeling and Zhang, "Solving the apparent diversity-accuracy dilemma of
    recommender systems", PNAS 2010.

    Parameters
    ----------
    recommended : array-like of shape (n_users, width), possibly masked, or n_users lists of any lengths
        Raw ids of items; masked places are empty.
    train : Ratings
        The training part; each user rates an item at most once.

    Returns
    -------
    float64 array of shape (n_users,)
        NaN for an empty list; see `mean_over_users`.

    Raises
    ------
    ValueError
        If training has no ratings.
    """
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


def _times_recommended(recommended: ArrayLike, n_items: int) -> NDArray[np.int64]:
    """Number of times that each item is recommended, shape (n_items,), in no order of items, zeros first."""
    n_times = np.unique(masked_lists(recommended).compressed(), return_counts=True)[1]
    if len(n_times) > n_items or n_items < 1:
        raise ValueError(f"n_items: {len(n_times)} items are recommended, of a catalogue of {n_items}")
    return np.append(np.zeros(n_items - len(n_times), np.int64), n_times)
