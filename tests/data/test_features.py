"""Features encode a table's values for each id, and nothing for missing values."""

import dataclasses
import datetime
import os
from pathlib import Path

import numpy as np
import pandas
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MultiLabelBinarizer, OneHotEncoder, StandardScaler

from numpy_neural_mf import (
    Features,
    Ratings,
    RatingsError,
    k_fold,
    leave_last_out,
    random_split,
    read_features,
)

FILMS = {
    "movieId": [30, 10, 20, 40],
    "title": ["Up (2009)", "Heat (1995)", "Ran (1985)", "Untitled"],
    "genres": ["Drama|Comedy", "Drama", "(no genres listed)", None],
    "country": ["US", "US", "JP", None],
    "minutes": [96.0, 170.0, float("nan"), 100.0],
}
REAL = os.environ.get("NUMPY_NEURAL_MF_DATA")


def dense(features):
    """Return the weights of all rows by column name."""
    return dict(zip(features.columns, features.matrix.toarray().T.tolist(), strict=True))


@pytest.mark.parametrize("library", [dict, polars.DataFrame, pandas.DataFrame, polars.LazyFrame])
def test_each_row_of_a_frame_becomes_the_row_of_its_id(library):
    features = Features.from_frame(library(FILMS))
    assert features.ids.tolist() == [10, 20, 30, 40]
    assert features.columns == ("genres=Comedy", "genres=Drama", "country=JP", "country=US", "minutes")
    assert features.fields == ("genres", "genres", "country", "country", "minutes")
    assert features.left_out == ("title",)
    assert features.matrix.dtype == np.float32
    assert repr(features) == "Features: 4 rows, 5 columns of genres, country, minutes; left out: title"


def test_many_values_share_a_weight_of_unit_length():
    weights = dense(Features.from_frame(FILMS))
    np.testing.assert_allclose(weights["genres=Drama"], [1, 0, 0.5**0.5, 0])
    np.testing.assert_allclose(weights["genres=Comedy"], [0, 0, 0.5**0.5, 0])


@given(st.lists(st.sets(st.sampled_from("abcde")), min_size=1, max_size=8))
def test_lists_of_values_are_those_of_scikit_learn_with_rows_of_unit_length(lists):
    frame = polars.DataFrame({"id": range(len(lists)), "tags": [sorted(tags) for tags in lists]},
                             schema_overrides={"tags": polars.List(polars.String)})  # fmt: skip
    features = Features.from_frame(frame)
    expected = MultiLabelBinarizer().fit_transform([sorted(tags) for tags in lists]).astype(float)
    expected /= np.sqrt(np.maximum(expected.sum(axis=1, keepdims=True), 1))
    np.testing.assert_allclose(features.matrix.toarray(), expected.reshape(len(lists), -1), rtol=1e-6)


def test_categories_are_the_one_hot_columns_of_scikit_learn():
    country = np.array(["US", "JP", "FR", "US", "US", "JP"])
    features = Features.from_frame({"id": range(6), "country": country})
    expected = OneHotEncoder(sparse_output=False).fit_transform(country[:, None])
    np.testing.assert_array_equal(features.matrix.toarray(), expected)


def test_numbers_are_standardised_as_in_scikit_learn_and_missing_ones_are_the_mean():
    x = np.array([3.0, 5.0, np.nan, 10.0])
    features = Features.from_frame({"id": range(4), "x": x})
    expected = np.nan_to_num(StandardScaler().fit_transform(x[:, None]))
    np.testing.assert_allclose(features.matrix.toarray(), expected, rtol=1e-6)
    assert features.columns == ("x",)


def test_the_encoding_of_a_column_can_be_given():
    frame = {"year": [1995, 1995, 2000], "id": [1, 2, 3], "tags": ["a|b", "c", "d"], "note": ["x", "y", "z"]}
    told = Features.from_frame(frame, "id", categories=["year", "tags"], many_valued=["note"])
    assert told.columns == (
        "year=1995", "year=2000", "tags=a|b", "tags=c", "tags=d", "note=x", "note=y", "note=z"
    )  # fmt: skip
    assert Features.from_frame(frame, "id", ignored=["tags", "note"]).columns == ("year",)
    assert Features.from_frame({"id": [1, 2], "x": ["3", "4.5"]}, numbers=["x"]).columns == ("x",)


