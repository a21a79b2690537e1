"""The cumulative logit model: its derivatives and the properties of its probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from numpy_neural_mf.nn import CumulativeLogit, binary_cross_entropy

HALF_STARS = CumulativeLogit(np.array([0.5, 1.0, 1.5, 3.0, 4.0, 5.0]), 0.9)

raw_numbers = arrays(np.float64, 5, elements=st.floats(-3, 3))
scores = arrays(np.float64, 20, elements=st.floats(-30, 30))


def difference(function, x, step=1e-6):
    """Return the central difference of a scalar function by each element of x."""
    return np.array([(function(x + e) - function(x - e)) / (2 * step) for e in step * np.eye(len(x))])


def drawn(n=40):
    rng = np.random.default_rng(0)
    return rng.normal(3, 3, n), rng.choice(HALF_STARS.steps, n), rng.normal(size=5)


def test_gradients_equal_central_differences():
    y, ratings, raw = drawn()
    _, dy, d_raw = HALF_STARS.loss(y, ratings, raw)
    np.testing.assert_allclose(dy, difference(lambda z: HALF_STARS.loss(z, ratings, raw)[0], y), atol=1e-8)
    np.testing.assert_allclose(d_raw, difference(lambda c: HALF_STARS.loss(y, ratings, c)[0], raw), atol=1e-8)


def test_the_second_derivative_equals_differences_and_is_never_negative():
    y, ratings, raw = drawn()
    curvature = HALF_STARS.terms(y, ratings, raw).d2y
    slopes = [HALF_STARS.terms(y + e, ratings, raw).dy for e in (1e-6, -1e-6)]
    np.testing.assert_allclose(curvature, (slopes[0] - slopes[1]) / 2e-6, atol=1e-7)
    assert (curvature >= 0).all()


@given(scores, raw_numbers)
def test_probabilities_sum_to_one_and_their_mean_is_the_expected_rating(y, raw):
    probabilities = HALF_STARS.probabilities(y, raw)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(probabilities @ HALF_STARS.steps, HALF_STARS.expected(y, raw), atol=1e-12)


def test_probabilities_for_an_uncertain_score_are_their_mean_over_scores():
    """Approximately, since the sum of a normal and a logistic variable is nearly a wider logistic."""
    y, _, raw = drawn()
    at, weights = np.polynomial.hermite_e.hermegauss(30)
    variance = np.linspace(0, 1, len(y))
    nodes = y[:, None] + np.sqrt(variance)[:, None] * at
    mean = np.einsum("nas,a->ns", HALF_STARS.probabilities(nodes, raw), weights / weights.sum())
    found = HALF_STARS.probabilities(y, raw, variance)
    np.testing.assert_allclose(found, mean, atol=0.03)
    np.testing.assert_array_equal(found[0], HALF_STARS.probabilities(y, raw)[0])
    assert np.abs(found - HALF_STARS.probabilities(y, raw)).max() > 0.05


@given(scores, raw_numbers)
def test_cutpoints_ascend_and_a_higher_score_has_a_higher_expected_rating(y, raw):
    assert (np.diff(HALF_STARS.cutpoints(raw)) > 0).all()
    expected = HALF_STARS.expected(np.sort(y), raw)
    assert (np.diff(expected) >= -1e-12).all()
    assert expected.min() >= 0.5 and expected.max() <= 5  # noqa: PT018


def test_the_loss_is_the_logarithm_of_the_probability():
    y, ratings, raw = drawn()
    probability = HALF_STARS.probabilities(y, raw)[np.arange(len(y)), HALF_STARS.number(ratings)]
    assert HALF_STARS.loss(y, ratings, raw)[0] == pytest.approx(-np.log(probability).mean(), rel=1e-9)


def test_loss_and_gradients_are_right_for_probabilities_that_round_to_zero():
    """Far above the highest cutpoint, -log P of a lower category grows as y / τ."""
    y, ratings, raw = np.full(2, 1e4), np.array([0.5, 3.0]), np.zeros(5)
    loss, dy, d_raw = HALF_STARS.loss(y, ratings, raw)
    assert loss == pytest.approx(1e4 / HALF_STARS.tau, rel=1e-3)
    np.testing.assert_allclose(dy, 1 / HALF_STARS.tau / 2)
    assert np.isfinite(d_raw).all()


def test_with_two_categories_it_is_logistic_regression():
    y, ratings = drawn()[0], np.tile([1.0, 5.0], 20)
    loss, dy, _ = CumulativeLogit(np.array([1.0, 5.0]), np.pi / np.sqrt(3)).loss(y, ratings, np.zeros(1))
    expected_loss, expected = binary_cross_entropy(y, (ratings == 5).astype(float))
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    np.testing.assert_allclose(dy, expected, rtol=1e-12)


def test_first_cutpoints_are_in_the_middle():
    np.testing.assert_allclose(HALF_STARS.cutpoints(HALF_STARS.first()), [0.75, 1.25, 2.25, 3.5, 4.5])


@pytest.mark.parametrize("categories", [[3.0], [], [1.0, 1.0], [2.0, 1.0], [1.0, float("nan")]])
def test_categories_are_at_least_two_and_ascend(categories):
    with pytest.raises(ValueError, match="at least 2 distinct ratings, ascending"):
        CumulativeLogit(np.array(categories), 1.0)


@pytest.mark.parametrize(
    ("deviation", "error"), [(0.0, ValueError), (float("nan"), ValueError), (None, TypeError)]
)
def test_the_deviation_is_a_number_above_zero(deviation, error):
    with pytest.raises(error, match="deviation must be a finite number above 0"):
        CumulativeLogit(np.array([1.0, 2.0]), deviation)
