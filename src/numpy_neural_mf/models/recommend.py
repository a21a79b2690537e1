"""Top-N lists of a fitted model: the best items for users, and similar items or users; ties are by row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.columns import blocks
from ..data.ids import Ids, ids_among, index_of
from ..mf.forward import Scorer
from ..mf.parameters import Side
from ..utils.arrays import Float32Array, FloatArray, Int32Array
from ..utils.settings import check_choice, check_integer
from ..utils.shortened import quoted
from ..utils.threads import Threads, one_blas_thread
from .fitted import Fitted, FittedData, standard_error
from .fold_in import NewItem, NewUser, Users, model_with, rows_of
from .interactions import Interactions

MaskedArray = np.ma.MaskedArray[Any, Any]
Ranked = tuple[NDArray[Any], Float32Array]  # raw ids or rows, best first, and their scores
BLOCK = 2**20  # scores that each thread holds at a time, at least one row: 4 MB, and the memory to rank them
# Multiples of an item's standard error, added to its prediction for ranking (docs/decisions/lists.md).
BOUNDS = {"lower_bound": -2.0, "mean": 0.0, "upper_bound": 2.0}
GROUP = 64  # number of items per group; the groups' maxima bound the n-th best score


class Choice(NamedTuple):
    """The items, or users, of a list: candidates, without excluded ids and ids with fewer ratings."""

    candidates: Ids | None
    exclude: Ids | None
    min_ratings: int

    def checked(self) -> Choice:
        """Return the same, checked, with arrays in place of iterators."""
        check_integer("min_ratings", self.min_ratings, at_least=0)
        candidates = None if self.candidates is None else ids_among("candidates", self.candidates)
        exclude = None if self.exclude is None else ids_among("exclude", self.exclude)
        return Choice(candidates, exclude, self.min_ratings)

    def allowed(self, fitted: FittedData, side: Side) -> NDArray[np.bool_]:
        """Return whether each known item, or user, may be chosen, shape (n,)."""
        candidates, exclude, min_ratings = self.checked()
        ids = fitted.ids(side)
        allowed = fitted.counts(side) >= min_ratings if min_ratings else np.ones(len(ids), bool)
        if candidates is not None:
            allowed &= _marked(ids, candidates)
        return allowed if exclude is None else allowed & ~_marked(ids, exclude)

    def rows(self, fitted: FittedData, side: Side) -> Int32Array:
        """Return the rows of known items, or users, to choose from, ascending."""
        return np.flatnonzero(self.allowed(fitted, side)).astype(np.int32)

    def excludes(self, raw: int | str) -> bool:
        """Return whether one raw id is excluded, for an id that the model does not know."""
        return self.exclude is not None and bool((index_of(np.array([raw]), self.exclude) >= 0).any())


def _marked(ids: NDArray[Any], some: Ids) -> NDArray[np.bool_]:
    """Return whether each known id is one of these, shape (n,)."""
    rows, marked = index_of(ids, some), np.zeros(len(ids), bool)
    marked[rows[rows >= 0]] = True
    return marked


def recommend(
    fitted: Fitted,
    users: Users,
    n: int,
    exclude_seen: bool,
    choice: Choice,
    new_items: Sequence[NewItem],
    by: str,
    rng: np.random.Generator | None,
) -> tuple[MaskedArray, MaskedArray]:
    """Return items and predictions for `Recommender.recommend`."""
    check_integer("n", n, at_least=1)
    check_choice("by", by, (*BOUNDS, "thompson"))
    if (by == "thompson") != isinstance(rng, np.random.Generator):
        raise TypeError(f'rng: expected a Generator by "thompson", and only then, found {rng!r} by {by!r}')
    choice = choice.checked()
    new_items = [item for item in new_items if not choice.excludes(item.id)]
    model, rows = model_with(fitted, users, new_items), rows_of(fitted.user_ids, users)
    items, ids, errors = choice.rows(fitted, "item"), fitted.item_ids, fitted.item_errors
    seen = [users.interactions if isinstance(users, NewUser) else fitted.interactions]
    new_rows = np.arange(len(new_items), dtype=np.int32) + np.int32(len(ids))
    if new_items:
        items, ids = np.concatenate([items, new_rows]), np.append(ids, [item.id for item in new_items])
        n_ratings = np.array([len(item.interactions.items) for item in new_items])
        errors = np.append(errors, standard_error(fitted.interactions.deviation, n_ratings))
    if new_items and not isinstance(users, NewUser):
        raters = [item.interactions.items for item in new_items]
        rated = np.repeat(new_rows, [len(of_item) for of_item in raters])
        ones = np.ones(len(rated), np.float32)
        seen += [Interactions.of(np.concatenate(raters), rated, ones, len(fitted.user_ids), len(ids))]
    multiple = BOUNDS[by] if rng is None else rng.standard_normal(len(items), np.float32)
    added = multiple / model.likelihood.unit * errors.take(items)
    scorer, seen = model.scorer(items), seen if exclude_seen else []
    best, scores = best_items(scorer, rows.ravel(), items, int(n), seen, added)
    shape, missing = (*rows.shape, int(n)), best < 0
    ratings = model.likelihood.rating(scores)
    return tuple(np.ma.MaskedArray(a, missing).reshape(shape) for a in (ids[best], ratings))  # type: ignore


def similar(
    fitted: FittedData, side: Side, table: FloatArray | None, raw: Any, n: int, choice: Choice
) -> Ranked:
    """Return ids and cosines for `Recommender.similar_items`, from the rows of a table."""
    check_integer("n", n, at_least=1)
    if table is None:
        raise ValueError(f"this model has no embeddings to compare {side}s by")
    row, ids = known_row(fitted, side, raw), fitted.ids(side)
    rows, cosines = most_similar(table, row, n, choice.allowed(fitted, side))
    return ids[rows], cosines


def known_row(fitted: FittedData, side: Side, raw: Any) -> int:
    """Return the row of a raw id; a ValueError if it is unknown."""
    row = index_of(fitted.ids(side), raw)
    if row.ndim:
        raise TypeError(f"{side}: expected one id, found an array of shape {row.shape}")
    if row < 0:
        raise ValueError(
            f"{side} {quoted(raw)} is unknown: it has no rating that was given to fit, nor features"
        )
    return int(row)


def best_items(
    score: Scorer,
    users: Int32Array,
    items: Int32Array,
    n: int,
    seen: Sequence[Interactions],
    added: Float32Array | float = 0.0,
) -> tuple[Int32Array, Float32Array]:
    """Return the n items with the highest score + added for each user, and their scores: (len(users), n).

    `score` maps users, shape (m,), to scores of `items`, which ascend, shape (m, len(items)); `added` has
    shape (len(items),). Items in `seen` are left out. If no item is left, the results are -1 and NaN.
    """
    best = np.full((len(users), n), -1, np.int32)
    values = np.full((len(users), n), np.nan, np.float32)

    def rank(block: slice) -> None:
        scores = score(users[block])
        ranked = scores + added
        for rated in seen:
            position, item = rated.pairs(users[block])
            column = np.minimum(np.searchsorted(items, item), len(items) - 1)
            is_there = items[column] == item
            ranked[position[is_there], column[is_there]] = -np.inf
        columns = top_n(ranked, n)
        found = columns >= 0
        best[block][found] = items[columns[found]]
        values[block][found] = np.take_along_axis(scores, np.maximum(columns, 0), axis=1)[found]

    parts = list(blocks(len(users), max(1, BLOCK // len(items)))) if len(items) else []
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with one_blas_thread():  # there is a thread for each core already
        if len(parts) == 1:
            rank(parts[0])
        else:
            with Threads(n_cores) as pool:
                list(pool.map(rank, parts))
    return best, values


def top_n(scores: FloatArray, n: int) -> NDArray[np.intp]:
    """Return the columns of the n highest scores of each row, best first, ties by column; -1 for -inf.

    Scores, without NaN, have shape (m, n_columns); columns have shape (m, n). First comes a cheap lower bound
    of the n-th highest score: the n-th highest of the maxima of groups of columns, as these maxima are scores
    themselves. Few scores reach it, and only these are sorted.
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
    bound = np.maximum(bound, np.finfo(scores.dtype).min)  # excluded scores, -inf, never reach it
    rows, columns = np.divmod(np.flatnonzero(scores >= bound[:, None]), n_columns)
    order = np.lexsort((-scores[rows, columns], rows))  # stable: equal scores stay by column
    counts = np.bincount(rows, minlength=m)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = place < n
    top[rows[first], place[first]] = columns[order[first]]
    return top


def most_similar(table: FloatArray, row: int, n: int, allowed: NDArray[np.bool_]) -> Ranked:
    """Return the n other allowed rows with the highest cosine, 0 for a zero norm, and the cosines."""
    norms = np.linalg.norm(table, axis=1)
    cosines = table @ table[row] / np.maximum(norms * norms[row], np.finfo(table.dtype).tiny)
    cosines = np.clip(cosines, -1, 1)
    others = allowed & (np.arange(len(table)) != row)
    rows = top_n(np.where(others, cosines, -np.inf)[None], min(n, int(others.sum())))[0]
    return rows, cosines[rows].astype(np.float32)
