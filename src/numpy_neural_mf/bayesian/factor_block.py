"""Biases and factors of one entity as sums over the columns of its fields, and latent clusters of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from ..utils.arrays import Float64Array, FloatArray, IntArray
from .threads import Threads, parts_of

# Scale of the half-Cauchy prior of a block's scale, which is itself the scale of the half-Cauchy prior of
# each field's standard deviation; ratings have standard deviation 1.
FIELD_SCALE = 0.3

# Number of Metropolis proposals of a field's scale per sweep, and the standard deviation of their log.
SCALINGS, SCALING_STEP = 10, 0.3

# Standard deviation of the initial factors: of small effect, but large enough for factors to leave zero.
INITIAL_FACTORS = 0.1

# The row of each rating in each block, shape (n_blocks, n), the number of the block being drawn, and the
# factors of all rows, shape (n_factors, n_rows).
Partners = tuple[IntArray, int, Float64Array]


class FactorBlock:
    """Biases b = X w and factors P = X V of users, items or the categories of a context variable.

    A row of X has a 1 for the id, then side information and implicit feedback. The columns are grouped in
    fields. The coefficients of a field share a normal prior with unknown mean and precision, as in a
    factorisation machine (Rendle, 2012, "Factorization machines with libFM").

    Parameters
    ----------
    row_of : int32 array of shape (n_ratings,)
    fields : sequence of scipy.sparse.csr_array of shape (n_rows, n_columns of the field)
        The first one is the identity if there are clusters or a regressor.
    n_factors, rng : int, numpy.random.Generator
        The generator draws the initial factors.
    regressor : FactorBlock, optional
        A block with the same first rows; its factors are one more field of X: see `draw_regression`.
    n_clusters : int, default 1
        Number of latent clusters of the rows; with more than one, the cluster is the second field.

    Attributes
    ----------
    by_row : float64 array of shape (1 + n_factors, n_rows)
        `bias` is its first row, `factors` the others.
    coefficients : float64 array of shape (1 + n_factors, n_columns)
    mean, precision : float64 arrays of shape (1 + n_factors, n_fields)
        The parameters of the prior of the coefficients.
    scale : float64 array of shape (1,)
        The scale of the half-Cauchy prior of all standard deviations.
    clusters : LatentClusters or None
    """

    def __init__(
        self, row_of: IntArray, fields: Sequence[scipy.sparse.csr_array], n_factors: int,
        rng: np.random.Generator, regressor: FactorBlock | None = None, n_clusters: int = 1,
    ) -> None:  # fmt: skip
        n_rows, fields = fields[0].shape[0], list(fields)
        if n_clusters > 1:
            clusters = rng.permutation(n_rows) % n_clusters  # of equal size
            indicators = np.ones(n_rows), (np.arange(n_rows), clusters)
            fields.insert(1, scipy.sparse.csr_array(indicators, shape=(n_rows, n_clusters)))
        if regressor is not None:
            fields.append(scipy.sparse.csr_array(np.ones((n_rows, n_factors))))
        X = scipy.sparse.hstack(fields).tocsc()
        self.row_of = row_of
        self.sizes = np.array([field.shape[1] for field in fields])
        self.ends = np.cumsum(self.sizes)
        self.coefficients = np.zeros((1 + n_factors, X.shape[1]))
        self.coefficients[1:] = INITIAL_FACTORS * rng.standard_normal((n_factors, X.shape[1]))
        self.mean = np.zeros((1 + n_factors, len(fields)))
        self.precision = np.ones((1 + n_factors, len(fields)))
        self.precision[1:] = INITIAL_FACTORS**-2
        self.scale = np.array([FIELD_SCALE])
        self.columns = X.indptr.astype(np.int64), X.indices, X.data.astype(np.float64)
        self._regressor = regressor
        if regressor is not None:
            self.coefficients[:, -n_factors:] = 0
            self._regressors = self.columns[2][-n_factors * n_rows :].reshape(n_factors, -1)
            self._regressors[:] = 0
        self.by_row = np.ascontiguousarray((X @ self.coefficients.T).T)
        self.bias, self.factors = self.by_row[0], self.by_row[1:]
        self.clusters = LatentClusters(self, n_clusters) if n_clusters > 1 else None
        self._sums = np.empty((n_rows, 4))  # the three sums of a row lie in one cache line

    @property
    def state(self) -> dict[str, Float64Array]:
        """The arrays that sampling changes, by name; a state is restored by writing into them."""
        names = ("coefficients", "by_row", "mean", "precision", "scale")
        state = {name: getattr(self, name) for name in names}
        state |= {} if self._regressor is None else {"regressors": self._regressors}
        return state if (c := self.clusters) is None else state | {"members": c.members, "bounds": c.bounds}

    def draw(self, n: int, sums: Float64Array, z: FloatArray, rng: np.random.Generator) -> None:
        """Draw the coefficients of the bias (n = 0) or of a factor, given sums over the ratings of each row.

        `sums`, shape (n_parts, 2, n_rows), are Σ p h² and Σ p h e for each part of the ratings, with
        precision p, weight h in the rating's mean and residual e. `z` holds a standard normal number for each
        column.
        """
        from .kernels import draw_fields

        rate, v, shape = self._draw_prior(n, rng), self.coefficients[n], (len(self.sizes), SCALINGS)
        steps, log_u = SCALING_STEP * rng.standard_normal(shape), -rng.standard_exponential(shape)
        draw_fields(
            sums, *self.columns, self.ends, z, steps, log_u, rate, self.mean[n], self.precision[n], v,
            self.by_row[n], self._sums,
        )  # fmt: skip

    def draw_regression(self, burn_in: bool, rng: np.random.Generator) -> None:
        """Draw the coefficients of the regressors, given bias and factors, which do not change.

        The rows are z = e + F w with e ~ N(m, 1/Λ) and the factors F of the regressor, so w given z is a
        Bayesian linear regression. Given e, as in `draw`, w mixes slowly (Yu and Meng, 2011, "To center or
        not to center: that is not the question"). F follows the regressor only during the burn-in. Later F is
        fixed, because a draw of F here would not be a draw from its conditional.
        """
        if self._regressor is None:
            return
        F, (n_factors, n_rows) = self._regressors, self._regressors.shape
        if burn_in:
            F[:, : self._regressor.factors.shape[1]] = self._regressor.factors
        (own, of_regressors), (m, m_r) = self.precision[:, [0, -1]].T, self.mean[:, [0, -1]].T[..., None]
        precision = own[:, None, None] * (F @ F.T) + of_regressors[:, None, None] * np.eye(n_factors)
        information = own[:, None] * ((self.by_row - m) @ F.T) + of_regressors[:, None] * m_r
        root, z = np.linalg.cholesky(precision), rng.standard_normal((*information.shape, 1))
        drawn = np.linalg.solve(root, information[..., None]) + z
        w = np.linalg.solve(root.transpose(0, 2, 1), drawn)[..., 0]
        self.coefficients[:, n_rows:], self.coefficients[:, :n_rows] = w, self.by_row - w @ F

    def draw_scale(self, rng: np.random.Generator) -> None:
        """Draw the scale of the standard deviations of all fields; its prior is also half-Cauchy.

        This is the horseshoe prior (Carvalho, Polson and Scott, 2010): if no field has an effect, all
        deviations shrink together.
        """
        rate = half_cauchy_rate(self.precision, self.scale, rng)
        of_scale = half_cauchy_rate(self.scale**-2, FIELD_SCALE, rng)
        self.scale[:] = ((of_scale + rate.sum()) / 2 / rng.gamma((1 + rate.size) / 2)) ** 0.5

    def _draw_prior(self, n: int, rng: np.random.Generator) -> Float64Array:
        """Draw the mean m and precision Λ of each field's prior and its rate r; return r.

        m ~ N(0, 1/Λ) and Λ ~ Gamma(1/2, r/2), as in Rendle (2012), 3.2, where r is 1. A variable r makes the
        standard deviation half-Cauchy, so a field without effect can vanish: see `half_cauchy_rate`.
        """
        from .kernels import field_sums

        sizes, (total, squares) = self.sizes, field_sums(self.ends, self.coefficients[n])
        m = total / (sizes + 1) + rng.standard_normal(len(sizes)) / np.sqrt(self.precision[n] * (sizes + 1))
        squares += m * ((sizes + 1) * m - 2 * total)  # of v - m and of m
        rate = half_cauchy_rate(self.precision[n], self.scale, rng)
        self.mean[n] = m
        self.precision[n] = rng.gamma((2 + sizes) / 2) / ((rate + squares) / 2)
        return np.asarray(rate)


def half_cauchy_rate(
    precision: Float64Array, scale: Float64Array | float, rng: np.random.Generator
) -> Float64Array:
    """Draw r given Λ ~ Gamma(1/2, r/2), with the prior of r that makes 1/√Λ half-Cauchy with this scale.

    See Makalic and Schmidt, 2016, "A simple sampler for the horseshoe estimator".
    """
    return np.asarray(2 * rng.standard_exponential(precision.shape) / (scale**-2 + precision))


class LatentClusters:
    """Latent clusters of rows, which differ in the means of their coefficients.

    A row's coefficients are the sum of its own e ~ N(m, 1/Λ) and of μ_k of its cluster k. The weights of the
    clusters are Dirichlet(1 / n_clusters), so clusters that are not needed stay empty (Ishwaran and Zarepour,
    2002, "Exact and approximate sum representations for the Dirichlet process"). The clusters are the second
    field of the block, after the identity; the draws update its columns.
    """

    def __init__(self, block: FactorBlock, n_clusters: int) -> None:
        n_rows, columns = block.by_row.shape[1], block.columns
        self.n_clusters, self._block = n_clusters, block
        self._own = block.coefficients[:, :n_rows]  # e
        self._means = block.coefficients[:, n_rows : n_rows + n_clusters]  # μ
        # In the cluster columns: the rows in order of cluster, and the position where each cluster begins.
        self.members = columns[1][n_rows : 2 * n_rows]
        self.bounds = columns[0][n_rows : n_rows + n_clusters + 1]

    @property
    def of_rows(self) -> NDArray[np.intp]:
        """The cluster of each row, from 0: shape (n_rows,)."""
        clusters = np.empty(len(self.members), np.intp)
        clusters[self.members] = np.repeat(np.arange(self.n_clusters), np.diff(self.bounds))
        return clusters

    def draw(
        self, partners: Partners, residual: Float64Array, precision: Float64Array, rng: np.random.Generator,
        threads: Threads,
    ) -> None:  # fmt: skip
        """Draw the weights, the cluster of each row, and μ and e, and update the residual.

        The clusters are drawn twice. The draw given e + μ_k, as in any mixture, does not need the ratings,
        but rows of a narrow cluster cannot leave it. In the draw given e, the likelihood of the ratings
        decides, and a row that changes its cluster takes over the mean of the new one.
        """
        from .kernels import change_clusters, cluster_log_likelihood

        block, e, mu, old, n = self._block, self._own, self._means, self.of_rows, self.n_clusters
        counts = np.bincount(old, minlength=n) + 1 / n
        # Logarithms of the weights up to a constant, from gamma variates, which can underflow for shape < 1.
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
        effects = factors.T @ mu[1:] + mu[0] / (len(rows) - 1)  # sums over partners count μ once
        log_p = np.empty((len(bounds) - 1, len(old), n))
        data = bounds, block.row_of, rows, own, effects, old
        threads.run(cluster_log_likelihood, len(log_p), *data, precision, residual, log_p)
        new = draw_categories(log_weights + log_p.sum(axis=0), rng)
        threads.run(change_clusters, len(log_p), *data, new, residual)
        block.by_row += mu[:, new] - mu[:, old]
        self.members[:] = np.argsort(new, kind="stable")
        self.bounds[1:] = self.bounds[0] + np.cumsum(np.bincount(new, minlength=n))


def draw_categories(log_p: Float64Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw a column for each row with probability ∝ exp(log_p), by the Gumbel trick (Yellott, 1977)."""
    return np.asarray((log_p + rng.gumbel(size=log_p.shape)).argmax(axis=1))
