"""Rating metrics equal those of scikit-learn, or a direct computation where it has none."""

from itertools import combinations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from numpy_neural_mf.evaluation import calibration, fcp, mae, mae_per_user, r2, rmse, rmse_per_user

PAIRS = {rmse: sklearn.metrics.root_mean_squared_error, mae: sklearn.metrics.mean_absolute_error}
two_columns = arrays(
    np.float64,
    array_shapes(min_dims=1, max_dims=1, min_side=1, max_side=30).map(lambda shape: (2, *shape)),
    elements=st.floats(-1e6, 1e6),
)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS.items(), ids=["rmse", "mae"])
@settings(deadline=None)
@given(columns=two_columns)
def test_errors_are_those_of_scikit_learn(ours, theirs, columns):
    prediction, rating = columns
    assert ours(prediction, rating) == pytest.approx(theirs(rating, prediction), rel=1e-12)


def test_errors_of_numbers_small_enough_to_check_by_hand():
    assert rmse([1, 2, 3], [1, 2, 6]) == pytest.approx(3**0.5)
    assert mae([1, 2, 3], [1, 2, 6]) == 1
    assert rmse([4.0], [4.0]) == mae([4.0], [4.0]) == 0


def test_many_float32_ratings_are_summed_in_float64():
    rating = np.full(1_000_000, 3.0, np.float32)
    assert rmse(rating + np.float32(0.1), rating) == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("metric", [*PAIRS, r2, calibration])
@pytest.mark.parametrize(("prediction", "rating"), [([1, 2], [1]), ([[1], [2]], [1, 2]), ([], [])])
def test_different_or_empty_shapes_are_refused(metric, prediction, rating):
    with pytest.raises(ValueError, match="expected equal, non-empty shapes"):
        metric(prediction, rating)


@pytest.mark.parametrize("metric", [*PAIRS, r2, calibration, fcp, rmse_per_user, mae_per_user])
@pytest.mark.parametrize("columns", [([1.0, np.nan], [1.0, 2.0]), ([1.0, 2.0], [np.nan, 2.0])])
def test_nan_is_refused(metric, columns):
    users = ([0, 0],) if metric in (fcp, rmse_per_user, mae_per_user) else ()
    with pytest.raises(ValueError, match="expected numbers, found NaN"):
        metric(*columns, *users)


@st.composite
def some_predictions(draw):
    """Return predictions, ratings and users with few distinct values, so that ties are frequent."""
    n = draw(st.integers(1, 30))
    return [draw(arrays(np.float64, n, elements=st.integers(1, most).map(float))) for most in (6, 5, 4)]


@settings(deadline=None)
@given(columns=two_columns)
def test_r2_is_that_of_scikit_learn(columns):
    prediction, rating = np.rint(columns / 1e4)
    if rating.min() == rating.max():
        assert np.isnan(r2(prediction, rating))
    else:
        assert r2(prediction, rating) == pytest.approx(sklearn.metrics.r2_score(rating, prediction), rel=1e-9)


def test_r2_is_0_for_the_mean_and_1_for_perfect_predictions():
    rating = [1.0, 2, 2, 5]
    assert r2(np.full(4, 2.5), rating) == 0
    assert r2(rating, rating) == 1


def fcp_pair_by_pair(prediction, rating, users):
    concordant = discordant = ordered = 0
    for (p, r, u), (q, s, v) in combinations(zip(prediction, rating, users, strict=True), 2):
        if u == v and r != s:
            concordant += (p > q) if r > s else (q > p)
            discordant += (p <= q) if r > s else (q <= p)
            ordered += p != q
    return concordant / (concordant + discordant) if ordered else float("nan")


@settings(deadline=None)
@given(rows=some_predictions())
def test_concordance_equals_a_count_pair_by_pair(rows):
    assert fcp(*rows) == pytest.approx(fcp_pair_by_pair(*rows), nan_ok=True)


@settings(deadline=None)
@given(rows=some_predictions(), seed=st.integers(0, 99))
def test_concordance_depends_only_on_the_order_within_each_user(rows, seed):
    prediction, rating, users = rows
    expected = pytest.approx(fcp(*rows), nan_ok=True)
    assert fcp(np.exp(prediction) + 1000 * users, rating**3, users) == expected
    order = np.random.default_rng(seed).permutation(len(users))
    assert fcp(prediction[order], rating[order], users[order]) == expected
    assert fcp(prediction, rating, [f"user {user}" for user in users]) == expected


@settings(deadline=None)
@given(rows=some_predictions())
def test_without_ties_negating_predictions_exchanges_concordant_and_discordant_pairs(rows):
    _, rating, users = rows
    prediction = np.random.default_rng(0).permutation(len(rating))
    assert fcp(-prediction, rating, users) == pytest.approx(1 - fcp(prediction, rating, users), nan_ok=True)


def test_concordance_is_nan_if_predictions_or_ratings_have_no_order():
    rating, users = [1, 2, 3, 5], [0, 0, 1, 1]
    assert np.isnan(fcp([3, 3, 3, 3], rating, users))
    assert np.isnan(fcp([2, 2, 4, 4], rating, users))
    assert fcp([3, 3, 4, 3], rating, users) == 0
    assert fcp(rating, rating, users) == 1
    assert np.isnan(fcp([1, 2, 3, 4], [3, 3, 5, 5], users))


@given(rows=some_predictions())
def test_errors_of_a_user_depend_only_on_that_user(rows):
    prediction, rating, users = rows
    for of_user, metric in ((rmse_per_user, rmse), (mae_per_user, mae)):
        separate = [metric(prediction[users == user], rating[users == user]) for user in np.unique(users)]
        np.testing.assert_allclose(of_user(prediction, rating, users), separate)


def test_the_overall_rmse_is_not_the_mean_over_users():
    prediction, rating, users = [1, 1, 1], [1, 1, 5], ["a", "a", "b"]
    assert rmse(prediction, rating) == pytest.approx((16 / 3) ** 0.5)
    np.testing.assert_array_equal(rmse_per_user(prediction, rating, users), [0, 4])


@given(rows=some_predictions())
def test_calibration_is_the_mean_prediction_for_each_rating(rows):
    prediction, rating, _ = rows
    table = calibration(prediction, rating)
    assert list(table.rating) == sorted(set(rating))
    for value, n, mean in zip(table.rating, table.n, table.mean_prediction, strict=True):
        assert n == sum(rating == value)
        assert mean == pytest.approx(prediction[rating == value].mean())
    assert table.n @ table.mean_prediction == pytest.approx(prediction.sum())


@pytest.mark.parametrize("metric", [fcp, rmse_per_user, mae_per_user])
def test_users_of_another_length_are_refused(metric):
    with pytest.raises(ValueError, match="users: expected one for each of 2 ratings"):
        metric([1, 2], [1, 2], [1])
