"""A side of the factorisation: its priors, and the kinds of its rows, each drawn from its conditional."""

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_array, eye_array

from numpy_neural_mf.bayesian import Design
from numpy_neural_mf.bayesian import factor_block as design_module

pytest.importorskip("numba")
from numpy_neural_mf.bayesian.kernels import add_likelihood

N_ROWS = 40


def a_design(row_of=(), n_factors=1, seed=0, n_rows=N_ROWS, n_kinds=1, fields=()):
    fields = [csr_array(eye_array(n_rows)), *fields]
    rows = np.asarray(row_of, np.int32)
    return Design(rows, fields, n_factors, np.random.default_rng(seed), n_kinds=n_kinds)


def test_the_prior_of_a_field_is_drawn_from_its_conditional():
    """Normal-gamma, by the moments of (Λ | m, v, r): shape (2 + n) / 2, rate (r + Σ (v - m)² + m²) / 2."""
    design = a_design()
    design.coefficients[0] = np.linspace(-1, 2, N_ROWS)
    rng, ratios, means, rates, expected = np.random.default_rng(0), [], [], [], []
    for _ in range(4_000):
        expected.append(2 / (design_module.FIELD_SCALE**-2 + design.precision[0, 0]))
        rates.append(design._draw_prior(0, rng)[0])
        v, m = design.coefficients[0], design.mean[0, 0]
        ratios.append(design.precision[0, 0] * (rates[-1] + np.sum((v - m) ** 2) + m**2) / 2)
        means.append(m)
    shape = (2 + N_ROWS) / 2
    assert np.mean(ratios) == pytest.approx(shape, rel=0.02)
    assert np.var(ratios) == pytest.approx(shape, rel=0.1)
    assert np.mean(means) == pytest.approx(0.5 * N_ROWS / (N_ROWS + 1), abs=0.02)
    # Exponential given Λ, whose own prior this makes that of a half-Cauchy deviation.
    assert np.mean(np.divide(rates, expected)) == pytest.approx(1, abs=0.05)
    assert np.var(np.divide(rates, expected)) == pytest.approx(1, abs=0.15)


def test_before_any_rating_a_deviation_is_half_cauchy():
    design, rng, found = a_design(), np.random.default_rng(3), []
    design.field, design.sizes = np.zeros(0, np.int64), np.zeros(1, np.int64)  # a field without columns
    design.coefficients = design.coefficients[:, :0]
    for _ in range(20_000):
        design._draw_prior(0, rng)
        found.append(design.precision[0, 0] ** -0.5)
    quartiles = np.quantile(found, [0.25, 0.5, 0.75]) / design_module.FIELD_SCALE
    np.testing.assert_allclose(np.log(quartiles), np.log(np.tan(np.pi / 8 * np.arange(1, 4))), atol=0.1)


def test_the_scale_of_all_deviations_is_drawn_from_its_conditional():
    """Deviations drawn given the scale, and the scale given deviations, leave it as it was thought to be."""
    design, rng, found = a_design(n_factors=2), np.random.default_rng(3), []
    for _ in range(20_000):
        deviation = design.scale * np.abs(rng.standard_cauchy(design.precision.shape))
        design.precision[:] = deviation**-2
        design.draw_scale(rng)
        found.append(design.scale[0])
    quartiles = np.quantile(found, [0.25, 0.5, 0.75]) / design_module.FIELD_SCALE
    np.testing.assert_allclose(np.log(quartiles), np.log(np.tan(np.pi / 8 * np.arange(1, 4))), atol=0.1)


def test_where_no_field_tells_anything_the_scale_is_small():
    design, rng = a_design(n_factors=10), np.random.default_rng(1)
    design.precision[:] = 1e4
    found = []
    for _ in range(200):
        design.draw_scale(rng)
        found.append(design.scale[0])
    assert 0.003 < np.median(found) < 0.03


# Kinds


