"""The next-item model: recommendations, errors and files."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from numpy_neural_mf import ModelFileError, NeuralMF, Ratings, leave_last_out, load_model, simulate_ratings
from numpy_neural_mf.data.time_order import in_time_order, last_items
from numpy_neural_mf.evaluation import hit_rate_at_k
from numpy_neural_mf.evaluation.held_out import evaluate_ranking
from numpy_neural_mf.models import files as model_file
from numpy_neural_mf.models.next_item import NextItemModel
from numpy_neural_mf.training.sequence_encoder import SequenceEncoder

N_USERS, N_ITEMS, LENGTH = 60, 8, 7
USERS = np.arange(N_USERS)
NEXT = (3 * USERS + LENGTH) % N_ITEMS


def in_circles():
    """All users go through the same cycle of items from different starts; the rows are shuffled."""
    users, places = np.repeat(USERS, LENGTH), np.tile(np.arange(LENGTH), N_USERS)
    items = (3 * users + places) % N_ITEMS
    order = np.random.default_rng(0).permutation(len(users))
    columns = users, items, 3.0 + items % 2, places
    return Ratings.from_columns(*(column[order] for column in columns), scale=(1, 5))


def new_model(encoder="attention", **settings):
    settings = {"epochs": 25, "batch_size": 70, "learning_rate": 0.02, "dropout": 0.0} | settings
    return NextItemModel(encoder, 8, sequence_length=LENGTH, device="cpu", **settings)


@pytest.fixture(scope="module", params=["attention", "gru"])
def trained(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    new_model(request.param).fit(in_circles()).save(path)
    return path


@pytest.fixture
def fitted(trained):
    """Load the model from a file, so that tests do not share state."""
    return load_model(trained)


def test_the_model_predicts_what_comes_next(fitted):
    assert (fitted.recommend(USERS, n=1)[:, 0] == NEXT).mean() > 0.9
    assert fitted.history_.train_loss[-1] < 0.2 < 1 < fitted.history_.train_loss[0]


def test_items_are_ranked_by_the_state_of_the_encoder(fitted):
    ratings = in_time_order(in_circles())
    encoder = SequenceEncoder(fitted.encoder, N_ITEMS, 8, LENGTH)
    encoder.load_state_dict({name: torch.tensor(value) for name, value in fitted.parameters_.items()})
    past = ratings.items[ratings.users == 4]
    with torch.no_grad():
        h = encoder.eval()(torch.tensor(past.astype(np.int64))[None])[0, -1]
        logits = (encoder.embedding.weight[:-1] @ h + encoder.bias.weight[:-1, 0]).numpy()
    items, scores = fitted.recommend(4, n=N_ITEMS, exclude_seen=False, with_scores=True)
    np.testing.assert_array_equal(items, np.argsort(-logits))
    np.testing.assert_allclose(scores, -np.sort(-logits), rtol=1e-4, atol=1e-5)
    assert fitted.n_parameters_ == sum(value.numel() for value in encoder.parameters())


def test_recommended_lists_are_masked_arrays_of_raw_ids(fitted):
    items = fitted.recommend([[1, 2], [3, "nobody"]], n=3)
    assert items.shape == (2, 2, 3)
    assert items[0].mask.tolist() == [[False, True, True]] * 2  # seven of eight items are seen
    assert not items[1, 1].mask.any()
    assert fitted.recommend(1, n=3).tolist() == [(3 + LENGTH) % N_ITEMS, None, None]
    assert fitted.recommend(1, n=3, candidates=[1, "nothing", 5], exclude_seen=False).count() == 2
    assert fitted.recommend(1, candidates=[]).mask.all()
    rare = in_circles().items == 0
    assert fitted.recommend("nobody", n=N_ITEMS, min_ratings=int(rare.sum()) + 1).count() < N_ITEMS
    with pytest.raises(ValueError, match="n must be an integer of at least 1"):
        fitted.recommend(1, n=0)


def test_a_new_user_gets_what_follows_their_last_item(fitted):
    assert fitted.recommend_after([2, 3, 4], n=1).tolist() == [5]
    assert fitted.recommend_after([4, 3, 2, "never seen"], n=1, exclude_seen=False).tolist() == [3]
    assert fitted.recommend_after([2, 3, 4], n=2, candidates=[3, 5, 6]).tolist()[0] == 5
    assert set(fitted.recommend_after([2, 3, 4], n=N_ITEMS).compressed()) == {0, 1, 5, 6, 7}
    nobody = fitted.recommend("nobody", n=N_ITEMS, exclude_seen=False)
    assert fitted.recommend_after([], n=N_ITEMS).tolist() == nobody.tolist()
    with pytest.raises(ValueError, match="expected the ids of one user"):
        fitted.recommend_after(3)


def test_a_new_user_with_a_user_s_items_gets_that_user_s_list(fitted):
    past = in_time_order(in_circles())
    own = past.raw_items[past.raw_users == 7]
    for given in (own, np.concatenate([own[::-1], own])):  # only the last seven matter
        after = fitted.recommend_after(given, n=N_ITEMS, exclude_seen=False)
        assert after.tolist() == fitted.recommend(7, n=N_ITEMS, exclude_seen=False).tolist()


def test_similar_items_have_the_highest_cosines(fitted):
    ids, cosines = fitted.similar_items(2, n=20)
    table = fitted.parameters_["embedding.weight"][:-1]
    table = table / np.linalg.norm(table, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines, table[ids] @ table[2], rtol=1e-4, atol=1e-6)
    assert sorted([*ids, 2]) == list(range(N_ITEMS))
    with pytest.raises(ValueError, match="item 99 is unknown"):
        fitted.similar_items(99)


def test_planted_sequences_are_found_better_than_popularity():
    train, test = leave_last_out(simulate_ratings(400, 100, 8_000, sequence=2.0, random_state=0))
    model = NextItemModel(embedding_dim=16, epochs=8, batch_size=500, learning_rate=0.01, device="cpu").fit(
        train
    )
    relevant = list(test.raw_items[:, None])
    ours = hit_rate_at_k(model.recommend(test.raw_users, n=5), relevant, 5).mean()
    known = train.compact()
    counts = np.tile(np.bincount(known.items, minlength=known.n_items), (known.n_users, 1))
    counts[known.users, known.items] = -1
    popular = known.item_ids[np.argsort(-counts, axis=1, kind="stable")[:, :5]]
    popular = popular[np.searchsorted(known.user_ids, test.raw_users)]
    assert ours > 1.5 * hit_rate_at_k(popular, relevant, 5).mean()


def test_validation_ratings_choose_the_epoch():
    train, validation = leave_last_out(in_circles())
    history = new_model("gru", epochs=4).fit(train, validation).history_
    assert history.validation_loss[history.best_epoch - 1] == min(history.validation_loss)
    assert len(history.validation_loss) == 4


def test_its_lists_can_be_evaluated(fitted):
    train = in_circles()
    test = Ratings.from_columns(USERS, NEXT, np.full(N_USERS, 5.0), np.full(N_USERS, 99), scale=(1, 5))
    quality = evaluate_ranking(fitted, train, test, k=1)
    assert quality.overall["hit_rate"] > 0.9
    with pytest.raises(ValueError, match="the model has learned from 60 of its 60 ratings"):
        evaluate_ranking(fitted.partial_fit(test), train, test)


def test_it_is_not_a_model_of_ratings(fitted):
    assert not isinstance(fitted, NeuralMF)
    assert not hasattr(fitted, "predict")


def test_more_ratings_continue_the_sequences(fitted, trained):
    before = load_model(trained)
    more = Ratings.from_columns([0, 500, 500, 500], [7, 3, 4, 99], [4, 4, 3, 3], [9, 10, 11, 8], scale=(1, 5))
    assert fitted.partial_fit(more) is fitted
    state = fitted.fitted_
    assert state.last_items[0].tolist() == [1, 2, 3, 4, 5, 6, 7]  # 0 was the oldest of seven
    assert fitted.recommend(0, n=1, exclude_seen=False).tolist() == [0]
    assert state.last_items[-1].tolist() == [8, 3, 4, -1, -1, -1, -1]
    assert fitted.item_ids_.tolist() == [*range(N_ITEMS), 99]
    assert 3 not in fitted.recommend(500, n=9).compressed()
    np.testing.assert_array_equal(state.states[1:N_USERS], before.fitted_.states[1:N_USERS])
    assert len(fitted.ratings_) == len(before.ratings_) + 4
    kept = fitted.fitted_
    with pytest.raises(ValueError, match="expected timestamps"):
        fitted.partial_fit(replace(more, timestamps=None))
    assert fitted.fitted_ is kept


def test_partial_fit_of_a_model_that_is_not_fitted_is_fit():
    ours, theirs = (
        new_model("gru", epochs=1).partial_fit(in_circles()),
        new_model("gru", epochs=1).fit(in_circles()),
    )
    np.testing.assert_array_equal(ours.fitted_.states, theirs.fitted_.states)


def test_the_same_seed_gives_the_same_model():
    states = [
        new_model("gru", epochs=2, dropout=0.3, negatives=3, random_state=seed)
        .fit(in_circles())
        .fitted_.states
        for seed in (1, 1, 2, np.random.default_rng(1))
    ]
    assert states[0].tobytes() == states[1].tobytes() == states[3].tobytes() != states[2].tobytes()


def test_ratings_without_times_are_refused():
    with pytest.raises(ValueError, match="expected timestamps"):
        new_model().fit(replace(in_circles(), timestamps=None))


class StoppedError(Exception):
    """Stand-in for anything that ends a training."""


def interrupt(progress):
    if progress.epoch == 2:
        raise StoppedError


def diverging(model):
    model.learning_rate = 1e30
    model.fit(in_circles())


@pytest.mark.parametrize(
    ("fit", "error"),
    [
        (lambda model: model.fit(in_circles(), on_progress=interrupt), StoppedError),
        (diverging, FloatingPointError),
        (lambda model: model.fit(in_circles().take([])), ValueError),
    ],
    ids=["interrupted", "diverged", "empty"],
)
def test_a_fit_that_fails_leaves_the_model_unchanged(fitted, fit, error):
    state, list_before = fitted.fitted_, fitted.recommend(USERS, n=N_ITEMS, exclude_seen=False).tolist()
    with pytest.raises(error):
        fit(fitted)
    assert fitted.fitted_ is state
    assert fitted.recommend(USERS, n=N_ITEMS, exclude_seen=False).tolist() == list_before
    model = new_model()
    with pytest.raises(error):
        fit(model)
    with pytest.raises(RuntimeError, match="this NextItemModel is not fitted"):
        model.recommend(1)


def test_an_update_that_overflows_leaves_the_model_unchanged(trained):
    model = load_model(trained)
    state = model.fitted_
    for table in model.parameters_.values():
        table[...] = 3e38
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="states of users are not finite"):
        model.partial_fit(in_circles())
    assert model.fitted_ is state


def test_loaded_it_ranks_the_same_bit_for_bit(fitted, tmp_path):
    path = tmp_path / "again.safetensors"
    fitted.save(path)
    loaded = load_model(path)
    ours, theirs = (m.recommend(USERS, 8, exclude_seen=False, with_scores=True) for m in (fitted, loaded))
    for a, b in zip(ours, theirs, strict=True):
        assert a.tobytes() == b.tobytes()
    assert loaded.recommend_after([2, 3]).tolist() == fitted.recommend_after([2, 3]).tolist()
    assert (loaded.history_, loaded.encoder, loaded.epochs) == (fitted.history_, fitted.encoder, 25)
    np.testing.assert_array_equal(loaded.ratings_.values, fitted.ratings_.values)
    expected = last_items(in_time_order(in_circles()), LENGTH)
    np.testing.assert_array_equal(loaded.fitted_.last_items, expected)


def test_string_ids_are_recommended_and_saved(tmp_path):
    plain = in_circles()
    ids = {
        side: np.array([f"{side}{n}" for n in range(size)]) for side, size in (("u", N_USERS), ("i", N_ITEMS))
    }
    order = np.argsort(ids["u"])
    place = np.argsort(order).astype(np.int32)
    model = new_model("gru").fit(
        replace(plain, users=place[plain.users], user_ids=ids["u"][order], item_ids=ids["i"])
    )
    model.save(tmp_path / "m")
    assert load_model(tmp_path / "m").recommend_after(["i2", "i3", 4], n=1).tolist() == ["i4"]


def test_a_generator_as_random_state_is_not_kept(tmp_path):
    new_model(epochs=1, random_state=np.random.default_rng(0)).fit(in_circles()).save(tmp_path / "m")
    assert load_model(tmp_path / "m").random_state is None


def changed(**values):
    """Return a change of the description's settings, or of arrays."""

    def change(description, arrays):
        for name, value in values.items():
            if name in arrays:
                arrays[name] = value(arrays[name])
            else:
                description["settings"][name] = value

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda description, arrays: description.update(model="NeuralMF"), "NeuralMF"),
        (lambda description, arrays: description["settings"].pop("dropout"), "missing dropout; expected"),
        (
            lambda description, arrays: description["summary"].update(train_loss=["x"]),
            "train_loss must be a finite number",
        ),
        (lambda description, arrays: arrays.pop("states"), "missing states"),
        (lambda description, arrays: arrays.update(more=np.zeros(2)), "not expected"),
        (changed(encoder="lstm"), "encoder must be one of"),
        (changed(epochs="many"), "epochs must be an integer"),
        (changed(embedding_dim=9), "encoder.embedding.weight: expected float32 of shape"),
        (changed(states=lambda a: a * np.float32(np.nan)), "states: expected finite numbers"),
        (changed(last_items=lambda a: a + np.int32(1)), "last_items: expected rows of items"),
        (
            changed(last_items=lambda a: np.where(np.arange(a.shape[1]) < 1, -1, a).astype(a.dtype)),
            "last_items",
        ),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(trained, tmp_path, change, fault):
    description, arrays = model_file.read(trained)
    change(description, arrays)
    model_file.write(tmp_path / "m", json.loads(json.dumps(description)), arrays)
    with pytest.raises(ModelFileError, match=fault):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"encoder": "lstm"}, ValueError, "encoder must be one of attention, gru"),
        ({"embedding_dim": 0}, ValueError, "embedding_dim must be an integer from 1 to"),
        ({"sequence_length": 2.5}, TypeError, "sequence_length must be an integer"),
        ({"negatives": -1}, ValueError, "negatives must be an integer of at least 0"),
        ({"dropout": 1.0}, ValueError, "dropout must be a finite number"),
        ({"epochs": 100_001}, ValueError, "epochs must be an integer from 1 to 100000"),
        ({"epochs": True}, TypeError, "epochs must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate"),
        ({"patience": 0}, ValueError, "patience"),
        ({"device": "tpu"}, ValueError, "device must be one of"),
    ],
)
def test_settings_out_of_range_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        NextItemModel(**settings)


def test_without_pytorch_the_error_names_the_extra(fitted, monkeypatch):
    expected = fitted.recommend(USERS).tolist()
    monkeypatch.setitem(sys.modules, "numpy_neural_mf.training.next_item_training", None)
    monkeypatch.delattr("numpy_neural_mf.training.next_item_training")
    with pytest.raises(ModuleNotFoundError, match=r"numpy-neural-mf\[torch\]"):
        new_model().fit(in_circles())
    assert fitted.recommend(USERS).tolist() == expected  # recommending to known users needs only NumPy
