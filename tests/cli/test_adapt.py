"""fold-in and update: new ratings for a trained model."""

from pathlib import Path

import polars as pl
import pytest

from numpy_neural_mf import load_model

MODEL = "model.safetensors"

pytestmark = pytest.mark.usefixtures("models")


@pytest.fixture(scope="session")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "mine.csv"
    pl.DataFrame({"movieId": [3, 4], "rating": [5.0, 1.0]}).write_csv(path)
    return path


@pytest.fixture
def new(tmp_path):
    """Return a function that writes ratings to a file and returns its path."""

    def new(users, items, ratings):
        pl.DataFrame({"user_id": users, "item_id": items, "rating": ratings}).write_csv(tmp_path / "new.csv")
        return tmp_path / "new.csv"

    return new


def test_a_new_user_is_recommended_what_python_recommends(run_json, mine):
    model = load_model(MODEL)
    items = model.recommend(model.fold_in({3: 5.0, 4: 1.0}), 4)
    for ratings in ([mine], ["--rate", "3=5", "--rate", "4=1"], [mine, "--rate", "4=1"]):
        rows = run_json("fold-in", MODEL, *ratings, "-n", 4)
        assert [row["item"] for row in rows] == items.tolist()
        assert [row["rank"] for row in rows] == [1, 2, 3, 4]


def test_typed_ratings_win_over_those_of_the_file(run_json, mine):
    typed = run_json("fold-in", MODEL, mine, "--rate", "3=1")
    assert typed == run_json("fold-in", MODEL, "--rate", "3=1", "--rate", "4=1")


def test_recommended_items_have_titles(run, run_json):
    command = ["fold-in", MODEL, "--rate", "3=5", "--titles", "movies.csv"]
    assert all(row["title"].startswith(f"Film {row['item']},") for row in run_json(*command))
    assert "Film" in run(*command).stdout


def test_items_that_are_unknown_to_the_model_are_logged(run):
    result = run("fold-in", MODEL, "--rate", "3=5", "--rate", "777=5")
    assert "left out items that are unknown to the model: 777" in result.stderr
    assert "777" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "expected ratings, from a file or as --rate ITEM=RATING, found none"),
        (["--rate", "3"], "--rate: expected ITEM=RATING, such as 260=4.5, found '3'"),
        (["--rate", "3=good"], "--rate: expected ITEM=RATING, such as 260=4.5, found '3=good'"),
        (["--rate", "3=9"], "rating"),
        (["--rate", "777=5"], "expected ratings of items that the model knows, found 777"),
        (["--rate", "3=5", "--by", "best"], "--by must be one of lower_bound, mean, upper_bound, not 'best'"),
        (["movies.csv"], "movies.csv: expected a column of ratings"),
        (["no.csv"], "no.csv"),
    ],
)
def test_bad_ratings_are_one_clear_sentence(fault, arguments, sentence):
    message, code = fault("fold-in", MODEL, *arguments)
    assert sentence in message
    assert code == 2


def test_a_model_learns_new_users_and_items(run, run_json, new, tmp_path):
    command = ["update", MODEL, new([1, 9_001, 9_001], [3, 4, 9_002], [5.0, 1.0, 4.0]), tmp_path / "updated"]
    result = run(*command)
    assert "3 ratings learned, 1 new users, 1 new items" in result.stdout
    assert result.stderr == ""
    facts = run_json(*command)
    assert (facts["ratings"], facts["new_users"], facts["new_items"]) == (3, 1, 1)
    assert not load_model(MODEL).known(9_001, 9_002)
    assert load_model(tmp_path / "updated").known(9_001, 9_002)


def test_an_update_replaces_the_model_unless_another_file_is_named(run, new, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(Path(MODEL).read_bytes())
    run("update", path, new([9_001], [3], [5.0]))
    assert load_model(path).known(9_001, 3)


def test_ratings_outside_the_scale_of_the_model_are_refused(fault, new):
    message, _ = fault("update", MODEL, new([1], [3], [9.0]))
    assert "new.csv, line 2: expected a rating from 1 to 5" in message
