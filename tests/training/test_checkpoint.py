"""A killed training resumes and ends bit for bit as if nothing had happened."""

import os
import subprocess
import sys
import textwrap
from functools import reduce
from operator import getitem

import numpy as np
import pytest
from cases import ARCHITECTURES
from forged_checkpoint import forge

from numpy_neural_mf import NeuralMF, random_split, simulate_ratings
from numpy_neural_mf.data import batches
from numpy_neural_mf.training.checkpoint import FILE

RATINGS = simulate_ratings(60, 40, 900, drift=0.3, side_information=0.8, random_state=0)


class CutOffError(Exception):
    """Stands for any interruption of a training."""


def model(**settings):
    return NeuralMF(**{"embedding_dim": 4, "epochs": 6, "batch_size": 100} | settings)


def same(a, b):
    assert a.parameters_.keys() == b.parameters_.keys()
    for name, value in a.parameters_.items():
        assert value.tobytes() == b.parameters_[name].tobytes(), name
    for name in ("train_loss", "expected_loss", "validation_loss", "best_epoch"):
        assert getattr(a.history_, name) == getattr(b.history_, name), name
    for of_a, of_b in ((a.variances_, b.variances_), (a.prior_, b.prior_)):
        assert all(table.tobytes() == of_b[name].tobytes() for name, table in of_a.items())
    assert a.deviation_.tobytes() == b.deviation_.tobytes()
    columns = RATINGS.raw_users, RATINGS.raw_items, RATINGS.timestamps
    assert a.predict(*columns).tobytes() == b.predict(*columns).tobytes()


def cut_off_at(n_batches):
    """Return a progress callback that ends the training after the given number of batches."""
    seen = []

    def on_progress(progress):
        seen.append(progress)
        if len(seen) == n_batches:
            raise CutOffError

    return on_progress


@pytest.mark.parametrize("n_batches", [1, 9, 10, 30])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_training_interrupted_at_any_batch_ends_like_an_undisturbed_one(tmp_path, n_batches, optimizer):
    undisturbed = model(optimizer=optimizer).fit(RATINGS)
    with pytest.raises(CutOffError):
        model(optimizer=optimizer).fit(RATINGS, on_progress=cut_off_at(n_batches), checkpoint_dir=tmp_path)
    same(model(optimizer=optimizer).fit(RATINGS, checkpoint_dir=tmp_path), undisturbed)


@pytest.mark.parametrize("n_stretches", [1, 9, 10, 30])
def test_per_sample_training_interrupted_at_any_stretch_ends_like_an_undisturbed_one(
    tmp_path, monkeypatch, n_stretches
):
    monkeypatch.setattr(batches, "STRETCH", 100)
    settings = {
        "batch_size": 1, "optimizer": "sgd", "learning_rate": 0.01, "hidden_layer_sizes": (),
        "engine": "numba",
    }  # fmt: skip
    undisturbed = model(**settings).fit(RATINGS)
    with pytest.raises(CutOffError):
        model(**settings).fit(RATINGS, on_progress=cut_off_at(n_stretches), checkpoint_dir=tmp_path)
    same(model(**settings).fit(RATINGS, checkpoint_dir=tmp_path), undisturbed)


FORMS = {
    "plain": {},
    "MLP": {"hidden_layer_sizes": (8,)},
    "features and sets": {"features": True, "implicit": True},
    "time": {"periods": 3, "drift": True},
    "previous items": {"previous_item": True},
    "all": {"features": True, "implicit": True, "periods": 3, "drift": True, "previous_item": True},
    "ordinal": {"likelihood": "ordinal", "features": True, "periods": 3},
}


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("form", FORMS)
def test_inferred_quantities_are_resumed(tmp_path, form, engine):
    pytest.importorskip("numba")
    known, watched = random_split(RATINGS, 0.1)
    settings = {"hidden_layer_sizes": (), "engine": engine} | FORMS[form]
    undisturbed = model(**settings).fit(known, watched)
    with pytest.raises(CutOffError):
        model(**settings).fit(known, watched, cut_off_at(33), tmp_path)
    same(model(**settings).fit(known, watched, checkpoint_dir=tmp_path), undisturbed)


def test_a_checkpoint_does_not_change_an_undisturbed_training(tmp_path):
    same(model().fit(RATINGS, checkpoint_dir=tmp_path), model().fit(RATINGS))


