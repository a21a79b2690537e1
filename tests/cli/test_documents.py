"""The page of the command line has every command, and its exit codes are those of the commands."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from numpy_neural_mf import simulate_ratings
from numpy_neural_mf.cli.entry import app

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
COMMANDS = set(get_command(app).commands)


def test_commands_and_sections_correspond():
    assert set(re.findall(r"^## `([\w-]+)`$", PAGE, re.MULTILINE)) == COMMANDS


def test_every_command_has_an_example_of_its_own():
    sections = re.findall(r"^## `([\w-]+)`$(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert [name for name, text in sections if f"$ numpy-neural-mf {name}" not in text] == []


def test_no_other_commands_are_run_in_examples():
    assert set(re.findall(r"^\$ numpy-neural-mf ([\w-]+)", PAGE, re.MULTILINE)) <= COMMANDS


# Exit codes


@pytest.fixture
def folder(tmp_path):
    simulate_ratings(n_users=40, n_items=30, n_ratings=500).to_polars().write_csv(tmp_path / "ratings.csv")
    return tmp_path


def started(folder, *arguments):
    command = [sys.executable, "-m", "numpy_neural_mf", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, encoding="utf-8",
                            env=os.environ | {"COLUMNS": "200"})  # fmt: skip


def test_the_tested_codes_are_those_of_the_page():
    assert re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE) == ["0", "1", "2", "130"]


@pytest.mark.parametrize(
    ("code", "arguments", "said"),
    [
        (0, ["train", "ratings.csv", "m", "--epochs", "1"], r"^ratings\.csv: Ratings: 500 ratings .*\n$"),
        (
            1,
            ["train", "ratings.csv", "m", "--learning-rate", "1e9", "--optimizer", "sgd"],
            r"\nnumpy-neural-mf: the .*loss is .*\n$",
        ),
        (2, ["train", "ratings.csv", "m", "--epochs", "0"], r"^numpy-neural-mf: --epochs must be .*\n$"),
    ],
)
def test_a_command_ends_with_the_code_of_the_page(folder, code, arguments, said):
    process = started(folder, *arguments)
    _, error = process.communicate(timeout=120)
    assert process.returncode == code
    assert re.search(said, error)
    assert (folder / "m").exists() == (code == 0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_an_interrupted_command_ends_with_130_and_writes_nothing(folder):
    process = started(folder, "train", "ratings.csv", "m", "--epochs", "100000")
    assert "500 ratings" in process.stderr.readline()  # the ratings are read: training begins
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert not (folder / "m").exists()
