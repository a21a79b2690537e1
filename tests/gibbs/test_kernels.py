"""Draws of coefficients, against the dense conditional of a Bayesian linear regression."""

import numpy as np
import pytest
from scipy.sparse import csc_array

pytest.importorskip("numba")
from numpy_neural_mf.gibbs.kernels import draw_columns

N, ROWS, COLUMNS = 30, 6, 4
RNG = np.random.default_rng(1)
X = np.where(RNG.random((ROWS, COLUMNS)) < 0.6, RNG.normal(size=(ROWS, COLUMNS)), 0.0)
X[:, 3] = 0.0  # nobody has it
ROW_OF = RNG.integers(0, ROWS, N).astype(np.int32)
H, Y, PRECISION = RNG.normal(size=N), RNG.normal(size=N), RNG.uniform(0.5, 2, N)
FIELD, MEAN, LAMBDA = np.array([0, 0, 1, 1]), np.array([0.3, -0.5]), np.array([2.0, 0.7])


def swept(v, z):
    """Coefficients after one pass, and what is kept beside them."""
    sparse = csc_array(X)
    v, Xv = v.copy(), X @ v
    residual = Y - H * Xv[ROW_OF]
    columns = sparse.indptr.astype(np.int64), sparse.indices.astype(np.int32), sparse.data
    draw_columns(
        ROW_OF, H, residual, PRECISION, *columns, FIELD, MEAN, LAMBDA, z, v, Xv, *np.empty((2, ROWS))
    )
    return v, Xv, residual


def test_each_coefficient_is_drawn_from_its_conditional_given_the_others():
    D = H[:, None] * X[ROW_OF]  # the design of the regression
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
