"""The sources of ratings that models accept."""

import pandas as pd
import polars as pl
import pytest
import scipy.sparse

from numpy_neural_mf import GlobalMean, ItemKNN, LinearRegression, NeuralMF, simulate_ratings
from numpy_neural_mf.models.given_ratings import given_ratings

RATINGS = simulate_ratings(n_users=30, n_items=20, n_ratings=300, random_state=1)


@pytest.fixture
def path(tmp_path):
    RATINGS.to_polars().write_csv(tmp_path / "ratings.csv")
    return tmp_path / "ratings.csv"


def sources(path):
    frame = RATINGS.to_polars()
    columns = RATINGS.raw_users, RATINGS.raw_items, RATINGS.values
    matrix = scipy.sparse.coo_array((columns[2], columns[:2]))
    return [
        path,
        str(path),
        frame,
        frame.to_arrow(),
        pd.DataFrame(frame.to_dict()),
        frame.to_dict(),
        columns,
        matrix,
    ]


@pytest.mark.parametrize(
    "new_model", [GlobalMean, ItemKNN, LinearRegression, lambda: NeuralMF(epochs=1, engine="numpy")]
)
def test_a_model_learns_the_same_from_any_source_of_ratings(new_model, path):
    everything = RATINGS.user_ids[:, None], RATINGS.item_ids[None]
    expected = new_model().fit(RATINGS, RATINGS).predict(*everything)
    for source in sources(path):
        assert (new_model().fit(source, source).predict(*everything) == expected).all()


def test_a_model_is_updated_from_what_read_ratings_takes():
    frame = RATINGS.to_polars()
    model = GlobalMean().fit(frame[:200]).partial_fit(frame[200:])
    assert model.mean_ == pytest.approx(RATINGS.mean)


def test_a_source_without_ratings_is_refused_for_training_and_validation():
    for given in ((5,), (RATINGS, 5)):
        with pytest.raises(TypeError, match=r"expected Ratings, a path, .* found int"):
            given_ratings(*given)
    for given in ((RATINGS.take([]),), (RATINGS, RATINGS.take([]))):
        with pytest.raises(ValueError, match="expected at least one rating"):
            given_ratings(*given)


def test_an_empty_frame_is_refused():
    with pytest.raises(ValueError, match="expected at least one rating, found none"):
        GlobalMean().fit(pl.DataFrame({"user": [], "item": [], "rating": []}))
