"""Commands read any table that training reads, and find its columns by name."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from numpy_neural_mf import load_model
from numpy_neural_mf.cli.tables import raw_ids, with_titles

MODEL = "model.safetensors"

pytestmark = pytest.mark.usefixtures("models")


@pytest.mark.parametrize(
    "text",
    [
        "user;movieId;note\n1;3;a, b\n2;4;c\n",
        "1::3::5::978300760\n2::4::1::978300761\n",  # as a file of ratings without a header
        "1\t3\n2\t4\n",
        ",user_id,item_id\n0,1,3\n1,2,4\n",
        "user,item,note\n" + "1,3,7\n" * 150 + "2,4,text\n",
        "user,item,date\n1,3,2005-09-06\n2,4,2005-09-07T12:00:00Z\n",
    ],
    ids=["semicolon", "no header", "pairs without a header", "index of pandas", "text far down", "days"],
)
def test_predict_reads_what_train_reads(run, tmp_path, text):
    pairs, output = tmp_path / "pairs[1].csv", tmp_path / "out.csv"  # a name is not a pattern
    pairs.write_text(text)
    run("predict", MODEL, pairs, output)
    expected = load_model(MODEL).predict([1, 2], [3, 4])
    predicted = pl.read_csv(output, glob=False, infer_schema_length=None)["prediction"].to_list()
    assert [predicted[0], predicted[-1]] == pytest.approx(expected.tolist())


def test_other_columns_are_written_unchanged(run, tmp_path):
    text = "userId,movieId,isbn,note\n1,3,007,1.50\nnobody,4,7, x\n"
    (tmp_path / "pairs.csv").write_text(text)
    result = run("predict", MODEL, tmp_path / "pairs.csv", tmp_path / "out.csv")
    assert "1 pairs have a user (1)" in result.stderr
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert [line.rpartition(",")[0] for line in lines] == text.splitlines()
    run("predict", MODEL, "ratings.csv", tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").schema["user_id"] == pl.Int64


def model_of(items):
    return SimpleNamespace(item_ids_=np.array(items))


@pytest.mark.parametrize(
    "header", [",movieId,title,genres", "title,movieId", "genres,title,item", "id,title"]
)
def test_titles_are_found_by_name(tmp_path, header):
    values = {"title": ["Up", "007, Dr. No"]} | {name: [3, 4] for name in ("movieId", "item", "id")}
    frame = pl.DataFrame({name: values.get(name, [4, 3]) for name in header.split(",")})
    frame.write_csv(tmp_path / "movies.csv")
    titles = with_titles(pl.DataFrame({"item": [4, 3, 5]}), model_of([3, 4, 5]), tmp_path / "movies.csv")[
        "title"
    ]
    assert titles.to_list() == ["007, Dr. No", "Up", ""]


def test_titles_without_a_column_of_items_are_refused(tmp_path):
    (tmp_path / "movies.csv").write_text("0,title\n1,Up\n")
    with pytest.raises(ValueError, match=r"movies\.csv: expected a column of items"):
        with_titles(pl.DataFrame({"item": [1]}), model_of([1]), tmp_path / "movies.csv")


def test_text_ids_of_a_model_are_text_in_every_file(run, run_json, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"u{n % 5},{n % 7:03},{1 + n % 5}" for n in range(35)]
    Path("train.csv").write_text("user,item,rating\n" + "\n".join(rows))
    Path("more.csv").write_text("user,item,rating\nu9,001,4\nu8,100,3\n")
    Path("pairs.csv").write_text("user,item\nu1,001\nu1,1\nu1,100\n")
    run("train", "neural-mf", "train.csv", "text.model", "--epochs", 1)
    run("predict", "text.model", "pairs.csv", "out.csv")
    assert run_json("predict", "text.model", "pairs.csv", "out.csv")["unknown_item"] == 2
    Path("films.csv").write_text("item,title\n001,Up\n1,Down\n")
    assert (
        with_titles(pl.DataFrame({"item": ["001"]}), model_of(["001"]), Path("films.csv"))["title"].item()
        == "Up"
    )
    Path("numbers.csv").write_text("user,item,rating\n9,100,4\n8,200,3\n")
    facts = run_json("update", "text.model", "numbers.csv")
    assert (facts["new_users"], facts["new_items"]) == (2, 2)


def test_a_typed_id_is_a_number_under_the_same_rule_as_in_files():
    texts = ["7", "-7", "0", "²", "--5", "007", "٣", "x"]
    assert raw_ids(np.array([7]), texts) == [7, -7, 0, "²", "--5", "007", "٣", "x"]
