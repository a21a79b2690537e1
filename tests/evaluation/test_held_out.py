"""Evaluation: warm and cold ratings are separate, and ratings seen in training are refused."""

import pickle

import numpy as np
import pytest

from numpy_neural_mf.data import Ratings, leave_last_out, random_split, simulate_ratings
from numpy_neural_mf.evaluation import (
    evaluate,
    evaluate_ranking,
    evaluate_ratings,
    fcp,
    mae,
    mean_over_users,
    ndcg_at_k,
    r2,
    relevance_threshold,
    rmse,
    seen_rows,
    warm_rows,
)
from numpy_neural_mf.models import BayesianMF, GlobalMean, ItemKNN, LinearRegression, NeuralMF

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=900)


def small_training_part():
    """Return a split in which some users and some items are only in the test part."""
    rows = np.random.default_rng(0).permutation(len(RATINGS))
    return RATINGS.take(rows[:60]), RATINGS.take(rows[60:])


class ItemMeans:
    """A model that predicts the mean rating of an item, or of all items, and recommends by it."""

    def __init__(self, train):
        self.mean = train.mean
        self.means = {i: train.values[train.raw_items == i].mean() for i in set(train.raw_items.tolist())}
        self.seen = set(zip(train.raw_users.tolist(), train.raw_items.tolist(), strict=True))

    def predict(self, users, items, timestamps=None):
        return np.array([self.means.get(item, self.mean) for item in np.asarray(items).tolist()])

    def recommend(self, users, n, *, exclude_seen=True):
        best = sorted(self.means, key=self.means.get, reverse=True)
        lists = np.ma.masked_all((len(users), n), dtype=np.int64)
        for row, user in enumerate(np.asarray(users).tolist()):
            items = [item for item in best if not (exclude_seen and (user, item) in self.seen)][:n]
            lists[row, : len(items)] = items
        return lists


class PredictsOnly:
    def predict(self, users, items, timestamps=None):
        return np.full(len(users), 3.0)


def test_pairs_in_both_parts_are_found_by_their_raw_ids():
    train = Ratings.from_columns(["a", "b", "b"], [1, 1, 2], [3, 4, 5])
    test = Ratings.from_columns(["c", "b", "a", "a"], [1, 2, 1, 2], [5, 4, 3, 2])
    assert list(seen_rows(train, test)) == [False, True, True, False]
    assert seen_rows(RATINGS, RATINGS).all()
    assert not seen_rows(*random_split(RATINGS)).any()
    twice = RATINGS.take([3, 8, 3, 5, 8, 3])
    assert seen_rows(RATINGS.take([3, 4, 5]), twice).tolist() == [True, False, True, True, False, True]


def test_errors_are_those_of_the_predictions_of_the_test_part():
    train, test = random_split(RATINGS)
    model = ItemMeans(train)
    errors = evaluate_ratings(model, train, test)
    prediction = model.predict(test.raw_users, test.raw_items)
    assert errors.overall.n == len(test)
    assert errors.overall.rmse == rmse(prediction, test.values)
    assert errors.overall.mae == mae(prediction, test.values)
    assert errors.overall.r2 == r2(prediction, test.values)
    assert errors.overall.fcp == fcp(prediction, test.values, test.users)
    assert errors.calibration.n.sum() == len(test)
    of_users = [
        rmse(prediction[test.raw_users == u], test.values[test.raw_users == u]) for u in errors.user_ids
    ]
    np.testing.assert_allclose(errors.user_rmse, of_users)
    assert errors.mean_user_rmse == pytest.approx(np.mean(of_users))
    assert errors.mean_user_mae == errors.user_mae.mean()


def test_warm_means_rated_in_training_even_if_the_parts_share_their_ids():
    train = Ratings.from_columns([1, 1, 2], [10, 11, 10], [1, 2, 3], scale=(1, 5))
    test = Ratings.from_columns([1, 2, 3, 3], [12, 11, 10, 12], [1, 2, 3, 4], scale=(1, 5))
    assert list(warm_rows(train, test)) == [False, True, False, False]
    whole = Ratings.from_columns([1, 1, 2, 1, 2, 3, 3], [10, 11, 10, 12, 11, 10, 12], [1, 2, 3, 1, 2, 3, 4])
    assert list(warm_rows(whole.take(range(3)), whole.take(range(3, 7)))) == [False, True, False, False]


