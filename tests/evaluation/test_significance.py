"""Intervals and tests over splits equal SciPy's, and are wide enough if splits overlap."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from numpy_neural_mf.evaluation import holm, mean_over_splits, paired_difference

ERRORS = np.array([0.871, 0.868, 0.874, 0.870, 0.869])
OTHERS = np.array([0.879, 0.875, 0.884, 0.877, 0.880])

errors = st.lists(st.floats(0.1, 2), min_size=2, max_size=12)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=6)


# The mean over splits


def test_splits_without_a_rating_in_common_have_the_interval_of_the_t_distribution():
    estimate = mean_over_splits(ERRORS, 0)
    expected = stats.ttest_1samp(ERRORS, 0).confidence_interval(0.95)
    assert estimate.n_splits == 5
    assert estimate.mean == pytest.approx(ERRORS.mean())
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


def test_overlap_of_the_training_parts_widens_the_interval_by_the_published_factor():
    """Variance (1/n + n_test/n_train) s² in place of s²/n: for five folds √(1 + 5/4) times as wide."""
    plain, corrected = mean_over_splits(ERRORS, 0), mean_over_splits(ERRORS, 1 / 4)
    assert corrected.high - corrected.low == pytest.approx(math.sqrt(2.25) * (plain.high - plain.low))
    assert corrected.mean == plain.mean


def test_more_confidence_needs_a_wider_interval():
    estimate = mean_over_splits(ERRORS, 0, confidence=0.99)
    expected = stats.ttest_1samp(ERRORS, 0).confidence_interval(0.99)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


def test_one_split_has_an_error_and_no_interval():
    estimate = mean_over_splits([0.87], 1 / 4)
    assert (estimate.n_splits, estimate.mean) == (1, 0.87)
    assert np.isnan([estimate.low, estimate.high]).all()
    difference = paired_difference([0.87], [0.88], 1 / 4)
    assert difference.mean == pytest.approx(-0.01)
    assert np.isnan([difference.low, difference.high, difference.p_value, difference.effect_size]).all()


def test_without_splits_all_is_nan():
    assert mean_over_splits([], 0).n_splits == 0
    assert math.isnan(mean_over_splits([], 0).mean)


# Two models


def test_without_overlap_it_is_the_paired_t_test():
    expected = stats.ttest_rel(ERRORS, OTHERS)
    difference = paired_difference(ERRORS, OTHERS, 0)
    interval = expected.confidence_interval(0.95)
    assert difference.p_value == pytest.approx(expected.pvalue)
    assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))


def test_the_corrected_statistic_is_the_plain_one_shrunk_by_the_published_factor():
    statistic = stats.ttest_rel(ERRORS, OTHERS).statistic / math.sqrt(1 + 5 / 4)
    expected = 2 * stats.t.sf(abs(statistic), 4)
    assert paired_difference(ERRORS, OTHERS, 1 / 4).p_value == pytest.approx(expected)


def test_the_effect_size_is_the_mean_difference_in_standard_deviations():
    d = ERRORS - OTHERS
    difference = paired_difference(ERRORS, OTHERS, 1 / 4)
    assert difference.effect_size == pytest.approx(d.mean() / d.std(ddof=1))
    assert difference.mean == pytest.approx(d.mean())


def test_models_with_equal_errors_do_not_differ():
    same = paired_difference(ERRORS, ERRORS, 1 / 4)
    assert (same.mean, same.p_value, same.effect_size) == (0, 1, 0)


def test_a_constant_difference_on_every_split_is_significant():
    difference = paired_difference([0.5, 0.75], [0.25, 0.5], 1 / 4)
    assert (difference.mean, difference.p_value, difference.effect_size) == (0.25, 0, math.inf)


@given(errors, st.data(), st.floats(0, 1))
def test_the_interval_excludes_0_exactly_if_the_test_is_significant(a, data, ratio):
    b = data.draw(st.lists(st.floats(0.1, 2), min_size=len(a), max_size=len(a)))
    difference = paired_difference(a, b, ratio)
    if min(abs(difference.low), abs(difference.high)) > 1e-12:
        assert (difference.p_value < 0.05) == (difference.low * difference.high > 0)


@given(errors, st.data())
def test_exchanging_the_models_changes_only_the_sign(a, data):
    b = data.draw(st.permutations(a))
    one, other = paired_difference(a, b, 1 / 4), paired_difference(b, a, 1 / 4)
    assert other.p_value == one.p_value
    np.testing.assert_allclose([-other.high, -other.mean, -other.low], [one.low, one.mean, one.high])


def test_the_rate_of_false_positives_is_the_significance_level():
    rng = np.random.default_rng(0)
    n_found = sum(
        paired_difference(*rng.normal(size=(2, 5)), test_to_train=0).p_value < 0.05 for _ in range(2_000)
    )
    # Four standard deviations of the binomial distribution.
    assert n_found == pytest.approx(100, abs=4 * math.sqrt(2_000 * 0.05 * 0.95))


def test_on_splits_of_the_same_data_only_the_corrected_test_has_few_false_positives():
    """Compare two equally good models: each learns the mean of one of two identically distributed columns."""
    rng = np.random.default_rng(0)
    n_rows, n_test, n_splits, n_repeats = 100, 20, 10, 400
    n_plain = n_corrected = 0
    for _ in range(n_repeats):
        columns = rng.normal(size=(n_rows, 2))
        rows = rng.permuted(np.tile(np.arange(n_rows), (n_splits, 1)), axis=1)
        test, train = columns[rows[:, :n_test]], columns[rows[:, n_test:]]
        mse = ((test - train.mean(axis=1, keepdims=True)) ** 2).mean(axis=1)
        n_plain += paired_difference(*mse.T, test_to_train=0).p_value < 0.05
        n_corrected += paired_difference(*mse.T, test_to_train=n_test / (n_rows - n_test)).p_value < 0.05
    assert n_plain > 0.2 * n_repeats
    assert n_corrected < 0.1 * n_repeats


# Several tests


def test_the_example_of_benjamini_and_hochberg():
    """The fifteen p-values of their paper of 1995, corrected by statsmodels' multipletests("holm")."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
         0.6528, 0.7590, 1.0]  # fmt: skip
    expected = [0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278, 0.278, 0.278, 0.3213, *[1] * 6]
    np.testing.assert_allclose(holm(p), expected)


