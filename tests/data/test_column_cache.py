"""Cached columns equal the ratings of their source, or they are ignored."""

import json
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf import GlobalMean, NeuralMF, load_model, random_split, simulate_ratings
from numpy_neural_mf.data import (
    Ratings,
    batches,
    columns,
    k_fold,
    leave_last_out,
    readers,
    splits,
    time_split,
    user_split,
)
from numpy_neural_mf.data import column_cache as store
from numpy_neural_mf.data.columns import is_mapped
from numpy_neural_mf.data.readers import read_ratings
from numpy_neural_mf.evaluation import held_out
from numpy_neural_mf.models import interactions as seen
from numpy_neural_mf.models import neural_mf_training
from numpy_neural_mf.training.engines import numpy_engine

HEADER = "userId,movieId,rating,timestamp\n"
TEXT = HEADER + "1,10,4,5\n2,10,3,6\n2,11,3.5,7\n2,11,4.5,8\n"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text(TEXT)
    return path


@pytest.fixture
def parsed(monkeypatch):
    """Record the parsed files, in order."""
    files = []

    def parse(path, *settings):
        files.append(path)
        return from_file(path, *settings)

    from_file = readers._parsed
    monkeypatch.setattr(readers, "_parsed", parse)
    return files


def same(ours, theirs):
    assert ours.to_polars().equals(theirs.to_polars())
    assert (ours.scale, ours.n_dropped) == (theirs.scale, theirs.n_dropped)
    return True


def test_the_second_time_nothing_is_parsed(source, parsed):
    first, second = (read_ratings(source, cache=True) for _ in range(2))
    assert same(first, second)
    assert same(second, read_ratings(source))
    assert second.n_dropped == 1
    assert parsed == [source, source]  # the first time, and without a cache


def test_columns_are_mapped_read_only_and_aligned(source):
    read_ratings(source, cache=True)
    ratings = read_ratings(source, cache=True)
    for column in (ratings.users, ratings.items, ratings.values, ratings.timestamps):
        assert is_mapped(column)
        assert not column.flags.writeable
        assert column.ctypes.data % 4096 == 0


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """Write a file of ratings in random order, too large to be processed in one block."""
    monkeypatch.setattr(columns, "BLOCK", 2**10)
    monkeypatch.setattr(splits, "AT_ONCE", 2**10)
    monkeypatch.setattr(batches, "WINDOW", 2**10)
    monkeypatch.setattr(batches, "PIECE", 2**5)
    monkeypatch.setattr(seen, "AT_ONCE", 2**10)

    def new(n):
        path = tmp_path / "ratings.csv"
        frame = simulate_ratings(n_users=300, n_items=200, n_ratings=n).to_polars()
        times = np.random.default_rng(0).integers(n // 2, size=n)
        frame.with_columns(timestamp=times).write_csv(path)
        read_ratings(path, cache=True)
        return read_ratings(path, cache=True)

    return new


def test_results_of_mapped_ratings_are_mapped_and_equal(mapped):
    ratings = mapped(5_000)
    train, test = random_split(ratings)
    assert (len(train), len(test)) == (4_000, 1_000)
    in_memory = Ratings.from_columns(*ratings.to_polars())
    for part, expected in zip((train, test), random_split(in_memory), strict=True):
        assert part.to_polars().equals(expected.to_polars())
        few = part.take(part.users < 200).compact()
        assert few.to_polars().equals(expected.take(expected.users < 200).to_polars())
        for column in (part.users, part.values, few.users, few.items, few.take(np.array([3, 1])).values):
            assert is_mapped(column)


SPLITS = {
    "random": random_split,
    "k-fold": lambda ratings: next(k_fold(ratings)),
    "leave last": leave_last_out,
    "time": time_split,
    "users": user_split,
}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_memory_of_a_split_does_not_grow_with_mapped_ratings(mapped, split):
    def peak(n):
        ratings = mapped(n)
        tracemalloc.start()
        train, test = split(ratings)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert is_mapped(train.values)
        assert is_mapped(test.values)
        return peak

    peak(3_000)
    assert peak(30_000) - peak(10_000) < 20_000  # bytes: less than one per additional rating


def test_mapped_ratings_and_ratings_in_memory_give_the_same_model(mapped):
    ratings = mapped(5_000)
    ours = NeuralMF(epochs=2, embedding_dim=4, hidden_layer_sizes=(8,)).fit(ratings)
    theirs = NeuralMF(epochs=2, embedding_dim=4, hidden_layer_sizes=(8,)).fit(
        Ratings.from_columns(*ratings.to_polars())
    )
    for name, value in ours.parameters_.items():
        np.testing.assert_array_equal(value, theirs.parameters_[name])
    assert is_mapped(ours.ratings_.values)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_layer_sizes": (4,), "batch_size": 128},
        {"hidden_layer_sizes": (), "batch_size": 1, "optimizer": "sgd", "engine": "numba"},
    ],
    ids=["batches", "one by one"],
)
def test_memory_of_training_does_not_grow_with_mapped_ratings(mapped, monkeypatch, settings):
    monkeypatch.setattr(batches, "STRETCH", 2**10)
    monkeypatch.setattr(neural_mf_training, "BLOCK", 2**10)  # ratings whose errors are examined at the end
    monkeypatch.setattr(numpy_engine, "keep_freed_memory", lambda: None)  # its 32 MB hide everything else

    def peak(n):
        settings_of_all = {"epochs": 1, "embedding_dim": 2, "learning_rate": 0.01}
        ratings, model = mapped(n), NeuralMF(**settings_of_all, **settings)
        tracemalloc.start()
        model.fit(ratings)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    def least(n):  # the progress of the prefetching thread varies between runs
        return min(peak(n) for _ in range(3))

    peak(100)  # imports and compilation at the first use
    assert least(50_000) - least(10_000) < 40_000  # bytes: less than one per additional rating