def test_the_likelihood_of_a_kind_is_that_of_the_ratings_of_a_row():
    rng = np.random.default_rng(1)
    row_of, kinds = rng.integers(0, 4, 30).astype(np.int32), np.array([0, 2, 1, 2])
    told, residual, precision = rng.normal(size=(30, 3)), rng.normal(size=30), rng.uniform(0.5, 2, 30)
    log_p = np.zeros((4, 3))
    add_likelihood(row_of, told, kinds, precision, residual, log_p)
    without = residual + told[np.arange(30), kinds[row_of]]
    exact = np.zeros((4, 3))
    np.add.at(exact, row_of, stats.norm.logpdf(without[:, None], told, precision[:, None] ** -0.5))
    np.testing.assert_allclose(log_p - log_p[:, :1], exact - exact[:, :1], atol=1e-10)


@pytest.mark.parametrize("at_a_time", [3, 1 << 14])
def test_rows_and_residual_go_with_the_kinds(at_a_time, monkeypatch):
    monkeypatch.setattr(design_module, "AT_A_TIME", at_a_time)
    rng = np.random.default_rng(1)
    row_of, met = rng.integers(0, N_ROWS, 200), rng.normal(size=(2, 200))
    given = csr_array(rng.normal(size=(N_ROWS, 3)))
    design = a_design(row_of, n_factors=2, n_kinds=4, fields=[given])

    def told():
        return design.by_row[0, row_of] + (met * design.by_row[1:, row_of]).sum(axis=0)

    values, seen = rng.normal(size=200), set()
    residual = values - told()
    for _ in range(10):
        design.draw_kinds(lambda some: met[:, some], residual, np.ones(200), rng)
        np.testing.assert_allclose(told() + residual, values, atol=1e-12)
        e, of_kinds, of_fields = np.split(design.coefficients, [N_ROWS, N_ROWS + 4], axis=1)
        whole = e + of_kinds[:, design.kinds] + of_fields @ given.T
        np.testing.assert_allclose(design.by_row, whole, atol=1e-12)
        seen.add(tuple(design.kinds))
    assert len(seen) == 10


@pytest.mark.parametrize("precision", [1.0, 1e4])  # by ratings so exact no row ever changes its kind
def test_kinds_are_drawn_from_their_conditional(precision):
    """What rows have by themselves from its prior, ratings given that, and the draw given ratings, again and
    again: then all is still as the prior has it (Geweke, 2004, "Getting it right")."""
    n_rows, n_kinds, n = 3, 2, 16_000
    rng, row_of = np.random.default_rng(0), np.array([0, 0, 1, 1, 2, 2])
    met = rng.normal(size=(1, 6))
    design = a_design(row_of, n_rows=n_rows, n_kinds=n_kinds)
    design.mean[:], design.precision[:] = [[0.3, -0.2], [0.0, 0.1]], [[4.0, 1.0], [2.0, 0.5]]
    same, of_itself, of_kind, of_its_kind = [], [], [], []
    e, mu = np.split(design.coefficients, [n_rows], axis=1)
    for _ in range(n):
        e[:] = design.mean[:, :1] + rng.normal(size=e.shape) / np.sqrt(design.precision[:, :1])
        design.by_row[:] = e + mu[:, design.kinds]
        residual = rng.normal(size=6) * precision**-0.5  # of ratings drawn anew
        design.draw_kinds(lambda some: met[:, some], residual, np.full(6, precision), rng)
        same.append(design.kinds[0] == design.kinds[1])
        of_itself.append(e[:, 0].copy())
        of_kind.append(mu[:, 0].copy())
        of_its_kind.append(mu[:, design.kinds[0]].copy())
    # Of Dirichlet(1/2, 1/2): a second row is of the kind of the first with (1/2 + 1) / (1 + 1).
    assert np.mean(same) == pytest.approx(0.75, abs=0.03)
    for found, field in ((of_itself, 0), (of_kind, 1), (of_its_kind, 1)):
        deviation = design.precision[:, field] ** -0.5
        standard = (np.array(found) - design.mean[:, field]) / deviation
        np.testing.assert_allclose(standard.mean(axis=0), 0, atol=0.1)
        np.testing.assert_allclose(standard.std(axis=0), 1, atol=0.08)


def test_without_kinds_nothing_is_drawn():
    design, rng = a_design([0, 1]), np.random.default_rng(0)
    design.draw_kinds(lambda some: np.ones((1, 2))[:, some], np.ones(2), np.ones(2), rng)
    assert rng.random() == np.random.default_rng(0).random()
    assert not design.kinds.any()
    assert set(design.state) == {"coefficients", "by_row", "mean", "precision", "scale"}
