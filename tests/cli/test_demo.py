"""demo: ratings, models and the page in one command."""

import os
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from fastapi.testclient import TestClient

from numpy_neural_mf import serving, simulate_ratings
from numpy_neural_mf.cli import demo

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Simulate few ratings and train few epochs."""
    few = {"n_users": 60, "n_items": 40, "n_ratings": 900}
    monkeypatch.setattr(demo, "simulate_ratings", lambda **_: simulate_ratings(**few))
    for settings in demo.MODELS.values():
        monkeypatch.setitem(settings, "epochs", 1)
        monkeypatch.setitem(settings, "embedding_dim", 2)


@pytest.fixture
def answers(monkeypatch):
    """Return the responses of the last started service to a few requests."""
    found = {}

    def serve(settings):
        with TestClient(serving.create_app(settings), "http://127.0.0.1") as client:
            found["page"] = client.get("/").text
            found["models"] = client.get("/v1/models").json()
            found["items"] = client.get("/v1/items").json()["items"]
            found["port"] = settings.port

    monkeypatch.setattr(serving, "serve", serve)
    return found


@pytest.fixture
def no_download(monkeypatch):
    def refused(name, folder):
        raise OSError("https://example.org/ml.zip: failed 4 times")

    monkeypatch.setattr(demo, "downloaded", refused)


@pytest.fixture
def films(ratings_csv):
    """Write movies.csv and the README of a MovieLens set next to ratings.csv."""
    ratings = pl.read_csv(ratings_csv)
    items = ratings.get_column("item_id").unique().sort()
    pl.DataFrame({"movieId": items, "title": [f"Film {item}" for item in items]}).write_csv("movies.csv")
    Path("README.txt").write_text("Summary\n=======\n\nThis dataset (ml-latest-small) describes ...")
    return ratings_csv


def test_without_a_network_films_are_invented(run, answers, no_download):
    result = run("demo")
    assert "failed 4 times; ratings are simulated instead" in result.stderr
    assert "Serving http://127.0.0.1:8000/, until Ctrl-C" in result.stdout
    assert "<!doctype html>" in answers["page"]
    assert [model["name"] for model in answers["models"]["models"]] == ["biased_mf", "C_wide"]
    assert all(model["has_intervals"] for model in answers["models"]["models"])
    assert answers["models"]["about"]["data"] == "Simulated ratings of films that do not exist"
    assert len({item["title"] for item in answers["items"]}) == 20


def test_no_download_makes_no_requests(run, answers, monkeypatch):
    monkeypatch.setattr(demo, "downloaded", None)
    run("demo", "here", "--no-download", "--port", 8123)
    assert answers["port"] == 8123
    assert Path("here/simulated/C_wide.safetensors").is_file()


def test_a_downloaded_set_is_used_without_a_network(run, answers, films):
    Path("demo/ml-latest-small").mkdir(parents=True)
    for name in ("ratings.csv", "movies.csv", "README.txt"):
        Path(name).rename(Path("demo/ml-latest-small", name))
    run("demo", "--no-download")
    assert answers["models"]["about"]["data"] == "MovieLens ml-latest-small"


def test_a_local_movielens_set_is_shown_with_its_licence_and_citation(run, answers, films):
    run("demo")
    about = answers["models"]["about"]
    assert (about["items"], about["data"]) == ("films", "MovieLens ml-latest-small")
    assert about["licence"].startswith("research use")
    assert about["citation"].startswith("F. Maxwell Harper")
    assert answers["items"][0]["title"].startswith("Film ")


def test_ratings_without_titles_are_of_items_without_source(run, answers, ratings_csv):
    run("demo")
    assert answers["models"]["about"] == {"items": "items", "data": "", "licence": "", "citation": ""}
    assert "title" not in answers["items"][0]


def test_models_are_trained_once_and_again_for_newer_ratings(run, answers, films):
    assert run("demo").stderr.count("Trained ") == 2
    second = run("demo").stderr
    assert second.count("exists already") == 2
    assert "Trained " not in second
    newest = max(path.stat().st_mtime for path in Path("demo").rglob("*.safetensors"))
    os.utime(films, (newest + 1, newest + 1))
    assert run("demo").stderr.count("Trained ") == 2


def test_an_interrupted_training_leaves_no_model(run_main, answers, no_download, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo.NeuralMF, "fit", interrupted)
    code, _, err = run_main("demo")
    assert code == 130
    assert "biased_mf.safetensors was not written" in err
    assert list(Path("demo").rglob("*.safetensors")) == []


def test_the_browser_is_opened_on_request(run, answers, no_download, monkeypatch):
    opened = []
    monkeypatch.setattr(demo, "_open", opened.append)
    run("demo")
    assert opened == []
    run("demo", "--open")
    assert opened == ["http://127.0.0.1:8000/"]
