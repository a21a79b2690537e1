"""The mathematics of neighbours: biases, similarity of items, and the mean over the most similar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from ..mf.architecture import Parameters
from ..mf.forward import Float64Array, Scorer
from ..nn.parameter import IntArray
from .fitted import FittedModel
from .interactions import Interactions
from .top_n import blocks

# Alternations until biases stand still, nearly.
SWEEPS = 10

# Pairs of items compared at a time: memory holds so many at most before they are thinned out.
BLOCK = 2**22

# Neighbours that an item keeps, so that memory grows with the number of items and not with its square.
MAX_NEIGHBOURS = 2_000


def baselines(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    ratings: NDArray[np.float32],
    n_users: int,
    n_items: int,
    penalties: tuple[float, float],
) -> tuple[float, Float64Array, Float64Array]:
    """μ, b_u and b_i of r̂_ui = μ + b_u + b_i, penalised least squares by alternation from zero.

    b_i = Σ_u (r_ui - μ - b_u) / (λ_i + n_i), then b_u likewise (Koren, "Factor in the neighbors", 2010,
    section 2.1, each in turn).

    Parameters
    ----------
    users, items : int32 arrays of shape (n,)
    ratings : float32 array of shape (n,)
    n_users, n_items : int
    penalties : (float, float)
        λ_u and λ_i.

    Returns
    -------
    mean : float
    user_bias, item_bias : float64 arrays of shape (n_users,), (n_items,)
    """
    mean = float(ratings.mean(dtype=np.float64))
    user_bias, item_bias = np.zeros(n_users), np.zeros(n_items)
    by_user = penalties[0] + np.bincount(users, minlength=n_users)
    by_item = penalties[1] + np.bincount(items, minlength=n_items)
    for _ in range(SWEEPS):
        item_bias = np.bincount(items, ratings - mean - user_bias[users], n_items) / by_item
        user_bias = np.bincount(users, ratings - mean - item_bias[items], n_users) / by_user
    return mean, user_bias, item_bias


def similarities(residuals: csr_array, shrinkage: float) -> csr_array:
    """`similarity_to` of all items with each other, without that of an item with itself.

    Of each item the `MAX_NEIGHBOURS` most similar are kept, and those of which it is one of these.

    Parameters
    ----------
    residuals : csr_array of shape (n_users, n_items)
    shrinkage : float

    Returns
    -------
    csr_array of float32, shape (n_items, n_items), symmetric, all entries above 0
    """
    by_item = residuals.T.tocsr()
    parts = []
    n_items = by_item.shape[0]
    for block in blocks(n_items, max(1, BLOCK // n_items)):
        part = similarity_to(by_item[block], residuals, shrinkage)
        own = np.repeat(np.arange(block.start, block.stop), np.diff(part.indptr))
        others = _with(part, np.where(part.indices == own, 0, part.data), keep_zeros=False)
        parts.append(strongest(others, MAX_NEIGHBOURS))
    whole = vstack(parts, format="csr")
    return whole.maximum(whole.T.tocsr())


def similarity_to(some: csr_array, residuals: csr_array, shrinkage: float) -> csr_array:
    """Shrunk Pearson correlations of some items with all, where above 0.

    s_ij = (n_ij - 1) / (n_ij - 1 + β) · Σ e_ui e_uj / √(Σ e_ui² Σ e_uj²), sums over the n_ij users who rated
    both, e what the baseline leaves of a rating (Koren, 2010, section 2.2).

    Parameters
    ----------
    some : csr_array of shape (m, n_users)
        Residuals of m items, by item.
    residuals : csr_array of shape (n_users, n_items)
        Residuals of all items, by user.
    shrinkage : float
        β.

    Returns
    -------
    csr_array of float32, shape (m, n_items)
    """
    e, E = some.astype(np.float64), residuals.astype(np.float64)
    product = e @ E
    norms = (_with(e, e.data**2) @ _with(E, 1.0)).multiply(_with(e, 1.0) @ _with(E, E.data**2)).tocsr()
    norms.eliminate_zeros()  # where one norm is zero the product is, too
    together = _with(e, 1.0) @ _with(E, 1.0)
    others = together.data - 1
    shrunk = _with(together, others / np.maximum(others + shrinkage, 1))  # 1: for 0 / 0, without shrinkage
    found = product.multiply(_with(norms, norms.data**-0.5)).multiply(shrunk).tocsr().astype(np.float32)
    return _with(found, np.maximum(found.data, 0), keep_zeros=False)


def strongest(similarity: csr_array, k: int) -> csr_array:
    """The k highest entries of each row, and what equals the lowest of these; the others are zero.

    So that it does not matter in which order items stand.

    Parameters
    ----------
    similarity : csr_array of shape (m, n)
        Entries of at least 0.
    k : int

    Returns
    -------
    csr_array of shape (m, n)
    """
    counts = np.diff(similarity.indptr)
    crowded = np.flatnonzero(counts > k)
    if not len(crowded):
        return similarity
    place = np.arange(counts.max())
    inside = place < counts[crowded, None]
    entries = np.zeros(inside.shape, similarity.dtype)
    entries[inside] = similarity.data[(similarity.indptr[crowded, None] + place)[inside]]
    bound = np.zeros(len(counts), similarity.dtype)
    bound[crowded] = np.partition(entries, -k, axis=1)[:, -k]
    kept = similarity.data >= np.repeat(bound, counts)
    return _with(similarity, np.where(kept, similarity.data, 0), keep_zeros=False)


def weights(similarity: csr_array, k: int, damping: float) -> csr_array:
    """What each neighbour counts: s_ij / (δ + Σ_j s_ij) over the k most similar of each row.

    Parameters
    ----------
    similarity : csr_array of shape (m, n)
        Of m items to n items that a user rated.
    k : int
    damping : float
        δ: the weight of the baseline, which counts the more the fewer and the less similar neighbours are.

    Returns
    -------
    csr_array of shape (m, n)
    """
    near = strongest(similarity, k)
    total = np.repeat(near.sum(axis=1), np.diff(near.indptr))
    return _with(near, near.data / (total + damping))


def _with(matrix: csr_array, data: Any, keep_zeros: bool = True) -> csr_array:
    """Other numbers in the same places."""
    numbers = np.broadcast_to(np.asarray(data, matrix.dtype), matrix.data.shape)
    new = csr_array((numbers, matrix.indices, matrix.indptr), shape=matrix.shape)
    if not keep_zeros:
        new = new.copy()
        new.eliminate_zeros()
    return new


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedNeighbours(FittedModel):
    """A fitted `ItemKNN`; its factorisation is the baseline of biases, by which folding in finds a bias.

    Attributes
    ----------
    interactions : Interactions
        What each user rated.
    residuals : csr_array of shape (n_users, n_items)
        What the baseline leaves of each training rating.
    similarity : csr_array of shape (n_items, n_training_items)
    settings : (int, float, float)
        k, shrinkage and damping.
    """

    interactions: Interactions
    residuals: csr_array
    similarity: csr_array
    settings: tuple[int, float, float]

    @property
    def mean(self) -> float:
        """μ."""
        return float(self.factorization.parameters["intercept"][0])

    @property
    def user_bias(self) -> Float64Array:
        """b_u, shape (n_users + 1,)."""
        return np.asarray(self.factorization.parameters["user_bias.weight"][:, 0], np.float64)

    @property
    def item_bias(self) -> Float64Array:
        """b_i, shape (n_items + 1,)."""
        return np.asarray(self.factorization.parameters["item_bias.weight"][:, 0], np.float64)

    def scores(
        self, users: IntArray, items: IntArray, timestamps: NDArray[np.int64] | None = None
    ) -> NDArray[np.floating[Any]]:
        scores = self.mean + self.user_bias[users] + self.item_bias[items]
        known = np.flatnonzero((users >= 0) & (items >= 0))
        known = known[np.argsort(users[known], kind="stable")]
        for rows in np.split(known, np.flatnonzero(np.diff(users[known])) + 1):
            if len(rows):
                rated, _, residuals = self.rated_by(int(users[rows[0]]))
                scores[rows] += self.neighbour_weights(items[rows], rated) @ residuals
        return np.asarray(scores)

    def scorer(self, items: IntArray) -> Scorer:
        item_bias, is_known = self.item_bias[items], items >= 0
        to_items = self.similarity[items[is_known]].T.tocsr()  # (n_items, n_known)
        k, _, damping = self.settings

        def score(users: IntArray) -> Float64Array:
            scores = self.mean + self.user_bias[users][:, None] + item_bias
            for row, user in enumerate(users.tolist()):
                rated, _, residuals = self.rated_by(user)
                scores[row, is_known] += weights(to_items[rated].T.tocsr(), k, damping) @ residuals
            return np.asarray(scores)

        return score

    def with_user(self, row: Parameters, interactions: Interactions) -> Self:
        return replace(self, factorization=self.factorization.with_user(row), interactions=interactions)

    def with_items(self, rows: Sequence[Parameters], interactions: Sequence[Interactions]) -> Self:
        left = []
        for row, seen in zip(rows, interactions, strict=True):
            baseline = self.mean + row["item_bias.weight"][0, 0] + self.user_bias[seen.items]
            shape = 1, self.residuals.shape[0]
            left.append(csr_array((seen.ratings - baseline, seen.items, seen.offsets), shape=shape))
        new = similarity_to(vstack(left, format="csr"), self.residuals, self.settings[1])
        return replace(
            self,
            factorization=self.factorization.with_items(rows),
            similarity=vstack([self.similarity, new], format="csr"),
        )

    def rated_by(self, user: int) -> tuple[IntArray, NDArray[np.float32], Float64Array]:
        """What a user rated, how, and what the baseline leaves of that; nothing for -1."""
        rated, ratings = self.interactions.of_row(user)
        return rated, ratings, ratings - (self.mean + self.user_bias[user] + self.item_bias[rated])

    def neighbour_weights(self, items: IntArray, rated: IntArray) -> csr_array:
        """What each rated item counts for each of these items, shape (n, n_rated)."""
        k, _, damping = self.settings
        return weights(self.similarity[items][:, rated], k, damping)