@given(p_values)
def test_holm_is_the_closed_test_of_bonferroni(p):
    """A hypothesis is rejected if Bonferroni rejects every set of hypotheses that contains it."""
    sets = [chosen for size in range(1, len(p) + 1) for chosen in combinations(range(len(p)), size)]
    bonferroni = {chosen: min(1, len(chosen) * min(p[i] for i in chosen)) for chosen in sets}
    expected = [max(value for chosen, value in bonferroni.items() if i in chosen) for i in range(len(p))]
    np.testing.assert_allclose(holm(p), expected)


@given(p_values, st.data())
def test_holm_does_not_depend_on_the_order(p, data):
    order = data.draw(st.permutations(range(len(p))))
    np.testing.assert_array_equal(holm([p[i] for i in order]), holm(p)[order])


def test_a_p_value_of_nan_does_not_count():
    np.testing.assert_allclose(holm([0.04, math.nan, 0.01]), [0.04, math.nan, 0.02])
    assert len(holm([])) == 0


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_over_splits([[0.8, 0.9]], 0), "finite error for each split, in one dimension"),
        (lambda: mean_over_splits([0.8, math.nan], 0), "finite error for each split"),
        (lambda: mean_over_splits([0.8, 0.9], -1), "test_to_train: expected a ratio of at least 0, found -1"),
        (lambda: mean_over_splits([0.8], 0, confidence=95), "confidence: expected a share.*found 95"),
        (lambda: paired_difference([0.8, 0.9], [0.8], 0), "same splits, found 2 and 1"),
        (lambda: holm([0.5, 1.5]), "p_values: expected numbers from 0 to 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
