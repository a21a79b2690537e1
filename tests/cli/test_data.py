"""download: the sets and their terms, and what a user reads when one has come."""

import json
import warnings

import pytest
from typer.testing import CliRunner

from numpy_neural_mf import cli
from numpy_neural_mf.cli import data
from numpy_neural_mf.data import MOVIELENS


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli.app, ["download", *arguments], catch_exceptions=False)


@pytest.fixture
def server(monkeypatch):
    """What downloading does, without a server: that is tested beside `download_movielens`."""

    def answering(does):
        def download(name, folder, on_progress):
            on_progress(10, 20)
            return does(folder / name)

        monkeypatch.setattr(data, "download_movielens", download)

    return answering


def test_without_a_name_the_sets_are_listed_with_their_terms():
    said = run().stdout
    assert [name for name in MOVIELENS if name not in said] == []
    assert "no redistribution" in said
    told = json.loads(run("--json").stdout)
    assert [row["name"] for row in told] == list(MOVIELENS)
    assert told[1]["ratings"] == 1_000_209


def test_a_set_that_came_is_told_with_its_terms_and_what_to_run_next(server):
    server(lambda there: there)
    said = run("ml-latest-small", "films").stdout
    assert "films/ml-latest-small: under the licence in its README: research use" in said
    assert "Harper and Joseph A. Konstan" in said
    assert "Next: numpy-neural-mf compare films/ml-latest-small" in said
    told = json.loads(run("ml-latest-small", "--json").stdout)
    assert told["folder"] == "ml-latest-small"
    assert "research use" in told["licence"]


def test_a_set_that_has_changed_is_told_on_standard_error(server):
    def changed(there):
        warnings.warn("the set has changed", stacklevel=1)
        return there

    server(changed)
    result = run("ml-latest-small")
    assert result.exit_code == 0
    assert result.stderr.strip() == "the set has changed"


def test_an_interrupted_transfer_exits_130_and_says_that_it_goes_on(server):
    def interrupted(there):
        raise KeyboardInterrupt

    server(interrupted)
    result = run("ml-25m")
    assert result.exit_code == 130
    assert "interrupted: the same command goes on where it stopped" in result.stderr


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(ValueError, match="expected one of ml-100k"):
        run("ml-5m")
