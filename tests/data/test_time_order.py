"""Ratings as sequences: order, last items, and pieces for training."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf import Ratings, leave_last_out, simulate_ratings
from numpy_neural_mf.data.time_order import in_time_order, last_items, next_items, windows

SIMULATED = simulate_ratings(n_users=20, n_items=15, n_ratings=200, random_state=1)
TIMES = np.random.default_rng(0).integers(0, 100, len(SIMULATED))
RATINGS = in_time_order(replace(SIMULATED, timestamps=TIMES))


def test_ratings_are_sorted_by_user_and_time_and_ties_by_row():
    ratings = Ratings.from_columns([2, 1, 2, 2, 1], [5, 6, 7, 8, 9], [1, 2, 3, 4, 5], [10, 3, 4, 10, 3])
    ordered = in_time_order(ratings)
    np.testing.assert_array_equal(ordered.raw_users, [1, 1, 2, 2, 2])
    np.testing.assert_array_equal(ordered.raw_items, [6, 9, 7, 5, 8])


def test_without_timestamps_there_is_no_order():
    with pytest.raises(ValueError, match="expected timestamps"):
        in_time_order(replace(RATINGS, timestamps=None))


@pytest.mark.parametrize("n", [1, 3, 50])
def test_last_items_are_the_end_of_each_sequence(n):
    table = last_items(RATINGS, n)
    assert table.shape == (RATINGS.n_users, n)
    for user, row in enumerate(table):
        expected = RATINGS.items[RATINGS.users == user][-n:]
        np.testing.assert_array_equal(row, np.pad(expected, (0, n - len(expected)), constant_values=-1))


@given(
    length=st.integers(1, 30),
    size=st.integers(1, 100),
    seed=st.integers(0, 99),
    share=st.sampled_from([0.3, 1.0]),
)
def test_pieces_hold_every_row_once_in_order_and_are_of_one_user(length, size, seed, share):
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(RATINGS))[: int(share * len(RATINGS))]
    batches = list(windows(RATINGS.users, rows, length, size, rng))
    np.testing.assert_array_equal(np.sort(np.concatenate([r for r, _ in batches])), np.sort(rows))
    for taken, piece in batches:
        for number in range(piece.max() + 1):
            of_piece = taken[piece == number]
            assert 1 <= len(of_piece) <= length
            assert len(np.unique(RATINGS.users[of_piece])) == 1
            assert (np.diff(of_piece) > 0).all()


def test_batches_have_about_the_requested_size():
    batches = list(windows(RATINGS.users, np.arange(len(RATINGS)), 5, 40, np.random.default_rng(0)))
    assert len(batches) == len(RATINGS) // 40
    assert all(abs(len(rows) - 40) < 5 for rows, _ in batches)


def test_the_cuts_of_a_sequence_change_between_epochs():
    rng = np.random.default_rng(0)
    first, second = (
        {tuple(rows[piece == 0]) for rows, piece in windows(RATINGS.users, np.arange(200), 5, 5, rng)}
        for _ in range(2)
    )
    assert first != second


def test_a_sequence_that_is_short_enough_is_never_cut():
    for rows, piece in windows(RATINGS.users, np.arange(200), 200, 60, np.random.default_rng(0)):
        for number in range(piece.max() + 1):
            (user,) = np.unique(RATINGS.users[rows[piece == number]])
            assert (piece == number).sum() == (RATINGS.users == user).sum()


def test_next_items_are_the_first_held_out_ones():
    train_part, test = leave_last_out(RATINGS, n=2)
    known = in_time_order(train_part.compact())
    sequences, items = next_items(known, test, 3)
    by_time = in_time_order(test)
    expected = []
    for user in known.user_ids:
        following = by_time.raw_items[by_time.raw_users == user]
        if len(following) and following[0] in known.item_ids:
            past = known.raw_items[known.raw_users == user][-3:]
            expected.append((past.tolist(), following[0]))
    found = [
        (known.item_ids[row[row >= 0]].tolist(), known.item_ids[i])
        for row, i in zip(sequences, items, strict=True)
    ]
    assert found == expected


def test_validation_without_known_ids_is_refused():
    known = in_time_order(RATINGS.compact())
    strangers = replace(RATINGS, user_ids=RATINGS.user_ids + 1_000)
    with pytest.raises(ValueError, match="validation: expected users and items that have a training rating"):
        next_items(known, strangers, 3)
