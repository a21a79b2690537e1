"""What lists do to the catalogue: how much of it is shown, how evenly, and how far from the well-known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data import Ratings
from ..data.columns import count
from ..data.ids import index_of


def catalogue_coverage(recommended: ArrayLike, n_items: int) -> float:
    """Share of the catalogue that is recommended to anyone: |∪_u L_u| / n_items.

    Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy: evaluating recommender systems by coverage and
    serendipity", RecSys 2010.

    Parameters
    ----------
    recommended : array-like of shape (n_users, width), possibly masked
        Ids of items; masked places are empty.
    n_items : int
        Items that might have been recommended.

    Returns
    -------
    float
        From 0, no list holds anything, to 1.

    Raises
    ------
    ValueError
        If more items are recommended than there are.
    """
    return float(np.mean(_times_recommended(recommended, n_items) > 0))


def gini(recommended: ArrayLike, n_items: int) -> float:
    """How unevenly recommendations fall on the catalogue: 0 all items equally often, 1 always the same one.

    G = Σ_{j=1}^{n} (2j - n - 1) p_j / (n - 1), with p_j the share of all recommendations that falls on the
    j-th least recommended of n items, those never recommended included. NaN where nothing is recommended,
    0 for a catalogue of one item. Parameters and errors as those of `catalogue_coverage`.

    Shani and Gunawardana, "Evaluating recommendation systems", *Recommender Systems Handbook*, 2011.
    """
    x = np.sort(_times_recommended(recommended, n_items))
    if not x.sum():
        return float("nan")
    j = np.arange(1, n_items + 1)
    return float((2 * j - n_items - 1) @ (x / x.sum()) / max(n_items - 1, 1))


def novelty(recommended: ArrayLike, train: Ratings) -> NDArray[np.float64]:
    """Mean self-information of a list, in bits: the mean over its items of log₂(n_users / n_i).

    n_i of the n_users with ratings in training rated item i; an item that nobody rated counts as rated by
    one. So an item that all have rated tells nothing, one that a quarter has rated two bits.

    Zhou, Kuscsik, Liu, Medo, Wakeling and Zhang, "Solving the apparent diversity-accuracy dilemma of
    recommender systems", PNAS 2010.

    Parameters
    ----------
    recommended : array-like of shape (n_users, width), possibly masked
        Raw ids of items; masked places are empty.
    train : Ratings
        What made items known; each user rates an item once.

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
    lists: np.ma.MaskedArray[Any, Any] = np.ma.asarray(recommended)
    filled = ~np.ma.getmaskarray(lists)
    # One entry more, for what is unknown: index -1.
    n_raters = count(train.items, train.n_items + 1)
    n_users = np.count_nonzero(count(train.users, train.n_users))
    bits = np.log2(n_users / np.maximum(n_raters, 1))[index_of(train.item_ids, lists.data)]
    n = filled.sum(axis=1)
    return np.asarray(np.divide((bits * filled).sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0))


def _times_recommended(recommended: ArrayLike, n_items: int) -> NDArray[np.int64]:
    """How often each item is recommended, shape (n_items,), zeros first."""
    shown = np.unique(np.ma.compressed(np.ma.asarray(recommended)), return_counts=True)[1]
    if len(shown) > n_items or n_items < 1:
        raise ValueError(f"n_items: {len(shown)} items are recommended, of a catalogue of {n_items}")
    return np.append(np.zeros(n_items - len(shown), np.int64), shown)
