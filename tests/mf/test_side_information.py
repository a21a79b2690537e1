"""Features and implicit feedback: their construction, their benefit, and no leak of validation ratings."""

from dataclasses import replace

import numpy as np
import pytest

from numpy_neural_mf import Architecture, Features, NeuralMF, Ratings, load_model
from numpy_neural_mf.mf.side_information import side_features_of
from numpy_neural_mf.training.loop import Progress

TINY = Ratings.from_columns(["a", "a", "b"], [10, 20, 20], [1, 2, 5], scale=(1, 5))
FILMS = Features.from_frame({"id": [10, 20, 30], "genre": ["x", "y", "x"]})
BOTH = Architecture(2, features=True, implicit=True)


def taste(n_users=60, n_items=40, n_ratings=1_500, seed=0, whims=0.0):
    """Users like either even-numbered or odd-numbered items, and features distinguish the two groups.

    `whims` is the share of the ratings that are reversed.
    """
    rng = np.random.default_rng(seed)
    pairs = rng.choice(n_users * n_items, n_ratings, replace=False)
    users, items = pairs // n_items, pairs % n_items
    likes = ((users + items) % 2 == 0) ^ (rng.random(n_ratings) < whims)
    ratings = Ratings.from_columns(users, items, np.where(likes, 5.0, 1.0), scale=(1, 5))
    films = Features.from_frame({"id": range(n_items + 2), "parity": ["even", "odd"] * (n_items // 2 + 1)})
    return ratings.with_features(items=films)


def test_features_are_implicit_feedback_and_item_features():
    features = side_features_of(BOTH, TINY.with_features(items=FILMS).compact(described=True))
    user_sets = [[1, 0.5**0.5, 0.5**0.5, 0], [1, 0, 1, 0], [1, 0, 0, 0]]  # a, b, the unknown; 10, 20, 30
    np.testing.assert_allclose(features["user"].matrix.toarray(), user_sets, rtol=1e-6)
    assert features["user"].fields.tolist() == [0, 1, 1, 1]
    genres_and_raters = [
        [1, 1, 0, 1, 0],
        [1, 0, 1, 0.5**0.5, 0.5**0.5],
        [1, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(features["item"].matrix.toarray(), genres_and_raters, rtol=1e-6)
    assert features["item"].fields.tolist() == [0, 1, 1, 2, 2]
    assert features["item"].names == ("genre", "rated")
    assert features["user"].has_sets


def test_a_side_without_features_is_left_out():
    assert side_features_of(Architecture(), TINY.with_features(items=FILMS)) == {}
    found = side_features_of(replace(BOTH, implicit=False), TINY.with_features(items=FILMS))
    assert [*found] == ["item"]
    assert not found["item"].has_sets


def test_missing_features_are_refused():
    with pytest.raises(ValueError, match="expected ratings with features"):
        NeuralMF(BOTH).fit(TINY)


@pytest.mark.parametrize(
    "fields", [{"features": True}, {"implicit": True}, {"features": True, "implicit": True}]
)
def test_a_model_with_features_has_the_parameters_of_one_without(fields):
    model = NeuralMF(Architecture(4, **fields), epochs=2).fit(taste())
    plain = Architecture(4).parameter_shapes(len(model.user_ids_), len(model.item_ids_))
    assert {name: value.shape for name, value in model.parameters_.items()} == plain


def test_an_unrated_item_is_predicted_from_its_features(tmp_path):
    model = NeuralMF(Architecture(4, features=True), epochs=20, batch_size=64).fit(taste())
    assert model.known(0, [40, 41, 42]).tolist() == [True, True, False]
    even, odd, unknown = model.predict(0, [40, 41, 42])
    assert even > 3.7 > 2.3 > odd
    assert odd < unknown < even
    assert {*model.recommend([0, 1], n=50).compressed()} >= {40, 41}
    similar, _ = model.similar_items(40, n=5)
    assert (similar % 2 == 0).all()
    assert model.explain(0, 40).prediction == pytest.approx(even)
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(0, [40, 41, 42]), model.predict(0, [40, 41, 42]))
    assert loaded.architecture.features


def test_ratings_move_an_item_away_from_its_features_prior(tmp_path):
    """One neutral rating of an even item moves the item from its prior, not from zero."""
    model = NeuralMF(Architecture(4, features=True), epochs=20, batch_size=64).fit(taste(whims=0.1))
    model.save(tmp_path / "model")
    more = Ratings.from_columns([3, 5], [40, 43], [3.0, 3.0], scale=(1, 5))
    for learner in (load_model(tmp_path / "model"), model):
        learner.partial_fit(more)
        assert learner.predict(0, 40) > 3.7  # described
        assert learner.predict(0, 40) > learner.predict(0, 43) + 0.5  # not described
    by_item = {name: len(table) > 1 for name, table in model.prior_.items()}
    assert by_item == {name: name.startswith("item") for name in by_item}
    assert len(model.prior_["item_bias.weight"]) == len(model.parameters_["item_bias.weight"])


def test_a_user_without_ratings_is_predicted_from_their_features():
    ratings = taste()
    users = Features.from_frame({"id": range(62), "parity": ["even", "odd"] * 31})
    model = NeuralMF(Architecture(4, features=True), epochs=20, batch_size=64)
    model.fit(ratings.with_features(users=users))
    assert model.predict(60, 0) > 4 > 2 > model.predict(61, 0)


def test_implicit_feedback_does_not_contain_validation_ratings():
    """A planted leak: user u rates item 40 in validation if, and only if, they like even items.

    If implicit feedback contained it, the trained model would differ from one with uninformative validation.
    """
    ratings, rng = taste(), np.random.default_rng(1)
    leak = Ratings.from_columns(np.arange(0, 60, 2), np.full(30, 40), np.full(30, 5.0), scale=(1, 5))
    harmless = replace(leak, items=rng.integers(0, 40, 30).astype(np.int32), item_ids=ratings.item_ids)
    losses = [
        NeuralMF(Architecture(4, implicit=True), epochs=3, batch_size=128)
        .fit(ratings, validation)
        .history_.train_loss
        for validation in (leak, harmless)
    ]
    assert losses[0] == losses[1]


def test_a_killed_training_resumes_with_the_same_result(tmp_path):
    def kill(progress: Progress) -> None:
        if progress.epoch == 3:
            raise KeyboardInterrupt

    new_model = lambda: NeuralMF(Architecture(4, features=True, implicit=True), epochs=4, batch_size=128)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        new_model().fit(taste(), on_progress=kill, checkpoint_dir=tmp_path)
    resumed, expected = new_model().fit(taste(), checkpoint_dir=tmp_path), new_model().fit(taste())
    assert resumed.history_.expected_loss == expected.history_.expected_loss
    for name, value in expected.parameters_.items():
        assert resumed.parameters_[name].tobytes() == value.tobytes()
    other = taste().with_features(items=Features.from_frame({"id": range(42), "n": range(42)}))
    with pytest.raises(ValueError, match="found one of other ratings"):
        new_model().fit(other, checkpoint_dir=tmp_path)
