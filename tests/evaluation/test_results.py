"""Results of an evaluation are small tables, in text and in a notebook."""

import numpy as np
import pytest

from numpy_neural_mf import GlobalMean, ItemKNN, evaluate, random_split, simulate_ratings
from numpy_neural_mf.evaluation import evaluate_ranking, evaluate_ratings

TRAIN, TEST = random_split(simulate_ratings(n_users=500, n_items=60, n_ratings=6_000))


@pytest.fixture(scope="module")
def model():
    return ItemKNN().fit(TRAIN)


def test_an_evaluation_of_many_users_is_short_text(model):
    found = evaluate(model, TRAIN, TEST)
    text = repr(found)
    assert text == str(found) == f"{found.ratings}\n\n{found.ranking}"
    assert len(text) < 1_500
    assert len(found._repr_html_()) < 5_000
    for number in (found.ratings.overall.rmse, found.ranking.overall["ndcg"], found.ranking.gini):
        assert f"{number:.4f}" in text
        assert f"{number:.4f}" in found._repr_html_()


def test_parts_without_ratings_and_means_without_users_are_left_out_or_empty(model):
    warm = TEST.take(np.flatnonzero(model.known(TEST.raw_users, TEST.raw_items)))
    assert "cold" not in repr(evaluate_ratings(model, TRAIN, warm))
    disliked = TEST.take(TEST.values < 4)
    text = repr(evaluate_ranking(model, TRAIN, disliked))
    assert text.startswith("Lists of 10 for 0 users")
    assert "nan" not in text


def test_the_default_training_part_has_the_ratings_of_the_model(model):
    expected = repr(evaluate(model, TRAIN, TEST))
    assert repr(evaluate(model, TEST)) == repr(evaluate(model, test=TEST)) == expected
    assert "\n\nLists of 5 " in repr(evaluate(model, TEST, k=5))


def test_a_model_without_ratings_of_its_own_needs_a_training_part():
    class Threes:
        def predict(self, users, items, timestamps=None):
            return np.full(len(users), 3.0)

    with pytest.raises(TypeError, match="train: expected ratings; a Threes has no ratings_ of its own"):
        evaluate(Threes(), TEST)
    assert evaluate(Threes(), TRAIN, TEST).ranking is None
    with pytest.raises(TypeError, match="test: expected ratings"):
        evaluate(GlobalMean().fit(TRAIN))


def test_ratings_that_the_model_learned_from_are_refused_without_a_training_part_too(model):
    with pytest.raises(ValueError, match="ratings are of a user and an item in train too"):
        evaluate(model, TRAIN)