def test_booleans_are_categories_and_dates_numbers():
    frame = {
        "id": [1, 2],
        "adult": [True, False],
        "born": [datetime.date(1990, 1, 1), datetime.date(2000, 1, 1)],
    }
    features = Features.from_frame(polars.DataFrame(frame))
    assert dense(features) == {"adult=false": [0, 1], "adult=true": [1, 0], "born": [-1, 1]}


@pytest.mark.parametrize("values", [[None, None], [5, 5], [5.0, float("nan")]])
def test_uninformative_values_have_no_column(values):
    assert Features.from_frame({"id": [1, 2], "x": values}).matrix.shape in ((2, 0),)


def test_rows_come_in_the_requested_order_and_unknown_ids_have_empty_rows():
    features = Features.from_frame(FILMS)
    rows = features.rows_for([40, 10, 99, 10]).toarray()
    np.testing.assert_array_equal(rows[[0, 1, 3]], features.matrix.toarray()[[3, 0, 0]])
    assert not rows[2].any()
    assert features.rows_for([]).shape == (0, 5)
    written = features.rows_for(["10", "010"]).toarray()  # "10" is 10, as it is to a model
    np.testing.assert_array_equal(written[0], rows[1])
    assert not written[1].any()


def test_ids_are_found_by_their_values():
    films = Features.from_frame({
        "id": [9, 7, 11, 13], "genres": ["Comedy", "Crime|Drama", "Drama", None], "year": [1, 2, 3, 4]
    })  # fmt: skip
    assert films.ids_with("genres", "Drama").tolist() == [7, 11]
    assert films.ids_with("genres", "Comedy", "Crime").tolist() == [7, 9]
    assert films.ids_with("genres").tolist() == []
    with pytest.raises(ValueError, match="found 'Western': 'genres' has Comedy, Crime, Drama"):
        films.ids_with("genres", "Drama", "Western")
    for field in ("year", "genre"):
        with pytest.raises(ValueError, match=f"{field!r} has no such values"):
            films.ids_with(field, 1)


@pytest.mark.parametrize(
    ("frame", "settings", "message"),
    [
        ({"id": [1, 2, 1], "x": [1, 2, 3]}, {}, "data frame, row 3: expected each id once, found 1"),
        ({"id": [1, None]}, {}, "data frame, row 2: expected an id in column 'id', found nothing"),
        ({"id": [1]}, {"id": "movieId"}, "expected a column 'movieId', found the columns 'id'"),
        ({"id": [1]}, {"categories": ["genre"]}, "expected a column 'genre', found the columns 'id'"),
        ({"id": [1, 2], "x": ["3", "many"]}, {"numbers": ["x"]}, "row 2: expected a finite number as x"),
        ({"id": [1, 2], "x": [3.0, float("inf")]}, {}, "row 2: expected a finite number as x, found inf"),
        ({"id": [1, 2], "x": [1]}, {}, "expected columns of one length, found 2, 1"),
        ({"id": [1, "1"]}, {}, "row 2: expected an id in column 'id', an integer as the first, found '1'"),
        ({"id": []}, {}, "expected at least one row, found none"),
    ],
)  # fmt: skip
def test_unusable_values_are_refused_with_their_place(frame, settings, message):
    with pytest.raises(ValueError, match=message):
        Features.from_frame(frame, **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": np.array([2, 1, 3, 4])}, "sorted unique ids"),
        ({"ids": np.array([1.0, 2.0, 3.0, 4.0])}, "expected int64 or str"),
        ({"columns": ("x",)}, r"expected float32 of shape \(4, 1\)"),
        ({"fields": ()}, "fields: expected 5"),
    ],
)
def test_parts_must_fit_each_other(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Features.from_frame(FILMS), **change)