def test_the_squared_error_is_that_of_warm_and_of_cold_ratings():
    train, test = small_training_part()
    errors = evaluate_ratings(ItemMeans(train), train, test)
    warm, cold, overall = errors.warm, errors.cold, errors.overall
    assert warm.n > 0
    assert cold.n > 0
    assert warm.n + cold.n == overall.n == len(test)
    squares = warm.n * warm.rmse**2 + cold.n * cold.rmse**2
    assert squares == pytest.approx(overall.n * overall.rmse**2)
    assert errors.n_cold_users == len(set(test.raw_users) - set(train.raw_users))
    assert errors.n_cold_items == len(set(test.raw_items) - set(train.raw_items))


def test_without_cold_ratings_their_errors_are_nan():
    train, test = random_split(RATINGS, 0.1)
    test = test.take(warm_rows(train, test))
    cold = evaluate_ratings(ItemMeans(train), train, test).cold
    assert cold.n == 0
    assert np.isnan([cold.rmse, cold.mae, cold.r2, cold.fcp]).all()


def test_lists_are_compared_with_the_items_that_users_liked():
    train, test = random_split(RATINGS, 0.3)
    model = ItemMeans(train)
    quality = evaluate_ranking(model, train, test, k=5, relevant=4)
    liked = {}
    for user, item, value in zip(test.raw_users.tolist(), test.raw_items.tolist(), test.values, strict=True):
        if value >= 4:
            liked.setdefault(user, []).append(item)
    assert list(quality.user_ids) == sorted(liked)
    lists = model.recommend(quality.user_ids, 5)
    expected = ndcg_at_k(lists, [liked[user] for user in sorted(liked)], 5)
    np.testing.assert_array_equal(quality.per_user["ndcg"], expected)
    assert quality.overall["ndcg"] == mean_over_users(expected)
    assert quality.overall.keys() == {"precision", "recall", "ndcg", "map", "mrr", "hit_rate", "novelty"}
    assert 0 < quality.coverage <= 1
    assert 0 <= quality.gini <= 1


def test_the_mean_over_users_is_that_of_warm_and_of_cold_users():
    train, test = small_training_part()
    quality = evaluate_ranking(ItemMeans(train), train, test, k=5)
    n_warm = quality.is_warm.sum()
    assert 0 < n_warm < len(quality.is_warm)
    np.testing.assert_array_equal(quality.is_warm, np.isin(quality.user_ids, train.raw_users))
    total = n_warm * quality.warm["recall"] + (~quality.is_warm).sum() * quality.cold["recall"]
    assert total == pytest.approx(len(quality.is_warm) * quality.overall["recall"])


def test_the_catalogue_has_the_items_rated_in_training_even_if_the_parts_share_their_ids():
    train, test = small_training_part()
    n_items = len(set(train.raw_items))
    assert n_items < train.n_items
    # A list of this length contains every item that the user has not rated.
    assert evaluate_ranking(ItemMeans(train), train, test, k=n_items).coverage == 1


def test_a_model_that_does_not_recommend_has_no_ranking():
    train, test = random_split(RATINGS)
    assert evaluate(PredictsOnly(), train, test).ranking is None
    result = evaluate(ItemMeans(train), train, test, k=3)
    assert result.ranking.k == 3
    assert result.ratings.overall.rmse < evaluate(PredictsOnly(), train, test).ratings.overall.rmse


@pytest.mark.parametrize(
    ("scale", "threshold"), [((1, 5), 4), ((0.5, 5), 3.875), ((1, 10), 7.75), ((0, 1), 0.75)]
)
def test_relevant_is_the_upper_quarter_of_the_scale(scale, threshold):
    assert relevance_threshold(scale) == threshold


