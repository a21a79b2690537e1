"""Draws of coefficients, compared with the dense conditional of a Bayesian linear regression."""

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csc_array

pytest.importorskip("numba")
from numpy_neural_mf.bayesian.kernels import draw_columns, remove_term, restore_term, scale_fields

N, ROWS, COLUMNS = 30, 6, 4
RNG = np.random.default_rng(1)
X = np.where(RNG.random((ROWS, COLUMNS)) < 0.6, RNG.normal(size=(ROWS, COLUMNS)), 0.0)
X[:, 3] = 0.0  # a column without entries
ROW_OF = RNG.integers(0, ROWS, N).astype(np.int32)
H, Y, PRECISION = RNG.normal(size=N), RNG.normal(size=N), RNG.uniform(0.5, 2, N)
FIELD, MEAN, LAMBDA = np.array([0, 0, 1, 1]), np.array([0.3, -0.5]), np.array([2.0, 0.7])


def swept(v, z):
    """Coefficients, X v and residuals after one pass."""
    sparse = csc_array(X)
    v, Xv, (A, B) = v.copy(), X @ v, np.empty((2, ROWS))
    residual = Y - H * Xv[ROW_OF]
    columns = sparse.indptr.astype(np.int64), sparse.indices.astype(np.int32), sparse.data
    remove_term(ROW_OF, H, PRECISION, Xv, residual, A, B)
    draw_columns(*columns, FIELD, MEAN, LAMBDA, z, v, Xv, A, B)
    restore_term(ROW_OF, H, Xv, residual)
    return v, Xv, residual


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


def scaled(v, mean, precision, y, rate, rng, n_steps=10):
    """Coefficients, means, precisions, X v and B after random walks of the scales of both fields."""
    sparse = csc_array(X)
    v, mean, precision, Xv = v.copy(), mean.copy(), precision.copy(), X @ v
    A, B, part = np.empty((3, ROWS))
    residual = y - H * Xv[ROW_OF]
    columns = sparse.indptr.astype(np.int64), sparse.indices.astype(np.int32), sparse.data
    remove_term(ROW_OF, H, PRECISION, Xv, residual, A, B)
    steps, log_u = 0.5 * rng.standard_normal((2, n_steps)), -rng.standard_exponential((2, n_steps))
    scale_fields(*columns, np.array([2, 4]), steps, log_u, rate, mean, precision, v, Xv, A, B, part)
    return v, mean, precision, Xv, B


def test_scaling_leaves_the_prior_invariant():
    """With parameters drawn from the prior and ratings drawn given these, a draw of the parameters given the
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
    rng, v = np.random.default_rng(5), np.array([0.5, -1.0, 2.0, 0.3])
    w, mean, precision, Xw, B = scaled(v, MEAN, LAMBDA, Y, np.ones(2), rng)
    s = w / v
    np.testing.assert_allclose(s[::2], s[1::2])
    assert (s != 1).all()
    np.testing.assert_allclose(mean, MEAN * s[::2])
    np.testing.assert_allclose(precision, LAMBDA / s[::2] ** 2)
    np.testing.assert_allclose(Xw, X @ w, atol=1e-12)
    left = PRECISION * H * (Y - H * Xw[ROW_OF])
    np.testing.assert_allclose(B, np.bincount(ROW_OF, left, minlength=ROWS), atol=1e-10)
