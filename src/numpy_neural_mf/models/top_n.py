"""Top-N: the items of highest score for each user, and the rows most similar to one. Ties go by row."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..data.columns import blocks
from ..utils.arrays import Float32Array, FloatArray, Int32Array
from ..utils.threads import one_blas_thread
from .interactions import Interactions

# Scores held at a time by each thread (4 MB and what it takes to rank them), at least one row of them.
BLOCK = 2**20

# Items whose highest score stands for them all where a bound on the best is sought.
GROUP = 64


def best_items(
    score: Callable[[Int32Array], FloatArray],
    users: Int32Array,
    items: Int32Array,
    n: int,
    seen: Sequence[Interactions],
) -> tuple[Int32Array, Float32Array]:
    """The n items of highest score for each user, and their scores, both of shape (len(users), n).

    `score` takes users, shape (m,), to scores of `items`, which ascend, shape (m, len(items)). What is in
    `seen` is left out. Where no item is left, there is -1 and NaN.
    """
    column_of = np.full(int(items.max(initial=-1)) + 1, -1, np.int32)
    column_of[items] = np.arange(len(items), dtype=np.int32)
    best = np.full((len(users), n), -1, np.int32)
    values = np.full((len(users), n), np.nan, np.float32)

    def rank(block: slice) -> None:
        scores = score(users[block])
        for rated in seen:
            position, item = rated.pairs(users[block])
            inside = item < len(column_of)
            position, column = position[inside], column_of[item[inside]]
            scores[position[column >= 0], column[column >= 0]] = -np.inf
        columns = top_n(scores, n)
        found = columns >= 0
        best[block][found] = items[columns[found]]
        values[block][found] = np.take_along_axis(scores, np.maximum(columns, 0), axis=1)[found]

    parts = list(blocks(len(users), max(1, BLOCK // len(items)))) if len(items) else []
    with one_blas_thread():  # a thread for each processor, in the way of which BLAS would be with more
        if len(parts) == 1:
            rank(parts[0])
        else:
            with ThreadPoolExecutor(_n_processors()) as pool:
                list(pool.map(rank, parts))
    return best, values


def top_n(scores: FloatArray, n: int) -> NDArray[np.intp]:
    """Columns of the n highest scores of each row, best first, of equal ones the first; -1 where -inf.

    Scores, without NaN, have shape (m, n_columns); columns have shape (m, n). A bound below the n-th highest
    comes first, cheaply: the n-th highest of the maxima of groups of columns, since the maxima are n scores
    themselves. Few scores reach it, and these are sorted.
    """
    m, n_columns = scores.shape
    top = np.full((m, n), -1, np.intp)
    kept = min(n, n_columns)
    if not kept:
        return top
    size = max(1, min(GROUP, n_columns // (8 * kept)))
    n_groups = n_columns // size
    maxima = scores[:, : size * n_groups].reshape(m, size, n_groups).max(axis=1)
    bound = np.partition(maxima, n_groups - kept, axis=1)[:, n_groups - kept]
    bound = np.maximum(bound, np.finfo(scores.dtype).min)  # what is left out is -inf: it never reaches it
    rows, columns = np.divmod(np.flatnonzero(scores >= bound[:, None]), n_columns)
    order = np.lexsort((-scores[rows, columns], rows))  # stable: equal scores stay by column
    counts = np.bincount(rows, minlength=m)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = place < n
    top[rows[first], place[first]] = columns[order[first]]
    return top


def most_similar(
    table: FloatArray, row: int, n: int, allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], Float32Array]:
    """The n other allowed rows of highest cosine p · q / (‖p‖ ‖q‖), 0 where a norm is, and the cosines."""
    norms = np.linalg.norm(table, axis=1)
    cosines = table @ table[row] / np.maximum(norms * norms[row], np.finfo(table.dtype).tiny)
    cosines = np.clip(cosines, -1, 1)
    others = allowed & (np.arange(len(table)) != row)
    rows = top_n(np.where(others, cosines, -np.inf)[None], min(n, int(others.sum())))[0]
    return rows, cosines[rows].astype(np.float32)


def _n_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
