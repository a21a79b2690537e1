"""The latent cluster of each row of a factor block: a mixture of normal distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..utils.arrays import Float64Array, IntArray

if TYPE_CHECKING:
    from .factor_block import FactorBlock

# From some ratings to the factors that multiply those of their rows, shape (n_factors, n).
PartnerFactors = Callable[[slice | IntArray], Float64Array]

# Ratings in a block of the likelihood, which bounds its memory to some megabytes.
BLOCK = 1 << 14


def cluster_field(n_rows: int, n_clusters: int, rng: np.random.Generator) -> csr_array:
    """The indicator matrix of random initial clusters of equal size, shape (n_rows, n_clusters)."""
    clusters = rng.permutation(n_rows) % n_clusters
    return csr_array((np.ones(n_rows), (np.arange(n_rows), clusters)), shape=(n_rows, n_clusters))


class LatentClusters:
    """Clusters of rows that differ in the means of their coefficients.

    A row has e ~ N(m, 1/Λ) of its own and μ_k of its cluster k. The weights of the clusters are
    Dirichlet(1 / n_clusters), so clusters that are not needed stay empty (Ishwaran and Zarepour, 2002, "Exact
    and approximate sum representations for the Dirichlet process"). The first field of the block is the
    identity, its second one `cluster_field`; the draws update `columns`: starts, row indices and values.
    """

    def __init__(
        self, block: FactorBlock, columns: tuple[IntArray, IntArray, Float64Array], n_clusters: int
    ) -> None:
        n_rows = block.by_row.shape[1]
        self.n_clusters, self._block = n_clusters, block
        self._own = block.coefficients[:, :n_rows]  # e
        self._means = block.coefficients[:, n_rows : n_rows + n_clusters]  # μ
        # In the columns of clusters: the rows of one cluster after another, and where each cluster begins.
        self._members = columns[1][n_rows : 2 * n_rows]
        self._bounds = columns[0][n_rows : n_rows + n_clusters + 1]

    @property
    def of_rows(self) -> NDArray[np.intp]:
        """The cluster of each row, from 0: shape (n_rows,)."""
        clusters = np.empty(len(self._members), np.intp)
        clusters[self._members] = np.repeat(np.arange(self.n_clusters), np.diff(self._bounds))
        return clusters

    @property
    def state(self) -> dict[str, IntArray]:
        """The arrays that sampling changes, by name."""
        return {"members": self._members, "bounds": self._bounds}

    def draw(
        self, partner_factors: PartnerFactors, residual: Float64Array, precision: Float64Array,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        """Draw the weights, the cluster of each row, and μ and e; updates the residual.

        The clusters are drawn twice. Given e + μ_k, as in any mixture, the ratings are not needed, but rows
        of a narrow cluster cannot leave it. Given e, the likelihood of the ratings decides, and a row that
        changes its cluster takes over the mean of the new one.
        """
        clusters, n = self.of_rows, self.n_clusters
        counts = np.bincount(clusters, minlength=n) + 1 / n
        # Logarithms of the weights up to a constant, from gamma variates; of shape < 1 these can underflow.
        log_weights = np.log(rng.standard_gamma(counts + 1)) - rng.standard_exponential(n) / counts
        clusters = self._draw_given_rows(clusters, log_weights, rng)
        clusters = self._draw_given_ratings(clusters, log_weights, partner_factors, residual, precision, rng)
        self._members[:] = np.argsort(clusters, kind="stable")
        self._bounds[1:] = self._bounds[0] + np.cumsum(np.bincount(clusters, minlength=n))

    def _draw_given_rows(
        self, clusters: NDArray[np.intp], log_weights: Float64Array, rng: np.random.Generator
    ) -> NDArray[np.intp]:
        """Draw the clusters given e + μ_k, then μ and e given the clusters."""
        block, e, mu, n = self._block, self._own, self._means, self.n_clusters
        (m, prior_mean), (inverse_variance, prior) = block.mean[:, :2].T, block.precision[:, :2].T
        both = e + mu[:, clusters]
        pull = inverse_variance[:, None] * (both - m[:, None])
        clusters = draw_categories(log_weights + pull.T @ mu - inverse_variance @ mu**2 / 2, rng)
        total = np.outer(inverse_variance, np.bincount(clusters, minlength=n)) + prior[:, None]
        information = np.stack([np.bincount(clusters, row, minlength=n) for row in pull])
        mean = (information + (prior * prior_mean)[:, None]) / total
        mu[:] = mean + rng.standard_normal(mean.shape) / np.sqrt(total)
        e[:] = both - mu[:, clusters]
        return clusters

    def _draw_given_ratings(
        self, clusters: NDArray[np.intp], log_weights: Float64Array, partner_factors: PartnerFactors,
        residual: Float64Array, precision: Float64Array, rng: np.random.Generator,
    ) -> NDArray[np.intp]:  # fmt: skip
        """Draw the clusters given e, μ and the ratings."""
        from .kernels import add_cluster_log_likelihood

        row_of, mu = self._block.row_of, self._means
        log_p = np.tile(log_weights, (len(clusters), 1))
        for first in range(0, len(residual), BLOCK):
            part = slice(first, first + BLOCK)
            effect = mu[0] + partner_factors(part).T @ mu[1:]
            add_cluster_log_likelihood(row_of[part], effect, clusters, precision[part], residual[part], log_p)
        step = -mu[:, clusters]
        clusters = draw_categories(log_p, rng)
        step += mu[:, clusters]
        self._block.by_row += step
        changed = np.flatnonzero((step != 0).any(axis=0)[row_of])
        for first in range(0, len(changed), BLOCK):
            ratings = changed[first : first + BLOCK]
            of_row = step[:, row_of[ratings]]
            residual[ratings] -= of_row[0] + (partner_factors(ratings) * of_row[1:]).sum(axis=0)
        return clusters


def draw_categories(log_p: Float64Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw a column for each row with probability ∝ exp(log_p), by the Gumbel trick (Yellott, 1977)."""
    return np.asarray((log_p + rng.gumbel(size=log_p.shape)).argmax(axis=1))
