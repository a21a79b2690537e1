"""The catalogue of data sets: each entry is complete, with its licence."""

import re

import pytest

from numpy_neural_mf.data import DATASETS


@pytest.mark.parametrize("name", DATASETS)
def test_each_set_has_an_address_a_checksum_and_terms(name):
    dataset = DATASETS[name]
    assert re.fullmatch(r"https://\S+\.(zip|csv)", dataset.url)
    assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", dataset.checksum)
    assert dataset.licence
    assert re.search(r"\. https?://\S+$", dataset.citation)
    assert 0 < dataset.megabytes < 1000
    assert dataset.n_ratings >= 100_000


def test_no_two_sets_are_the_same_file():
    assert len({dataset.checksum for dataset in DATASETS.values()}) == len(DATASETS)
    assert len({dataset.url for dataset in DATASETS.values()}) == len(DATASETS)


def test_licences_state_whether_a_set_may_be_shared():
    assert "no redistribution" in DATASETS["ml-1m"].licence
    assert "redistribution under the same conditions" in DATASETS["ml-32m"].licence
    assert "CC BY-SA 4.0" in DATASETS["goodbooks-10k"].licence


def test_categories_of_amazon_have_names_to_type():
    assert DATASETS["amazon-2014-movies-and-tv"].n_ratings == 4_607_047
    assert DATASETS["amazon-2014-instant-video"].url.endswith("/ratings_Amazon_Instant_Video.csv")