def test_memory_of_saving_and_serving_does_not_grow_with_mapped_ratings(mapped, tmp_path):
    few = Ratings.from_columns([1, 2, 2], [1, 2, 3], [1.0, 5.0, 2.0])

    def peak(n):
        model = GlobalMean().fit(mapped(n))
        tracemalloc.start()
        model.save(tmp_path / "model.safetensors")
        held_out.seen_rows(model.ratings_, few)
        held_out.warm_rows(model.ratings_, few)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (
            load_model(tmp_path / "model.safetensors").ratings_.to_polars().equals(model.ratings_.to_polars())
        )
        return peak

    peak(100)
    assert peak(30_000) - peak(10_000) < 20_000  # bytes: less than one per additional rating


def test_timestamps_are_always_cached(source, parsed):
    assert read_ratings(source, cache=True, timestamps=False).timestamps is None
    assert read_ratings(source, cache=True).timestamps.tolist() == [5, 6, 8]
    assert len(parsed) == 1


def test_text_ids(source):
    source.write_text(HEADER + "ä,10,4,5\nlonger,x,3,6\n")
    assert same(read_ratings(source, cache=True), read_ratings(source, cache=True))


def test_a_folder_for_the_copies(source, tmp_path, parsed):
    folder = tmp_path / "copies"
    read_ratings(source, cache=folder)
    assert [path.name for path in folder.iterdir()] == ["ratings.csv.columns"]
    read_ratings(source, cache=folder)
    assert len(parsed) == 1
    other = tmp_path / "other" / "ratings.csv"
    other.parent.mkdir()
    other.write_text(TEXT)
    os.utime(other, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
    read_ratings(other, cache=folder)  # of the same name, size and time
    assert parsed == [source, other]


@pytest.mark.parametrize("change", ["text", "time", "settings", "version"])
def test_a_changed_source_is_read_again(source, parsed, monkeypatch, change):
    read_ratings(source, cache=True)
    settings = {}
    if change == "text":
        source.write_text(TEXT + "3,10,2,9\n")
    elif change == "time":
        os.utime(source, ns=(0, source.stat().st_mtime_ns + 1))
    elif change == "settings":
        settings = {"scale": (0.0, 7.0)}
    else:
        monkeypatch.setattr(store, "VERSION", store.VERSION + 1)
    for _ in range(2):
        ratings = read_ratings(source, cache=True, **settings)
    assert len(parsed) == 2  # the new cache works like the first
    assert same(ratings, read_ratings(source, **settings))


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"nope\.csv: expected a file of ratings, found: No such file"):
        read_ratings(tmp_path / "nope.csv", cache=True)


