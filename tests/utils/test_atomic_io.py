"""Files are written completely or not at all."""

import errno
import os
import re
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from numpy_neural_mf.utils.atomic_io import (
    ABANDONED,
    is_first_process,
    replacing,
    require_file,
    require_folder,
    require_output,
)
from numpy_neural_mf.utils.safetensors_stream import write_safetensors

FLOATS = np.zeros(64_000, np.float32)


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_is_hidden_next_to_it_with_its_suffix(tmp_path):
    with replacing(tmp_path / "figure.png") as temporary:
        temporary.touch()
        assert temporary.parent == tmp_path  # so that replacing it is atomic
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_error_leaves_the_old_file_and_no_temporary(tmp_path, error, old):
    path = tmp_path / "table.csv"
    if old:
        path.write_text(old)

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        write_half()
    assert [file.read_text() for file in tmp_path.iterdir()] == ([old] if old else [])


def test_a_folder_in_its_place_stays(tmp_path):
    (tmp_path / "table.csv").mkdir()

    def write():
        with replacing(tmp_path / "table.csv") as temporary:
            temporary.write_text("new")

    with pytest.raises(OSError, match=r"table\.csv"):
        write()
    assert [path.is_dir() for path in tmp_path.iterdir()] == [True]


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "table.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    for text in ("new", "newer"):  # a link to nothing at first, then to a file
        with replacing(link) as temporary:
            temporary.write_text(text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert list((tmp_path / "elsewhere").iterdir()) == [target]


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o755])
def test_the_mode_of_a_file_stays(tmp_path, mode):
    path = tmp_path / "model"
    path.write_text("old")
    path.chmod(mode)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)


def test_a_pipe_is_written_to_and_stays(tmp_path):
    path, found = tmp_path / "pipe.csv", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: found.append(path.read_text()))
    reader.start()
    with replacing(path) as temporary:
        temporary.write_text("new")
    reader.join()
    assert found == ["new"]
    assert path.is_fifo()


def test_a_device_is_written_to_and_stays():
    with replacing(os.devnull) as temporary:
        temporary.write_text("new")
    assert Path(os.devnull).is_char_device()


def test_folders_are_made_as_needed(tmp_path):
    with replacing(str(tmp_path / "a" / "b" / "table.csv")) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a" / "b" / "table.csv").read_text() == "new"


def test_a_folder_that_exists_or_can_be_made_is_accepted_and_not_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "a" / "b", ".", "", "a", Path()):
        require_folder(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "a", "a/b"])
def test_a_file_is_not_a_folder(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="expected a folder, found a file") as caught:
        require_folder(tmp_path / "file" / below)
    assert caught.value.errno == errno.ENOTDIR
    assert caught.value.filename == str(tmp_path / "file")


def test_a_folder_without_permission_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root ignores mode bits
    with pytest.raises(PermissionError, match="without permission"):
        require_folder(tmp_path)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        ({"RANK": "3"}, True),
        ({"RANK": "0", "TORCHELASTIC_RUN_ID": "a"}, True),
        ({"RANK": "1", "TORCHELASTIC_RUN_ID": "a"}, False),
    ],
    ids=["alone", "alone, with a rank of something else", "first of torchrun's", "second of torchrun's"],
)
def test_of_the_processes_of_torchrun_the_first_writes(monkeypatch, environment, expected):
    for name in ("RANK", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == expected


def test_any_number_of_threads_may_write_one_file(tmp_path):
    path, barrier = tmp_path / "table.csv", threading.Barrier(4)

    def write(letter):
        with replacing(path) as temporary:
            barrier.wait(60)
            temporary.write_text(letter * 1000)
            barrier.wait(60)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert path.read_text() in [letter * 1000 for letter in "abcd"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_once_it_is_old(tmp_path):
    path = tmp_path / "model.safetensors"
    context = replacing(path)
    left = context.__enter__()  # never to end
    others = [tmp_path / ".model.notes.safetensors", tmp_path / f".other.{'0' * 16}.safetensors"]
    for file in (left, *others):
        file.touch()
        os.utime(file, (0, time.time() - ABANDONED + 60))
    with replacing(path) as temporary:
        temporary.touch()
    assert left.exists(), "it may still be written to"
    for file in (left, *others):
        os.utime(file, (0, time.time() - ABANDONED - 60))
    with replacing(path) as temporary:
        temporary.touch()
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_the_longest_possible_name_is_written(tmp_path):
    path = tmp_path / ("ü" * 120 + ".safetensors")
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_a_full_disk_is_named_with_the_file():
    with (
        pytest.raises(OSError, match=r"No space left on device: '/dev/full'"),
        replacing("/dev/full") as temporary,
        temporary.open("wb") as file,
    ):
        write_safetensors(file, {"a": (np.dtype("f4"), (64_000,))}, lambda name: iter([FLOATS]), {})


def test_an_error_of_only_words_is_named_with_the_file(tmp_path):
    found = f"{tmp_path / 'r.csv'}: No space left on device (os error 28)"
    with pytest.raises(OSError, match=f"^{re.escape(found)}$"), replacing(tmp_path / "r.csv"):
        raise OSError("No space left on device (os error 28)")  # as polars does
    with pytest.raises(OSError, match=f"^{re.escape(found)}$"), replacing(tmp_path / "r.csv"):
        raise OSError(found)


def test_a_pipe_is_not_read_as_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path(os.devnull)):
        with pytest.raises(OSError, match="expected a file, found a folder, a pipe or a device"):
            require_file(path)
    with pytest.raises(FileNotFoundError):
        require_file(tmp_path / "nothing")


def test_an_output_is_checked_before_the_work(tmp_path):
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("1,2,3")
    (tmp_path / "link").symlink_to(ratings)
    for path in (ratings, tmp_path / "link", tmp_path / "a" / ".." / "ratings.csv"):
        with pytest.raises(ValueError, match="found one that is read"):
            require_output(path.resolve() if ".." in path.parts else path, None, ratings)
    with pytest.raises(IsADirectoryError, match="found a folder"):
        require_output(tmp_path)
    with pytest.raises(OSError, match="name too long"):
        require_output(tmp_path / ("a" * 300))
    require_output(tmp_path / "new", ratings)
    require_output(tmp_path / "b" / "new", ratings)
    require_output("/dev/null", ratings)
    with pytest.raises(FileNotFoundError, match="expected a file to write to, found no folder"):
        require_output("/dev/nothing/model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "ratings.csv"]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    require_output("~/new/file")
    with replacing("~/file") as temporary:
        temporary.write_text("here")
    assert (tmp_path / "home" / "file").read_text() == "here"
    monkeypatch.chdir(tmp_path)
    with replacing("~nobody of this name") as temporary:
        temporary.write_text("a name that begins with a tilde")
    assert (tmp_path / "~nobody of this name").exists()
