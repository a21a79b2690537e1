"""A factor block: each of its priors is drawn from its conditional distribution."""

import numpy as np
import pytest
from scipy.sparse import csr_array, eye_array

from numpy_neural_mf.bayesian import FactorBlock, factor_block

pytest.importorskip("numba")

N_ROWS = 40


def a_block(n_factors=1):
    rows = np.zeros(0, np.int32)
    return FactorBlock(rows, [csr_array(eye_array(N_ROWS))], n_factors, np.random.default_rng(0))


def test_the_prior_of_a_field_is_drawn_from_its_conditional():
    """Check the moments of (Λ | m, v, r), a Gamma with shape (2 + n) / 2, rate (r + Σ (v - m)² + m²) / 2."""
    block = a_block()
    block.coefficients[0] = np.linspace(-1, 2, N_ROWS)
    rng, ratios, means, rates, expected = np.random.default_rng(0), [], [], [], []
    for _ in range(4_000):
        expected.append(2 / (factor_block.FIELD_SCALE**-2 + block.precision[0, 0]))
        rates.append(block._draw_prior(0, rng)[0])
        v, m = block.coefficients[0], block.mean[0, 0]
        ratios.append(block.precision[0, 0] * (rates[-1] + np.sum((v - m) ** 2) + m**2) / 2)
        means.append(m)
    shape = (2 + N_ROWS) / 2
    assert np.mean(ratios) == pytest.approx(shape, rel=0.02)
    assert np.var(ratios) == pytest.approx(shape, rel=0.1)
    assert np.mean(means) == pytest.approx(0.5 * N_ROWS / (N_ROWS + 1), abs=0.02)
    # Exponential given Λ, which makes the prior of the deviation half-Cauchy.
    assert np.mean(np.divide(rates, expected)) == pytest.approx(1, abs=0.05)
    assert np.var(np.divide(rates, expected)) == pytest.approx(1, abs=0.15)


def test_the_prior_of_a_deviation_is_half_cauchy():
    block, rng, found = a_block(), np.random.default_rng(3), []
    block.ends, block.sizes = np.zeros(1, np.int64), np.zeros(1, np.int64)  # a field without columns
    block.coefficients = block.coefficients[:, :0]
    for _ in range(20_000):
        block._draw_prior(0, rng)
        found.append(block.precision[0, 0] ** -0.5)
    quartiles = np.quantile(found, [0.25, 0.5, 0.75]) / factor_block.FIELD_SCALE
    np.testing.assert_allclose(np.log(quartiles), np.log(np.tan(np.pi / 8 * np.arange(1, 4))), atol=0.1)


def test_the_scale_of_all_deviations_is_drawn_from_its_conditional():
    """Drawing deviations given the scale and the scale given deviations leaves the prior invariant."""
    block, rng, found = a_block(n_factors=2), np.random.default_rng(3), []
    for _ in range(20_000):
        deviation = block.scale * np.abs(rng.standard_cauchy(block.precision.shape))
        block.precision[:] = deviation**-2
        block.draw_scale(rng)
        found.append(block.scale[0])
    quartiles = np.quantile(found, [0.25, 0.5, 0.75]) / factor_block.FIELD_SCALE
    np.testing.assert_allclose(np.log(quartiles), np.log(np.tan(np.pi / 8 * np.arange(1, 4))), atol=0.1)


def test_without_any_effect_the_scale_is_small():
    block, rng = a_block(n_factors=10), np.random.default_rng(1)
    block.precision[:] = 1e4
    found = []
    for _ in range(200):
        block.draw_scale(rng)
        found.append(block.scale[0])
    assert 0.003 < np.median(found) < 0.03
