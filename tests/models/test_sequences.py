"""Models with a sequence: users that move, and what comes next."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from numpy_neural_mf import Architecture, NeuralMF, Ratings, load_model, simulate_ratings
from numpy_neural_mf.data.time_order import in_time_order
from numpy_neural_mf.training.engines.torch_sequence import SequenceEncoder

N_USERS, N_ITEMS, LENGTH = 60, 8, 7


def in_circles(n=LENGTH, first_user=0, start=0):
    """Each user goes round in the same circle of items, from a place of their own; the rows are shuffled."""
    users = np.repeat(np.arange(N_USERS), n)
    places = np.tile(np.arange(start, start + n), N_USERS)
    items = (3 * users + places) % N_ITEMS
    order = np.random.default_rng(0).permutation(len(users))
    ratings = 3.0 + (items % 2)
    return Ratings.from_columns(
        (users + first_user)[order], items[order], ratings[order], places[order], scale=(1, 5)
    )


def new_model(sequence="attention", **settings):
    form = Architecture(8, dropout=0.0, sequence=sequence, sequence_length=LENGTH, next_item_weight=1.0)
    settings = {"epochs": 25, "batch_size": 70, "learning_rate": 0.02, "validation_fraction": 0.0} | settings
    return NeuralMF(form, **settings)


@pytest.fixture(scope="module", params=["attention", "gru"])
def fitted(request):
    return new_model(request.param).fit(in_circles())


USERS = np.arange(N_USERS)
NEXT = (3 * USERS + LENGTH) % N_ITEMS


def test_the_model_tells_what_comes_next(fitted):
    assert (fitted.recommend(USERS, n=1)[:, 0] == NEXT).mean() > 0.9


def test_next_items_are_ranked_by_the_state_now(fitted):
    ratings = in_time_order(in_circles())
    with torch.device("meta"):
        encoder = SequenceEncoder(fitted.architecture, N_ITEMS)
    values = {
        name.removeprefix("sequence."): torch.tensor(value)
        for name, value in fitted._sequences.parameters.items()
    }
    encoder.load_state_dict(values, assign=True)
    encoder.eval()
    past = ratings.items[ratings.users == 4]
    with torch.no_grad():
        h = encoder(torch.tensor(past.astype(np.int64))[None])[0, -1]
        logits = (encoder.embedding.weight[:-1] @ h + encoder.bias.weight[:-1, 0]).numpy()
    items, scores = fitted.recommend(4, n=N_ITEMS, exclude_seen=False, with_scores=True)
    np.testing.assert_array_equal(items, np.argsort(-logits))
    np.testing.assert_allclose(scores, -np.sort(-logits), rtol=1e-4, atol=1e-5)


def test_ratings_are_predicted_from_the_user_s_factors_and_state_now(fitted):
    """The collapsed model is a plain one: it explains, compares and ranks by the same tables."""
    assert fitted.predict(USERS, NEXT).shape == (N_USERS,)
    items, scores = fitted.recommend(USERS, n=3, by="rating", with_scores=True)
    np.testing.assert_allclose(fitted.predict(USERS[:, None], items), scores, rtol=1e-5)
    assert "sequence.embedding.weight" not in fitted.parameters_


def test_a_model_that_has_not_learned_what_comes_next_ranks_by_rating_alone():
    model = NeuralMF(Architecture(4), epochs=1).fit(in_circles())
    with pytest.raises(ValueError, match=r"by: expected one of rating of this model, found 'next_item'"):
        model.recommend([1], by="next_item")


def test_who_is_unknown_gets_a_list_too(fitted):
    assert not fitted.recommend("nobody", n=N_ITEMS).mask.any()


def test_who_is_folded_in_gets_what_follows_their_last_item(fitted):
    ann = fitted.fold_in({2: 3.0, 3: 4.0, 4: 3.0})
    ben = fitted.fold_in({4: 3.0, 3: 4.0, 2: 3.0, "never seen": 4.0})
    assert fitted.recommend(ann, n=1).item() == 5
    np.testing.assert_allclose(fitted.predict(ann, np.arange(8)), fitted.predict(ben, np.arange(8)))
    _, of_ann = fitted.recommend(ann, with_scores=True)
    _, of_ben = fitted.recommend(ben, with_scores=True)
    assert np.abs(of_ann - of_ben).max() > 1e-3
    assert fitted.recommend(fitted.fold_in({}), n=1).shape == (1,)


def test_new_items_are_in_no_sequence(fitted):
    dune = fitted.fold_in_item(99, {1: 5.0})
    with pytest.raises(ValueError, match="new_items"):
        fitted.recommend([1], new_items=[dune])
    assert fitted.recommend([2], n=9, exclude_seen=False, by="rating", new_items=[dune]).shape == (1, 9)


def test_saved_and_loaded_it_ranks_the_same_bit_for_bit_and_goes_on(fitted, tmp_path):
    fitted.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    for by in ("next_item", "rating"):
        ours, theirs = (model.recommend(USERS, 8, by=by, with_scores=True) for model in (fitted, loaded))
        assert all(np.ma.allequal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert loaded.recommend(loaded.fold_in({2: 3.0, 3: 4.0}), n=1).item() == 4


def test_with_more_ratings_the_sequences_go_on(fitted, tmp_path):
    fitted.save(tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors")
    more = Ratings.from_columns([0, 500, 500], [7, 3, 4], [4, 4, 3], [9, 10, 11], scale=(1, 5))
    model.partial_fit(more)
    assert model._sequences.last_items[0].tolist() == [1, 2, 3, 4, 5, 6, 7]  # 0 was the oldest of seven
    assert model.recommend([0], n=1, exclude_seen=False).item() == 0
    assert model.recommend([500], n=1).item() == 5
    before, after = (m._sequences.states[1:59] for m in (fitted, model))
    np.testing.assert_array_equal(before, after)  # who rated nothing new stays where they were
    with pytest.raises(ValueError, match="expected timestamps"):
        model.partial_fit(replace(more, timestamps=None))


def test_ratings_without_times_are_refused():
    with pytest.raises(ValueError, match="expected timestamps"):
        new_model().fit(replace(in_circles(), timestamps=None))


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_only_torch_has_sequences(engine):
    with pytest.raises(ValueError, match='engine "torch"'):
        new_model(engine=engine)
    assert new_model(engine="torch", epochs=1).fit(in_circles()).engine_ == "torch"
    assert new_model(epochs=1).fit(in_circles()).engine_ == "torch"


def test_what_is_held_out_is_in_no_sequence():
    """Planted: held-out ratings of an item that follows everything; no state knows of it."""
    ratings = in_circles()
    last = ratings.timestamps == LENGTH - 1
    train, validation = ratings.take(~last), ratings.take(last)
    changed = replace(validation, items=(validation.items + 1) % N_ITEMS)
    models = [new_model(epochs=2).fit(train, held_out) for held_out in (validation, changed)]
    assert models[0].history_.train_loss == models[1].history_.train_loss
    assert models[0].history_.validation_loss != models[1].history_.validation_loss
    first, second = (model._sequences.last_items for model in models)
    np.testing.assert_array_equal(first, second)


def test_a_training_cut_off_goes_on_to_the_same_model(tmp_path):
    class CutError(Exception):
        pass

    def cut(progress):
        if progress.epoch == 3:
            raise CutError

    form = {"dropout": 0.2, "next_item_weight": 1.0, "negatives": 5}
    make = lambda: NeuralMF(Architecture(4, sequence="gru", **form), epochs=4, batch_size=100)  # noqa: E731
    whole = make().fit(in_circles())
    with pytest.raises(CutError):
        make().fit(in_circles(), on_progress=cut, checkpoint_dir=tmp_path)
    resumed = make().fit(in_circles(), checkpoint_dir=tmp_path)
    for name, value in whole._sequences.tensors().items():
        assert value.tobytes() == resumed._sequences.tensors()[name].tobytes()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sequence": "lstm"}, "sequence must be one of"),
        ({"sequence": "gru", "sequence_length": 0}, "sequence_length"),
        ({"sequence": "gru", "product": False}, "neither product nor MLP"),
        ({"next_item_weight": 1.0}, "with a sequence"),
        ({"sequence": "gru", "next_item_weight": -1.0}, "next_item_weight"),
        ({"sequence": "gru", "negatives": 2.5}, "negatives"),
    ],
)
def test_forms_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Architecture(**fields)


def test_side_information_and_sequences_go_together():
    ratings = simulate_ratings(n_users=30, n_items=20, n_ratings=300, random_state=0)
    ratings = replace(ratings, timestamps=np.arange(300))
    form = Architecture(4, implicit=True, sequence="attention", sequence_length=5, next_item_weight=0.5)
    model = NeuralMF(form, epochs=2).fit(ratings)
    assert np.isfinite(model.predict(ratings.raw_users, ratings.raw_items)).all()
    assert model.recommend([1], n=3).shape == (1, 3)
