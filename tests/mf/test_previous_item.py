"""The effect on a rating of the item that the user rated just before."""

import numpy as np

from numpy_neural_mf.mf.drift import Timeline
from numpy_neural_mf.mf.previous_item import PreviousItemEffect

USERS, ITEMS, TIMES = np.array([0, 0, 0, 2]), np.array([3, 1, 2, 0], np.int32), np.array([10, 20, 20, 5])
VECTORS = np.arange(15.0).reshape(5, 3)
VECTORS[-1] = 0
EFFECT = PreviousItemEffect(Timeline.of(USERS, TIMES, 3)[1], ITEMS, VECTORS)


def test_the_effect_comes_from_the_previous_item_and_is_zero_without_one():
    users, times = np.array([0, 0, 2, 0, 1, -1]), np.array([20, 11, 6, 10, 99, 99])
    q = np.array([1.0, 2.0]) * np.ones((6, 1))
    of_item = VECTORS[:, 0] + 2 * VECTORS[:, 1] + VECTORS[:, 2]
    np.testing.assert_array_equal(EFFECT.at(users, times, q), [of_item[3], of_item[3], of_item[0], 0, 0, 0])


def test_inserted_rows_have_no_effect_and_the_others_keep_theirs():
    users, items = np.array([1, 2, 4]), np.array([0, 2, 4, 5])
    more = EFFECT.inserted(users, 6, items, 7)
    q = np.random.default_rng(0).normal(size=(3, 2))
    known, times = np.array([0, 1, 2]), np.array([15, 15, 15])
    np.testing.assert_array_equal(more.at(users[known], times, q), EFFECT.at(known, times, q))
    assert not more.at(np.array([0, 3, 5]), times, q).any()
    np.testing.assert_array_equal(more.vectors[[1, 3, 6, 7]], 0)
