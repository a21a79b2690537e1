"""Draws of coefficients, compared with the dense conditional of a Bayesian linear regression."""

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csc_array

pytest.importorskip("numba")
from numpy_neural_mf.bayesian.kernels import draw_fields, field_sums, sum_rows

N, ROWS, COLUMNS = 30, 6, 4
RNG = np.random.default_rng(1)
X = np.where(RNG.random((ROWS, COLUMNS)) < 0.6, RNG.normal(size=(ROWS, COLUMNS)), 0.0)
X[:, 3] = 0.0  # a column without entries
ROW_OF = RNG.integers(0, ROWS, N).astype(np.int32)
H, Y, PRECISION = RNG.normal(size=N), RNG.normal(size=N), RNG.uniform(0.5, 2, N)
FIELD, MEAN, LAMBDA = np.array([0, 0, 1, 1]), np.array([0.3, -0.5]), np.array([2.0, 0.7])

NO_STEPS = np.zeros((2, 0))  # for the scales of two fields

# Each rating has its own user, and items are drawn; their weights h are the factors of the users.
ITEMS_OF = np.stack([np.arange(N), N + ROW_OF]).astype(np.int32)


def passed(residual, step, drawn=1, n_parts=3):
    """Return residuals after a step of the rows, and their sums A and B."""
    residual, sums = residual.copy(), np.empty((n_parts, 2, ROWS))
    now, steps = np.append(H, np.zeros(ROWS)), np.append(np.zeros(N), step)
    for part in range(n_parts):
        bounds = np.arange(n_parts + 1) * N // n_parts
        sum_rows(part, bounds, ITEMS_OF, 1, drawn, N, False, now, steps, PRECISION, residual, sums)
    return residual, sums


def drawn(v, mean, precision, y, z, rate=(1.0, 1.0), steps=NO_STEPS, log_u=NO_STEPS):
    """Return coefficients, means, precisions, X v, residuals and B after one draw of all fields."""
    sparse = csc_array(X)
    v, mean, precision, Xv = v.copy(), mean.copy(), precision.copy(), X @ v
    residual, parts = passed(y - H * Xv[ROW_OF], np.zeros(ROWS))
    sums = np.empty((ROWS, 4))
    columns = sparse.indptr.astype(np.int64), sparse.indices.astype(np.int32), sparse.data
    after = Xv.copy()
    draw_fields(
        parts, *columns, np.array([2, 4]), z, steps, log_u, np.array(rate), mean, precision, v, after, sums
    )
    residual, _ = passed(residual, after - Xv, drawn=-1)
    return v, mean, precision, after, residual, sums[:, 1]


def swept(v, z):
    """Return coefficients, X v and residuals after one pass."""
    v, _, _, Xv, residual, _ = drawn(v, MEAN, LAMBDA, Y, z)
    return v, Xv, residual


def test_sums_of_a_field_equal_sums_over_its_columns():
    v = np.array([1.0, 2.0, -3.0, 0.5])
    np.testing.assert_allclose(field_sums(np.array([2, 2, 4]), v), [[3, 0, -2.5], [5, 0, 9.25]])


def test_each_coefficient_is_drawn_from_its_conditional_given_the_others():
    D = H[:, None] * X[ROW_OF]  # the design matrix of the regression
    rng = np.random.default_rng(2)
    v, z = rng.normal(size=(2, COLUMNS))
    found, _, _ = swept(v, z)
    for c in range(COLUMNS):
        precision = LAMBDA[FIELD[c]] + PRECISION @ D[:, c] ** 2
        others = Y - D @ v + D[:, c] * v[c]
        mean = (LAMBDA[FIELD[c]] * MEAN[FIELD[c]] + PRECISION @ (D[:, c] * others)) / precision
        v[c] = mean + z[c] / np.sqrt(precision)
        assert found[c] == pytest.approx(v[c], rel=1e-9)


