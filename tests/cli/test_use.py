"""The commands around one model, as a user types them."""

import json
import os
import re
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from numpy_neural_mf import cli, load_model, read_ratings, simulate_ratings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """ratings.csv, movies.csv and model.safetensors, trained by the command line."""
    folder = tmp_path_factory.mktemp("models")
    ratings = simulate_ratings(n_users=80, n_items=50, n_ratings=1_500)
    ratings.to_frame().write_csv(folder / "ratings.csv")
    titles = [f"Film {item}, the long title of a film" for item in ratings.item_ids]
    pl.DataFrame({"movieId": ratings.item_ids, "title": titles}).write_csv(folder / "movies.csv")
    before = Path.cwd()
    os.chdir(folder)
    try:
        answer("train", "ratings.csv", "model.safetensors", "--epochs", "3")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def run(*arguments):
    return CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)


def plain(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def answer(*arguments, code=0):
    result = run(*arguments)
    assert result.exit_code == code, result.output
    return result.stdout


def refused(*arguments):
    with pytest.raises((ValueError, OSError)) as error:
        CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    return str(error.value)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_predict_adds_a_column(tmp_path, suffix):
    frame = pl.DataFrame({"userId": [1, 2], "movieId": [3, 4], "note": ["a", "b"]})
    pairs, output = tmp_path / f"pairs.{suffix}", tmp_path / f"predictions.{suffix}"
    if suffix == "csv":
        frame.write_csv(pairs)
    else:
        frame.write_parquet(pairs)
    answer("predict", "model.safetensors", str(pairs), str(output))
    written = pl.read_csv(output) if suffix == "csv" else pl.read_parquet(output)
    assert written.drop("prediction").equals(frame)
    expected = load_model("model.safetensors").predict([1, 2], [3, 4])
    assert written["prediction"].to_list() == pytest.approx(expected.tolist(), abs=1e-6)


def test_predict_finds_columns_by_the_usual_names_and_tells_how_many_are_unknown(tmp_path):
    pairs = pl.DataFrame({"item_id": [3, 4, 99_999], "User": [1, 77_777, 88_888]})
    pairs.write_csv(tmp_path / "pairs.csv")
    result = run("predict", "model.safetensors", str(tmp_path / "pairs.csv"), str(tmp_path / "out.csv"))
    assert "2 of them have a user (2) or an item (1) that the model does not know" in plain(result.stderr)
    told = json.loads(
        answer("predict", "model.safetensors", str(tmp_path / "pairs.csv"), str(tmp_path / "o"), "--json")
    )
    assert (told["predictions"], told["unknown_user"], told["unknown_item"]) == (3, 2, 1)


@pytest.fixture(scope="module")
def bayesian(folder):
    """A model that knows of time, and the ratings that it learned from."""
    pytest.importorskip("numba")
    ratings = folder / "timed.csv"
    simulate_ratings(n_users=80, n_items=50, n_ratings=1_500, drift=0.8).to_frame().write_csv(ratings)
    answer("train", str(ratings), str(folder / "bayesian"), "--model", "bayesian", "--samples", "12")
    return "bayesian"


@pytest.fixture(scope="module", params=["bayesian", "ordinal"])
def telling(request, bayesian, folder):
    """Models that know of time, and how sure they are."""
    if request.param == "ordinal":
        form = ["--periods", "4", "--likelihood", "ordinal", "--learning-rate", "0.1", "--batch-size", "128"]
        answer("train", str(folder / "timed.csv"), str(folder / "ordinal"), "--epochs", "5", *form)
    return request.param


@pytest.mark.parametrize("name", ["timestamp", "Time", "moment"])
def test_predict_takes_times_where_there_are_any(telling, tmp_path, name):
    known = read_ratings("timed.csv")
    users, items, times = known.raw_users[:40], known.raw_items[:40], known.timestamps[:40]
    pairs, output = str(tmp_path / "pairs.csv"), tmp_path / "out.csv"
    pl.DataFrame({"userId": users, "movieId": items, name: times}).write_csv(pairs)
    answer("predict", telling, pairs, str(output), *(["--timestamp", name] if name == "moment" else []))
    model = load_model(telling)
    found = pl.read_csv(output)["prediction"].to_numpy()
    assert found == pytest.approx(model.predict(users, items, times), abs=1e-6)
    assert not (model.predict(users, items) == model.predict(users, items, times)).all()


def test_predict_without_times_is_that_of_the_last_rating(telling, tmp_path):
    pl.DataFrame({"userId": [1, 2], "movieId": [3, 4], "moment": [1, 2]}).write_csv(tmp_path / "pairs.csv")
    answer("predict", telling, str(tmp_path / "pairs.csv"), str(tmp_path / "out.csv"))
    written = pl.read_csv(tmp_path / "out.csv")
    assert written.columns == ["userId", "movieId", "moment", "prediction"]
    assert written["prediction"].to_list() == pytest.approx(
        load_model(telling).predict([1, 2], [3, 4]).tolist(), abs=1e-6
    )


def test_predict_adds_intervals_where_they_are_asked_for(telling, tmp_path):
    known = read_ratings("timed.csv")
    output = tmp_path / "out.parquet"
    answer("predict", telling, "timed.csv", str(output), "--interval", "0.8")
    written = pl.read_parquet(output)
    frame = known.to_frame()
    low, high = load_model(telling).predict_interval(
        frame["user_id"].to_numpy(), frame["item_id"].to_numpy(), frame["timestamp"].to_numpy(), 0.8
    )
    assert written["low"].to_list() == low.tolist()
    assert written["high"].to_list() == high.tolist()
    assert written.columns[-3:] == ["prediction", "low", "high"]


def test_what_intervals_and_times_cannot_be_is_told(bayesian, tmp_path):
    output = tmp_path / "out.csv"
    said = refused("predict", "model.safetensors", "ratings.csv", str(output), "--interval", "0.9")
    expected = "expected a BayesianMF, or an ordinal NeuralMF, for --interval"
    assert said == f"model.safetensors: {expected}, found a NeuralMF"
    said = refused("predict", bayesian, "timed.csv", str(output), "--interval", "90")
    assert said == "coverage must be a finite number above 0 and below 1, not 90.0"
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("userId,movieId,timestamp\n1,3,1000\n1,4,soon\n")
    said = refused("predict", bayesian, str(pairs), str(output))
    assert "pairs.csv, row 2: expected a timestamp, a number or YYYY-MM-DD HH:MM:SS, found 'soon'" in said
    said = refused("predict", bayesian, str(pairs), str(output), "--timestamp", "when")
    assert "expected a column 'when' as timestamp" in said
    assert not output.exists()


def test_info_tells_what_matters_of_a_sampled_model(bayesian, tmp_path):
    facts = json.loads(answer("info", bayesian, "--json"))
    assert (facts["model"], facts["samples"]) == ("BayesianMF", 12)
    assert facts["expected deviation"] == pytest.approx(load_model(bayesian).deviation_[-1], abs=1e-4)
    assert facts["ratings with a time"] == len(read_ratings("timed.csv"))
    still = str(tmp_path / "still")
    answer(
        "train",
        "timed.csv",
        still,
        "--model",
        "bayesian",
        "--samples",
        "2",
        "--no-drift",
        "--no-previous-item",
    )
    assert json.loads(answer("info", still, "--json"))["ratings with a time"] == 0


def test_ids_that_look_like_numbers_stay_text_where_the_model_has_text(tmp_path):
    frame = read_ratings("ratings.csv").to_frame()
    users = [f"u{user}" for user in frame["user_id"]]
    items = ["x" if item == 3 else f"00{item}" for item in frame["item_id"]]
    frame = frame.with_columns(user_id=pl.Series(users), item_id=pl.Series(items))
    frame.write_csv(tmp_path / "text.csv")
    model = str(tmp_path / "text.safetensors")
    answer("train", str(tmp_path / "text.csv"), model, "--epochs", "1")
    told = json.loads(answer("predict", model, str(tmp_path / "text.csv"), str(tmp_path / "o.csv"), "--json"))
    assert (told["unknown_user"], told["unknown_item"]) == (0, 0)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_recommend_writes_the_lists_of_everybody(tmp_path, suffix):
    output = tmp_path / f"lists.{suffix}"
    answer("recommend", "model.safetensors", "-n", "3", "--output", str(output))
    written = pl.read_csv(output) if suffix == "csv" else pl.read_parquet(output)
    model = load_model("model.safetensors")
    items = model.recommend(model.user_ids_, 3)
    assert written.filter(user=5)["item"].to_list() == items[model.user_ids_ == 5][0].tolist()
    assert written.height == items.count()


def test_recommend_names_titles_and_leaves_out_what_was_seen():
    told = json.loads(
        answer("recommend", "model.safetensors", "1", "2", "-n", "3", "--titles", "movies.csv", "--json")
    )
    assert [row["user"] for row in told] == [1] * 3 + [2] * 3
    assert [row["rank"] for row in told] == [1, 2, 3] * 2
    assert all(row["title"] == f"Film {row['item']}, the long title of a film" for row in told)
    frame = read_ratings("ratings.csv").to_frame()
    seen = set(frame.filter(pl.col("user_id") == 1)["item_id"].to_list())
    assert not seen & {row["item"] for row in told[:3]}
    assert "Film" in answer("recommend", "model.safetensors", "1", "--titles", "movies.csv")


def test_recommend_says_who_is_unknown():
    result = run("recommend", "model.safetensors", "1", "nobody", "-n", "2")
    assert result.exit_code == 0
    assert "nobody" in result.stderr
    assert result.stdout.count("nobody") == 2


def test_similar_items_are_told_by_cosine():
    item = int(load_model("model.safetensors").item_ids_[0])
    told = json.loads(answer("similar", "model.safetensors", str(item), "-n", "4", "--json"))
    assert len(told) == 4
    assert item not in {row["item"] for row in told}
    assert [row["cosine"] for row in told] == sorted((row["cosine"] for row in told), reverse=True)


def test_similar_users_are_told_by_cosine():
    told = json.loads(answer("similar", "model.safetensors", "1", "-n", "2", "--users", "--json"))
    ids, _ = load_model("model.safetensors").similar_users(1, 2)
    assert [row["user"] for row in told] == ids.tolist()


def test_a_prediction_is_taken_apart():
    told = json.loads(answer("explain", "model.safetensors", "1", "3", "-n", "2", "--json"))
    predicted = float(load_model("model.safetensors").predict(1, 3))
    assert told["prediction"] == pytest.approx(predicted, abs=1e-5)
    parts = ("mean", "user_bias", "item_bias", "interaction", "clipped")
    assert sum(told[part] for part in parts) == pytest.approx(predicted, abs=1e-4)
    assert len(told["reasons"]) == 2
    said = answer("explain", "model.safetensors", "1", "3", "--titles", "movies.csv")
    words = ["item bias", "prediction", "Film", "others", "not from any rating"]
    assert [word for word in words if word not in said] == []


def test_a_stranger_s_prediction_has_no_reasons():
    result = run("explain", "model.safetensors", "nobody", "3", "--json")
    assert "unknown to the model" in result.stderr
    assert json.loads(result.stdout)["reasons"] == []


def test_info_tells_what_is_in_the_file():
    facts = json.loads(answer("info", "model.safetensors", "--json"))
    assert facts["model"] == "NeuralMF"
    assert facts["users"] == 80
    assert facts["epochs trained"] == 3
    assert "rating scale" in answer("info", "model.safetensors")


def test_bad_input_is_one_clear_sentence():
    assert "no-such-file" in refused("info", "no-such-file")
    assert "safetensors" in refused("info", "movies.csv")
    assert "unknown" in refused("similar", "model.safetensors", "123456789")
    said = refused("predict", "model.safetensors", "movies.csv", "out.csv")
    assert "movies.csv: expected a column of users" in said
    assert "expected a column 'who'" in refused(
        "predict", "model.safetensors", "ratings.csv", "out.csv", "--user", "who"
    )
    assert "expected users" in refused("recommend", "model.safetensors")
    assert "expected a column 'title'" in refused(
        "recommend", "model.safetensors", "1", "--titles", "ratings.csv"
    )
