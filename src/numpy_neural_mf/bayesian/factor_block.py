"""The biases and factors of one entity, as sums over the columns of its fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array, hstack

from ..utils.arrays import Float64Array, IntArray
from .latent_clusters import LatentClusters, cluster_field

# Scale of the half-Cauchy prior of a block's scale, which in turn is the scale of the half-Cauchy prior of
# each field's standard deviation; ratings have standard deviation 1.
FIELD_SCALE = 0.3

# Metropolis proposals of the scale of a field in a sweep, and the standard deviation of their log.
SCALINGS, SCALING_STEP = 10, 0.3

# Standard deviation of the initial factors: small in effect, but large enough to leave zero.
INITIAL_FACTORS = 0.1


class FactorBlock:
    """Biases b = X w and factors P = X V of users, items or the categories of a context variable.

    A row of X has a 1 for the id and whatever else is known: side information, implicit feedback. The columns
    are grouped in fields, whose coefficients share a normal prior with unknown mean and precision, as in a
    factorisation machine (Rendle, 2012, "Factorization machines with libFM").

    Parameters
    ----------
    row_of : int32 array of shape (n_ratings,)
    fields : sequence of scipy.sparse.csr_array of shape (n_rows, n_columns of the field)
        The first one is the identity if there are clusters or a regressor.
    n_factors : int
    rng : numpy.random.Generator, for the initial factors
    regressor : FactorBlock, optional
        A block with the same first rows, whose factors at the end of the burn-in are one more field of X: see
        `draw_regression`.
    n_clusters : int, default 1
        Number of latent clusters of the rows; with more than one, the cluster is the second field.

    Attributes
    ----------
    by_row : float64 array of shape (1 + n_factors, n_rows); also `bias` and `factors`
    coefficients : float64 array of shape (1 + n_factors, n_columns)
    mean, precision : float64 arrays of shape (1 + n_factors, n_fields), of the prior of the coefficients
    scale : float64 array of shape (1,), of the half-Cauchy prior of all standard deviations
    clusters : LatentClusters or None
    """

    def __init__(
        self, row_of: IntArray, fields: Sequence[csr_array], n_factors: int, rng: np.random.Generator,
        regressor: FactorBlock | None = None, n_clusters: int = 1,
    ) -> None:  # fmt: skip
        n_rows, fields = fields[0].shape[0], list(fields)
        if n_clusters > 1:
            fields.insert(1, cluster_field(n_rows, n_clusters, rng))
        if regressor is not None:
            fields.append(csr_array(np.ones((n_rows, n_factors))))
        X = hstack(fields).tocsc()
        self.row_of = row_of
        self.sizes = np.array([field.shape[1] for field in fields])
        self.field = np.repeat(np.arange(len(fields)), self.sizes)
        self.coefficients = np.zeros((1 + n_factors, X.shape[1]))
        self.coefficients[1:] = INITIAL_FACTORS * rng.standard_normal((n_factors, X.shape[1]))
        self.mean = np.zeros((1 + n_factors, len(fields)))
        self.precision = np.ones((1 + n_factors, len(fields)))
        self.precision[1:] = INITIAL_FACTORS**-2
        self.scale = np.array([FIELD_SCALE])
        self._columns = X.indptr.astype(np.int64), X.indices, X.data.astype(np.float64)
        self._regressor = regressor
        if regressor is not None:
            self.coefficients[:, -n_factors:] = 0
            self._regressors = self._columns[2][-n_factors * n_rows :].reshape(n_factors, -1)
            self._regressors[:] = 0
        self.by_row = np.ascontiguousarray((X @ self.coefficients.T).T)
        self.bias, self.factors = self.by_row[0], self.by_row[1:]
        self.clusters = LatentClusters(self, self._columns, n_clusters) if n_clusters > 1 else None
        self._sums = np.empty((n_rows, 4))  # the three of a row in one cache line

    @property
    def state(self) -> dict[str, Float64Array]:
        """The arrays that sampling changes, by name; writing into them restores a state."""
        names = ("coefficients", "by_row", "mean", "precision", "scale")
        state = {name: getattr(self, name) for name in names}
        state |= {} if self._regressor is None else {"regressors": self._regressors}
        return state | ({} if self.clusters is None else self.clusters.state)

    def draw(self, n: int, sums: Float64Array, rng: np.random.Generator) -> None:
        """Draw the coefficients of the bias (n = 0) or of a factor, given sums over the ratings of each row.

        `sums` are Σ p h² and Σ p h e, with precision p, weight h in the rating's mean and residual e.
        """
        from .kernels import draw_fields

        rate, v, shape = self._draw_prior(n, rng), self.coefficients[n], (len(self.sizes), SCALINGS)
        steps, log_u = SCALING_STEP * rng.standard_normal(shape), -rng.standard_exponential(shape)
        self._sums[:, :2] = sums.T
        draw_fields(
            *self._columns, np.cumsum(self.sizes), rng.standard_normal(len(v)), steps, log_u, rate,
            self.mean[n], self.precision[n], v, self.by_row[n], self._sums,
        )  # fmt: skip

    def draw_regression(self, burn_in: bool, rng: np.random.Generator) -> None:
        """Draw the coefficients of the regressors, given bias and factors, which do not change.

        The rows are z = e + F w with e ~ N(m, 1/Λ) and the factors F of the regressor, so w given z is a
        Bayesian linear regression. Given e, as in `draw`, w mixes slowly (Yu and Meng, 2011, "To center or
        not to center: that is not the question"). F follows the regressor during the burn-in only: later it
        is fixed, because a draw of F here would not be a draw from its conditional.
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
        """Draw the scale of the standard deviations of all fields, which is itself half-Cauchy.

        The horseshoe prior (Carvalho, Polson and Scott, 2010): if no field has an effect, all deviations
        shrink together.
        """
        rate = half_cauchy_rate(self.precision, self.scale, rng)
        of_scale = half_cauchy_rate(self.scale**-2, FIELD_SCALE, rng)
        self.scale[:] = ((of_scale + rate.sum()) / 2 / rng.gamma((1 + rate.size) / 2)) ** 0.5

    def _draw_prior(self, n: int, rng: np.random.Generator) -> Float64Array:
        """Draw the rate r of each field, which is returned, and the mean m and precision Λ of its prior.

        m ~ N(0, 1/Λ) and Λ ~ Gamma(1/2, r/2), as in Rendle (2012), 3.2, where r is 1. A variable r makes the
        deviation half-Cauchy, so that a field without effect can vanish: see `half_cauchy_rate`.
        """
        v, sizes, n_fields = self.coefficients[n], self.sizes, len(self.sizes)
        total, squares = (np.bincount(self.field, x, minlength=n_fields) for x in (v, v * v))
        m = total / (sizes + 1) + rng.standard_normal(n_fields) / np.sqrt(self.precision[n] * (sizes + 1))
        squares = squares + m * ((sizes + 1) * m - 2 * total)  # of v - m and of m
        rate = half_cauchy_rate(self.precision[n], self.scale, rng)
        self.mean[n] = m
        self.precision[n] = rng.gamma((2 + sizes) / 2) / ((rate + squares) / 2)
        return np.asarray(rate)


def half_cauchy_rate(
    precision: Float64Array, scale: Float64Array | float, rng: np.random.Generator
) -> Float64Array:
    """Draw r given Λ ~ Gamma(1/2, r/2), with the prior of r that makes 1/√Λ half-Cauchy of this scale.

    Makalic and Schmidt, 2016, "A simple sampler for the horseshoe estimator".
    """
    return np.asarray(2 * rng.standard_exponential(precision.shape) / (scale**-2 + precision))