def test_many_sweeps_have_the_moments_of_the_joint_posterior():
    D = H[:, None] * X[ROW_OF]
    precision = np.diag(LAMBDA[FIELD]) + D.T @ (PRECISION[:, None] * D)
    mean = np.linalg.solve(precision, LAMBDA[FIELD] * MEAN[FIELD] + D.T @ (PRECISION * Y))
    rng, v, draws = np.random.default_rng(3), np.zeros(COLUMNS), []
    for _ in range(20_000):
        v, _, _ = swept(v, rng.standard_normal(COLUMNS))
        draws.append(v)
    np.testing.assert_allclose(np.mean(draws, axis=0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(np.transpose(draws)), np.linalg.inv(precision), atol=0.06)


def test_products_and_residuals_follow_the_coefficients():
    v, Xv, residual = swept(np.ones(COLUMNS), np.linspace(-1, 1, COLUMNS))
    np.testing.assert_allclose(Xv, X @ v, atol=1e-12)
    np.testing.assert_allclose(residual, Y - H * (X @ v)[ROW_OF], atol=1e-12)


def scaled(v, mean, precision, y, rate, rng, n_steps=10, fields=(0, 1)):
    """Return the results of `drawn` with random walks of the scales of these fields."""
    steps, log_u = 0.5 * rng.standard_normal((2, n_steps)), -rng.standard_exponential((2, n_steps))
    steps[[field for field in (0, 1) if field not in fields]] = 0
    return drawn(v, mean, precision, y, rng.standard_normal(COLUMNS), rate, steps, log_u)


def test_draws_and_scaling_leave_the_prior_invariant():
    """If parameters are drawn from the prior and ratings given these, a draw of the parameters given the
    ratings must leave their joint distribution invariant (Geweke, 2004, "Getting it right")."""
    rng, rate, n = np.random.default_rng(4), np.array([0.2, 1.5]), 4_000
    before, after = np.empty((2, n, 2))
    for draw in range(n):
        precision = rng.gamma(0.5, 2 / rate)
        mean = rng.standard_normal(2) / np.sqrt(precision)
        v = mean[FIELD] + rng.standard_normal(COLUMNS) / np.sqrt(precision[FIELD])
        y = H * (X @ v)[ROW_OF] + rng.standard_normal(N) / np.sqrt(PRECISION)
        before[draw], after[draw] = precision, scaled(v, mean, precision, y, rate, rng)[2]
    assert np.mean(before != after) > 0.5
    for field in range(2):
        assert stats.kstest(after[:, field], stats.gamma(0.5, scale=2 / rate[field]).cdf).pvalue > 0.01


def test_a_field_is_scaled_with_its_mean_and_deviation_and_sums_follow():
    v = np.array([0.5, -1.0, 2.0, 0.3])
    for field, columns in ((0, slice(2)), (1, slice(2, 4))):
        plain, *_ = scaled(v, MEAN, LAMBDA, Y, np.ones(2), np.random.default_rng(5), fields=())
        w, mean, precision, Xw, residual, B = scaled(
            v, MEAN, LAMBDA, Y, np.ones(2), np.random.default_rng(5), fields=(field,)
        )
        s = (w / plain)[columns]
        np.testing.assert_allclose(s[0], s[1])
        assert s[0] != 1
        np.testing.assert_allclose(mean[field], MEAN[field] * s[0])
        np.testing.assert_allclose(precision[field], LAMBDA[field] / s[0] ** 2)
        np.testing.assert_allclose(Xw, X @ w, atol=1e-12)
        np.testing.assert_allclose(residual, Y - H * Xw[ROW_OF], atol=1e-12)
        left = PRECISION * H * residual
        np.testing.assert_allclose(B, np.bincount(ROW_OF, left, minlength=ROWS), atol=1e-10)


@pytest.mark.parametrize("is_bias", [False, True])
def test_the_weight_of_a_block_is_its_coefficient_in_the_mean_of_a_rating(is_bias):
    """Users, items and two contexts in turn, with a step of the block before."""
    rng, sizes = np.random.default_rng(6), (5, 4, 3, 6)
    first = np.cumsum([0, *sizes[:-1]])
    rows = np.stack([start + rng.integers(0, size, N) for start, size in zip(first, sizes, strict=True)])
    now, step, of_users = rng.normal(size=18), rng.normal(size=18), rng.uniform(0.5, 2, 5)
    u, i, *z = now[rows]
    weights = [i + sum(z), u + sum(z), u + i, u + i]
    for updated, block in ((-1, 0), (0, 1), (1, 2), (2, 3), (3, -1)):
        residual, sums, bounds = Y.copy(), np.empty((1, 2, sizes[block])), np.array([0, N])
        given = bounds, rows, updated, block, first[block], is_bias, now, step, of_users
        sum_rows(0, *given, residual, sums)
        moved = Y - (0 if updated < 0 else (1 if is_bias else weights[updated]) * step[rows[updated]])
        np.testing.assert_allclose(residual, moved, atol=1e-12)
        if block >= 0:
            h, p, row = (
                np.ones(N) if is_bias else weights[block],
                of_users[rows[0]],
                rows[block] - first[block],
            )
            np.testing.assert_allclose(sums[0, 0], np.bincount(row, p * h * h, sizes[block]), atol=1e-10)
            np.testing.assert_allclose(sums[0, 1], np.bincount(row, p * h * moved, sizes[block]), atol=1e-10)