class TestFiles:
    @pytest.fixture(params=["csv", "parquet"])
    def path(self, request, tmp_path):
        path = tmp_path / f"movies.{request.param}"
        getattr(polars.DataFrame(FILMS), f"write_{request.param}")(path)
        return path

    def test_the_year_at_the_end_of_a_title_is_a_category(self, path):
        features = read_features(path)
        assert dense(features)["year=1995"] == [1, 0, 0, 0]
        assert [name for name in features.columns if name.startswith("year")] == [
            "year=1985", "year=1995", "year=2009"
        ]  # fmt: skip

    def test_titles_without_years_are_left_alone(self, tmp_path):
        (tmp_path / "books.csv").write_text("id,title\n1,Dune\n2,Nineteen Eighty-Four (1949)\n3,Emma\n")
        assert read_features(tmp_path / "books.csv").columns == ()

    def test_films_are_read_from_a_folder_of_movielens(self, path):
        if path.suffix == ".csv":
            assert len(read_features(path.parent)) == 4

    def test_ids_are_strings_if_the_ratings_have_string_ids(self, tmp_path):
        (tmp_path / "users.csv").write_text("id,age\n007,30\n12,40\n")
        assert read_features(tmp_path / "users.csv").ids.tolist() == ["007", "12"]  # no zero is lost
        (tmp_path / "users.csv").write_text("id,age\n7,30\n12,40\n")
        assert read_features(tmp_path / "users.csv").ids.tolist() == [7, 12]
        assert read_features(tmp_path / "users.csv", text_ids=True).ids.tolist() == ["12", "7"]

    @pytest.mark.parametrize("first", ["", "Unnamed: 0", "__index_level_0__"])
    def test_row_numbers_that_pandas_wrote_are_neither_ids_nor_a_feature(self, tmp_path, first):
        text = f"{first},movieId,genres\n0,31,Drama\n1,7,Comedy|Drama\n"
        (tmp_path / "movies.csv").write_text(text)
        features = read_features(tmp_path / "movies.csv")
        assert features.ids.tolist() == [7, 31]
        assert features.columns == ("genres=Comedy", "genres=Drama")

    def test_ids_are_found_by_name_in_any_order_of_columns(self, tmp_path):
        (tmp_path / "movies.csv").write_text("title,genres,movieId\nUp,Drama,31\nRan,Drama|War,7\n")
        assert read_features(tmp_path / "movies.csv").ids.tolist() == [7, 31]
        assert Features.from_frame({"age": [20, 30], "userId": [5, 4]}).ids.tolist() == [4, 5]

    @pytest.mark.parametrize("delimiter", [";", "\t", "::"])
    def test_features_may_have_any_delimiter_of_ratings(self, tmp_path, delimiter):
        text = "item,genres\n7,Drama|War\n8,War\n".replace(",", delimiter)
        (tmp_path / "films").write_text(text)
        features = read_features(tmp_path / "films")
        assert (features.ids.tolist(), features.columns) == ([7, 8], ("genres=Drama", "genres=War"))

    def test_a_line_with_too_many_fields_is_an_error(self, tmp_path):
        (tmp_path / "films.csv").write_text("item,title,genre\n7,Up,Drama\n8,Good, Bad, Ugly,West\n")
        with pytest.raises(RatingsError, match=r"films.csv, line 3: expected 3 fields, .* found 5"):
            read_features(tmp_path / "films.csv")

    def test_a_name_is_not_a_pattern(self, tmp_path):
        (tmp_path / "films[1].csv").write_text("item,genre\n7,Drama\n")
        assert read_features(tmp_path / "films[1].csv").ids.tolist() == [7]

    def test_faults_name_the_file(self, tmp_path):
        (tmp_path / "users.csv").write_text("id,age\n1,30\n1,40\n")
        with pytest.raises(ValueError, match=r"users.csv, line 3: expected each id once, found 1"):
            read_features(tmp_path / "users.csv")
        (tmp_path / "no.csv").write_bytes(b"")
        with pytest.raises(ValueError, match=r"no.csv: expected a table"):
            read_features(tmp_path / "no.csv")
        with pytest.raises(FileNotFoundError):
            read_features(tmp_path / "nothing.csv")

    @pytest.mark.skipif(REAL is None, reason="NUMPY_NEURAL_MF_DATA names no folder of real data")
    def test_films_of_movielens(self):
        features = read_features(next(Path(REAL).rglob("movies.csv")))
        assert set(features.fields) == {"genres", "year"}
        assert "genres=Drama" in features.columns
        assert not any("no genres" in name for name in features.columns)


