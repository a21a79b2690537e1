"""The latent cluster of each row of a factor block: a mixture of normal distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..utils.arrays import Float64Array, IntArray
from .threads import Threads, parts_of

if TYPE_CHECKING:
    from .factor_block import FactorBlock

# The row of each rating in each of some blocks, shape (n_blocks, n), the number of one's own block, and the
# factors of all rows, shape (n_factors, n_rows).
Partners = tuple[IntArray, int, Float64Array]


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
        self, partners: Partners, residual: Float64Array, precision: Float64Array, rng: np.random.Generator,
        threads: Threads,
    ) -> None:  # fmt: skip
        """Draw the weights, the cluster of each row, and μ and e; updates the residual.

        The clusters are drawn twice. Given e + μ_k, as in any mixture, the ratings are not needed, but rows
        of a narrow cluster cannot leave it. Given e, the likelihood of the ratings decides, and a row that
        changes its cluster takes over the mean of the new one.
        """
        from .kernels import change_clusters, cluster_log_likelihood

        block, e, mu, old, n = self._block, self._own, self._means, self.of_rows, self.n_clusters
        counts = np.bincount(old, minlength=n) + 1 / n
        # Logarithms of the weights up to a constant, from gamma variates; of shape < 1 these can underflow.
        log_weights = np.log(rng.standard_gamma(counts + 1)) - rng.standard_exponential(n) / counts

        (m, prior_mean), (inverse_variance, prior) = block.mean[:, :2].T, block.precision[:, :2].T
        both = e + mu[:, old]
        pull = inverse_variance[:, None] * (both - m[:, None])
        old = draw_categories(log_weights + pull.T @ mu - inverse_variance @ mu**2 / 2, rng)
        total = np.outer(inverse_variance, np.bincount(old, minlength=n)) + prior[:, None]
        information = np.stack([np.bincount(old, row, minlength=n) for row in pull])
        mean = (information + (prior * prior_mean)[:, None]) / total
        mu[:] = mean + rng.standard_normal(mean.shape) / np.sqrt(total)
        e[:] = both - mu[:, old]

        (rows, own, factors), bounds = partners, parts_of(len(residual))
        effects = factors.T @ mu[1:] + mu[0] / (len(rows) - 1)  # of all partners together, that of μ once
        log_p = np.empty((len(bounds) - 1, len(old), n))
        data = bounds, block.row_of, rows, own, effects, old
        threads.run(cluster_log_likelihood, len(log_p), *data, precision, residual, log_p)
        new = draw_categories(log_weights + log_p.sum(axis=0), rng)
        threads.run(change_clusters, len(log_p), *data, new, residual)
        block.by_row += mu[:, new] - mu[:, old]
        self._members[:] = np.argsort(new, kind="stable")
        self._bounds[1:] = self._bounds[0] + np.cumsum(np.bincount(new, minlength=n))


def draw_categories(log_p: Float64Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw a column for each row with probability ∝ exp(log_p), by the Gumbel trick (Yellott, 1977)."""
    return np.asarray((log_p + rng.gumbel(size=log_p.shape)).argmax(axis=1))
