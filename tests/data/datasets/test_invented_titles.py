"""Titles of films that do not exist."""

import re

import pytest

from numpy_neural_mf.data.datasets.invented_titles import invented_titles


def test_titles_differ_and_have_a_year():
    titles = invented_titles(500)
    assert len(set(titles)) == 500
    assert all(re.fullmatch(r"[A-Z].* \((19[5-9]|20[0-2])\d\)", title) for title in titles)


def test_the_same_seed_gives_the_same_titles():
    assert invented_titles(20, 3) == invented_titles(20, 3) != invented_titles(20, 4)


def test_fewer_titles_are_the_first_of_more():
    names = [title.rpartition(" (")[0] for title in invented_titles(20)]
    assert names[:5] == [title.rpartition(" (")[0] for title in invented_titles(5)]


@pytest.mark.parametrize("n", [-1, 10_001, 2.5])
def test_an_impossible_number_is_refused(n):
    with pytest.raises((ValueError, TypeError), match="n"):
        invented_titles(n)
