"""simulate and download: ratings to start with."""

import json
import re
import warnings

import pytest

from numpy_neural_mf.cli import data
from numpy_neural_mf.data import DATASETS

pytestmark = pytest.mark.usefixtures("folder")

SMALL = ["--users", 50, "--items", 30, "--ratings", 700]


# simulate


def test_simulated_ratings_are_described_with_their_noise_floor(run, folder):
    result = run("simulate", "mine.csv", *SMALL)
    assert "mine.csv: Ratings: 700 ratings of 30 items by 50 users, 1 to 5" in result.stdout
    assert re.search(r"below 0\.\d{4}\.", result.stdout)
    assert result.stderr == ""
    assert [path.name for path in folder.iterdir()] == ["mine.csv"]


def test_the_noise_floor_is_in_the_json(run_json):
    facts = run_json("simulate", "a.csv", *SMALL)
    assert (facts["output"], facts["ratings"]) == ("a.csv", 700)
    assert 0 < facts["noise_floor"] < 2


def test_the_same_seed_simulates_the_same_ratings(run, folder):
    for name, seed, structure in (
        ("a", 1, "latent"),
        ("b", 1, "latent"),
        ("c", 2, "latent"),
        ("d", 1, "none"),
    ):
        run("simulate", f"{name}.csv", *SMALL, "--seed", seed, "--structure", structure)
    a, b, c, d = ((folder / f"{name}.csv").read_text() for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


# download


@pytest.fixture
def server(monkeypatch):
    """Replace `download_dataset`, which has its own tests."""

    def answering(does):
        def download(name, folder, on_progress):
            on_progress(10, 20)
            return does(folder / name)

        monkeypatch.setattr(data, "download_dataset", download)

    return answering


def test_without_a_name_the_sets_are_listed_with_their_terms(run, run_json):
    table = run("download").stdout
    assert [name for name in DATASETS if name not in table] == []
    assert "no redistribution" in table
    rows = run_json("download")
    assert [row["name"] for row in rows] == list(DATASETS)
    assert rows[1]["ratings"] == 1_000_209


def test_a_downloaded_set_is_described_with_its_terms_and_what_to_run_next(run, run_json, server):
    server(lambda path: path)
    text = run("download", "ml-latest-small", "films").stdout
    assert "films/ml-latest-small: licence: research use" in text
    assert "Harper and Joseph A. Konstan" in text
    assert "Next: numpy-neural-mf compare films/ml-latest-small" in text
    assert "licence: CC BY-SA 4.0" in run("download", "goodbooks-10k").stdout
    facts = run_json("download", "ml-latest-small")
    assert facts["folder"] == "ml-latest-small"
    assert "research use" in facts["licence"]


def test_that_a_set_has_changed_is_logged(run, server):
    def changed(path):
        warnings.warn("the set has changed", stacklevel=1)
        return path

    server(changed)
    result = run("download", "ml-latest-small", "--json")
    assert json.loads(result.stdout)["folder"] == "ml-latest-small"
    assert result.stderr.strip() == "the set has changed"


def test_an_interrupted_download_exits_130_and_says_that_it_resumes(fault, server):
    def interrupted(path):
        raise KeyboardInterrupt

    server(interrupted)
    assert fault("download", "ml-25m") == ("interrupted: the same command resumes where it stopped", 130)


def test_an_unknown_name_is_answered_with_the_known_ones(fault):
    message, code = fault("download", "ml-5m")
    assert "expected one of ml-100k" in message
    assert code == 2
