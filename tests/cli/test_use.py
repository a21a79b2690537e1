"""The commands that use one model, from the command line."""

from io import StringIO

import polars as pl
import pytest
from rich.console import Console

from numpy_neural_mf import GlobalMean, load_model, read_ratings
from numpy_neural_mf.cli import output, use

MODEL = "model.safetensors"

pytestmark = pytest.mark.usefixtures("models")


@pytest.fixture(params=["bayesian", "ordinal"])
def timed_model(request):
    """Return models that use time and predict intervals."""
    return request.getfixturevalue(request.param)


def read_table(path):
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)


# predict


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_predict_adds_a_column(run, tmp_path, suffix):
    frame = pl.DataFrame({"userId": [1, 2], "movieId": [3, 4], "note": ["a", "b"]})
    pairs, output = tmp_path / f"pairs.{suffix}", tmp_path / f"predictions.{suffix}"
    getattr(frame, f"write_{suffix}")(pairs)
    result = run("predict", MODEL, pairs, output)
    assert (result.stdout, result.stderr) == (f"Wrote {output}: 2 predictions\n", "")
    written = read_table(output)
    assert written.drop("prediction").equals(frame)
    expected = load_model(MODEL).predict([1, 2], [3, 4])
    assert written["prediction"].to_list() == pytest.approx(expected.tolist(), abs=1e-6)


def test_predict_finds_columns_by_the_usual_names_and_counts_unknown_ids(run, run_json, tmp_path):
    pairs, output = tmp_path / "pairs.csv", tmp_path / "o.csv"
    pl.DataFrame({"item_id": [3, 4, 99_999], "User": [1, 77_777, 88_888]}).write_csv(pairs)
    result = run("predict", MODEL, pairs, output)
    assert "2 pairs have a user (2) or an item (1) that is unknown to the model" in result.stderr
    facts = run_json("predict", MODEL, pairs, output)
    assert (facts["predictions"], facts["unknown_user"], facts["unknown_item"]) == (3, 2, 1)


@pytest.mark.parametrize("name", ["timestamp", "Time", "moment"])
def test_predict_uses_times_if_there_are_any(run, timed_model, tmp_path, name):
    known = read_ratings("timed.csv")
    users, items, times = known.raw_users[:40], known.raw_items[:40], known.timestamps[:40]
    pairs, output = tmp_path / "pairs.csv", tmp_path / "out.csv"
    pl.DataFrame({"userId": users, "movieId": items, name: times}).write_csv(pairs)
    run("predict", timed_model, pairs, output, *(["--timestamp", name] if name == "moment" else []))
    model = load_model(timed_model)
    found = pl.read_csv(output)["prediction"].to_numpy()
    assert found == pytest.approx(model.predict(users, items, times), abs=1e-6)
    assert not (model.predict(users, items) == model.predict(users, items, times)).all()


def test_predict_without_times_uses_that_of_the_last_rating(run, timed_model, tmp_path):
    pl.DataFrame({"userId": [1, 2], "movieId": [3, 4], "moment": [1, 2]}).write_csv(tmp_path / "pairs.csv")
    run("predict", timed_model, tmp_path / "pairs.csv", tmp_path / "out.csv")
    written = pl.read_csv(tmp_path / "out.csv")
    assert written.columns == ["userId", "movieId", "moment", "prediction"]
    expected = load_model(timed_model).predict([1, 2], [3, 4]).tolist()
    assert written["prediction"].to_list() == pytest.approx(expected, abs=1e-6)


def test_predict_adds_intervals_on_request(run, timed_model, tmp_path):
    output = tmp_path / "out.parquet"
    run("predict", timed_model, "timed.csv", output, "--interval", 0.8)
    written = pl.read_parquet(output)
    columns = [written[name].to_numpy() for name in ("user_id", "item_id", "timestamp")]
    low, high = load_model(timed_model).predict_interval(*columns, 0.8)
    assert written["low"].to_list() == low.tolist()
    assert written["high"].to_list() == high.tolist()
    assert written.columns[-3:] == ["prediction", "low", "high"]


def test_bad_intervals_and_times_are_one_sentence(fault, bayesian, tmp_path):
    output, pairs, mean = tmp_path / "out.csv", tmp_path / "pairs.csv", tmp_path / "mean"
    GlobalMean().fit(read_ratings("ratings.csv")).save(mean)
    message, _ = fault("predict", mean, "ratings.csv", output, "--interval", 0.9)
    assert message == f"{mean}: expected a model with predict_interval, found a GlobalMean"
    message, _ = fault("predict", bayesian, "timed.csv", output, "--interval", 90)
    assert message.startswith("--interval must be")
    pairs.write_text("userId,movieId,timestamp\n1,3,1000\n1,4,soon\n")
    message, _ = fault("predict", bayesian, pairs, output)
    assert "pairs.csv, line 3: expected a timestamp, a number or a date such as YYYY-MM-DD" in message
    assert "found 'soon'" in message
    message, _ = fault("predict", bayesian, pairs, output, "--timestamp", "when")
    assert "expected a column 'when' as timestamp" in message
    assert not output.exists()