def test_ratings_are_read_if_the_cache_cannot_be_written(source, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert len(read_ratings(source, cache=tmp_path / "file")) == 3
    assert "ratings.csv.columns was not written" in caplog.text


@given(st.data())
def test_any_damage_is_noticed(tmp_path_factory, data):
    """One byte is changed, the end is truncated, or bytes are inserted."""
    ratings = Ratings.from_columns(["a", "b", "b"], [3, 3, 4], [1.5, 2, 5], [1, 2, 3])
    folder = tmp_path_factory.mktemp("kept")
    (folder / "source").touch()
    identity = store.identity_of(folder / "source", {})
    path = folder / "kept"
    store.save_columns(path, ratings, identity)
    whole = path.read_bytes()
    assert same(store.load_columns(path, identity), ratings)
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.sampled_from(["cut", "changed", "more"]))
    if damage == "cut":
        path.write_bytes(whole[:at])
    elif damage == "changed":
        path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    else:
        path.write_bytes(whole[:at] + b"x" + whole[at:])
    loaded = store.load_columns(path, identity)
    assert loaded is None or same(loaded, ratings)  # padding may change


@pytest.mark.parametrize(
    "first_line", [[], {}, {"arrays": None}, {"arrays": ["values"]}, {"arrays": [], "checksum": 0}]
)
def test_another_first_line_is_not_accepted(source, first_line):
    identity = store.identity_of(source, {})
    path = store.store_path(source)
    path.write_text(json.dumps(first_line | identity if isinstance(first_line, dict) else first_line) + "\n")
    assert store.load_columns(path, identity) is None


def test_a_pipe_in_place_of_a_copy_is_not_waited_for(source, caplog):
    os.mkfifo(store.store_path(source))
    assert same(read_ratings(source, cache=True), read_ratings(source))
    assert "was not written" in caplog.text


HEADERS = {
    "a dtype that is a program": lambda m: m["arrays"][2].__setitem__(1, "(<i4"),
    "a dtype of another width": lambda m: m["arrays"][2].__setitem__(1, "<i8"),
    "a dtype that is none": lambda m: m["arrays"][2].__setitem__(1, None),
    "lengths below 0": lambda m: m["arrays"][2].__setitem__(2, -1),
    "more than there is": lambda m: m["arrays"][2].__setitem__(2, 10**18),
    "no whole length": lambda m: m["arrays"][2].__setitem__(2, 1.5),
    "another name": lambda m: m["arrays"][2].__setitem__(0, "n_dropped"),
    "no arrays": lambda m: m.update(arrays=3),
    "a scale of words": lambda m: m.update(scale=["a", "b"]),
    "a count of words": lambda m: m.update(n_dropped="many"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_forged_header_is_ignored(source, name):
    read_ratings(source, cache=True)
    path = store.store_path(source)
    header, _, rest = path.read_bytes().partition(b"\n")
    metadata = json.loads(header)
    HEADERS[name](metadata)
    path.write_bytes(json.dumps(metadata).encode() + b"\n" + rest)
    assert store.load_columns(path, {}) is None


def test_a_header_of_brackets_is_ignored(source):
    path = store.store_path(source)
    path.write_bytes(b"[" * 60_000 + b"\n")
    assert same(read_ratings(source, cache=True), read_ratings(source))
