"""ItemKNN, against the formula computed pair by pair."""

import numpy as np
import pytest

from numpy_neural_mf import ItemKNN, Ratings, random_split, simulate_ratings
from numpy_neural_mf.evaluation import rmse

RATINGS = simulate_ratings(n_users=40, n_items=25, n_ratings=500, random_state=3)
TRAIN, TEST = random_split(RATINGS, 0.2)


def by_the_formula(ratings, k, shrinkage, damping, user_penalty, item_penalty):
    """Koren (2010), section 2.2, with the sweeps in Surprise's order: a function of raw user and raw item."""
    mean, b_u, b_i = ratings.mean, {}, {}
    rows = [
        *zip(ratings.raw_users.tolist(), ratings.raw_items.tolist(), ratings.values.tolist(), strict=True)
    ]
    of_user, of_item = {}, {}
    for u, i, r in rows:
        of_user.setdefault(u, {})[i] = r
        of_item.setdefault(i, {})[u] = r
    for _ in range(10):
        for i, given in of_item.items():
            b_i[i] = sum(r - mean - b_u.get(u, 0) for u, r in given.items()) / (item_penalty + len(given))
        for u, given in of_user.items():
            b_u[u] = sum(r - mean - b_i[i] for i, r in given.items()) / (user_penalty + len(given))

    def left(u, i):
        return of_user[u][i] - mean - b_u[u] - b_i[i]

    def similarity(i, j):
        both = of_item[i].keys() & of_item[j].keys()
        if len(both) < 2:
            return 0.0
        product = sum(left(u, i) * left(u, j) for u in both)
        norms = sum(left(u, i) ** 2 for u in both) * sum(left(u, j) ** 2 for u in both)
        return (len(both) - 1) / (len(both) - 1 + shrinkage) * product / norms**0.5

    def predict(u, i):
        baseline = mean + b_u.get(u, 0) + b_i.get(i, 0)
        if u not in of_user or i not in of_item:
            return baseline
        near = sorted(((similarity(i, j), j) for j in of_user[u] if j != i), reverse=True)[:k]
        near = [(s, j) for s, j in near if s > 0]
        total = damping + sum(s for s, _ in near)
        return baseline + sum(s * left(u, j) for s, j in near) / total if near else baseline

    return predict


@pytest.mark.parametrize(
    "settings",
    [
        {"k": 5, "shrinkage": 100.0, "damping": 0.0, "user_penalty": 15.0, "item_penalty": 10.0},
        {"k": 3, "shrinkage": 10.0, "damping": 0.2, "user_penalty": 5.0, "item_penalty": 5.0},
        {"k": 40, "shrinkage": 0.0, "damping": 1.0, "user_penalty": 1.0, "item_penalty": 2.0},
    ],
    ids=["as Surprise", "few", "all"],
)
def test_predictions_are_those_of_the_formula(settings):
    expected = by_the_formula(TRAIN, **settings)
    users = [*TEST.raw_users.tolist(), 1, 999, 999]
    items = [*TEST.raw_items.tolist(), 999, 2, 999]
    pairs = zip(users, items, strict=True)
    np.testing.assert_allclose(
        ItemKNN(**settings).fit(TRAIN).predict(users, items),
        np.clip([expected(u, i) for u, i in pairs], *TRAIN.scale),
        rtol=1e-5,
    )


def test_ties_between_neighbours_do_not_depend_on_the_order_of_ratings():
    """With two common users, every correlation is 1 or -1, so most neighbours tie."""
    rng = np.random.default_rng(0)
    few = RATINGS.take(rng.permutation(len(RATINGS))[:120])
    shuffled = few.take(rng.permutation(len(few)))
    one, other = (ItemKNN(k=1, shrinkage=0).fit(ratings) for ratings in (few, shuffled))
    pairs = few.user_ids[:, None], few.item_ids[None]
    np.testing.assert_allclose(one.predict(*pairs), other.predict(*pairs), rtol=1e-5)