def test_ids_that_look_like_numbers_stay_text_if_those_of_the_model_are_text(run, run_json, tmp_path):
    frame = read_ratings("ratings.csv").to_polars()
    users = [f"u{user}" for user in frame["user_id"]]
    items = ["x" if item == 3 else f"00{item}" for item in frame["item_id"]]
    frame = frame.with_columns(user_id=pl.Series(users), item_id=pl.Series(items))
    frame.write_csv(tmp_path / "text.csv")
    run("train", tmp_path / "text.csv", tmp_path / "text", "--epochs", 1)
    facts = run_json("predict", tmp_path / "text", tmp_path / "text.csv", tmp_path / "o.csv")
    assert (facts["unknown_user"], facts["unknown_item"]) == (0, 0)


# recommend


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_recommend_writes_the_lists_of_all_users(run, tmp_path, suffix):
    output = tmp_path / f"lists.{suffix}"
    result = run("recommend", MODEL, "-n", 3, "--output", output)
    written, model = read_table(output), load_model(MODEL)
    assert result.stdout == f"Wrote {output}: {written.height} recommendations to 80 users\n"
    items = model.recommend(model.user_ids_, 3)
    assert written.filter(user=5)["item"].to_list() == items[model.user_ids_ == 5][0].tolist()
    assert written.height == items.count()


def test_many_users_have_the_lists_of_each(run_json, monkeypatch, tmp_path):
    expected = run_json("recommend", MODEL, *range(1, 30))
    monkeypatch.setattr(use, "AT_ONCE", 7)
    assert run_json("recommend", MODEL, *range(1, 30)) == expected


def test_lists_of_many_users_show_progress_on_a_terminal(run, monkeypatch, tmp_path):
    shown = StringIO()
    monkeypatch.setattr(output, "stderr", lambda: Console(file=shown, force_terminal=True, width=120))
    monkeypatch.setattr(use, "AT_ONCE", 40)
    run("recommend", MODEL, "--output", tmp_path / "lists.csv")
    assert "recommending to 80 users" in shown.getvalue()
    assert "100%" in shown.getvalue()


@pytest.mark.parametrize("by", ["lower_bound", "mean", "upper_bound"])
def test_lists_are_ranked_by_the_given_bound_and_count_the_ratings_of_items(run_json, by):
    model, counts = load_model(MODEL), read_ratings("ratings.csv").to_polars()["item_id"].value_counts()
    rows = run_json("recommend", MODEL, 1, "--by", by)
    assert [row["item"] for row in rows] == model.recommend(1, by=by).tolist()
    assert [row["n_ratings"] for row in rows] == [
        counts.filter(item_id=row["item"])["count"].item() for row in rows
    ]
    mine = run_json("fold-in", MODEL, "--rate", "3=5", "--by", by)
    assert [row["item"] for row in mine] == model.recommend(model.fold_in({3: 5.0}), by=by).tolist()
    assert run_json("recommend", MODEL, 1) == run_json("recommend", MODEL, 1, "--by", "lower_bound")


def test_recommend_adds_titles_and_leaves_out_rated_items(run, run_json):
    rows = run_json("recommend", MODEL, 1, 2, "-n", 3, "--titles", "movies.csv")
    assert [row["user"] for row in rows] == [1] * 3 + [2] * 3
    assert [row["rank"] for row in rows] == [1, 2, 3] * 2
    assert all(row["title"] == f"Film {row['item']}, the long title of a film" for row in rows)
    frame = read_ratings("ratings.csv").to_polars()
    seen = set(frame.filter(pl.col("user_id") == 1)["item_id"].to_list())
    assert not seen & {row["item"] for row in rows[:3]}
    assert "Film" in run("recommend", MODEL, 1, "--titles", "movies.csv").stdout


def test_lists_have_only_candidates_and_no_excluded_items(run, run_json):
    only = ("--candidates", 3, "--candidates", 5, "--candidates", 7, "--exclude", 5)
    item = int(load_model(MODEL).item_ids_[0])
    for command in (("recommend", MODEL, 1, "--with-seen"), ("fold-in", MODEL, "--rate", f"{item}=5"),
                    ("similar", MODEL, item)):  # fmt: skip
        assert {row["item"] for row in run_json(*command, *only)} == {3, 7}
    result = run("recommend", MODEL, 1, "--exclude", "Comedy")
    assert "candidates or exclusions that are unknown: Comedy" in result.stderr


