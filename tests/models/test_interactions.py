"""Training interactions of a model: every rating, by user and by item."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.data import columns as data_columns
from numpy_neural_mf.models import interactions as seen_module
from numpy_neural_mf.models.interactions import Interactions

TABLES = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 6)), st.sampled_from([0.0, 0.5, 1.0, 4.5]), max_size=35
)


def columns(table):
    users, items = np.array(list(table), np.int32).reshape(-1, 2).T
    return users, items, np.array(list(table.values()), np.float32)


@given(TABLES)
def test_every_rating_is_kept_by_user_and_item_also_a_rating_of_zero(table):
    seen = Interactions.of(*columns(table), n_users=5, n_items=7)
    pairs = list(zip(seen.users.tolist(), seen.items.tolist(), strict=True))
    assert pairs == sorted(table)
    assert seen.ratings.tolist() == [table[pair] for pair in pairs]
    assert (seen.items.dtype, seen.ratings.dtype, seen.offsets.dtype) == (np.int32, np.float32, np.int64)


@given(TABLES.filter(bool))
def test_the_deviation_is_that_of_all_ratings(table):
    seen = Interactions.of(*columns(table), n_users=5, n_items=7)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(data_columns, "BLOCK", 4)
        assert seen.deviation == pytest.approx(np.std([*table.values()]))


@given(TABLES, st.integers(1, 9))
def test_many_ratings_are_sorted_a_few_users_at_a_time(table, at_once):
    whole = Interactions.of(*columns(table), n_users=5, n_items=7)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(seen_module, "AT_ONCE", at_once)
        patched.setattr(data_columns, "BLOCK", 4)
        in_parts = Interactions.of(*columns(table), n_users=5, n_items=7)
    for name in ("items", "ratings", "offsets"):
        np.testing.assert_array_equal(getattr(in_parts, name), getattr(whole, name))


@given(TABLES)
def test_by_item_the_sides_are_exchanged_and_twice_is_back(table):
    seen = Interactions.of(*columns(table), n_users=5, n_items=7)
    by_item = seen.by_item()
    exchanged = {(item, user): rating for (user, item), rating in table.items()}
    assert (
        dict(zip(zip(by_item.users, by_item.items, strict=True), by_item.ratings, strict=True)) == exchanged
    )
    for name in ("items", "ratings", "offsets"):
        np.testing.assert_array_equal(getattr(by_item.by_item(), name), getattr(seen, name))


SEEN = Interactions.of(
    np.array([2, 0, 2, -1, 2, 0], np.int32),
    np.array([5, 1, 3, 2, -1, 0], np.int32),
    np.arange(6, dtype=np.float32),
    n_users=3,
    n_items=6,
)


def test_unknown_ids_are_left_out():
    np.testing.assert_array_equal(SEEN.items, [0, 1, 3, 5])
    np.testing.assert_array_equal(SEEN.ratings, [5, 1, 2, 0])
    np.testing.assert_array_equal(SEEN.offsets, [0, 2, 2, 4])


def test_ratings_of_one_user_and_of_an_unknown_user_without_any():
    items, ratings = SEEN.of_row(2)
    assert (items.tolist(), ratings.tolist()) == ([3, 5], [2, 0])
    assert [len(column) for row in (1, -1) for column in SEEN.of_row(row)] == [0, 0, 0, 0]


def test_pairs_of_a_block_are_position_and_item_and_unknown_users_have_none():
    position, item = SEEN.pairs(np.array([2, -1, 1, 0, 2], np.int32))
    np.testing.assert_array_equal(position, [0, 0, 3, 3, 4, 4])
    np.testing.assert_array_equal(item, [3, 5, 0, 1, 3, 5])
