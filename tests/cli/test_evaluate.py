"""evaluate: errors, lists and calibration on ratings that the model did not learn from."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from numpy_neural_mf import Ratings, cli, load_model, random_split, read_ratings, simulate_ratings
from numpy_neural_mf.evaluation import evaluate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """train.csv, test.csv and a model of the first, to which some of the second is unknown."""
    folder = tmp_path_factory.mktemp("evaluate")
    train, test = random_split(simulate_ratings(n_users=80, n_items=50, n_ratings=1_500))
    train = train.take(np.flatnonzero((train.raw_users > 5) & (train.raw_items > 3)))
    train.to_frame().write_csv(folder / "train.csv")
    test.to_frame().write_csv(folder / "test.csv")
    before = Path.cwd()
    os.chdir(folder)
    try:
        CliRunner().invoke(cli.app, ["train", "train.csv", "model", "--epochs", "3"], catch_exceptions=False)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")


def run(*arguments):
    result = CliRunner().invoke(cli.app, ["evaluate", "model", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def told(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


def test_what_is_told_is_what_the_package_finds_with_the_training_part_at_hand():
    found = evaluate(load_model("model"), read_ratings("train.csv"), read_ratings("test.csv"), k=5)
    facts = told("test.csv", "-k", 5)
    for name in ("overall", "warm", "cold"):
        part = getattr(found.ratings, name)
        assert facts["ratings"][name] == {
            "n": part.n, "rmse": part.rmse, "mae": part.mae, "r2": part.r2, "fcp": part.fcp,
        }  # fmt: skip
        assert facts["ranking"][name] == pytest.approx(getattr(found.ranking, name))
    assert (facts["n_cold_users"], facts["n_cold_items"]) == (found.ratings.n_cold_users, 3)
    assert facts["mean_user_rmse"] == found.ratings.mean_user_rmse
    assert (facts["ranking"]["k"], facts["ranking"]["relevant"]) == (5, 4)
    assert facts["ranking"]["coverage"] == found.ranking.coverage
    assert facts["ranking"]["gini"] == pytest.approx(found.ranking.gini)
    assert [row["rating"] for row in facts["calibration"]] == found.ratings.calibration.rating.tolist()
    assert facts["n_left_out"] == 0


def test_people_read_tables():
    said = run("test.csv").stdout
    words = ["overall", "warm", "cold", "mean of users", "RMSE", "MAE", "R2", "FCP", "Unknown to the model",
             "precision@10", "recall@10", "ndcg@10", "map@10", "mrr@10", "hit_rate@10", "novelty@10",
             "coverage", "gini", "relevant is a rating of 4 or more", "mean prediction"]  # fmt: skip
    assert [word for word in words if word not in said] == []


def test_ratings_alone_can_be_judged():
    assert "ranking" not in told("test.csv", "--no-ranking")
    assert "precision" not in run("test.csv", "--no-ranking").stdout


def test_what_is_relevant_can_be_said():
    assert told("test.csv", "--relevant", 3)["ranking"]["relevant"] == 3


def test_ratings_that_the_model_learned_from_are_left_out_and_counted(tmp_path):
    both = read_ratings("test.csv").to_frame().vstack(read_ratings("train.csv").to_frame()[:100])
    both.write_csv(tmp_path / "both.csv")
    result = run(tmp_path / "both.csv", "--json")
    assert "left out: 100 of" in result.stderr
    facts = json.loads(result.stdout)
    assert facts.pop("n_left_out") == 100
    assert facts["ratings"] == told("test.csv")["ratings"]


def test_a_model_is_not_judged_on_its_own_ratings_alone():
    with pytest.raises(ValueError, match=r"train\.csv: expected ratings to judge on, found only those"):
        run("train.csv")


def test_times_are_taken_from_a_column_of_any_name(folder, tmp_path, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.chdir(tmp_path)
    train, test = random_split(simulate_ratings(n_users=80, n_items=50, n_ratings=1_500, drift=0.8))
    train.to_frame().write_csv("train.csv")
    test.to_frame().rename({"timestamp": "moment"}).write_csv("test.csv")
    command = ["train", "train.csv", "model", "--model", "bayesian", "--samples", "12"]
    CliRunner().invoke(cli.app, command, catch_exceptions=False)
    found = evaluate(load_model("model"), train, test).ratings.overall.rmse
    facts = told("test.csv", "--timestamp", "moment", "--no-ranking")
    assert facts["ratings"]["overall"]["rmse"] == pytest.approx(found, abs=1e-6)
    assert (
        told("test.csv", "--no-ranking")["ratings"]["overall"]["rmse"] != facts["ratings"]["overall"]["rmse"]
    )


def test_what_is_no_number_is_null_for_machines(tmp_path):
    Ratings.from_columns([1000, 1001], [10, 11], [4, 5]).to_frame().write_csv(tmp_path / "cold.csv")
    facts = told(tmp_path / "cold.csv")
    assert facts["ratings"]["warm"] == {"n": 0, "rmse": None, "mae": None, "r2": None, "fcp": None}
    assert facts["ratings"]["cold"]["n"] == 2
