"""Titles are read from a file and found by the beginnings of their words."""

import pytest

from numpy_neural_mf.serving.titles import Titles, read_titles


def test_titles_are_read_by_id(tmp_path):
    path = tmp_path / "movies.csv"
    path.write_text('movieId,title,genres\n1,"Léon, 1994",Crime\n007,Seven,\n', encoding="utf-8-sig")
    assert read_titles(path) == {"1": "Léon, 1994", "007": "Seven"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("movieId,name\n1,Seven\n", "expected a column title after the ids, found 'movieId, name'"),
        ("", "expected a column title after the ids, found ''"),
        ("movieId,title\n1,Seven\n2\n", "line 3: expected 2 fields, found 1"),
    ],
)
def test_a_file_without_titles_is_refused(tmp_path, text, fault):
    path = tmp_path / "movies.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"movies.csv: {fault}"):
        read_titles(path)


def test_words_are_found_by_their_beginning_whatever_their_case_and_accents():
    titles = Titles(["Amélie (2001)", "Das Boot", "Bootmen", "La Bota", ""], [1, 2, 9, 3, 4])
    assert titles.find("boo") == [2, 1]
    assert titles.find("AME 200") == [0]
    assert titles.find("melie") == []
    assert titles.find("") == [2, 4, 3, 1, 0]
