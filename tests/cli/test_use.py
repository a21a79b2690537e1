"""The commands around one model, as a user types them."""

import json
import os
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from numpy_neural_mf import NeuralMF, cli, load_model, read_ratings, simulate_ratings


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


def answer(*arguments, code=0):
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def refused(*arguments):
    with pytest.raises((ValueError, OSError)) as error:
        CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    return str(error.value)


def test_training_saves_the_model_that_python_would_train(folder):
    same = NeuralMF(epochs=3).fit(read_ratings("ratings.csv"))
    loaded = load_model("model.safetensors")
    assert loaded.predict([1, 2], [3, 4]).tobytes() == same.predict([1, 2], [3, 4]).tobytes()


def test_settings_reach_the_model():
    said = answer(
        "train", "ratings.csv", "other.safetensors", "--architecture", "A_small", "--epochs", "2",
        "--learning-rate", "0.01", "--regularization", "0.1", "--validation-fraction", "0",
        "--seed", "5", "--user", "user_id",
    )  # fmt: skip
    assert "Trained 2 epochs" in said
    assert "Wrote other.safetensors" in said
    model = load_model("other.safetensors")
    assert (model.architecture.embedding_dim, model.epochs, model.random_state) == (8, 2, 5)
    assert (model.learning_rate, model.regularization, model.validation_fraction) == (0.01, 0.1, 0)


def test_training_with_a_checkpoint_ends_with_the_same_model(tmp_path):
    answer(
        "train", "ratings.csv", "b.safetensors", "--epochs", "3", "--checkpoint-dir", str(tmp_path / "state")
    )
    assert (tmp_path / "state").is_dir()
    a, b = load_model("model.safetensors"), load_model("b.safetensors")
    assert a.predict([1, 2], [3, 4]).tobytes() == b.predict([1, 2], [3, 4]).tobytes()


def test_evaluate_tells_known_and_unknown_apart(tmp_path):
    rows = "user_id,item_id,rating\n1,3,4\n2,4,3\n10000,3,5\n"
    (tmp_path / "test.csv").write_text(rows)
    told = json.loads(answer("evaluate", "model.safetensors", str(tmp_path / "test.csv"), "--json"))
    assert [(part["ratings"], part["n"]) for part in told] == [
        ("all", 3), ("user and item known", 2), ("user or item unknown", 1),
    ]  # fmt: skip
    model, test = load_model("model.safetensors"), read_ratings(tmp_path / "test.csv")
    error = model.predict(test.raw_users, test.raw_items) - test.values
    assert told[0]["RMSE"] == pytest.approx(float((error**2).mean() ** 0.5), abs=1e-4)
    assert "RMSE" in answer("evaluate", "model.safetensors", str(tmp_path / "test.csv"))


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


def test_recommend_names_titles_and_leaves_out_what_was_seen():
    told = json.loads(
        answer("recommend", "model.safetensors", "1", "2", "-n", "3", "--titles", "movies.csv", "--json")
    )
    assert [row["user"] for row in told] == ["1"] * 3 + ["2"] * 3
    assert [row["rank"] for row in told] == [1, 2, 3] * 2
    assert all(row["title"] == f"Film {row['item']}, the long title of a film" for row in told)
    frame = read_ratings("ratings.csv").to_frame()
    seen = set(frame.filter(pl.col("user_id") == 1)["item_id"].to_list())
    assert not seen & {int(row["item"]) for row in told[:3]}
    assert "Film" in answer("recommend", "model.safetensors", "1", "--titles", "movies.csv")


def test_recommend_says_who_is_unknown():
    result = CliRunner().invoke(cli.app, ["recommend", "model.safetensors", "1", "nobody", "-n", "2"])
    assert result.exit_code == 0
    assert "nobody" in result.stderr
    assert result.stdout.count("nobody") == 2


def test_similar_items_are_told_by_cosine():
    item = int(load_model("model.safetensors").item_ids_[0])
    told = json.loads(answer("similar", "model.safetensors", str(item), "-n", "4", "--json"))
    assert len(told) == 4
    assert str(item) not in {row["item"] for row in told}
    assert [row["cosine"] for row in told] == sorted((row["cosine"] for row in told), reverse=True)


def test_info_tells_what_is_in_the_file():
    facts = json.loads(answer("info", "model.safetensors", "--json"))
    assert facts["model"] == "NeuralMF"
    assert facts["users"] == 80
    assert facts["epochs trained"] == 3
    assert "rating scale" in answer("info", "model.safetensors")


def test_bad_input_is_one_clear_sentence(tmp_path):
    assert "no-such-file" in refused("info", "no-such-file")
    assert "safetensors" in refused("info", "movies.csv")
    assert "unknown" in refused("similar", "model.safetensors", "123456789")
    assert "expected a column 'userId'" in refused("predict", "model.safetensors", "ratings.csv", "out.csv")
    assert "expected a column 'title'" in refused(
        "recommend", "model.safetensors", "1", "--titles", "ratings.csv"
    )
    assert "epochs must be" in refused("train", "ratings.csv", str(tmp_path / "m"), "--epochs", "0")
    assert not (tmp_path / "m").exists()
