"""Metrics: those of scikit-learn, over all ratings together."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from numpy_neural_mf.evaluation import mae, rmse

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


@pytest.mark.parametrize("metric", PAIRS)
@pytest.mark.parametrize(("prediction", "rating"), [([1, 2], [1]), ([[1], [2]], [1, 2]), ([], [])])
def test_what_cannot_be_compared_is_refused(metric, prediction, rating):
    with pytest.raises(ValueError, match="expected equal, non-empty shapes"):
        metric(prediction, rating)
