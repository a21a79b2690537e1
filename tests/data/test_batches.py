"""Batches: every rating once in an epoch, in an order like a full shuffle."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.data import Ratings, batches
from numpy_neural_mf.data.batches import Batches, Stretches


def numbered(n):
    """Return ratings whose user is the row number."""
    ids = np.arange(n, dtype=np.int32)
    values = (1 + ids % 5).astype(np.float32)
    return Ratings(ids, ids[::-1].copy(), values, ids.astype(np.int64), ids.astype(np.int64), (1.0, 5.0))


def numbers(epoch):
    return np.concatenate([users for users, _, _ in epoch])


@pytest.fixture(autouse=True)
def small_window(monkeypatch):
    monkeypatch.setattr(batches, "WINDOW", 256)
    monkeypatch.setattr(batches, "PIECE", 16)


@given(n=st.integers(1, 2_000), batch_size=st.integers(1, 600), seed=st.integers(0, 9))
def test_every_rating_comes_once_in_an_epoch_in_batches_of_about_one_size(n, batch_size, seed):
    """There are as few batches as the size allows, and no step has only a few left-over ratings."""
    ratings = numbered(n)
    source = Batches(ratings, batch_size, np.random.default_rng(seed))
    for _ in range(2):
        epoch = list(source.epoch())
        assert sorted(numbers(epoch)) == list(range(n))
        assert len(epoch) == -(-n // batch_size)
        size = -(-n // len(epoch))
        assert size <= batch_size
        assert [len(values) for *_, values in epoch[:-1]] == [size] * (len(epoch) - 1)
        assert len(epoch[-1][-1]) > size - len(epoch)
        for users, items, values in epoch:
            np.testing.assert_array_equal(items, ratings.items[users])
            np.testing.assert_array_equal(values, ratings.values[users])


def test_ratings_that_fit_into_the_window_are_one_permutation():
    source = Batches(numbered(256), 100, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    for _ in range(2):
        np.testing.assert_array_equal(numbers(source.epoch()), rng.permutation(256))


def test_the_same_seed_gives_the_same_order_and_each_epoch_a_new_one():
    ours, theirs = (Batches(numbered(3_000), 64, np.random.default_rng(1)) for _ in "12")
    first, second = numbers(ours.epoch()), numbers(ours.epoch())
    np.testing.assert_array_equal(first, numbers(theirs.epoch()))
    assert (first != second).any()


def batches_of(source, n, batch_size):
    """Return the batch of each numbered rating in one epoch."""
    batch_of = np.empty(n, int)
    batch_of[numbers(source.epoch())] = np.arange(n) // batch_size
    return batch_of


def test_neighbours_share_a_batch_as_rarely_as_any_two_ratings_of_a_window():
    n, batch_size = 6_400, 64
    source = Batches(numbered(n), batch_size, np.random.default_rng(0))
    together = []
    for _ in range(20):
        batch_of = batches_of(source, n, batch_size)
        together.append(np.mean(batch_of[1:] == batch_of[:-1]))
    of_a_piece = (batches.PIECE - 1) / batches.PIECE
    by_chance = of_a_piece * (batch_size - 1) / (256 - 1)
    assert np.mean(together) == pytest.approx(by_chance, abs=0.02)


def test_ratings_that_shared_a_batch_in_one_epoch_rarely_do_in_the_next():
    n, batch_size = 6_400, 64
    source = Batches(numbered(n), batch_size, np.random.default_rng(0))
    before, after = (batches_of(source, n, batch_size) for _ in range(2))
    pairs = np.random.default_rng(1).integers(n, size=(2, 500_000))
    pairs = pairs[:, (before[pairs[0]] == before[pairs[1]]) & (pairs[0] // 16 != pairs[1] // 16)]
    again = after[pairs[0]] == after[pairs[1]]
    assert again.mean() < 0.02  # 1/100 by chance


def test_an_epoch_makes_no_array_as_long_as_the_ratings():
    n = 200_000
    source = Batches(numbered(n), 64, np.random.default_rng(0))
    tracemalloc.start()
    for _ in source.epoch():
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n  # bytes: a column has four times as many


@pytest.fixture
def short_stretch(monkeypatch):
    monkeypatch.setattr(batches, "STRETCH", 64)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1_000])
def test_every_rating_comes_once_in_an_epoch_of_stretches(short_stretch, n):
    ratings = numbered(n)
    source = Stretches(ratings, np.random.default_rng(0))
    for _ in range(2):
        epoch = list(source.epoch())
        assert sorted(numbers(epoch)) == list(range(n))
        assert sorted(len(values) for *_, values in epoch) == [n % 64] * (n % 64 > 0) + [64] * (n // 64)
        for users, items, values in epoch:
            np.testing.assert_array_equal(items, ratings.items[users])
            np.testing.assert_array_equal(values, ratings.values[users])


def test_stretches_are_shuffled_once_and_come_in_a_new_order_each_epoch(short_stretch):
    ours, theirs = (Stretches(numbered(3_000), np.random.default_rng(1)) for _ in "12")
    first, second = (list(ours.epoch()) for _ in "12")
    np.testing.assert_array_equal(numbers(first), numbers(theirs.epoch()))
    assert {tuple(users) for users, *_ in first} == {tuple(users) for users, *_ in second}
    assert (numbers(first) != numbers(second)).any()
    assert np.mean(np.abs(np.diff(numbers(first))) == 1) < 0.02  # neighbours in the source


def test_stretches_do_not_change_their_ratings(short_stretch):
    ratings = numbered(500)
    for users, _, values in Stretches(ratings, np.random.default_rng(0)).epoch():
        users[:], values[:] = 0, 0
    np.testing.assert_array_equal(ratings.users, np.arange(500))


@pytest.mark.parametrize("make", [lambda *given, **more: Batches(given[0], 64, given[1], **more), Stretches])
def test_a_column_of_time_bins_is_shuffled_with_the_others(short_stretch, make):
    ratings, rng = numbered(1_000), np.random.default_rng(0)
    for users, items, _, bins in make(ratings, rng, time_bins=ratings.users % 7).epoch():
        np.testing.assert_array_equal(bins, users % 7)
        np.testing.assert_array_equal(items, ratings.items[users])
