"""Which occasion a rating is: its period, and what its user rated before, told by any plain search."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.bayesian import Context, Occasions, Timeline
from numpy_neural_mf.bayesian.context import PERIODS, spread

N_USERS, N_ITEMS = 3, 5
logs = st.lists(
    st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1), st.integers(0, 60)), min_size=1
)


def occasions(log, kinds=("period", "previous")):
    users, items, times = (np.array(column) for column in zip(*log, strict=True))
    order, timeline = Timeline.of(users, times, N_USERS)
    return Occasions(kinds, timeline, items[order].astype(np.int32), N_ITEMS)


@given(logs, st.integers(-1, N_USERS - 1), st.integers(-10, 70))
def test_the_previous_item_is_the_last_of_an_earlier_time(log, user, time):
    found = int(occasions(log).rows(np.array([user]), np.array([time]))[1][0])
    earlier = [(t, i) for u, i, t in log if u == user and t < time]
    if not earlier:
        assert found == N_ITEMS
    else:
        latest = max(t for t, _ in earlier)
        assert found in {i for t, i in earlier if t == latest}


@given(logs, st.lists(st.integers(-10, 70), min_size=2))
def test_periods_are_in_order_and_of_equal_length(log, times):
    times = np.sort(times)
    [period] = occasions(log, ("period",)).rows(np.zeros(len(times), int), times)
    assert (np.diff(period) >= 0).all()
    assert period.min() >= 0
    assert period.max() < PERIODS
    first, last = min(t for *_, t in log), max(t for *_, t in log)
    ends = occasions(log, ("period",)).rows(np.zeros(2, int), np.array([first, last]))[0]
    assert ends[0] == 0
    if last - first >= PERIODS:
        assert ends[1] == PERIODS - 1


def test_periods_of_decades_in_nanoseconds_do_not_overflow():
    year = 365 * 86_400 * 10**9
    known = occasions([(0, 0, 0), (0, 1, 30 * year)], ("period",))
    [period] = known.rows(np.zeros(3, int), np.array([0, 16, 30]) * year)
    assert period.tolist() == [0, PERIODS // 2, PERIODS - 1]


def a_context(log):
    known = occasions(log)
    rng, n = np.random.default_rng(0), sum(known.sizes)
    arrays = rng.normal(size=n), rng.normal(size=(n, 2)), rng.normal(size=(N_USERS + 1, 2))
    return Context(known, *arrays, rng.normal(size=(N_ITEMS + 1, 2)))


@given(logs, st.integers(-1, N_USERS - 1), st.integers(-1, N_ITEMS - 1), st.integers(-10, 70))
def test_a_context_adds_what_each_occasion_says_of_user_and_item(log, user, item, time):
    context = a_context(log)
    period, previous = (int(r[0]) for r in context.occasions.rows(np.array([user]), np.array([time])))
    expected = sum(
        context.bias[c] + (context.user[user] + context.item[item]) @ context.factors[c]
        for c in (period, PERIODS + previous)
    )
    np.testing.assert_allclose(context.at(np.array([user]), np.array([item]), np.array([time])), expected)


@given(logs)
def test_what_is_usual_is_the_mean_of_the_ratings_in_the_last_period(log):
    context = a_context(log)
    users, _, times = (np.array(column) for column in zip(*log, strict=True))
    previous = PERIODS + context.occasions.rows(users, times)[1]
    bias, factors = context.usual()
    last = PERIODS - 1
    np.testing.assert_allclose(bias, context.bias[last] + context.bias[previous].mean())
    np.testing.assert_allclose(factors, context.factors[last] + context.factors[previous].mean(axis=0))


@given(logs, st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1), st.integers(-10, 70))
def test_among_more_users_and_items_the_old_ones_are_as_they_were(log, user, item, time):
    context = a_context(log)
    users, items = np.array([0, 2, 4]), np.array([1, 3, 4, 6, 0])
    wider = context.among(users, 6, items, 7)
    before = context.at(np.array([user]), np.array([item]), np.array([time]))
    after = wider.at(users[[user]], items[[item]], np.array([time]))
    np.testing.assert_allclose(after, before)
    as_unknown = context.at(np.array([-1]), np.array([-1]), np.array([time]))
    np.testing.assert_allclose(wider.at(np.array([5]), np.array([2]), np.array([time])), as_unknown)


def test_rows_that_are_not_there_are_as_the_last():
    np.testing.assert_array_equal(
        spread(np.array([[1.0], [2.0], [9.0]]), np.array([2, 0]), 4)[:, 0], [2, 9, 1, 9, 9]
    )