def test_a_finished_training_is_not_trained_again(tmp_path):
    finished = model().fit(RATINGS, checkpoint_dir=tmp_path)
    seen = []
    same(model().fit(RATINGS, on_progress=seen.append, checkpoint_dir=tmp_path), finished)
    assert seen == []


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_a_killed_process_is_resumed(tmp_path, n_epochs):
    """kill -9 right after an epoch's first batches: no chance to clean up."""
    program = f"""
        import os, signal
        from numpy_neural_mf import NeuralMF, simulate_ratings
        ratings = simulate_ratings(60, 40, 900, drift=0.3, side_information=0.8, random_state=0)
        def on_progress(progress):
            if progress.epoch > {n_epochs} and progress.n_trained > {n_epochs} * 900 + 150:
                os.kill(os.getpid(), signal.SIGKILL)
        NeuralMF(embedding_dim=4, epochs=6, batch_size=100).fit(
            ratings, on_progress=on_progress, checkpoint_dir={str(tmp_path)!r})
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert killed.returncode == -9
    seen = []
    resumed = model().fit(RATINGS, on_progress=seen.append, checkpoint_dir=tmp_path)
    assert not seen or seen[0].epoch == n_epochs + 1
    same(resumed, model().fit(RATINGS))


@pytest.mark.parametrize(
    ("settings", "ratings"),
    [
        ({"learning_rate": 0.02}, RATINGS),
        ({"embedding_dim": 5}, RATINGS),
        ({"random_state": 1}, RATINGS),
        ({}, simulate_ratings(n_users=60, n_items=40, n_ratings=900, random_state=1)),
    ],
    ids=["learning rate", "architecture", "seed", "ratings"],
)
def test_the_checkpoint_of_another_training_is_refused(tmp_path, settings, ratings):
    model().fit(RATINGS, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="found one of other ratings or settings"):
        model(**settings).fit(ratings, checkpoint_dir=tmp_path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\xff" * 64])
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ValueError, match="expected a checkpoint, found"):
        model().fit(RATINGS, checkpoint_dir=tmp_path)


def test_a_header_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / FILE).write_bytes((2**24 + 8).to_bytes(8, "little") + b"{}".ljust(2**24 + 8))
    with pytest.raises(ValueError, match="expected a checkpoint, found: a header of 16,777,224 bytes"):
        model().fit(RATINGS, checkpoint_dir=tmp_path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    model().fit(RATINGS, checkpoint_dir=tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="expected a checkpoint, found"):
        model().fit(RATINGS, checkpoint_dir=tmp_path)


def test_a_kill_while_saving_leaves_the_previous_state_intact(tmp_path, monkeypatch):
    with pytest.raises(CutOffError):
        model().fit(RATINGS, on_progress=cut_off_at(20), checkpoint_dir=tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def half_written(file, *given):
        file.write(b"half")
        raise CutOffError

    monkeypatch.setattr("numpy_neural_mf.training.checkpoint.write_safetensors", half_written)
    with pytest.raises(CutOffError):
        model().fit(RATINGS, checkpoint_dir=tmp_path)
    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def array(name, change):
    return lambda state, arrays: arrays.update({name: change(arrays[name])})


def without(name):
    return lambda state, arrays: arrays.pop(name)


def state(**fields):
    return lambda state, arrays: state.update(fields)


def progress(**fields):
    return lambda state, arrays: state["progress"].update(fields)


USERS = "user_embedding.weight"
FORGERIES = {
    "a parameter of one row": (array(f"parameters/{USERS}", lambda a: a[:1]), "float32 of shape"),
    "moments of one row": (array(f"optimizer/{USERS}/mean", lambda a: a[:1]), "float32 of shape"),
    "a variance of one row": (array(f"inferred/variance/{USERS}", lambda a: a[:1]), "float32 of shape"),
    "another dtype": (array(f"parameters/{USERS}", lambda a: a.astype(np.float64)), "float64 of shape"),
    "not finite": (array("parameters/intercept", lambda a: a * np.nan), "not finite"),
    "steps below 0": (array("optimizer/intercept/step", lambda a: a - 1000), "not a number of steps"),
    "no noise": (array("inferred/noise", lambda a: a * 0), "noise: a variance that is not above 0"),
    "a prior without end": (
        array("inferred/precision.user_bias.weight", lambda a: a * 0),
        "user_bias.weight: a variance that is not above 0",
    ),
    "a drift below 0": (array("inferred/drift.parameters", lambda a: -a), "drift.parameters: "),
    "a step too far": (array("inferred/drift.parameters", lambda a: a + 1e9), "drift.parameters: "),
    "no parameter": (without(f"parameters/{USERS}"), f"no parameters/{USERS}"),
    "no moments": (without(f"optimizer/{USERS}/squares"), f"no optimizer/{USERS}/squares"),
    "no variance": (without(f"inferred/variance/{USERS}"), f"no inferred/variance/{USERS}"),
    "another array": (lambda s, a: a.update(more=a["inferred/noise"]), "more, which is not expected"),
    "no progress": (lambda s, a: s.pop("progress"), "found: one without 'progress'"),
    "no owner": (lambda s, a: s.pop("belongs_to"), "found: one without 'belongs_to'"),
    "another kind of owner": (state(belongs_to=3), "expected a checkpoint"),
    "no generators": (state(generators={}), "the generators"),
    "generators of words": (state(generators={"order": "x", "signs": "y"}), "expected a checkpoint"),
    "progress of words": (progress(train_loss=["x"] * 3), "train_loss must be a finite number"),
    "losses not finite": (progress(train_loss=[float("nan")] * 3), "train_loss must be a finite number"),
    "more epochs than asked for": (progress(train_loss=[1.0] * 99, seconds=[]), "at most 6 epochs"),
    "an epoch too few": (progress(seconds=[1.0]), "a number for each of 3 epochs"),
}


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_checkpoint_is_refused_before_a_loop_trusts_it(tmp_path, name, engine):
    change, message = FORGERIES[name]
    with pytest.raises(CutOffError):
        model(engine=engine, drift=True).fit(RATINGS, on_progress=cut_off_at(30), checkpoint_dir=tmp_path)
    forge(tmp_path, change)
    with pytest.raises(ValueError, match=message) as caught:
        model(engine=engine, drift=True).fit(RATINGS, checkpoint_dir=tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / FILE}: expected a checkpoint, found")


def keys_of(value, path=()):
    """Yield the paths to the fields of an object and of the objects in it."""
    for name in value if isinstance(value, dict) else ():
        yield *path, name
        yield from keys_of(value[name], (*path, name))


def test_a_missing_part_of_the_state_is_named(tmp_path):
    with pytest.raises(CutOffError):
        model().fit(RATINGS, on_progress=cut_off_at(30), checkpoint_dir=tmp_path)
    keys = []
    forge(tmp_path, lambda state, arrays: keys.extend(keys_of(state)))
    sound = (tmp_path / FILE).read_bytes()
    for *above, name in keys:
        (tmp_path / FILE).write_bytes(sound)
        forge(tmp_path, lambda state, arrays, at=above, name=name: reduce(getitem, at, state).pop(name))
        missing = rf"expected a checkpoint, found: (one without '{name}'|.* missing {name}|the generators \[)"
        with pytest.raises(ValueError, match=missing):
            model().fit(RATINGS, checkpoint_dir=tmp_path)


def test_forged_checkpoints_have_a_valid_format(tmp_path):
    """Otherwise the tests above would only find a wrong digest."""
    with pytest.raises(CutOffError):
        model().fit(RATINGS, on_progress=cut_off_at(30), checkpoint_dir=tmp_path)
    forge(tmp_path, lambda state, arrays: None)
    same(model().fit(RATINGS, checkpoint_dir=tmp_path), model().fit(RATINGS))


def test_any_changed_bit_is_noticed(tmp_path):
    model().fit(RATINGS, checkpoint_dir=tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 60):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        (tmp_path / FILE).write_bytes(changed)
        with pytest.raises(ValueError, match="expected a checkpoint, found"):
            model().fit(RATINGS, checkpoint_dir=tmp_path)


def test_a_pipe_in_place_of_a_checkpoint_is_refused(tmp_path):
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(OSError, match="expected a file, found a folder, a pipe or a device"):
        model().fit(RATINGS, checkpoint_dir=tmp_path)


@pytest.mark.parametrize("form", ARCHITECTURES)
def test_every_engine_resumes_every_architecture(tmp_path, form):
    settings = {"architecture": ARCHITECTURES[form], "epochs": 2, "batch_size": 300}
    for engine in ("numpy", "numba"):
        folder = tmp_path / engine
        NeuralMF(**settings, engine=engine).fit(RATINGS, checkpoint_dir=folder)
        NeuralMF(**settings, engine="numpy").fit(RATINGS, checkpoint_dir=folder)
