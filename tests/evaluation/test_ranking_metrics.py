"""Ranking metrics equal those of trec_eval and scikit-learn, for every user and all kinds of ids."""

import ir_measures
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_neural_mf.evaluation import (
    average_precision_at_k,
    hit_rate_at_k,
    mean_over_users,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)

OF_TREC_EVAL = {
    precision_at_k: ir_measures.P,
    recall_at_k: ir_measures.R,
    hit_rate_at_k: ir_measures.Success,
    reciprocal_rank_at_k: ir_measures.RR,
    average_precision_at_k: ir_measures.AP,
    ndcg_at_k: ir_measures.nDCG,
}
every_metric = pytest.mark.parametrize("metric", OF_TREC_EVAL, ids=lambda metric: metric.__name__)


def random_lists(n_users, n_items, width, seed=0):
    """Return lists of random length and the same number of sets of relevant items, some of them empty."""
    rng = np.random.default_rng(seed)
    items = np.argsort(rng.random((n_users, n_items)), axis=1)[:, :width]
    is_empty = np.arange(width) >= rng.integers(width + 1, size=n_users)[:, None]
    relevant = [rng.permutation(n_items)[: rng.integers(n_items)] for _ in range(n_users)]
    relevant[0] = np.empty(0, int)
    return np.ma.array(items, mask=is_empty), relevant


@st.composite
def lists_and_relevant(draw):
    n_users, width, n_items = draw(st.integers(1, 5)), draw(st.integers(1, 6)), 8
    return random_lists(n_users, n_items, width, draw(st.integers(0, 2**32 - 1)))


# Against trec_eval itself; the scores are negative places, so there are no ties.
@every_metric
@pytest.mark.parametrize("k", [1, 3, 10, 30])
def test_every_user_has_the_score_of_trec_eval(metric, k):
    lists, relevant = random_lists(n_users=60, n_items=40, width=20)
    qrels = [ir_measures.Qrel(str(u), str(i), 1) for u, items in enumerate(relevant) for i in items]
    run = [
        ir_measures.ScoredDoc(str(u), str(item), -float(place))
        for u, row in enumerate(lists)
        for place, item in enumerate(row)
        if item is not np.ma.masked
    ]
    measure = OF_TREC_EVAL[metric] @ k
    expected = np.full(len(relevant), np.nan)
    for one in ir_measures.iter_calc([measure], qrels, run):
        expected[int(one.query_id)] = one.value
    # trec_eval omits a user without a list, whose score is 0 if there are relevant items.
    has_relevant = np.array([len(items) > 0 for items in relevant])
    expected[has_relevant & lists.mask.all(axis=1)] = 0
    scores = metric(lists, relevant, k)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert mean_over_users(scores) == pytest.approx(np.mean(expected[has_relevant]))


def test_ndcg_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    score, gain = rng.random((50, 12)), rng.integers(2, size=(50, 12))
    gain[:, 0] = 1
    lists = np.argsort(-score, axis=1)
    relevant = [np.flatnonzero(row) for row in gain]
    for k in (1, 5, 12):
        ours = mean_over_users(ndcg_at_k(lists, relevant, k))
        assert ours == pytest.approx(sklearn.metrics.ndcg_score(gain, score, k=k))


def test_scores_of_examples_small_enough_to_check_by_hand():
    lists, relevant = [[5, 3, 9, 1]], [[3, 1, 7]]
    assert precision_at_k(lists, relevant, 4) == [2 / 4]
    assert recall_at_k(lists, relevant, 4) == [2 / 3]
    assert hit_rate_at_k(lists, relevant, 4) == [1]
    assert reciprocal_rank_at_k(lists, relevant, 4) == [1 / 2]
    assert average_precision_at_k(lists, relevant, 4) == pytest.approx([(1 / 2 + 2 / 4) / 3])
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg_at_k(lists, relevant, 4) == pytest.approx([(1 / np.log2(3) + 1 / np.log2(5)) / ideal])


@every_metric
@settings(deadline=None)
@given(case=lists_and_relevant(), k=st.integers(1, 8))
def test_a_score_is_from_0_to_1(metric, case, k):
    lists, relevant = case
    scores = metric(lists, relevant, k)
    has_relevant = np.array([len(items) > 0 for items in relevant])
    np.testing.assert_array_equal(np.isnan(scores), ~has_relevant)
    assert np.all((scores[has_relevant] >= 0) & (scores[has_relevant] <= 1 + 1e-12))


