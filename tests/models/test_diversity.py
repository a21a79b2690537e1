"""Diverse top-N lists."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose

from numpy_neural_mf import BayesianMF, ItemKNN, LinearRegression, NeuralMF, simulate_ratings
from numpy_neural_mf.models.diversity import cosines, marginal_relevance

RATINGS = simulate_ratings(n_users=80, n_items=60, n_ratings=2_000)
MODELS = [
    NeuralMF(embedding_dim=4, hidden_layer_sizes=(), epochs=3).fit(RATINGS),
    ItemKNN().fit(RATINGS),
    BayesianMF(4, n_samples=3, burn_in=2, rank=4).fit(RATINGS),
]
similarities = st.integers(1, 12).flatmap(
    lambda m: st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=m, max_size=m)
)


@given(similarities, st.integers(1, 15), st.floats(0, 1))
def test_each_rank_has_the_highest_marginal_relevance_of_the_remaining_items(rows, n, diversity):
    similarity = cosines(np.array(rows), np.arange(len(rows)))
    places, m = marginal_relevance(similarity, n, diversity).tolist(), len(rows)
    assert len(set(places)) == len(places) == min(n, m)
    assert places[0] == 0
    relevance = np.linspace(1, 0, m)
    for at in range(1, len(places)):
        gain = [
            (1 - diversity) * relevance[i] - diversity * max(similarity[i, j] for j in places[:at])
            for i in range(m)
        ]
        left = [i for i in range(m) if i not in places[:at]]
        assert_allclose(gain[places[at]], max(gain[i] for i in left), atol=1e-12)


@given(similarities)
def test_without_diversity_the_order_stays(rows):
    similarity = cosines(np.array(rows), np.arange(len(rows)))
    assert marginal_relevance(similarity, len(rows), 0.0).tolist() == list(range(len(rows)))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_diverse_list_has_less_similar_items_and_their_own_scores(model):
    plain = model.recommend([1, 2, -5], 5)
    same = model.recommend([1, 2, -5], 5, diversity=0)
    assert same.tolist() == plain.tolist()
    diverse, values = model.recommend([1, 2, -5], 5, diversity=1.0, with_scores=True)
    assert diverse.shape == values.shape == plain.shape
    assert diverse[:, 0].tolist() == plain[:, 0].tolist()
    for old, new in zip(plain, diverse, strict=True):
        off = ~np.eye(5, dtype=bool)
        assert model._similarities(new.data)[off].mean() < model._similarities(old.data)[off].mean()
    assert_allclose(values[:2], model.predict([[1], [2]], diverse[:2].data), rtol=1e-6)
    frame = model.recommend(1, 5, diversity=1.0, as_frame=True)
    assert frame["item"].to_list() == diverse[0].tolist()


def test_lists_that_are_shorter_than_asked_for_are_masked_at_their_end():
    items, scores = MODELS[0].recommend([1, 2], 4, candidates=[1, 2, 3], exclude_seen=False, diversity=0.5,
                                        with_scores=True)  # fmt: skip
    assert items.mask.tolist() == scores.mask.tolist() == [[False] * 3 + [True]] * 2
    assert MODELS[0].recommend(1, 4, candidates=[], diversity=0.5).tolist() == [None] * 4


def test_a_new_item_is_similar_to_no_other():
    model = MODELS[0]
    new = model.fold_in_item(999, dict.fromkeys(range(1, 30), 5.0))
    assert 999 in model.recommend(40, 5, new_items=[new], diversity=1.0).tolist()


def test_a_model_without_similarities_and_another_number_are_refused():
    with pytest.raises(ValueError, match="no embeddings to compare items by"):
        LinearRegression().fit(RATINGS).recommend(1, diversity=0.5)
    for wrong in (-0.1, 1.1, "much"):
        with pytest.raises((TypeError, ValueError), match=r"must be a (finite )?number from 0 to 1"):
            MODELS[0].recommend(1, diversity=wrong)