# In float32, 0.7 is below the 0.7 of float64.
def test_a_rating_at_the_threshold_is_relevant_whatever_the_precision():
    train = Ratings.from_columns([1], [1], [0.1], scale=(0, 1))
    test = Ratings.from_columns([1], [2], [0.7], scale=(0, 1))
    assert evaluate_ranking(ItemMeans(train), train, test, relevant=np.float64(0.7)).overall["recall"] == 0


def test_a_pair_in_both_parts_is_refused():
    train, test = leave_last_out(Ratings.from_columns([1, 1, 2], [1, 2, 1], [3, 4, 5], [1, 2, 3]))
    both = Ratings.from_columns([1, 1], [1, 2], [3, 4], scale=(1, 5))
    assert evaluate(ItemMeans(train), train, test).ratings.overall.n == 1
    for function in (evaluate, evaluate_ratings, evaluate_ranking):
        with pytest.raises(ValueError, match="1 of its 2 ratings are of a user and an item in train"):
            function(ItemMeans(train), train, both)


def test_without_test_ratings_evaluation_is_refused():
    train, test = random_split(RATINGS)
    with pytest.raises(ValueError, match="test: expected ratings"):
        evaluate(ItemMeans(train), train, test.take([]))
    with pytest.raises(ValueError, match="no rating of 6 or more"):
        evaluate(ItemMeans(train), train, test, relevant=6)
    with pytest.raises(ValueError, match="k must be an integer of at least 1, not -1"):
        evaluate(ItemMeans(train), train, test, k=-1)


def test_ratings_that_the_model_has_learned_since_are_refused():
    ratings = simulate_ratings(n_users=40, n_items=30, n_ratings=600, random_state=0)
    train, test = random_split(ratings)
    model = LinearRegression().fit(train)
    evaluate(model, train, test)
    model.partial_fit(test)
    for function in (evaluate, evaluate_ratings, evaluate_ranking):
        with pytest.raises(ValueError, match=f"the model has learned from {len(test)} of its {len(test)}"):
            function(model, train, test)


@pytest.mark.parametrize(
    ("values", "scale", "threshold"),
    [([1.0, 7.0, 3.0, 6.0], (1, 10), 7.75), ([1.0, 1.0, 1.0, 1.0], (1, 5), 4)],
    ids=["1 to 7", "all 1"],
)
def test_without_relevant_ratings_errors_are_reported_and_lists_are_nan(values, scale, threshold):
    ratings = Ratings.from_columns([1, 1, 2, 2], [1, 2, 1, 2], values, scale=scale)
    train, test = ratings.take([0, 1, 2]), ratings.take([3])
    found = evaluate(ItemMeans(train), train, test)
    assert found.ratings.overall.n == 1
    assert found.ratings.overall.rmse >= 0
    assert found.ranking.relevant == threshold
    assert len(found.ranking.user_ids) == 0
    scores = [*found.ranking.overall.values(), *found.ranking.cold.values()]
    assert np.isnan([*scores, found.ranking.coverage, found.ranking.gini]).all()


@pytest.mark.parametrize(
    "model",
    [
        GlobalMean(),
        LinearRegression(),
        ItemKNN(),
        NeuralMF(embedding_dim=4, hidden_layer_sizes=(8,), epochs=1),
        BayesianMF(n_samples=3, burn_in=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_evaluation_does_not_change_the_model(model):
    train, test = random_split(RATINGS)
    model.fit(train)
    model.recommend([1], 1)  # computes the cached attributes
    before = pickle.dumps(model)
    first = evaluate(model, train, test)
    assert pickle.dumps(model) == before
    again = evaluate(model, train, test)
    assert again.ratings.overall.rmse == first.ratings.overall.rmse
    assert again.ranking.overall == first.ranking.overall


def test_both_parts_may_have_any_form_that_read_ratings_takes():
    train, test = random_split(simulate_ratings(n_users=30, n_items=20, n_ratings=300))
    model = GlobalMean().fit(train)
    found, expected = evaluate(model, train.to_polars(), test.to_polars()), evaluate(model, train, test)
    assert found.ratings.overall.rmse == expected.ratings.overall.rmse
    assert found.ranking.overall == pytest.approx(expected.ranking.overall, nan_ok=True)