@every_metric
@settings(deadline=None)
@given(case=lists_and_relevant(), k=st.integers(1, 8))
def test_names_of_items_and_the_order_of_the_relevant_do_not_matter(metric, case, k):
    lists, relevant = case
    names = np.array([f"film {(7 * item + 3) % 8}" for item in range(8)])
    renamed = np.ma.array(names[lists.data], mask=lists.mask)
    twice = [names[np.append(items[::-1], items)] for items in relevant]
    np.testing.assert_array_equal(metric(renamed, twice, k), metric(lists, relevant, k))


@every_metric
@settings(deadline=None)
@given(case=lists_and_relevant(), k=st.integers(1, 8))
def test_the_score_of_a_user_does_not_depend_on_others(metric, case, k):
    lists, relevant = case
    separate = [metric(lists[u : u + 1], relevant[u : u + 1], k)[0] for u in range(len(relevant))]
    np.testing.assert_array_equal(metric(lists, relevant, k), separate)


@every_metric
@settings(deadline=None)
@given(case=lists_and_relevant(), k=st.integers(1, 8))
def test_items_beyond_k_and_masked_places_are_not_hits(metric, case, k):
    lists, relevant = case
    scores = metric(lists, relevant, k)
    np.testing.assert_array_equal(metric(lists[:, :k], relevant, k), scores)
    filled = lists.data.copy()
    filled[lists.mask] = -1 - np.arange(np.sum(lists.mask))
    np.testing.assert_array_equal(metric(filled, relevant, k), scores)


@every_metric
def test_without_relevant_items_there_is_no_mean(metric):
    assert np.isnan(mean_over_users(metric([[1, 2]], [[]])))
    assert metric(np.empty((0, 5), int), []).shape == (0,)
    assert np.isnan(mean_over_users([]))


@every_metric
def test_an_empty_list_scores_zero(metric):
    assert metric(np.empty((1, 0), int), [[4]]) == [0]
    assert metric(np.ma.masked_all((1, 3), int), [[4]]) == [0]


@every_metric
def test_lists_that_cannot_be_scored_are_refused(metric):
    with pytest.raises(ValueError, match="k must be an integer of at least 1"):
        metric([[1, 2]], [[1]], 0)
    with pytest.raises(ValueError, match="at most once"):
        metric([[1, 2], [3, 3]], [[1], [2]])
    with pytest.raises(ValueError, match=r"found lists of shape \(1, 2\) and 2 sets"):
        metric([[1, 2]], [[1], [2]])
    with pytest.raises(ValueError, match="ids of one kind"):
        metric([[1, 2]], [["1"]])


@every_metric
def test_lists_may_have_different_lengths(metric):
    lists, relevant = [[5, 3, 9], [], [4]], [[3, 1], [2], [4]]
    padded = np.ma.array([[5, 3, 9], [0, 0, 0], [4, 0, 0]], mask=[[0, 0, 0], [1, 1, 1], [0, 1, 1]])
    np.testing.assert_array_equal(metric(lists, relevant, 3), metric(padded, relevant, 3))


@every_metric
def test_relevant_items_may_be_sets(metric):
    lists = [[5, 3, 9], [7, 4, 1]]
    np.testing.assert_array_equal(metric(lists, [{3, 1}, set()], 3), metric(lists, [[1, 3], []], 3))


@every_metric
@pytest.mark.parametrize("relevant", [{0: [1]}, {1}, [1], ["ab"], [None]])
def test_relevant_items_that_are_not_a_sequence_of_collections_are_refused(metric, relevant):
    with pytest.raises(TypeError, match="relevant: expected"):
        metric([[1, 2, 3]], relevant, 3)


@pytest.mark.parametrize("n_others", [0, 1, 4])
@pytest.mark.parametrize("k", range(1, 9))
def test_a_perfect_list_scores_exactly_one_among_any_others(n_others, k):
    lists = np.tile(np.arange(8), (1 + n_others, 1))
    relevant = [np.arange(8)] + [np.array([3])] * n_others
    assert ndcg_at_k(lists, relevant, k)[0] == 1.0
