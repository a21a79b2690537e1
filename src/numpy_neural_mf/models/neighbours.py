"""The mathematics of the neighbourhood model: biases, item similarities and neighbour weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import scipy

from ..data.columns import blocks
from ..mf.forward import Scorer
from ..mf.parameters import Parameters
from ..utils.arrays import Float32Array, Float64Array, FloatArray, IntArray
from .fitted import FittedModel, Times
from .interactions import Interactions

SWEEPS = 10  # of alternating least squares, after which the biases change little
BLOCK = 2**22  # pairs of items compared at a time: bounds the memory before weak neighbours are dropped
PAIRS = 2**9  # number of pairs predicted at a time, each from all ratings of its user
MAX_NEIGHBOURS = 2_000  # kept for each item, so that memory grows linearly with the number of items


def baselines(
    seen: Interactions, penalties: tuple[float, float]
) -> tuple[float, Float64Array, Float64Array, scipy.sparse.csr_array]:
    """Fit r̂_ui = μ + b_u + b_i by alternating regularised least squares; return μ, b_u, b_i and r - r̂.

    From zero on, each sweep sets b_i = Σ_u (r_ui - μ - b_u) / (λ_i + n_i), then b_u likewise, with penalties
    λ_u, λ_i (Koren, "Factor in the neighbors", 2010, section 2.1). The residuals have shape (n_users,
    n_items).
    """
    users, items, ratings, shape = seen.users, seen.items, seen.ratings, (len(seen.offsets) - 1, seen.n_items)
    mean = float(ratings.mean(dtype=np.float64))
    user_bias, item_bias = np.zeros(shape[0]), np.zeros(shape[1])
    for _ in range(SWEEPS):
        sums = np.bincount(items, ratings - mean - user_bias[users], shape[1])
        item_bias = sums / (penalties[1] + seen.item_counts)
        sums = np.bincount(users, ratings - mean - item_bias[items], shape[0])
        user_bias = sums / (penalties[0] + seen.user_counts)
    residuals = ratings - (mean + user_bias[users] + item_bias[items])
    return mean, user_bias, item_bias, scipy.sparse.csr_array((residuals, items, seen.offsets), shape=shape)


def similarities(residuals: scipy.sparse.csr_array, shrinkage: float) -> scipy.sparse.csr_array:
    """Return `similarity_to` for pairs of distinct items: float32, (n_items, n_items), symmetric, above 0.

    Residuals have shape (n_users, n_items). A pair is kept if either item is among the `MAX_NEIGHBOURS` most
    similar to the other.
    """
    by_item, n_items, parts = residuals.T.tocsr(), residuals.shape[1], []
    for block in blocks(n_items, max(1, BLOCK // n_items)):
        part = similarity_to(by_item[block], residuals, shrinkage)
        own = np.repeat(np.arange(block.start, block.stop), np.diff(part.indptr))
        others = _with(part, np.where(part.indices == own, 0, part.data), keep_zeros=False)
        parts.append(strongest(others, MAX_NEIGHBOURS))
    whole = scipy.sparse.vstack(parts, format="csr")
    return whole.maximum(whole.T.tocsr())


def similarity_to(
    some: scipy.sparse.csr_array, residuals: scipy.sparse.csr_array, shrinkage: float
) -> scipy.sparse.csr_array:
    """Return the shrunk Pearson correlations above 0 of m items with all: float32, shape (m, n_items).

    s_ij = (n_ij - 1) / (n_ij - 1 + β) · Σ e_ui e_uj / √(Σ e_ui² Σ e_uj²), where β is the shrinkage, e_ui the
    residual of the baseline, in `some` of shape (m, n_users) and `residuals` of shape (n_users, n_items), and
    the sums run over the n_ij users who rated both (Koren, 2010, section 2.2).
    """
    e, E = some.astype(np.float64), residuals.astype(np.float64)
    product = e @ E
    norms = (_with(e, e.data**2) @ _with(E, 1.0)).multiply(_with(e, 1.0) @ _with(E, E.data**2)).tocsr()
    norms.eliminate_zeros()  # where a norm is zero, the product is zero
    in_common = _with(e, 1.0) @ _with(E, 1.0)
    n = in_common.data - 1
    shrunk = _with(in_common, n / np.maximum(n + shrinkage, 1))  # 1 avoids 0 / 0 without shrinkage
    s = product.multiply(_with(norms, norms.data**-0.5)).multiply(shrunk).tocsr().astype(np.float32)
    return _with(s, np.maximum(s.data, 0), keep_zeros=False)


def strongest(similarity: scipy.sparse.csr_array, k: int) -> scipy.sparse.csr_array:
    """Return the k highest entries of each row, including ties with the k-th; entries are at least 0.

    Keeping ties makes the result independent of the order of the items.
    """
    counts = np.diff(similarity.indptr)
    long = np.flatnonzero(counts > k)  # rows with more than k entries
    if not len(long):
        return similarity
    position = np.arange(counts.max())
    in_row = position < counts[long, None]
    entries = np.zeros(in_row.shape, similarity.dtype)
    entries[in_row] = similarity.data[(similarity.indptr[long, None] + position)[in_row]]
    kth = np.zeros(len(counts), similarity.dtype)
    kth[long] = np.partition(entries, -k, axis=1)[:, -k]
    kept = similarity.data >= np.repeat(kth, counts)
    return _with(similarity, np.where(kept, similarity.data, 0), keep_zeros=False)


def weights(similarity: scipy.sparse.csr_array, k: int, damping: float) -> scipy.sparse.csr_array:
    """Return neighbour weights s_ij / (δ + Σ_j s_ij) over the k most similar items of each row.

    The damping δ is the weight of the baseline, whose share is larger with fewer and less similar neighbours.
    """
    near = strongest(similarity, k)
    total = np.repeat(near.sum(axis=1), np.diff(near.indptr))
    return _with(near, near.data / (total + damping))


def _with(matrix: scipy.sparse.csr_array, data: Any, keep_zeros: bool = True) -> scipy.sparse.csr_array:
    """Return a matrix with the same sparsity pattern and new entries."""
    numbers = np.broadcast_to(np.asarray(data, matrix.dtype), matrix.data.shape)
    new = scipy.sparse.csr_array((numbers, matrix.indices, matrix.indptr), shape=matrix.shape)
    if not keep_zeros:
        new = new.copy()
        new.eliminate_zeros()
    return new


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedNeighbours(FittedModel):
    """A fitted `ItemKNN`: the baseline is its factorisation, so folding in solves for a bias.

    `residuals`, shape (n_users, n_items), are rating minus baseline of each training rating; `similarity` has
    shape (n_items, n_training_items); `settings` are k, shrinkage and damping.
    """

    interactions: Interactions
    residuals: scipy.sparse.csr_array
    similarity: scipy.sparse.csr_array
    settings: tuple[int, float, float]

    def baseline(self, users: int | IntArray, items: IntArray) -> Float64Array:
        """Return b_ui = μ + b_u + b_i for rows that broadcast."""
        return np.asarray(self.intercept + self.bias("user")[users] + self.bias("item")[items])

    def scores(self, users: IntArray, items: IntArray, timestamps: Times = None) -> FloatArray:
        scores = self.baseline(users, items)
        known, seen = np.flatnonzero((users >= 0) & (items >= 0)), self.interactions
        k, _, damping = self.settings
        ratings = scipy.sparse.csr_array(
            (seen.ratings, seen.items, seen.offsets), shape=(len(seen.offsets) - 1, seen.n_items)
        )
        for part in blocks(len(known), PAIRS):
            rows = known[part]
            rated = ratings[users[rows]]  # for each pair, its user's ratings
            pair = np.repeat(rows, np.diff(rated.indptr))
            residuals = _with(rated, rated.data - self.baseline(users[pair], rated.indices))
            similarity = self.similarity[items[rows]].multiply(_with(rated, 1.0)).tocsr()
            near = weights(similarity, k, damping)
            scores[rows] += near.multiply(residuals).sum(axis=1)
        return scores

    def scorer(self, items: IntArray) -> Scorer:
        is_known = items >= 0
        to_items = self.similarity[items[is_known]].T.tocsr()  # (n_items, n_known)
        k, _, damping = self.settings

        def score(users: IntArray) -> Float64Array:
            scores = self.baseline(users[:, None], items)
            for row, user in enumerate(users.tolist()):
                rated, _, residuals = self.rated_by(user)
                scores[row, is_known] += weights(to_items[rated].T.tocsr(), k, damping) @ residuals
            return scores

        return score

    def with_user(self, row: Parameters, interactions: Interactions) -> Self:
        return replace(self, factorization=self.factorization.with_user(row), interactions=interactions)

    def with_items(self, rows: Sequence[Parameters], interactions: Sequence[Interactions]) -> Self:
        residuals = []
        for row, seen in zip(rows, interactions, strict=True):
            baseline = self.intercept + row["item_bias.weight"][0, 0] + self.bias("user")[seen.items]
            row_of_new = seen.ratings - baseline, seen.items, seen.offsets
            residuals.append(scipy.sparse.csr_array(row_of_new, shape=(1, self.residuals.shape[0])))
        new = similarity_to(scipy.sparse.vstack(residuals, format="csr"), self.residuals, self.settings[1])
        return replace(
            self,
            factorization=self.factorization.with_items(rows),
            similarity=scipy.sparse.vstack([self.similarity, new], format="csr"),
        )

    def rated_by(self, user: int) -> tuple[IntArray, Float32Array, Float64Array]:
        """Return a user's rated items, ratings and residuals; user -1 has no ratings."""
        rated, ratings = self.interactions.of_row(user)
        return rated, ratings, ratings - self.baseline(user, rated)

    def neighbour_weights(self, items: IntArray, rated: IntArray) -> scipy.sparse.csr_array:
        """Return `weights` of the rated items for each of `items`, shape (n, n_rated)."""
        k, _, damping = self.settings
        return weights(self.similarity[items][:, rated], k, damping)
