"""Time bins have equal length, and take the times beyond."""

import numpy as np

from numpy_neural_mf.data.time_bins import TimeBins


def test_bins_are_of_equal_length_and_take_what_is_beyond():
    times = np.array([-50, 0, 24, 25, 49, 50, 99, 100, 10**18])
    assert TimeBins(0, 99, 4).of(times).tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 3]
    assert TimeBins(7, 7, 3).of(np.array([7])).tolist() == [0]
