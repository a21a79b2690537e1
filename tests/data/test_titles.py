"""Titles come from a mapping, a frame or a file, and stay with the ratings."""

import pandas
import polars
import pytest

from numpy_neural_mf import Ratings, RatingsError, random_split, read_ratings

RATINGS = Ratings.from_columns([1, 2, 3], [7, 9, 7], [4.0, 2.0, 3.0])
FILMS = {7: "Heat (1995)", 9: "Casino (1995)"}
COLUMNS = {"movieId": [9, 7, 8], "title": ["Casino (1995)", "Heat (1995)", "Up"], "year": [1995, 1995, 2009]}


@pytest.mark.parametrize(
    "source",
    [
        FILMS | {8: "Up"},
        {"7": "Heat (1995)", 9.0: "Casino (1995)", "8": "Up", "none": "?", "007": "James", 11: None},
        COLUMNS,
        polars.DataFrame(COLUMNS),
        polars.LazyFrame(COLUMNS),
        pandas.DataFrame(COLUMNS),
        polars.DataFrame({"id": [7, 8, 9], "name": ["Heat (1995)", "Up", "Casino (1995)"]}),
    ],
)
def test_every_source_gives_titles_by_ids_of_the_kind_of_the_ratings(source):
    assert RATINGS.with_titles(source).titles == FILMS | {8: "Up"}


def test_files_and_folders_have_titles(tmp_path):
    polars.DataFrame(COLUMNS).write_csv(tmp_path / "movies.csv")
    RATINGS.to_polars().write_csv(tmp_path / "ratings.csv")
    for source in (tmp_path / "movies.csv", tmp_path, str(tmp_path)):
        assert RATINGS.with_titles(source).titles[9] == "Casino (1995)"
    read = read_ratings(tmp_path)
    assert read.titles == RATINGS.with_titles(COLUMNS).titles
    assert read_ratings(tmp_path, text_ids=True).titles["7"] == "Heat (1995)"
    assert read_ratings(tmp_path / "ratings.csv").titles is None


def test_books_have_titles_like_films(tmp_path):
    columns = {"book_id": [7], "isbn": ["9"], "original_title": ["?"], "title": ["Emma"]}
    polars.DataFrame(columns).write_csv(tmp_path / "books.csv")
    RATINGS.to_polars().write_csv(tmp_path / "ratings.csv")
    assert read_ratings(tmp_path).titles == {7: "Emma"}


def test_a_folder_without_titles_is_an_error_only_on_request(tmp_path):
    RATINGS.to_polars().write_csv(tmp_path / "ratings.csv")
    assert read_ratings(tmp_path).titles is None
    with pytest.raises(FileNotFoundError):
        RATINGS.with_titles(tmp_path)


def test_unreadable_titles_of_a_folder_are_left_out_and_logged(tmp_path, caplog):
    RATINGS.to_polars().write_csv(tmp_path / "ratings.csv")
    (tmp_path / "movies.csv").write_text("a,b\n1,2\n")
    assert read_ratings(tmp_path).titles is None
    assert "no titles were read: movies.csv: expected a column of items" in caplog.text


def test_text_ids_have_titles_by_text():
    ratings = Ratings.from_columns(["ann"], ["007"], [4.0])
    assert ratings.with_titles({"007": "Dr. No", "b": "B", 3: "C"}).titles == {
        "007": "Dr. No", "b": "B", "3": "C",
    }  # fmt: skip


def test_parts_keep_the_titles_of_the_whole():
    titled = RATINGS.with_titles(FILMS)
    parts = [titled.take([0]), titled.part(slice(1)), titled.compact(), *random_split(titled, 0.3)]
    assert all(part.titles == FILMS for part in parts)


def test_a_title_is_one_line_of_bounded_length_with_whole_characters():
    titles = RATINGS.with_titles({7: "  Heat\n\t(1995) ", 9: "x" * 9_999, 8: "", 11: "a\ud800"}).titles
    assert titles == {7: "Heat (1995)", 9: "x" * 500, 11: "a?"}


def test_titles_without_a_rated_item_are_a_warning():
    with pytest.warns(UserWarning, match="none of 1 titles belongs to a rated item"):
        RATINGS.with_titles({1: "Up"})


@pytest.mark.parametrize("wrong", [5, ["Heat"], {"title": ["Heat"]}, {"item": [7]}, {7: 3}])
def test_a_source_without_titles_is_refused(wrong):
    with pytest.raises((RatingsError, TypeError), match="expected"):
        RATINGS.with_titles(wrong)
