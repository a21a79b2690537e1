"""Splits partition the rows, and nothing of the test part leaks into training."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from numpy_neural_mf.data import (
    Ratings,
    columns,
    k_fold,
    leave_last_out,
    random_split,
    splits,
    summarize,
    time_split,
    user_split,
)


def numbered(n: int) -> Ratings:
    """Return n ratings whose timestamp is the row number."""
    return Ratings.from_columns(np.arange(n) % 7, np.arange(n), np.full(n, 3.0), np.arange(n))


@given(n=st.integers(2, 60), folds=st.integers(2, 60), seed=st.integers(0, 2**32 - 1))
def test_every_rating_is_tested_in_exactly_one_fold(n, folds, seed):
    folds = min(n, folds)
    ratings = numbered(n)
    tested = []
    for train, test in k_fold(ratings, folds, seed):
        assert sorted([*train.timestamps, *test.timestamps]) == list(range(n))
        assert list(train.timestamps) == sorted(train.timestamps)
        tested += list(test.timestamps)
    assert sorted(tested) == list(range(n))


def test_a_random_split_of_very_many_is_drawn_in_blocks_and_as_random(monkeypatch):
    monkeypatch.setattr(columns, "BLOCK", 4)
    monkeypatch.setattr(splits, "AT_ONCE", 8)
    ratings, n_splits = numbered(10), 3_000
    together = np.zeros((10, 10))
    for seed in range(n_splits):
        train, test = random_split(ratings, 0.3, seed)
        assert sorted([*train.timestamps, *test.timestamps]) == list(range(10))
        assert len(test) == 3
        together[np.ix_(test.timestamps, test.timestamps)] += 1
    share, pairs = np.diag(together) / n_splits, together[np.triu_indices(10, 1)] / n_splits
    np.testing.assert_allclose(share, 3 / 10, atol=5 * np.sqrt(0.3 * 0.7 / n_splits))
    by_chance = 3 / 10 * 2 / 9
    np.testing.assert_allclose(pairs, by_chance, atol=5 * np.sqrt(by_chance * (1 - by_chance) / n_splits))


def test_folds_of_very_many_are_drawn_in_blocks_and_as_random(monkeypatch):
    monkeypatch.setattr(columns, "BLOCK", 4)
    monkeypatch.setattr(splits, "AT_ONCE", 8)
    ratings, n_draws = numbered(11), 3_000
    fold_of = np.empty((n_draws, 11), int)
    for seed in range(n_draws):
        for fold, (train, test) in enumerate(k_fold(ratings, 3, seed)):
            assert sorted([*train.timestamps, *test.timestamps]) == list(range(11))
            fold_of[seed, test.timestamps] = fold
        np.testing.assert_array_equal(np.bincount(fold_of[seed]), [4, 4, 3])
    for fold, size in enumerate([4, 4, 3]):
        share = size / 11
        error = 5 * np.sqrt(share * (1 - share) / n_draws)
        np.testing.assert_allclose(np.mean(fold_of == fold, axis=0), share, atol=error)
    together = np.mean(fold_of[:, :, None] == fold_of[:, None, :], axis=0)[np.triu_indices(11, 1)]
    by_chance = (4 * 3 + 4 * 3 + 3 * 2) / (11 * 10)
    np.testing.assert_allclose(together, by_chance, atol=5 * np.sqrt(by_chance * (1 - by_chance) / n_draws))


def test_folds_are_those_of_the_published_recipe():
    parts = np.array_split(np.random.default_rng(2026).permutation(23), 5)
    for (_, test), part in zip(k_fold(numbered(23)), parts, strict=True):
        np.testing.assert_array_equal(test.timestamps, part)


@given(n=st.integers(2, 60), share=st.floats(0.05, 0.95), seed=st.integers(0, 2**32 - 1))
def test_a_random_split_partitions_the_rows_in_order(n, share, seed):
    n_test = round(n * share)
    if not 0 < n_test < n:
        return
    train, test = random_split(numbered(n), share, seed)
    assert len(test) == n_test
    assert sorted([*train.timestamps, *test.timestamps]) == list(range(n))
    assert list(train.timestamps) == sorted(train.timestamps)
    assert list(test.timestamps) == sorted(test.timestamps)


def test_parts_keep_the_ids_and_the_scale_of_the_whole():
    ratings = numbered(20)
    train, test = random_split(ratings)
    for part in (train, test):
        assert part.user_ids is ratings.user_ids
        assert part.item_ids is ratings.item_ids
        assert part.scale == ratings.scale


def test_the_same_seed_gives_the_same_split_and_a_generator_moves_on():
    ratings = numbered(50)
    rows = [list(random_split(ratings, random_state=3)[1].timestamps) for _ in range(2)]
    assert rows[0] == rows[1]
    rng = np.random.default_rng(3)
    moving = [list(random_split(ratings, random_state=rng)[1].timestamps) for _ in range(2)]
    assert moving[0] == rows[0]
    assert moving[1] != moving[0]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan"), 0.001])
def test_a_share_that_leaves_a_part_empty_is_refused(share):
    with pytest.raises(ValueError, match="test_size"):
        random_split(numbered(20), share)


@pytest.mark.parametrize("folds", [0, 1, 21])
def test_an_impossible_number_of_folds_is_refused_at_once(folds):
    with pytest.raises(ValueError, match="n_folds: expected 2 to 20"):
        k_fold(numbered(20), folds)


# Few users and few timestamps, so that ties are frequent; the value identifies the row.
@st.composite
def dated_ratings(draw):
    n = draw(st.integers(2, 40))
    users = draw(arrays(np.int32, n, elements=st.integers(0, 5)))
    times = draw(arrays(np.int64, n, elements=st.integers(-3, 3)))
    items = np.arange(n, dtype=np.int32) * 7 % 41
    ids = {"user_ids": 10 * np.arange(6), "item_ids": 100 + np.arange(41)}
    return Ratings(users, items, np.arange(n, dtype=np.float32), scale=(0, 100), timestamps=times, **ids)


SPLITS = {
    "random": lambda ratings: random_split(ratings, 0.3, 1),
    "k-fold": lambda ratings: next(k_fold(ratings, 2, 1)),
    "leave last": leave_last_out,
    "leave last three": lambda ratings: leave_last_out(ratings, 3),
    "time": lambda ratings: time_split(ratings, 0.3),
    "users": lambda ratings: user_split(ratings, 0.4, 1),
}
few = settings(max_examples=30, deadline=None)
every_split = pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)


def parts(split, ratings):
    """Return training and test part; reject an example that leaves one empty."""
    try:
        return split(ratings)
    except ValueError:
        reject()


@pytest.mark.parametrize("name", ["leave last", "leave last three", "time", "users"])
@few
@given(ratings=dated_ratings())
def test_splits_in_blocks_equal_splits_at_once(name, ratings):
    at_once = parts(SPLITS[name], ratings)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(columns, "BLOCK", 4)
        patched.setattr(splits, "AT_ONCE", 3)
        in_blocks = parts(SPLITS[name], ratings)
    for ours, theirs in zip(in_blocks, at_once, strict=True):
        assert ours.to_polars().equals(theirs.to_polars())


@every_split
@few
@given(ratings=dated_ratings())
def test_no_row_is_in_two_parts_and_none_is_lost(split, ratings):
    train, test = parts(split, ratings)
    assert sorted([*train.values, *test.values]) == list(ratings.values)


@every_split
@few
@given(ratings=dated_ratings())
def test_a_part_has_unchanged_rows(split, ratings):
    for part in parts(split, ratings):
        rows = part.values.astype(int)
        for name in ("users", "items", "timestamps"):
            np.testing.assert_array_equal(getattr(part, name), getattr(ratings, name)[rows])


@every_split
@few
@given(ratings=dated_ratings())
def test_the_same_call_gives_the_same_split(split, ratings):
    once, again = parts(split, ratings), split(ratings)
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


@every_split
@few
@given(ratings=dated_ratings())
def test_compact_training_has_only_the_users_and_items_of_its_rows(split, ratings):
    train, _ = parts(split, ratings)
    known = train.compact()
    assert set(known.user_ids) == set(train.raw_users)
    assert set(known.item_ids) == set(train.raw_items)
    np.testing.assert_array_equal(known.raw_users, train.raw_users)


@every_split
@few
@given(ratings=dated_ratings())
def test_training_is_the_same_whatever_the_held_out_ratings_are(split, ratings):
    train, test = parts(split, ratings)
    changed = ratings.values.copy()
    changed[test.values.astype(int)] = 99
    train_again, test_again = split(replace(ratings, values=changed))
    np.testing.assert_array_equal(train_again.values, train.values)
    assert train_again.mean == train.mean
    assert set(test_again.values) == {99}


@given(ratings=dated_ratings(), n=st.integers(1, 4))
def test_the_last_n_of_each_user_are_left_out(ratings, n):
    last = []
    for user in range(ratings.n_users):
        rows = np.flatnonzero(ratings.users == user)
        by_time = sorted(rows, key=lambda row: (ratings.timestamps[row], row))
        last += by_time[-n:] if len(rows) > n else []
    if not last:
        with pytest.raises(ValueError, match=f"no user has more than {n} ratings"):
            leave_last_out(ratings, n)
        return
    assert list(leave_last_out(ratings, n)[1].values) == sorted(last)


@given(ratings=dated_ratings(), n=st.integers(1, 4))
def test_no_test_rating_is_earlier_than_a_training_rating_of_its_user(ratings, n):
    train, test = parts(lambda ratings: leave_last_out(ratings, n), ratings)
    for user in set(test.users):
        assert train.timestamps[train.users == user].max() <= test.timestamps[test.users == user].min()


@given(ratings=dated_ratings(), share=st.floats(0.05, 0.95))
def test_the_latest_share_of_all_is_left_out(ratings, share):
    n_test = round(len(ratings) * share)
    train, test = parts(lambda ratings: time_split(ratings, share), ratings)
    assert train.timestamps.max() <= test.timestamps.min()
    by_time = sorted(range(len(ratings)), key=lambda row: (ratings.timestamps[row], row))
    assert list(test.values) == sorted(by_time[-n_test:])


def test_of_equal_times_the_row_further_down_is_the_later_one():
    ratings = Ratings.from_columns([1, 1, 1, 2], [1, 2, 3, 1], [1, 2, 3, 4], [5, 5, 5, 5])
    assert list(leave_last_out(ratings)[1].values) == [3]
    assert list(time_split(ratings, 0.5)[1].values) == [3, 4]


@given(ratings=dated_ratings(), share=st.floats(0.05, 0.95), seed=st.integers(0, 2**32 - 1))
def test_all_ratings_of_a_held_out_user_are_held_out(ratings, share, seed):
    train, test = parts(lambda ratings: user_split(ratings, share, seed), ratings)
    assert set(train.raw_users).isdisjoint(test.raw_users)
    assert len(set(test.raw_users)) == round(len(set(ratings.users)) * share)


@given(ratings=dated_ratings(), seed=st.integers(0, 2**32 - 1))
def test_held_out_users_do_not_depend_on_the_order_of_the_rows(ratings, seed):
    held_out = parts(lambda ratings: user_split(ratings, 0.5, seed), ratings)[1]
    shuffled = ratings.take(np.random.default_rng(seed).permutation(len(ratings)))
    assert set(user_split(shuffled, 0.5, seed)[1].raw_users) == set(held_out.raw_users)


def test_only_users_with_ratings_are_held_out():
    rest, _ = user_split(numbered(70), 0.5, 0)
    _, test = user_split(rest, 0.5, 0)
    assert len(set(test.raw_users)) == round(len(set(rest.raw_users)) / 2)


def test_parts_nest_so_that_validation_lies_between_training_and_test():
    past, test = time_split(numbered(50))
    train, validation = time_split(past)
    for earlier, later in pairwise((train, validation, test)):
        assert earlier.timestamps.max() < later.timestamps.min()


@pytest.mark.parametrize("split", [leave_last_out, time_split])
def test_a_split_by_time_needs_times(split):
    with pytest.raises(ValueError, match="expected timestamps"):
        split(replace(numbered(20), timestamps=None))


@pytest.mark.parametrize("split", [time_split, user_split])
@pytest.mark.parametrize("share", [0, 1, float("nan"), 0.001])
def test_a_share_that_leaves_no_test_part_is_refused(split, share):
    with pytest.raises(ValueError, match="test_size"):
        split(numbered(20), share)


@pytest.mark.parametrize("n", [0, -1])
def test_leaving_out_nothing_is_refused(n):
    with pytest.raises(ValueError, match="n: expected at least 1"):
        leave_last_out(numbered(20), n)


@pytest.mark.parametrize("split", [random_split, k_fold, leave_last_out, time_split, user_split, summarize])
def test_splits_take_what_read_ratings_takes(split):
    ratings = Ratings.from_columns(np.arange(40) % 7, np.arange(40), np.full(40, 3.0), np.arange(40))
    found, expected = split(ratings.to_polars()), split(ratings)
    if split is summarize:
        assert found == expected
    else:
        of_k_fold = split is k_fold
        pairs = zip(found, expected, strict=True) if of_k_fold else [(found, expected)]
        for ours, theirs in pairs:
            for part, same in zip(ours, theirs, strict=True):
                assert part.to_polars().equals(same.to_polars())