def test_a_folded_in_user_has_the_predictions_of_the_same_user_in_training():
    model = ItemKNN(k=5).fit(TRAIN)
    own = TRAIN.raw_users == 7
    ann = model.fold_in(dict(zip(TRAIN.raw_items[own].tolist(), TRAIN.values[own].tolist(), strict=True)))
    np.testing.assert_allclose(
        model.predict(ann, TRAIN.item_ids), model.predict(7, TRAIN.item_ids), rtol=1e-4
    )


def test_a_folded_in_item_has_the_predictions_of_an_item_with_the_same_ratings():
    model = ItemKNN().fit(TRAIN)
    fans = TRAIN.raw_items == 4
    like_item_4 = dict(zip(TRAIN.raw_users[fans].tolist(), TRAIN.values[fans].tolist(), strict=True))
    copy = model.fold_in_item(1_000, like_item_4)
    others = np.setdiff1d(TRAIN.user_ids, TRAIN.raw_users[fans])
    # The original is a neighbour of the copy, but none of these users rated it.
    assert rmse(model.predict(others, copy), model.predict(others, 4)) < 0.05


def test_reasons_are_the_contributions_of_the_neighbours():
    settings = {"k": 5, "shrinkage": 10.0, "damping": 0.2, "user_penalty": 5.0, "item_penalty": 5.0}
    model = ItemKNN(**settings).fit(TRAIN)
    why = model.explain(7, 4)
    assert sum(reason.weight != 0 for reason in why.reasons) <= 5
    assert why.rest == why.user_bias
    first = why.reasons[0]
    assert first.item in model.similar_items(4, n=25)[0]
    assert (first.weight > 0) == (
        first.rating
        > model.mean_ + why.user_bias + model.item_bias_[np.searchsorted(model.item_ids_, first.item)]
    )


def test_similar_items_have_the_highest_similarity():
    model = ItemKNN().fit(TRAIN)
    ids, found = model.similar_items(4, n=3)
    row = model.similarity_.toarray()[np.searchsorted(model.item_ids_, 4)]
    np.testing.assert_array_equal(found, -np.sort(-row)[:3])
    np.testing.assert_array_equal(row[np.searchsorted(model.item_ids_, ids)], found)
    with pytest.raises(ValueError, match="item 'x' is unknown"):
        model.similar_items("x")


def test_neighbours_find_what_biases_cannot():
    """Two groups of users and of items: all means are equal, and the standard deviation is 2."""
    users, items = np.indices((40, 30)).reshape(2, -1)
    values = np.where(users % 2 == items % 2, 5.0, 1.0)
    train, test = random_split(Ratings.from_columns(users, items, values), 0.3)
    model = ItemKNN().fit(train)
    assert rmse(model.predict(test.raw_users, test.raw_items), test.values) < 0.5


def test_if_all_ratings_are_equal_no_items_are_similar_and_the_mean_is_predicted():
    users, items = np.indices((4, 3)).reshape(2, -1)
    with pytest.warns(UserWarning, match="all 12 ratings are 4"):
        model = ItemKNN().fit(Ratings.from_columns(users, items, np.full(12, 4.0), scale=(1, 5)))
    assert model.similarity_.nnz == 0
    assert len(model.similar_items(0)[0]) == 0
    np.testing.assert_allclose(model.predict([0, 1], [2, "new"]), 4.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must be an integer of at least 1, not 0"),
        ({"shrinkage": -1.0}, "shrinkage must be a finite number of at least 0, not -1.0"),
        ({"damping": float("nan")}, "damping must be a finite number of at least 0, not nan"),
        ({"user_penalty": 0.0}, "user_penalty must be a finite number above 0, not 0.0"),
        ({"item_penalty": float("inf")}, "item_penalty must be a finite number above 0, not inf"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ItemKNN(**settings)


@pytest.mark.parametrize("setting", ["k", "shrinkage", "damping", "user_penalty", "item_penalty"])
@pytest.mark.parametrize("value", [None, "auto", True])
def test_settings_of_the_wrong_type_are_named(setting, value):
    with pytest.raises(TypeError, match=f"{setting} must be .*, not {value!r}"):
        ItemKNN(**{setting: value})


def test_the_number_of_neighbours_is_an_integer():
    with pytest.raises(TypeError, match=r"k must be an integer of at least 1, not 2\.5"):
        ItemKNN(k=2.5)
