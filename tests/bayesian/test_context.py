"""Context variables of ratings and their effects, compared with a simple search."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.bayesian import ContextEffects, ContextVariables, Timeline
from numpy_neural_mf.bayesian.context import TIME_BINS, with_rows_inserted

N_USERS, N_ITEMS = 3, 5
logs = st.lists(
    st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1), st.integers(0, 60)), min_size=1
)


def variables_of(log, names=("time_bin", "previous_item")):
    users, items, times = (np.array(column) for column in zip(*log, strict=True))
    order, timeline = Timeline.of(users, times, N_USERS)
    return ContextVariables(names, timeline, items[order].astype(np.int32), N_ITEMS)


@given(logs, st.integers(-1, N_USERS - 1), st.integers(-10, 70))
def test_the_previous_item_is_the_last_one_at_an_earlier_time(log, user, time):
    found = int(variables_of(log).categories(np.array([user]), np.array([time]))[1][0])
    earlier = [(t, i) for u, i, t in log if u == user and t < time]
    if not earlier:
        assert found == N_ITEMS
    else:
        latest = max(t for t, _ in earlier)
        assert found in {i for t, i in earlier if t == latest}


@given(logs, st.lists(st.integers(-10, 70), min_size=2))
def test_time_bins_are_ordered_and_cover_the_times_of_the_ratings(log, times):
    times = np.sort(times)
    [time_bin] = variables_of(log, ("time_bin",)).categories(np.zeros(len(times), int), times)
    assert (np.diff(time_bin) >= 0).all()
    assert time_bin.min() >= 0
    assert time_bin.max() < TIME_BINS
    first, last = min(t for *_, t in log), max(t for *_, t in log)
    ends = variables_of(log, ("time_bin",)).categories(np.zeros(2, int), np.array([first, last]))[0]
    assert ends[0] == 0
    if last - first >= TIME_BINS:
        assert ends[1] == TIME_BINS - 1


def test_time_bins_of_decades_in_nanoseconds_do_not_overflow():
    year = 365 * 86_400 * 10**9
    variables = variables_of([(0, 0, 0), (0, 1, 30 * year)], ("time_bin",))
    [time_bin] = variables.categories(np.zeros(3, int), np.array([0, 16, 30]) * year)
    assert time_bin.tolist() == [0, TIME_BINS // 2, TIME_BINS - 1]


def effects_of(log):
    variables = variables_of(log)
    rng, n = np.random.default_rng(0), sum(variables.sizes)
    arrays = rng.normal(size=n), rng.normal(size=(n, 2)), rng.normal(size=(N_USERS + 1, 2))
    return ContextEffects(variables, *arrays, rng.normal(size=(N_ITEMS + 1, 2)))


@given(logs, st.integers(-1, N_USERS - 1), st.integers(-1, N_ITEMS - 1), st.integers(-10, 70))
def test_the_effect_is_the_sum_over_the_categories_of_the_context(log, user, item, time):
    context = effects_of(log)
    categories = context.variables.categories(np.array([user]), np.array([time]))
    time_bin, previous = (int(category[0]) for category in categories)
    expected = sum(
        context.bias[c] + (context.user[user] + context.item[item]) @ context.factors[c]
        for c in (time_bin, TIME_BINS + previous)
    )
    np.testing.assert_allclose(context.at(np.array([user]), np.array([item]), np.array([time])), expected)


@given(logs)
def test_without_a_time_the_effect_is_averaged_over_ratings_in_the_last_time_bin(log):
    context = effects_of(log)
    users, _, times = (np.array(column) for column in zip(*log, strict=True))
    previous = TIME_BINS + context.variables.categories(users, times)[1]
    bias, factors = context.in_last_time_bin()
    last = TIME_BINS - 1
    np.testing.assert_allclose(bias, context.bias[last] + context.bias[previous].mean())
    np.testing.assert_allclose(factors, context.factors[last] + context.factors[previous].mean(axis=0))


@given(logs, st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1), st.integers(-10, 70))
def test_inserted_rows_equal_the_unknown_and_old_rows_do_not_change(log, user, item, time):
    context = effects_of(log)
    users, items = np.array([0, 2, 4]), np.array([1, 3, 4, 6, 0])
    wider = context.inserted(users, 6, items, 7)
    before = context.at(np.array([user]), np.array([item]), np.array([time]))
    after = wider.at(users[[user]], items[[item]], np.array([time]))
    np.testing.assert_allclose(after, before)
    as_unknown = context.at(np.array([-1]), np.array([-1]), np.array([time]))
    np.testing.assert_allclose(wider.at(np.array([5]), np.array([2]), np.array([time])), as_unknown)


def test_inserted_rows_of_a_table_are_copies_of_the_last_row():
    np.testing.assert_array_equal(
        with_rows_inserted(np.array([[1.0], [2.0], [9.0]]), np.array([2, 0]), 4)[:, 0], [2, 9, 1, 9, 9]
    )