@pytest.mark.parametrize(
    "genres",
    [
        [["Drama", "War"], ["War"], []],
        [("Drama", "War", "War"), ("War",), None],
        [{"War", "Drama"}, {"War"}, set()],
        [frozenset({"War", "Drama"}), ["War", None], float("nan")],
    ],
)
@pytest.mark.parametrize("frame", [dict, pandas.DataFrame])
def test_lists_and_sets_are_many_values(genres, frame):
    films = read_features(frame({"id": [7, 8, 9], "genres": genres}))
    assert films.columns == ("genres=Drama", "genres=War")
    half = np.sqrt(0.5)
    np.testing.assert_allclose(films.matrix.toarray(), [[half, half], [0, 1], [0, 0]], rtol=1e-6)


def test_a_frame_is_read_like_a_file(tmp_path):
    frame = polars.DataFrame({"movieId": [7, 8], "title": ["Up (2009)", "Ran (1985)"], "kinds": ["a|b", "a"]})
    frame.write_csv(tmp_path / "films.csv")
    for source in (frame, frame.to_dict(), frame.to_arrow(), tmp_path / "films.csv"):
        films = read_features(source)
        assert films.columns == ("kinds=a", "kinds=b", "year=1985", "year=2009")
        assert read_features(source, text_ids=True).ids.tolist() == ["7", "8"]


@pytest.mark.parametrize("source", [None, 5, [1, 2]])
def test_a_source_without_features_is_a_type_error_that_names_it(source):
    with pytest.raises(TypeError, match=f"expected a path or a data frame, found {type(source).__name__}$"):
        read_features(source)
    with pytest.raises(TypeError, match=f"expected a data frame, found {type(source).__name__}$"):
        Features.from_frame(source)


class TestRatingsWithFeatures:
    def test_features_may_be_anything_that_read_features_takes(self, tmp_path):
        ages = {"id": [1, 2], "age": [30, 40]}
        polars.DataFrame(ages).write_csv(tmp_path / "users.csv")
        for source in (ages, polars.DataFrame(ages), tmp_path / "users.csv"):
            assert self.RATINGS.with_features(users=source).user_features.columns == ("age",)

    def test_ids_of_a_frame_are_strings_if_the_ratings_have_string_ids(self):
        ratings = Ratings.from_columns(["1", "x"], [7, 8], [4.0, 2.0])
        described = ratings.with_features(
            users={"id": [1, 2], "age": [30, 40]}, items={"id": [7], "a": ["b"]}
        )
        assert described.user_features.ids.tolist() == ["1", "2"]
        assert described.item_features.ids.tolist() == [7]

    RATINGS = Ratings.from_columns([1, 1, 2, 2, 3], [10, 20, 10, 50, 20], [5, 4, 3, 2, 1], range(5))

    def test_parts_keep_the_features_of_the_whole(self):
        films = Features.from_frame(FILMS)
        ages = Features.from_frame({"id": [1, 2], "age": [30, 40]})
        ratings = self.RATINGS.with_features(users=ages, items=films)
        parts = [ratings, ratings.compact(), ratings.take([0, 2]), ratings.take([])]
        parts += [*random_split(ratings), *next(k_fold(ratings, 2)), *leave_last_out(ratings)]
        for part in parts:
            assert part.item_features is films
            assert part.user_features is ages
        assert ratings.with_features().item_features is films
        assert self.RATINGS.item_features is None

    def test_ids_of_another_kind_are_refused(self):
        films = Features.from_frame({"id": ["a"], "x": ["u"]})
        with pytest.raises(
            ValueError, match=r"item_features: expected ids that are integers, .* found strings"
        ):
            self.RATINGS.with_features(items=films)
