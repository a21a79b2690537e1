"""fold-in and update: new ratings for a model that is trained."""

import json
import os
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from numpy_neural_mf import cli, load_model, simulate_ratings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapt")
    ratings = simulate_ratings(n_users=80, n_items=50, n_ratings=1_500)
    ratings.to_frame().write_csv(folder / "ratings.csv")
    titles = [f"Film {item}" for item in ratings.item_ids]
    pl.DataFrame({"movieId": ratings.item_ids, "title": titles}).write_csv(folder / "movies.csv")
    pl.DataFrame({"movieId": [3, 4], "rating": [5.0, 1.0]}).write_csv(folder / "mine.csv")
    before = Path.cwd()
    os.chdir(folder)
    try:
        run("train", "ratings.csv", "model", "--epochs", "3")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")


def run(*arguments):
    result = CliRunner().invoke(cli.app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def told(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


def test_a_new_person_is_recommended_what_python_recommends():
    model = load_model("model")
    items = model.recommend(model.fold_in({3: 5.0, 4: 1.0}), 4)
    for ratings in (["mine.csv"], ["--rate", "3=5", "--rate", "4=1"], ["mine.csv", "--rate", "4=1"]):
        rows = told("fold-in", "model", *ratings, "-n", 4)
        assert [row["item"] for row in rows] == items.tolist()
        assert [row["rank"] for row in rows] == [1, 2, 3, 4]


def test_what_is_typed_wins_over_the_file():
    typed = told("fold-in", "model", "mine.csv", "--rate", "3=1")
    assert typed == told("fold-in", "model", "--rate", "3=1", "--rate", "4=1")


def test_recommended_items_have_titles():
    rows = told("fold-in", "model", "--rate", "3=5", "--titles", "movies.csv")
    assert all(row["title"] == f"Film {row['item']}" for row in rows)
    assert "Film" in run("fold-in", "model", "--rate", "3=5", "--titles", "movies.csv").stdout


def test_items_that_the_model_does_not_know_are_told():
    result = run("fold-in", "model", "--rate", "3=5", "--rate", "777=5")
    assert "left out, since the model does not know them: 777" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected ratings, from a file or as --rate ITEM=RATING, found none"),
        (["--rate", "3"], "--rate: expected ITEM=RATING, such as 260=4.5, found '3'"),
        (["--rate", "3=good"], "--rate: expected ITEM=RATING, such as 260=4.5, found '3=good'"),
        (["--rate", "3=9"], "rating"),
        (["movies.csv"], "movies.csv: expected a column of ratings"),
        (["no.csv"], "no.csv"),
    ],
)
def test_bad_ratings_are_one_clear_sentence(arguments, said):
    with pytest.raises((ValueError, OSError)) as error:
        run("fold-in", "model", *arguments)
    assert said in str(error.value)


def test_a_model_learns_new_users_and_items(tmp_path):
    new = pl.DataFrame({"user_id": [1, 9_001, 9_001], "item_id": [3, 4, 9_002], "rating": [5.0, 1.0, 4.0]})
    new.write_csv(tmp_path / "new.csv")
    said = run("update", "model", tmp_path / "new.csv", tmp_path / "updated").stdout
    assert "3 ratings learned, 1 new users, 1 new items" in said
    facts = told("update", "model", tmp_path / "new.csv", tmp_path / "updated")
    assert (facts["ratings"], facts["new_users"], facts["new_items"]) == (3, 1, 1)
    old, updated = load_model("model"), load_model(tmp_path / "updated")
    assert not old.known(9_001, 9_002)
    assert updated.known(9_001, 9_002)


def test_an_update_replaces_the_model_where_no_other_file_is_named(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(Path("model").read_bytes())
    pl.DataFrame({"user_id": [9_001], "item_id": [3], "rating": [5.0]}).write_csv(tmp_path / "new.csv")
    run("update", path, tmp_path / "new.csv")
    assert load_model(path).known(9_001, 3)


def test_ratings_outside_of_the_scale_of_the_model_are_refused(tmp_path):
    pl.DataFrame({"user_id": [1], "item_id": [3], "rating": [9.0]}).write_csv(tmp_path / "new.csv")
    with pytest.raises(ValueError, match=r"new\.csv, line 2: expected a rating from 1 to 5"):
        run("update", "model", tmp_path / "new.csv")