def test_titles_of_the_model_are_listed_by_every_command(run, run_json, tmp_path):
    path, source = tmp_path / "m", ("ratings.csv", tmp_path / "m", "--epochs", 1)
    run("train", "neural-mf", *source, "--titles", "movies.csv")
    item = int(load_model(path).item_ids_[0])
    for command in (
        ("recommend", path, 1),
        ("fold-in", path, "--rate", f"{item}=5"),
        ("similar", path, item),
    ):
        for row in run_json(*command, "-n", 3):
            assert row["title"] == f"Film {row['item']}, the long title of a film"
    reasons = run_json("explain", path, 1, item)["reasons"]
    assert [one["title"] for one in reasons] == [
        f"Film {one['item']}, the long title of a film" for one in reasons
    ]
    assert "title" not in run_json("explain", MODEL, 1, item)["reasons"][0]
    (tmp_path / "more.csv").write_text("user,item,rating\n1,999,3\n")
    (tmp_path / "films.csv").write_text("item,title\n999,New\n")
    run("update", path, tmp_path / "more.csv", "--titles", tmp_path / "films.csv")
    assert load_model(path).titles_[[0, -1]].tolist() == [f"Film {item}, the long title of a film", "New"]


def test_recommend_logs_unknown_users(run):
    result = run("recommend", MODEL, 1, "nobody", "-n", 2)
    assert "unknown users, for whom popular items are listed: nobody" in result.stderr
    assert result.stdout.count("nobody") == 2


# similar


def test_similar_items_are_listed_by_cosine(run_json):
    item = int(load_model(MODEL).item_ids_[0])
    rows = run_json("similar", MODEL, item, "-n", 4)
    assert len(rows) == 4
    assert item not in {row["item"] for row in rows}
    assert [row["cosine"] for row in rows] == sorted((row["cosine"] for row in rows), reverse=True)


def test_similar_users_are_listed_by_cosine(run_json):
    rows = run_json("similar", MODEL, 1, "-n", 2, "--users")
    ids, _ = load_model(MODEL).similar_users(1, 2)
    assert [row["user"] for row in rows] == ids.tolist()


# explain


def test_a_prediction_is_explained_by_its_parts(run, run_json):
    facts = run_json("explain", MODEL, 1, 3, "-n", 2)
    predicted = float(load_model(MODEL).predict(1, 3))
    assert facts["prediction"] == pytest.approx(predicted, abs=1e-5)
    parts = ("mean", "user_bias", "item_bias", "interaction", "clipped")
    assert sum(facts[part] for part in parts) == pytest.approx(predicted, abs=1e-4)
    assert len(facts["reasons"]) == 2
    result = run("explain", MODEL, 1, 3, "--titles", "movies.csv")
    words = ["item bias", "prediction", "Film", "other ratings", "not from any rating"]
    assert [word for word in words if word not in result.stdout] == []
    assert result.stderr == ""


def test_a_prediction_for_an_unknown_user_has_no_reasons(run, run_json):
    result = run("explain", MODEL, "nobody", 3)
    assert "unknown to the model" in result.stderr
    assert "not from any rating" not in result.stdout
    assert run_json("explain", MODEL, "nobody", 3)["reasons"] == []


# info


def test_info_describes_a_neural_mf(run, run_json):
    facts = run_json("info", MODEL)
    assert (facts["model"], facts["users"], facts["epochs trained"]) == ("NeuralMF", 80, 3)
    history = load_model(MODEL).history_
    assert facts["expected RMSE"] == round(history.expected_loss[-1] ** 0.5, 4)
    assert "validation RMSE" not in facts
    assert "rating scale" in run("info", MODEL).stdout


def test_info_describes_a_bayesian_mf(run, run_json, bayesian, tmp_path):
    facts = run_json("info", bayesian)
    assert (facts["model"], facts["samples"]) == ("BayesianMF", 12)
    assert facts["expected deviation"] == pytest.approx(load_model(bayesian).deviation_[-1], abs=1e-4)
    assert facts["ratings with a time"] == len(read_ratings("timed.csv"))
    options = ["--samples", 2, "--no-drift", "--no-previous-item"]
    run("train", "bayesian-mf", "timed.csv", tmp_path / "still", *options)
    assert run_json("info", tmp_path / "still")["ratings with a time"] == 0


# Errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["info", "no-such-file"], "no-such-file"),
        (["info", "movies.csv"], "safetensors"),
        (["similar", MODEL, 123456789], "unknown"),
        (["predict", MODEL, "movies.csv", "out.csv"], "movies.csv: expected a column of users"),
        (["predict", MODEL, "ratings.csv", "out.csv", "--user", "who"], "expected a column 'who'"),
        (["recommend", MODEL], "expected users"),
        (["recommend", MODEL, 1, "--by", "best"], "--by must be one of lower_bound, mean, upper_bound"),
        (["recommend", MODEL, 1, "--titles", "ratings.csv"], "expected a column of titles"),
    ],
)
def test_bad_input_is_one_clear_sentence(fault, arguments, sentence):
    message, code = fault(*arguments)
    assert sentence in message
    assert code == 2
