"""evaluate: errors, lists and calibration on ratings that the model was not trained on."""

import json
from pathlib import Path

import numpy as np
import pytest

from numpy_neural_mf import (
    LinearRegression,
    Ratings,
    load_model,
    random_split,
    read_ratings,
    simulate_ratings,
)
from numpy_neural_mf.evaluation import evaluate


@pytest.fixture(scope="module")
def split(tmp_path_factory, run):
    """Return a folder with train.csv, test.csv and a model of the first, which knows a part of the second."""
    folder = tmp_path_factory.mktemp("evaluate")
    train, test = random_split(simulate_ratings(n_users=80, n_items=50, n_ratings=1_500))
    train = train.take(np.flatnonzero((train.raw_users > 5) & (train.raw_items > 3)))
    train.to_polars().write_csv(folder / "train.csv")
    test.to_polars().write_csv(folder / "test.csv")
    run("train", folder / "train.csv", folder / "model", "--epochs", 3)
    return folder


@pytest.fixture(autouse=True)
def inside(split, monkeypatch):
    monkeypatch.chdir(split)


def test_the_json_has_the_results_of_the_package(run_json):
    found = evaluate(load_model("model"), read_ratings("train.csv"), read_ratings("test.csv"), k=5)
    facts = run_json("evaluate", "model", "test.csv", "-k", 5)
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


def test_the_text_has_tables(run):
    result = run("evaluate", "model", "test.csv")
    words = ["overall", "warm", "cold", "mean of users", "RMSE", "MAE", "R2", "FCP", "Unknown to the model",
             "precision@10", "recall@10", "ndcg@10", "map@10", "mrr@10", "hit_rate@10", "novelty@10",
             "coverage", "gini", "a rating of 4 or more is relevant", "mean prediction"]  # fmt: skip
    assert [word for word in words if word not in result.stdout] == []
    assert result.stderr == ""


def test_lists_may_be_left_out(run, run_json):
    assert "ranking" not in run_json("evaluate", "model", "test.csv", "--no-ranking")
    assert "precision" not in run("evaluate", "model", "test.csv", "--no-ranking").stdout


def test_the_threshold_of_relevance_can_be_chosen(run_json):
    assert run_json("evaluate", "model", "test.csv", "--relevant", 3)["ranking"]["relevant"] == 3


def test_training_ratings_are_left_out_and_counted(run, run_json, tmp_path):
    both = read_ratings("test.csv").to_polars().vstack(read_ratings("train.csv").to_polars()[:100])
    both.write_csv(tmp_path / "both.csv")
    result = run("evaluate", "model", tmp_path / "both.csv", "--json")
    assert "left out: 100 of" in result.stderr
    facts = json.loads(result.stdout)
    assert facts.pop("n_left_out") == 100
    assert facts["ratings"] == run_json("evaluate", "model", "test.csv")["ratings"]


def test_a_model_is_not_evaluated_on_its_training_ratings(fault):
    message, _ = fault("evaluate", "model", "train.csv")
    assert message.startswith(
        "train.csv: expected test ratings, found only those that the model was trained on"
    )


def test_times_are_read_from_a_column_of_any_name(run, run_json, tmp_path, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.chdir(tmp_path)
    train, test = random_split(simulate_ratings(n_users=80, n_items=50, n_ratings=1_500, drift=0.8))
    train.to_polars().write_csv("train.csv")
    test.to_polars().rename({"timestamp": "moment"}).write_csv("test.csv")
    run("train", "bayesian-mf", "train.csv", "model", "--samples", 12)
    command = ["evaluate", "model", "test.csv", "--no-ranking"]
    found = evaluate(load_model("model"), train, test).ratings.overall.rmse
    rmse = run_json(*command, "--timestamp", "moment")["ratings"]["overall"]["rmse"]
    assert rmse == pytest.approx(found, abs=1e-6)
    assert run_json(*command)["ratings"]["overall"]["rmse"] != rmse


def test_nan_is_null_in_json(run_json, tmp_path):
    Ratings.from_columns([1000, 1001], [10, 11], [4, 5]).to_polars().write_csv(tmp_path / "cold.csv")
    facts = run_json("evaluate", "model", tmp_path / "cold.csv")
    assert facts["ratings"]["warm"] == {"n": 0, "rmse": None, "mae": None, "r2": None, "fcp": None}
    assert facts["ratings"]["cold"]["n"] == 2


def test_the_report_mentions_what_was_left_out(run_main, ratings_csv):
    ratings_csv = ratings_csv.rename("my ratings.csv")
    ratings = read_ratings(ratings_csv)
    ratings.take(range(700)).to_polars().write_csv("train.csv")
    LinearRegression().fit(read_ratings("train.csv")).save("linear")
    code, _, err = run_main("evaluate", "linear", "my ratings.csv", "--report", "report.html")
    assert code == 0
    assert err.splitlines()[-1] == "Wrote report.html"
    page = Path("report.html").read_text(encoding="utf-8")
    assert "my ratings.csv, less 700 training ratings</h1>" in page
    assert f"Over {len(ratings) - 700:,} ratings" in page
    assert "numpy-neural-mf evaluate linear" in page
    assert "alphas" in page
