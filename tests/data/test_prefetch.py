"""Prefetched results come in order, a limited number ahead, and errors are raised in their turn."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.data.prefetch import made_ahead, one_ahead


@given(st.lists(st.integers()), st.integers(1, 5))
def test_results_come_in_order(numbers, n):
    assert list(made_ahead(lambda number: 2 * number, numbers, n)) == [2 * number for number in numbers]
    assert list(one_ahead(iter(numbers))) == numbers


def test_results_are_computed_in_other_threads_and_not_too_far_ahead():
    made = []

    def make(number):
        made.append(threading.current_thread())
        return number

    coming = made_ahead(make, range(100), 3)
    assert [next(coming) for _ in range(10)] == list(range(10))
    coming.close()
    assert 10 <= len(made) <= 14
    assert threading.current_thread() not in made


def test_an_error_is_raised_in_its_turn():
    coming = made_ahead(lambda number: 1 / number, [1, 2, 0, 4], 2)
    assert [next(coming), next(coming)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(coming)
