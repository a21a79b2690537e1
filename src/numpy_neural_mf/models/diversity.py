"""Diverse top-N lists: re-ranking by maximal marginal relevance."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..utils.arrays import FloatArray, IntArray
from .recommend import MaskedArray

POOL = 10  # number of candidates per item of a list


def diversified(
    items: MaskedArray,
    scores: MaskedArray,
    n: int,
    diversity: float,
    similarities: Callable[[Any], FloatArray],
) -> tuple[MaskedArray, MaskedArray]:
    """Re-rank lists of up to `POOL` n candidates, best first, shape (..., POOL n), to lists of n, (..., n).

    `similarities` maps the raw ids of m items to their pairwise similarities, shape (m, m).
    """
    shape = (*items.shape[:-1], n)
    pools = items.data.reshape(-1, items.shape[-1])
    places = np.full((len(pools), n), -1)
    for row, n_left in enumerate((~np.ma.getmaskarray(items)).reshape(pools.shape).sum(axis=1)):
        found = marginal_relevance(similarities(pools[row, :n_left]), n, diversity)
        places[row, : len(found)] = found
    at, missing = np.arange(len(pools))[:, None], places.reshape(shape) < 0
    columns = (pools[at, places], scores.data.reshape(pools.shape)[at, places])
    return tuple(np.ma.MaskedArray(column.reshape(shape), missing) for column in columns)  # type: ignore


def marginal_relevance(similarity: FloatArray, n: int, diversity: float) -> IntArray:
    """Return the positions of n of m candidates, best first; the similarities have shape (m, m).

    The next candidate is the one with the highest (1 - d) r_i - d max_j s_ij, where j runs over the chosen
    candidates and the relevance r_i falls in equal steps from 1, for the first, to 0 (Carbonell and
    Goldstein, "The use of MMR, diversity-based reranking", 1998, with ranks in place of scores).
    """
    m = len(similarity)
    relevance, nearest = np.linspace(1, 0, m), np.zeros(m)
    places: list[int] = []
    for _ in range(min(n, m)):
        gain = (1 - diversity) * relevance - diversity * nearest
        gain[places] = -np.inf
        best = int(gain.argmax())
        nearest = np.maximum(nearest, similarity[best]) if places else similarity[best].copy()
        places.append(best)
    return np.array(places, np.int32)


def cosines(table: FloatArray | None, rows: IntArray) -> FloatArray:
    """Return the cosines between m rows, shape (m, m); 0 for row -1, which has no embedding."""
    if table is None:
        raise ValueError("diversity: this model has no embeddings to compare items by")
    found = np.where(rows[:, None] >= 0, table[rows], 0)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(table.dtype).tiny)
    return np.asarray(found @ found.T)
