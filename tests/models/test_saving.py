"""Models on disk: complete, or refused with a clear error; nothing is ever executed."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import reduce
from operator import getitem

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from numpy_neural_mf import (
    Architecture,
    BayesianMF,
    GlobalMean,
    ItemKNN,
    LinearRegression,
    ModelFileError,
    NeuralMF,
    NextItemModel,
    Ratings,
    load_model,
    simulate_ratings,
)
from numpy_neural_mf.mf.parameters import variance_name
from numpy_neural_mf.models import files as model_file
from numpy_neural_mf.nn import Adam
from numpy_neural_mf.training.loop import MAX_EPOCHS

RATINGS = simulate_ratings(n_users=30, n_items=20, n_ratings=300, random_state=1)
DESCRIBED = simulate_ratings(n_users=20, n_items=15, n_ratings=120, drift=0.3, side_information=0.5)
MODEL = NeuralMF(Architecture(4, (6,)), epochs=1, batch_size=64).fit(RATINGS)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    MODEL.save(path)
    return path


def forge(path, change):
    """Change the description or the arrays and update the digest, as an attacker could."""
    description, tensors = model_file.read(path)
    change(description, tensors)
    model_file.write(path, description, tensors)


def assert_refused(path, message=None):
    with pytest.raises(ModelFileError, match=message) as caught:
        load_model(path)
    assert str(caught.value).startswith(str(path)), "the error names the file"
    assert isinstance(caught.value, ValueError)


def made_with(model):
    return {name: value for name, value in vars(model).items() if name[0] != "_"}


def test_history_settings_and_scale_are_restored(path):
    model = load_model(path)
    assert model.history_ == MODEL.history_
    assert model.architecture == MODEL.architecture
    assert model.rating_scale_ == MODEL.rating_scale_
    assert made_with(model) == made_with(MODEL)
    assert all(value.flags.writeable for value in model.parameters_.values())


def test_a_loaded_model_learns_like_the_saved_one(path):
    again, expected = load_model(path).fit(RATINGS), NeuralMF(Architecture(4, (6,)), epochs=1, batch_size=64)
    everything = RATINGS.user_ids[:, None], RATINGS.item_ids[None]
    assert again.predict(*everything).tobytes() == expected.fit(RATINGS).predict(*everything).tobytes()


def test_an_optimizer_is_restored_and_a_generator_is_not(tmp_path):
    model = NeuralMF(epochs=1, optimizer=Adam(0.02, beta1=0.8), random_state=np.random.default_rng(0))
    model.fit(RATINGS).save(tmp_path / "m")
    assert load_model(tmp_path / "m").optimizer == Adam(0.02, beta1=0.8)
    assert load_model(tmp_path / "m").random_state is None


def test_settings_may_be_numpy_numbers(tmp_path):
    model = NeuralMF(
        embedding_dim=np.int64(4),
        epochs=np.int64(1),
        learning_rate=np.float64(0.01),
        rating_scale=(np.int64(1), 5),
    )
    model.fit(RATINGS).save(tmp_path / "m")
    assert made_with(load_model(tmp_path / "m")) == made_with(model)


def test_ids_of_any_script_and_length_are_restored(tmp_path):
    users = ["a", "Łucja", "李", "🎬" * 20]
    GlobalMean().fit(Ratings.from_columns(users, range(-3, 1), [1.0] * 4, scale=(1, 5))).save(tmp_path / "m")
    assert load_model(tmp_path / "m").user_ids_.tolist() == sorted(users)
    assert load_model(tmp_path / "m").item_ids_.tolist() == [*range(-3, 1)]


def test_a_model_that_is_not_fitted_cannot_be_saved(tmp_path):
    with pytest.raises(RuntimeError, match="call fit first"):
        NeuralMF().save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nothing")


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, 0.9, -1])
def test_truncated(path, kept):
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    assert_refused(path, "truncated")


def test_more_bytes_than_the_header_claims(path):
    path.write_bytes(path.read_bytes() + b"more")
    assert_refused(path, "no safetensors file")


def test_any_changed_byte(path):
    data = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(data), 200):
        changed = bytearray(data)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        assert_refused(path)


@pytest.mark.parametrize("size", [2**63, 2**40, 2**31, model_file.MAX_HEADER + 1, 1, 0])
def test_an_absurd_header(path, size):
    path.write_bytes(size.to_bytes(8, "little") + path.read_bytes()[8:])
    assert_refused(path, f"it claims a header of {size:,} bytes")


def test_a_header_larger_than_any_model_has(path):
    size = model_file.MAX_HEADER + 8
    path.write_bytes(size.to_bytes(8, "little") + b"{}".ljust(size))
    assert_refused(path, "it claims a header of")


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 a zip", b"\x80\x04\x95 a pickle", b"userId,movieId,rating\n" * 99]
)
def test_another_kind_of_file(path, content):
    path.write_bytes(content)
    assert_refused(path, "no safetensors file")


def test_safetensors_of_another_program(path):
    save_file({"weight": np.zeros(3)}, path)
    assert_refused(path, "not a model of numpy-neural-mf")
    save_file({"weight": np.zeros(3)}, path, {"format": "pt"})
    assert_refused(path, "not a model of numpy-neural-mf")


def test_a_dtype_that_numpy_lacks(path):
    array = {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}
    header = json.dumps({"__metadata__": {"numpy-neural-mf": model_file.VERSION}, "a": array}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    assert_refused(path, "no safetensors file")


def test_another_version(path, monkeypatch):
    for version in ("1", "2"):
        monkeypatch.setattr(model_file, "VERSION", version)
        MODEL.save(path)
        monkeypatch.undo()
        assert_refused(path, f"expected version 3 of the format, found '{version}'$")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '"text"', "[]", "null"])
def test_a_description_that_is_not_a_json_object(path, text):
    _, tensors = model_file.read(path)
    sha256 = model_file.digest(text, tensors)
    metadata = {"numpy-neural-mf": model_file.VERSION, "description": text, "sha256": sha256}
    save_file(tensors, path, metadata)
    assert_refused(path, "the description is no JSON")


KINDS = {
    "GlobalMean": GlobalMean,
    "LinearRegression": LinearRegression,
    "ItemKNN": ItemKNN,
    "NeuralMF": lambda: NeuralMF(
        Architecture(3, (4,), periods=2, drift=True, features=True), epochs=1, optimizer=Adam()
    ),
    "ordinal NeuralMF": lambda: NeuralMF(Architecture(3, likelihood="ordinal"), epochs=1),
    "BayesianMF": lambda: BayesianMF(3, n_samples=2, burn_in=1, rank=2),
    "NextItemModel": lambda: NextItemModel(embedding_dim=4, sequence_length=3, epochs=1),
}


def keys_of(value, path=()):
    """Yield the paths to the fields of an object and of nested objects."""
    for name in value if isinstance(value, dict) else ():
        yield *path, name
        yield from keys_of(value[name], (*path, name))


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_field_is_named(path, kind):
    pytest.importorskip("torch" if kind == "NextItemModel" else "numba")
    KINDS[kind]().fit(DESCRIBED).save(path)
    description, tensors = model_file.read(path)
    for *above, name in keys_of(description):
        changed = deepcopy(description)
        reduce(getitem, above, changed).pop(name)
        model_file.write(path, changed, tensors)
        # Without the field of a table, its array remains.
        assert_refused(path, rf"missing {name}; expected |name of the optimizer must|not expected .*{name}")
    for name in tensors:
        model_file.write(path, description, {one: tensors[one] for one in tensors if one != name})
        assert_refused(path, f"arrays: missing {re.escape(name)}$")


def setting(name, value):
    return lambda description, tensors: description["settings"].update({name: value})


def summary(name, value):
    return lambda description, tensors: description["summary"].update({name: value})


def part(name, value):
    return lambda description, tensors: description.update({name: value})


def array(name, value):
    return lambda description, tensors: tensors.update({name: value})


def element(name, index, value):
    return lambda description, tensors: tensors[name].__setitem__(index, value)


USERS, WEIGHT = "user_embedding.weight", "mlp.0.weight"
SEEN_EXPECTED = "seen.items, seen.ratings, seen.offsets: expected"
FORGERIES = {
    "a scale too high": (part("rating_scale", [1, 1e300]), "rating_scale: expected"),
    "a scale of which there are no ratings": (part("rating_scale", [1, 1e10]), "rating_scale: expected"),
    "a scale too narrow": (part("rating_scale", [1, 1 + 1e-12]), "rating_scale: expected"),
    "a rating too high": (element("seen.ratings", 0, 2e9), SEEN_EXPECTED),
    "a scale without end": (part("rating_scale", [1, 10**400]), "no JSON, or has numbers that are too large"),
    "a setting of 401 digits": (setting("epochs", 10**400), "no JSON, or has numbers that are too large"),
    "a seed of words": (setting("random_state", "7"), "random_state: expected a whole number"),
    "a seed below 0": (setting("random_state", -1), "random_state: expected a whole number"),
    "a scale of an architecture of words": (
        lambda d, t: d["settings"]["architecture"].update(rating_scale=["1", "5"]), "rating_scale must be"
    ),
    "noise of next to nothing": (setting("noise", 1e-320), "noise must be a finite number from"),
    "a unit that float32 lacks": (setting("unit", 1e300), "unit must be a finite number"),
    "steps without end": (setting("steps", list(range(21))), "steps: expected a list of at most 20"),
    "steps that float32 lacks": (setting("steps", [1.0, 1e300]), "steps: expected an ascending list"),
    "a loss too few": (summary("seconds", [1.0, 2.0]), "for each of 1 epochs"),
    "an epoch of words": (summary("best_epoch", "last"), "best_epoch must be an integer"),
    "a loss that is true": (summary("train_loss", [True]), "train_loss must be a finite number"),
    "a variance below 0": (
        element(variance_name("user", "embedding"), (0, 0), -1), "variance: expected numbers of at least 0"
    ),
    "no weight of a user": (element("user_weight", 0, 0), "user_weight: expected numbers of at least"),
    "long ids": (array("item_ids", np.full((20, 257), 65, np.uint32)), "at most 256 characters, found 257"),
    "half characters": (
        array("item_ids", np.full((20, 2), 0xD800, np.uint32)), "item_ids: expected characters"
    ),
    "nothing seen": (
        lambda d, t: t.update({
            "seen.items": np.zeros(0, np.int32), "seen.ratings": np.zeros(0, np.float32),
            "seen.offsets": np.zeros(31, np.int64),
        }), SEEN_EXPECTED
    ),
    "an item seen twice": (lambda d, t: t["seen.items"].__setitem__(1, t["seen.items"][0]), SEEN_EXPECTED),
    "another model": (part("model", "os.system"), "model: expected one of GlobalMean, .* found 'os.system'"),
    "no model": (part("model", ["NeuralMF"]), "model: expected one of"),
    "another known model": (part("model", "GlobalMean"), "GlobalMean"),
    "more in the description": (part("code", "1"), "description: unknown code; expected model, "),
    "less in the description": (lambda d, t: d.pop("summary"), "description: missing summary; expected "),
    "scale reversed": (part("rating_scale", [5, 1]), "rating_scale: expected"),
    "scale too long": (part("rating_scale", [1, 2, 3]), "rating_scale: expected"),
    "scale of words": (part("rating_scale", ["1", "5"]), "rating_scale: expected"),
    "settings no object": (part("settings", 3), "settings and summary: expected objects"),
    "setting out of range": (setting("epochs", 0), "NeuralMF: epochs must be"),
    "setting of another kind": (setting("learning_rate", [1]), "NeuralMF"),
    "setting unknown": (setting("__class__", "x"), "settings: unknown __class__; expected architecture, "),
    "engine unknown": (setting("engine", "../engine"), "NeuralMF: engine must be"),
    "a field without its variances": (
        setting("fields", {USERS: ["age"]}), "missing field_variance.user_embedding.weight"
    ),
    "fields of no table": (setting("fields", {"code": ["age"]}), "fields: expected names .* found {'code': "),
    "fields no object": (setting("fields", ["age"]), "fields: expected names by table"),
    "optimizer unknown": (setting("optimizer", {"name": "eval"}), "name of the optimizer must be one of"),
    "architecture unknown": (setting("architecture", {"code": 1}), "architecture: missing activation, "),
    "architecture no object": (setting("architecture", None), "architecture: expected .*, found None"),
    "summary no object": (part("summary", [1]), "settings and summary: expected objects"),
    "summary unknown": (summary("losses", [1.0]), "history: unknown losses; expected best_epoch"),
    "summary of words": (summary("train_loss", ["x"]), "train_loss must be a finite number"),
    "path in a name": (array("../../etc/passwd", np.zeros(1)), r"not expected \['../../etc/passwd'\]"),
    "array missing": (lambda d, t: t.pop(WEIGHT), r"arrays: missing mlp.0.weight"),
    "another shape": (array(WEIGHT, np.zeros((8, 6), np.float32)), r"expected float32 of shape \(6, 8\)"),
    "a row too few": (array(USERS, MODEL.parameters_[USERS][:-1]), "user_embedding.weight: expected float32"),
    "another dtype": (array(WEIGHT, np.zeros((6, 8))), "mlp.0.weight: expected float32 .* found float64"),
    "NaN": (element(WEIGHT, (0, 0), np.nan), "mlp.0.weight: expected finite numbers"),
    "infinity": (element(USERS, (3, 1), -np.inf), "user_embedding.weight: expected finite numbers"),
    "fields of numbers": (setting("fields", {USERS: [1]}), "fields of user_embedding.weight: expected"),
    "a field twice": (setting("fields", {USERS: ["a", "a"]}), "fields of user_embedding.weight: expected"),
    "optimizer without a name": (setting("optimizer", {}), "name of the optimizer must be one of"),
    "no ids": (lambda d, t: t.pop("user_ids"), "arrays: missing user_ids"),
    "empty ids": (array("item_ids", np.zeros(0, np.int64)), "item_ids: expected ids"),
    "ids that are floats": (array("item_ids", np.arange(20.0)), "item_ids: expected ids"),
    "ids twice": (element("item_ids", 1, 1), "item_ids: expected sorted unique ids"),
    "no characters": (array("item_ids", np.full((20, 2), 2**31, np.uint32)), "item_ids: expected characters"),
    "seen missing": (lambda d, t: t.pop("seen.items"), "arrays: missing seen.items"),
    "seen ratings missing": (lambda d, t: t.pop("seen.ratings"), "arrays: missing seen.ratings"),
    "seen NaN": (element("seen.ratings", 0, np.nan), SEEN_EXPECTED),
    "a seen rating too many": (
        array("seen.ratings", np.ones(301, np.float32)), SEEN_EXPECTED
    ),
    "seen out of range": (element("seen.items", 0, 10**6), SEEN_EXPECTED),
    "seen negative": (element("seen.items", 0, -1), SEEN_EXPECTED),
    "offsets beyond": (element("seen.offsets", -1, 10**6), SEEN_EXPECTED),
    "offsets falling": (element("seen.offsets", 3, 10**6), SEEN_EXPECTED),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_forged(path, name):
    change, message = FORGERIES[name]
    forge(path, change)
    assert_refused(path, message)


@pytest.mark.parametrize(
    "model", [GlobalMean(), LinearRegression([1.0])], ids=["GlobalMean", "LinearRegression"]
)
def test_forged_baselines(path, model):
    model.fit(RATINGS).save(path)
    name = "mean" if isinstance(model, GlobalMean) else "intercept"
    forge(path, element(name, 0, np.nan))
    assert_refused(path, f"{name}: expected finite numbers")
    model.save(path)
    forge(path, element("seen.ratings", 0, 7))
    if isinstance(model, LinearRegression):  # an update solves the model again from these
        assert_refused(path, "LinearRegression: seen.ratings: expected ratings from 1 to 5")
    model.save(path)
    forge(path, part("summary", {"alpha": "exec"}))
    if isinstance(model, LinearRegression):
        assert_refused(path, "LinearRegression: alpha must be a finite number from")
        for alpha in (-1.0, 1e-320, 1e300):
            forge_alpha = part("summary", {"alpha": alpha})
            model.save(path)
            forge(path, forge_alpha)
            assert_refused(path, "LinearRegression: alpha must be a finite number from")
        model.save(path)
        forge(path, setting("alphas", []))
        assert_refused(path, "LinearRegression: alphas: expected at least one")


def test_safetensors_reads_what_is_written_array_by_array(path):
    tensors = {"w": np.eye(3, dtype=np.float32), "bias": np.zeros((2, 0)), "ids": np.arange(3)}
    metadata = {"ä": "b"}
    with path.open("wb") as file:
        model_file._write_safetensors(file, tensors, metadata)
    with safe_open(path, "np") as file:
        assert file.metadata() == metadata
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_an_error_while_saving_leaves_the_old_file(path, monkeypatch):
    def fail(file, arrays, metadata):
        write_whole(file, dict(list(arrays.items())[:2]), metadata)
        raise OSError("the disk is full")

    write_whole = model_file._write_safetensors
    monkeypatch.setattr(model_file, "_write_safetensors", fail)
    other = NeuralMF(Architecture(3), epochs=1).fit(RATINGS)
    with pytest.raises(OSError, match="disk is full"):
        other.save(path)
    assert load_model(path).architecture == MODEL.architecture
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


KILLED_WHILE_SAVING = """
import os, signal, sys
from numpy_neural_mf import LinearRegression, simulate_ratings
from numpy_neural_mf.models import files as model_file

