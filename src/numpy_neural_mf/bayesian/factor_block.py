"""What a side of a factorisation is made of: columns in fields, of which some are drawn, not told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]

# Standard deviations of coefficients are thought of as half-Cauchy of a scale of their design, and that scale
# as half-Cauchy of this one, ratings having a standard deviation of 1.
FIELD_SCALE = 0.3

# Proposals of the scale of a field in a sweep, and their step in e-folds.
SCALINGS, SCALING_STEP = 10, 0.3

# Standard deviation of the first factors: too small to matter, too large to be stuck at zero.
FIRST_FACTORS = 0.1

# Ratings that are asked at a time of which kind their row is: some megabytes.
AT_A_TIME = 1 << 14


class Design:
    """What a side, the users or the items, is made of: columns of X in fields, a coefficient for each column.

    A row of X has a 1 for the id itself and whatever else is known: side information, implicit sets. Bias
    b = X w and factors P = X V, column by column, with a normal prior for the coefficients of each field,
    whose mean and precision are drawn, too. With kinds, a second field tells of which kind each row is, which
    nobody has told: it is drawn, too. See `draw_kinds`.

    Parameters
    ----------
    row_of : int32 array of shape (n_ratings,)
        Row of each rating.
    fields : sequence of scipy.sparse.csr_array of shape (n_rows, n_columns of the field)
    n_factors : int
    rng : numpy.random.Generator
        Draws the first factors.
    followed : Design, optional
        Of what the first rows are, one by one: its factors, as they were when the warm-up ended, are columns
        of X, too, a field more. The first field is then that of the rows themselves. See `follow`.
    n_kinds : int, default 1
        Kinds of rows that can be told apart. With more than one, the first field is that of the rows.

    Attributes
    ----------
    bias : float64 array of shape (n_rows,)
    factors : float64 array of shape (n_factors, n_rows)
    """

    def __init__(
        self,
        row_of: IntArray,
        fields: Sequence[csr_array],
        n_factors: int,
        rng: np.random.Generator,
        followed: Design | None = None,
        n_kinds: int = 1,
    ) -> None:
        n_rows = fields[0].shape[0]
        if n_kinds > 1:
            kinds = rng.permutation(n_rows) % n_kinds
            of_kinds = csr_array((np.ones(n_rows), (np.arange(n_rows), kinds)), shape=(n_rows, n_kinds))
            fields = [fields[0], of_kinds, *fields[1:]]
        if followed is not None:
            fields = [*fields, csr_array(np.ones((n_rows, n_factors)))]
        X = hstack(fields).tocsc()
        self.row_of = row_of
        self._columns = X.indptr.astype(np.int64), X.indices, X.data.astype(np.float64)
        self.sizes = np.array([field.shape[1] for field in fields])
        self.field = np.repeat(np.arange(len(fields)), self.sizes)
        shape = 1 + n_factors, X.shape[1]
        self.coefficients = np.zeros(shape)  # of the bias, then of each factor
        self.coefficients[1:] = FIRST_FACTORS * rng.standard_normal((n_factors, shape[1]))
        self.mean = np.zeros((shape[0], len(fields)))
        self.precision = np.full((shape[0], len(fields)), 1.0)
        self.precision[1:] = FIRST_FACTORS**-2
        self.scale = np.array([FIELD_SCALE])
        self.n_kinds = n_kinds
        # Of the columns of kinds: the rows of one kind after another, and where each kind begins.
        self._members = X.indices[n_rows : 2 * n_rows]
        self._bounds = self._columns[0][n_rows : n_rows + n_kinds + 1]
        self._followed = followed
        if followed is not None:
            self.coefficients[:, -n_factors:] = 0
            self._lent = self._columns[2][-n_factors * X.shape[0] :].reshape(n_factors, -1)
            self._lent[:] = 0
        self.by_row = np.ascontiguousarray((X @ self.coefficients.T).T)
        self._sums = np.empty((3, X.shape[0]))

    @property
    def bias(self) -> Float64Array:
        return np.asarray(self.by_row[0])

    @property
    def factors(self) -> Float64Array:
        return np.asarray(self.by_row[1:])

    @property
    def state(self) -> dict[str, Float64Array]:
        """All that moves, by name, and what is written into these arrays, the design has."""
        names = ("coefficients", "by_row", "mean", "precision", "scale")
        lent = {} if self._followed is None else {"lent": self._lent}
        kinds = {} if self.n_kinds == 1 else {"members": self._members, "bounds": self._bounds}
        return {name: getattr(self, name) for name in names} | lent | kinds

    @property
    def kinds(self) -> NDArray[np.intp]:
        """Of which kind each row is, from 0: shape (n_rows,)."""
        kinds = np.zeros(self.by_row.shape[1], np.intp)
        if self.n_kinds > 1:
            kinds[self._members] = np.repeat(np.arange(self.n_kinds), np.diff(self._bounds))
        return kinds

    def draw_kinds(
        self,
        met_by: Callable[[slice | IntArray], Float64Array],
        residual: Float64Array,
        precision: Float64Array,
        rng: np.random.Generator,
    ) -> None:
        """Draw of which kind each row is, and what the kinds have; the residual is brought up to date.

        A row has e ~ N(m, 1/Λ) by itself and μ_k by its kind k. Shares of kinds are Dirichlet(1 / n_kinds):
        those that are not needed stay empty (Ishwaran and Zarepour, 2002, "Exact and approximate sum
        representations for the Dirichlet process"). Of which kind a row is, is drawn twice: given e + μ_k,
        when no rating need be asked, but where rows that are much alike could never change; and given e, by
        the ratings, when a row that changes takes over what its new kind has. See `follow`, too.

        Parameters
        ----------
        met_by : callable
            From some of the ratings to the factors that meet those of their rows: shape (n_factors, n).
        residual, precision : float64 arrays of shape (n_ratings,)
        rng : numpy.random.Generator
        """
        if self.n_kinds == 1:
            return
        kinds, n = self.kinds, self.n_kinds
        counts = np.bincount(kinds, minlength=n) + 1 / n
        # Gamma variates of these shapes, but for a factor shares, by logarithms: they can be tiny.
        log_share = np.log(rng.standard_gamma(counts + 1)) - rng.standard_exponential(n) / counts
        kinds = self._kinds_by_rows(kinds, log_share, rng)
        kinds = self._kinds_by_ratings(kinds, log_share, met_by, residual, precision, rng)
        self._members[:] = np.argsort(kinds, kind="stable")
        self._bounds[1:] = self._bounds[0] + np.cumsum(np.bincount(kinds, minlength=n))

    def _kinds_by_rows(
        self, kinds: NDArray[np.intp], log_share: Float64Array, rng: np.random.Generator
    ) -> NDArray[np.intp]:
        """The kinds drawn given e + μ_k, and μ and e drawn given these."""
        e, of_kinds = self._own_and_of_kinds
        (m, prior_mean), (inverse_variance, prior) = self.mean[:, :2].T, self.precision[:, :2].T
        both = e + of_kinds[:, kinds]
        pull = inverse_variance[:, None] * (both - m[:, None])
        kinds = chosen(log_share + pull.T @ of_kinds - inverse_variance @ of_kinds**2 / 2, rng)
        counts = np.bincount(kinds, minlength=self.n_kinds)
        total = np.outer(inverse_variance, counts) + prior[:, None]
        known = np.stack([np.bincount(kinds, row, minlength=self.n_kinds) for row in pull])
        mean = (known + (prior * prior_mean)[:, None]) / total
        of_kinds[:] = mean + rng.standard_normal(mean.shape) / np.sqrt(total)
        e[:] = both - of_kinds[:, kinds]
        return kinds

    def _kinds_by_ratings(
        self,
        kinds: NDArray[np.intp],
        log_share: Float64Array,
        met_by: Callable[[slice | IntArray], Float64Array],
        residual: Float64Array,
        precision: Float64Array,
        rng: np.random.Generator,
    ) -> NDArray[np.intp]:
        """The kinds drawn given e, μ and ratings."""
        from .kernels import add_likelihood

        _, of_kinds = self._own_and_of_kinds
        log_p = np.tile(log_share, (len(kinds), 1))
        for first in range(0, len(residual), AT_A_TIME):
            part = slice(first, first + AT_A_TIME)
            told = of_kinds[0] + met_by(part).T @ of_kinds[1:]
            add_likelihood(self.row_of[part], told, kinds, precision[part], residual[part], log_p)
        step = -of_kinds[:, kinds]
        kinds = chosen(log_p, rng)
        step += of_kinds[:, kinds]
        self.by_row += step
        changed = np.flatnonzero((step != 0).any(axis=0)[self.row_of])
        for first in range(0, len(changed), AT_A_TIME):
            ratings = changed[first : first + AT_A_TIME]
            of_row = step[:, self.row_of[ratings]]
            residual[ratings] -= of_row[0] + (met_by(ratings) * of_row[1:]).sum(axis=0)
        return kinds

    @property
    def _own_and_of_kinds(self) -> tuple[Float64Array, Float64Array]:
        """e and μ, of which a design with kinds has columns first."""
        n_rows = self.by_row.shape[1]
        own, of_kinds = np.split(self.coefficients[:, : n_rows + self.n_kinds], [n_rows], axis=1)
        return own, of_kinds

    def follow(self, warming_up: bool, rng: np.random.Generator) -> None:
        """Draw what the design followed tells, given bias and factors, which stay what they are.

        With rows z = e + F w, e ~ N(m, 1/Λ) of the rows themselves and F the factors followed, taken as they
        are now while warming up, w given z is a linear regression. Given e, as `draw` has it, it hardly moves
        (Yu and Meng, 2011, "To center or not to center: that is not the question").
        """
        if self._followed is None:
            return
        F, (n_factors, n_rows) = self._lent, self._lent.shape
        if warming_up:
            F[:, : self._followed.factors.shape[1]] = self._followed.factors
        squares, identity = F @ F.T, np.eye(n_factors)
        for z, v, mean, precision in zip(
            self.by_row, self.coefficients, self.mean, self.precision, strict=True
        ):
            root = np.linalg.cholesky(precision[0] * squares + precision[-1] * identity)
            known = precision[0] * F @ (z - mean[0]) + precision[-1] * mean[-1]
            drawn = np.linalg.solve(root, known) + rng.standard_normal(n_factors)
            v[n_rows:] = np.linalg.solve(root.T, drawn)
            v[:n_rows] = z - v[n_rows:] @ F

    def of_ratings(self, n: int) -> Float64Array:
        """The bias (n = 0) or a factor that each rating has by its row."""
        return np.asarray(self.by_row[n][self.row_of])

    def draw(
        self, n: int, h: Float64Array, residual: Float64Array, precision: Float64Array, rng: Any
    ) -> None:
        """Draw the coefficients of the bias (n = 0) or of a factor, which a rating has with weight h."""
        from .kernels import draw_columns, put_back, scale_fields, take_out

        v, Xv, prior = self.coefficients[n], self.by_row[n], (self.mean[n], self.precision[n])
        A, B, part = self._sums
        rate = self._draw_prior(n, rng)
        take_out(self.row_of, h, precision, Xv, residual, A, B)
        draw_columns(*self._columns, self.field, *prior, rng.standard_normal(len(v)), v, Xv, A, B)
        steps = SCALING_STEP * rng.standard_normal((len(self.sizes), SCALINGS))
        log_u = -rng.standard_exponential(steps.shape)
        scale_fields(*self._columns, np.cumsum(self.sizes), steps, log_u, rate, *prior, v, Xv, A, B, part)
        put_back(self.row_of, h, Xv, residual)

    def draw_scale(self, rng: np.random.Generator) -> None:
        """Draw the scale of the deviations of all fields: where none tells anything, all are small at once.

        The horseshoe (Carvalho, Polson and Scott, 2010): the scale, too, is half-Cauchy, of `FIELD_SCALE`.
        """
        rate = half_cauchy_rate(self.precision, self.scale, rng)
        of_scale = half_cauchy_rate(self.scale**-2, FIELD_SCALE, rng)
        self.scale[:] = ((of_scale + rate.sum()) / 2 / rng.gamma((1 + rate.size) / 2)) ** 0.5

    def _draw_prior(self, n: int, rng: np.random.Generator) -> Float64Array:
        """Draw the rate r of each field, which is returned, its mean m and its precision Λ.

        m ~ N(0, 1/Λ) and Λ ~ Gamma(1/2, r/2), as in Rendle (2012), 3.2, where r is 1. It is drawn here, so a
        field that tells nothing can be as good as out: see `half_cauchy_rate`.
        """
        v, sizes, n_fields = self.coefficients[n], self.sizes, len(self.sizes)
        total = np.bincount(self.field, v, minlength=n_fields)
        m = total / (sizes + 1) + rng.standard_normal(n_fields) / np.sqrt(self.precision[n] * (sizes + 1))
        squares = np.bincount(self.field, (v - m[self.field]) ** 2, minlength=n_fields) + m**2
        rate = half_cauchy_rate(self.precision[n], self.scale, rng)
        self.mean[n] = m
        self.precision[n] = rng.gamma((2 + sizes) / 2) / ((rate + squares) / 2)
        return np.asarray(rate)


def half_cauchy_rate(
    precision: Float64Array, scale: Float64Array | float, rng: np.random.Generator
) -> Float64Array:
    """Draw r given Λ ~ Gamma(1/2, r/2), where r is such that 1/√Λ is half-Cauchy of the scale.

    Makalic and Schmidt, 2016, "A simple sampler for the horseshoe estimator".
    """
    return np.asarray(2 * rng.standard_exponential(precision.shape) / (scale**-2 + precision))


def chosen(log_p: Float64Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """One column for each row, with probabilities in proportion to exp(log_p) (Yellott, 1977)."""
    return np.asarray((log_p + rng.gumbel(size=log_p.shape)).argmax(axis=1))
