"""Top-N selection equals full sorting, with any blocks, ties and exclusions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from numpy_neural_mf.models import recommend as ranking
from numpy_neural_mf.models.interactions import Interactions
from numpy_neural_mf.models.recommend import best_items, most_similar, top_n

FEW_VALUES = st.sampled_from([-np.inf, -3.0, 0.0, 0.5, 7.0])  # so that many are equal and many are left out


def sorted_wholly(scores, n):
    """Return columns by score, highest first, then by column; -1 if nothing is left."""
    top = np.full((len(scores), n), -1)
    for row, values in enumerate(scores):
        order = sorted((c for c in range(len(values)) if values[c] > -np.inf), key=lambda c: (-values[c], c))
        top[row, : len(order[:n])] = order[:n]
    return top


@given(
    scores=arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=60), elements=FEW_VALUES),
    n=st.integers(1, 70),
)
def test_the_top_is_what_sorting_everything_gives(scores, n):
    np.testing.assert_array_equal(top_n(scores, n), sorted_wholly(scores, n))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12), decimals=st.integers(0, 6))
def test_the_top_of_many_columns_is_what_sorting_everything_gives(seed, n, decimals):
    scores = np.random.default_rng(seed).normal(size=(4, 1_501)).round(decimals).astype(np.float32)
    np.testing.assert_array_equal(top_n(scores, n), sorted_wholly(scores, n))


def test_the_top_of_nothing_is_nothing():
    np.testing.assert_array_equal(top_n(np.zeros((2, 0)), 3), -np.ones((2, 3)))
    assert top_n(np.zeros((0, 5)), 3).shape == (0, 3)


@pytest.mark.parametrize("block", [1, 700, ranking.BLOCK])
def test_blocks_and_threads_change_nothing(block, monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK", block)
    rng = np.random.default_rng(0)
    table = rng.integers(0, 30, (50, 90)).astype(np.float32)
    pairs = np.unique(rng.integers(0, 50 * 90, 400))
    seen = Interactions.of(*np.divmod(pairs, 90), np.ones(len(pairs), np.float32), 50, 90)
    users, items = np.arange(-1, 50, dtype=np.int32), np.arange(2, 88, 3, dtype=np.int32)
    best, scores = best_items(lambda u: table[u][:, items], users, items, 12, [seen])

    allowed = table.copy()
    position, item = seen.pairs(users[1:])
    allowed[position, item] = -np.inf
    expected = items[sorted_wholly(np.vstack([table[-1:], allowed])[:, items], 12)]
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_array_equal(scores, table[users[:, None], best])


def test_items_are_ranked_by_score_plus_added_and_keep_their_scores():
    table, added = np.array([[3, 2, 1]], np.float32), np.array([-2, 0, 0.5], np.float32)
    best, scores = best_items(
        lambda users: table[users], np.zeros(1, np.int32), np.arange(3, dtype=np.int32), 3, [], added
    )
    assert (best.tolist(), scores.tolist()) == ([[1, 2, 0]], [[2, 1, 3]])


def test_an_error_in_a_block_is_raised(monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK", 1)

    def fail(users):
        raise MemoryError

    with pytest.raises(MemoryError):
        best_items(fail, np.arange(9, dtype=np.int32), np.arange(3, dtype=np.int32), 2, [])


@given(
    table=arrays(np.float64, array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=8),
                 elements=st.integers(-9, 9).map(float)),
    n=st.integers(1, 9),
)  # fmt: skip
def test_similar_rows_have_the_highest_cosine(table, n):
    rows, cosines = most_similar(table, 1, n, np.ones(len(table), bool))
    assert len(rows) == min(n, len(table) - 1)
    assert 1 not in rows
    norms = np.linalg.norm(table, axis=1)
    expected = table @ table[1] / np.maximum(norms * norms[1], 1e-30)
    np.testing.assert_allclose(cosines, expected[rows], atol=1e-6)
    np.testing.assert_allclose(cosines, -np.sort(-np.delete(expected, 1))[: len(rows)], atol=1e-6)
