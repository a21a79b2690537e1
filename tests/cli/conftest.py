"""Runners of commands, a folder with ratings, and a folder with trained models."""

import json
import re
import sys

import polars as pl
import pytest
from typer.testing import CliRunner

from numpy_neural_mf import cli, simulate_ratings
from numpy_neural_mf.cli.entry import app


def invoke(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture(scope="session")
def run():
    """Return a function that runs a command, checks its exit code (0 by default) and returns its result."""

    def run(*arguments, code=0):
        result = invoke(*arguments)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture(scope="session")
def run_json(run):
    """Return a function that runs a command with --json and returns its parsed standard output."""
    return lambda *arguments: json.loads(run(*arguments, "--json").stdout)


@pytest.fixture
def run_main(monkeypatch, capsys):
    """Return a function that runs a command through `main`: exit code, standard output and error."""

    def run_main(*arguments):
        monkeypatch.setattr(sys, "argv", ["numpy-neural-mf", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        out, err = (re.sub(r"\x1b\[[\d;]*m", "", text) for text in (captured.out, captured.err))
        return ended.value.code, out, err

    return run_main


@pytest.fixture
def fault(run_main):
    """Return a function that runs a failing command and returns its one sentence and its exit code."""

    def fault(*arguments):
        code, out, err = run_main(*arguments)
        assert code != 0
        assert out == ""
        assert err.startswith("numpy-neural-mf: ")
        assert err.count("\n") == 1
        return err.removeprefix("numpy-neural-mf: ").strip(), code

    return fault


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """Set up a terminal of 200 columns, without data of the machine."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NUMPY_NEURAL_MF_DATA", raising=False)


@pytest.fixture(scope="session")
def small_csv():
    """Return the text of a file of 900 ratings of 40 items by 60 users."""
    return simulate_ratings(n_users=60, n_items=40, n_ratings=900).to_polars().write_csv()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the working directory, an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ratings_csv(folder, small_csv):
    """Write ratings.csv in the working directory."""
    path = folder / "ratings.csv"
    path.write_text(small_csv)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory, run):
    """Return a folder with ratings.csv, movies.csv and model.safetensors, trained by the command line."""
    folder = tmp_path_factory.mktemp("trained")
    ratings = simulate_ratings(n_users=80, n_items=50, n_ratings=1_500)
    ratings.to_polars().write_csv(folder / "ratings.csv")
    titles = [f"Film {item}, the long title of a film" for item in ratings.item_ids]
    pl.DataFrame({"movieId": ratings.item_ids, "title": titles}).write_csv(folder / "movies.csv")
    run("train", folder / "ratings.csv", folder / "model.safetensors", "--epochs", 3)
    return folder


@pytest.fixture
def models(trained, monkeypatch):
    """Change to the folder of `trained`."""
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture(scope="session")
def timed(trained):
    """Write timed.csv, ratings with timestamps, in the folder of `trained`."""
    simulate_ratings(n_users=80, n_items=50, n_ratings=1_500, drift=0.8).to_polars().write_csv(
        trained / "timed.csv"
    )
    return trained / "timed.csv"


@pytest.fixture(scope="session")
def bayesian(trained, timed, run):
    """Return the name of a BayesianMF in the folder of `trained`, which uses time."""
    pytest.importorskip("numba")
    run("train", "bayesian-mf", timed, trained / "bayesian", "--samples", 12)
    return "bayesian"


@pytest.fixture(scope="session")
def ordinal(trained, timed, run):
    """Return the name of a NeuralMF with ordinal likelihood in the folder of `trained`, which uses time."""
    options = ["--periods", 4, "--likelihood", "ordinal", "--learning-rate", 0.1, "--batch-size", 128]
    run("train", timed, trained / "ordinal", "--epochs", 5, *options)
    return "ordinal"
