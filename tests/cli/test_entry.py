"""The command line: what can be asked, what is answered, and how a fault is told."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from numpy_neural_mf import cli, simulate_ratings

FILES = ["comparacion_arquitecturas.png", "comparison.csv", "comparison.json", "comparison.md"]
QUICK = ["--epochs", "1", "--seeds", "1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NUMPY_NEURAL_MF_DATA", raising=False)
    return tmp_path


@pytest.fixture
def ratings_csv(folder):
    path = folder / "ratings.csv"
    simulate_ratings(n_users=60, n_items=40, n_ratings=900).to_frame().write_csv(path)
    return path


def answer(*arguments):
    """Exit code, standard output and standard error of a command, through `main`."""
    command = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    return command.exit_code, plain(command.stdout), plain(command.stderr)


def plain(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def fault(monkeypatch, capsys, *arguments):
    """The one sentence, on standard error, that a faulty command ends with, and its exit code."""
    monkeypatch.setattr(sys, "argv", ["numpy-neural-mf", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    error = plain(capsys.readouterr().err)
    assert error.startswith("numpy-neural-mf: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error.removeprefix("numpy-neural-mf: ").strip(), caught.value.code


def python_m(*arguments, **settings):
    command = [sys.executable, "-m", "numpy_neural_mf", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, **settings)


# compare


def test_compare_prints_the_table_and_writes_the_files(ratings_csv, folder):
    code, out, error = answer("compare", "ratings.csv", *QUICK, "--output-dir", "out")
    assert (code, error) == (0, "")
    assert "ratings.csv: Ratings: 900 ratings of 40 items by 60 users" in out
    for name in (
        "global mean",
        "linear regression",
        "item kNN",
        "A_small",
        "B_medium",
        "C_wide",
        "Bayesian MF",
        *FILES,
    ):
        assert name in out
    assert sorted(path.name for path in (folder / "out").iterdir()) == FILES


def test_compare_finds_ratings_by_itself(ratings_csv, folder):
    code, out, _ = answer("compare", *QUICK)
    assert code == 0
    assert "ratings.csv: Ratings: 900 ratings" in out
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "ratings.csv"])


def test_compare_reads_columns_of_any_name_on_a_scale_of_any_kind(folder):
    frame = simulate_ratings(n_users=60, n_items=40, n_ratings=900).to_frame()
    frame.select(reader="user_id", extra=pl.lit("x"), book="item_id", grade=2 * pl.col("rating")).write_csv(
        "books.csv"
    )
    columns = ["--user", "reader", "--item", "book", "--rating", "grade"]
    code, out, _ = answer("compare", "books.csv", *columns, "--scale", "0", "10", *QUICK)
    assert code == 0
    assert "900 ratings of 40 items by 60 users, 0 to 10" in out


def test_compare_takes_seeds_folds_and_epochs(ratings_csv):
    code, out, _ = answer("compare", "ratings.csv", "--seeds", "2", "--folds", "2", "--epochs", "3")
    assert code == 0
    assert "mean of 4 runs" in out
    runs = json.loads(Path("comparison.json").read_text())["runs"]
    assert [(run["seed"], run["split"]) for run in runs[::7]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {len(run["history"]["train_loss"]) for run in runs if run["history"]} == {3}


def test_compare_interrupted_in_the_middle_says_so_and_exits_130(ratings_csv, monkeypatch):
    def interrupted(self, ratings, validation=None, on_progress=None):
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy_neural_mf.models.NeuralMF.fit", interrupted)
    code, out, _ = answer("compare", "ratings.csv", *QUICK)
    assert code == 130
    assert "Interrupted: 3 of 7 runs are finished and counted." in out
    assert len(json.loads(Path("comparison.json").read_text())["runs"]) == 3


def test_compare_interrupted_before_the_first_run_says_so_and_exits_130(
    ratings_csv, folder, monkeypatch, capsys
):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy_neural_mf.cli.compare.run_experiments", interrupted)
    message = "interrupted before the first run was finished: nothing was written"
    assert fault(monkeypatch, capsys, "compare", "ratings.csv") == (message, 130)
    assert list(folder.iterdir()) == [ratings_csv]


# simulate


def test_simulate_writes_a_file_that_compare_reads(folder):
    code, out, _ = answer("simulate", "mine.csv", "--users", "50", "--items", "30", "--ratings", "700")
    assert code == 0
    assert "mine.csv: Ratings: 700 ratings of 30 items by 50 users, 1 to 5" in out
    assert re.search(r"below 0\.\d{4}\.", out)
    assert [path.name for path in folder.iterdir()] == ["mine.csv"]
    code, out, _ = answer("compare", "mine.csv", *QUICK)
    assert code == 0
    assert "700 ratings of 30 items by 50 users, 1 to 5" in out


def test_simulate_tells_machines_the_noise_floor(folder):
    _, out, _ = answer("simulate", "a.csv", "--users", "50", "--items", "30", "--ratings", "300", "--json")
    told = json.loads(out)
    assert (told["output"], told["ratings"]) == ("a.csv", 300)
    assert 0 < told["noise_floor"] < 2


def test_simulate_gives_the_same_ratings_for_the_same_seed(folder):
    sizes = ["--users", "50", "--items", "30", "--ratings", "300"]
    for name, seed, structure in (
        ("a", 1, "latent"),
        ("b", 1, "latent"),
        ("c", 2, "latent"),
        ("d", 1, "none"),
    ):
        answer("simulate", f"{name}.csv", *sizes, "--seed", str(seed), "--structure", structure)
    a, b, c, d = ((folder / f"{name}.csv").read_text() for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


# help


def test_without_a_command_there_is_help():
    _, out, error = answer()
    assert "compare" in out + error
    assert "simulate" in out + error


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["compare", "simulate", "130 interrupted"]),
        (["compare"], ["RATINGS", "--epochs", "--seeds", "--folds", "--engine", "--output-dir", "--user",
                       "--item", "--rating", "--timestamp", "--scale", "NUMPY_NEURAL_MF_DATA", "--folds 5"]),
        (["simulate"], ["--users", "--items", "--ratings", "--structure", "latent", "--seed"]),
    ],
)  # fmt: skip
def test_help_names_every_option(command, words):
    code, out, _ = answer(*command, "--help")
    assert code == 0
    assert [word for word in words if word not in out] == []


# Faults are one sentence


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "missing.csv"], "missing.csv: expected a file of ratings, found: No such file"),
        (["compare", "bad.csv"], "bad.csv, line 3: expected a finite number as rating, found 'good'"),
        (["compare", "ratings.csv", "--user", "reader"], "ratings.csv: expected a column 'reader' as user"),
        (["compare", "ratings.csv", "--scale", "2", "3"], "expected a rating from 2 to 3, found"),
        (["compare", "ratings.csv", "--scale", "3", "2"], "scale: expected (lowest, highest)"),
        (["compare", "ratings.csv", "--engine", "abacus"], "engine must be one of auto, numpy"),
        (["compare", "ratings.csv", "--seeds", "0"], "seeds must be an integer of at least 1, not 0"),
        (["compare", "ratings.csv", "--folds", "1"], "n_folds must be at least 2, or 0 for random"),
        (["compare", "ratings.csv", "--epochs", "0"], "at least 1, not 0"),
        (["compare", "ratings.csv", "--output-dir", "bad.csv"], "bad.csv: expected a folder, found a file"),
        (["compare", "ratings.csv", "--output-dir", "bad.csv/x"], "bad.csv: expected a folder, found a file"),
        (["simulate", "bad.csv/x.csv"], "bad.csv: "),
        (["simulate", "."], ""),
        (["simulate", "x.csv", "--users", "0"], "expected n_users, n_items ≥ 1"),
        (["simulate", "x.csv", "--ratings", "70", "--users", "8", "--items", "8"], "n_ratings=70"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_sentence(ratings_csv, folder, monkeypatch, capsys, arguments, message):
    (folder / "bad.csv").write_text("user_id,item_id,rating\n1,1,3\n1,2,good\n")
    before = sorted(folder.iterdir())
    said, code = fault(monkeypatch, capsys, *arguments)
    assert message in said
    assert code == 2
    assert sorted(folder.iterdir()) == before


def test_a_training_that_diverges_exits_1(ratings_csv, monkeypatch, capsys):
    def diverging(*arguments, **settings):
        raise FloatingPointError("the loss is nan in epoch 1: use a lower learning rate")

    monkeypatch.setattr("numpy_neural_mf.cli.compare.run_experiments", diverging)
    assert fault(monkeypatch, capsys, "compare", "ratings.csv") == (
        "the loss is nan in epoch 1: use a lower learning rate",
        1,
    )


@pytest.mark.parametrize(
    "arguments", [["compare", "--no-such-option"], ["compare", "--seeds", "many"], ["no such command"]]
)
def test_what_is_no_option_is_told_with_the_usage(arguments):
    code, _, error = answer(*arguments)
    assert code == 2
    assert "Usage" in error
    assert "Traceback" not in error


# As a process


def test_as_a_process_a_command_done_exits_0_and_says_nothing_on_standard_error(folder):
    done = python_m("simulate", "a.csv", "--users", 20, "--items", 20, "--ratings", 100, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "100 ratings" in done.stdout


def test_as_a_process_a_fault_exits_2_with_one_sentence_and_no_traceback(folder):
    failed = python_m("compare", "missing.csv", cwd=folder, env=os.environ | {"COLUMNS": "40"})
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert failed.stderr == (
        "numpy-neural-mf: missing.csv: expected a file of ratings, found: No such file or directory\n"
    )