def write_half(file, arrays, metadata):
    write_whole(file, dict(list(arrays.items())[:2]), metadata)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

write_whole, model_file._write_safetensors = model_file._write_safetensors, write_half
LinearRegression([1.0]).fit(simulate_ratings(n_users=30, n_items=20, n_ratings=300)).save(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_while_saving_the_old_file_is_intact(path):
    before = path.read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING, str(path)], timeout=120)
    assert killed.returncode == -9
    assert path.read_bytes() == before
    assert isinstance(load_model(path), NeuralMF)
    MODEL.save(path)  # and the temporary file left behind does not interfere
    load_model(path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_not_finite(path, number):
    description, tensors = model_file.read(path)
    description["settings"]["noise"] = "NUMBER"
    text = json.dumps(description).replace('"NUMBER"', number)
    metadata = {"numpy-neural-mf": model_file.VERSION, "description": text}
    save_file(tensors, path, metadata | {"sha256": model_file.digest(text, tensors)})
    assert_refused(path, "no JSON, or has numbers that are too large")


def test_the_history_of_the_longest_training_is_restored(path):
    numbers = [1.2345678901234567e-100] * MAX_EPOCHS
    names = ("train_loss", "expected_loss", "validation_loss", "seconds")
    forge(path, part("summary", dict.fromkeys(names, numbers) | {"best_epoch": MAX_EPOCHS}))
    assert load_model(path).history_.seconds == numbers


def test_thousands_of_layers_are_refused_at_once(path):
    forge(path, lambda d, t: d["settings"]["architecture"].update(hidden_layer_sizes=[1] * 100_000))
    assert_refused(path, "mlp.0.weight: expected float32")


def test_the_error_of_a_long_value_is_short(path):
    forge(path, setting("steps", ["x" * 10_000]))
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    assert len(str(caught.value)) < len(str(path)) + 510


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m")
    with pytest.raises(OSError, match="expected a file, found a folder, a pipe or a device"):
        load_model(tmp_path / "m")


def test_threads_that_save_to_one_path_leave_a_sound_file(path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(MODEL.save, [path] * 20))
    assert load_model(path).history_ == MODEL.history_


def lines(*titles):
    return np.frombuffer("\n".join(titles).encode(), np.uint8)


@pytest.mark.parametrize(
    ("titles", "message"),
    [
        (lines(*"x" * 19), "titles: expected 20 lines of text"),
        (lines(*"x" * 21), "titles: expected 20 lines of text"),
        (lines(*"x" * 20).astype(np.int64), "titles: expected 20 lines of text"),
        (lines(*"x" * 20)[None], "titles: expected 20 lines of text"),
        (lines(*"x" * 19, "x" * 501), "titles: expected at most 500 characters each, found 501"),
        (np.append(lines(*"x" * 20), np.uint8(200)), "titles: expected UTF-8"),
        (np.empty(0, np.uint8), "titles: expected 20 lines of text"),
    ],
)
def test_forged_titles(path, titles, message):
    forge(path, lambda description, tensors: tensors.update(titles=titles))
    assert_refused(path, message)


def test_without_any_title_a_file_has_none(tmp_path):
    with pytest.warns(UserWarning, match="none of 0 titles"):
        GlobalMean().fit(RATINGS.with_titles({})).save(tmp_path / "m")
    assert load_model(tmp_path / "m").titles_ is None


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    MODEL.save("~/model")
    assert load_model("~/model").history_ == load_model(tmp_path / "model").history_
    type(MODEL)(epochs=1).fit(RATINGS, checkpoint_dir="~/state")
    assert (tmp_path / "state").is_dir()
