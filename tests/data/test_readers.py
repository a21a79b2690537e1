"""The content of files and frames decides their format; errors name file and line."""

import csv
import gzip
import os
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.data import Ratings, RatingsError, delimited, read_ratings
from numpy_neural_mf.data.raw_values import MISSING

HEADER = "userId,movieId,rating,timestamp\n"
MOVIELENS = os.environ.get("NUMPY_NEURAL_MF_DATA")


@pytest.fixture
def read(tmp_path):
    """Write content to a file with an uninformative suffix and read it."""

    def write_and_read(content: str | bytes, **options):
        path = tmp_path / "some.file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_ratings(path, **options)

    return write_and_read


def is_there(text: str) -> bool:
    return text.strip() not in MISSING


def rows_of(ratings):
    columns = [ratings.raw_users, ratings.raw_items, ratings.values]
    if ratings.timestamps is not None:
        columns.append(ratings.timestamps)
    return list(zip(*(column.tolist() for column in columns), strict=True))


class TestFormats:
    @pytest.mark.parametrize(
        "content",
        [
            HEADER + "7,31,2.5,1260759144\n8,32,4,17\n",
            HEADER.replace(",", ";") + "7;31;2.5;1260759144\n8;32;4;17\n",
            HEADER.replace(",", "\t") + "7\t31\t2.5\t1260759144\n8\t32\t4\t17",
            "7::31::2.5::1260759144\n8::32::4::17\n",
            "7\t31\t2.5\t1260759144\n8\t32\t4\t17\n",
            "7,31,2.5,1260759144\n8,32,4,17\n",
            "7,31,2.5,1260759144,a::b::c\n8,32,4,17,d\n",
            "\ufeff" + HEADER + "7,31,2.5,1260759144\n8,32,4,17\n",
            (HEADER + "7,31,2.5,1260759144\n8,32,4,17\n\n").replace("\n", "\r\n"),
            HEADER + "\n7,31,2.5,1260759144\n\n8,32,4,17\n\n\n",
            "\n\n" + HEADER + "7,31,2.5,1260759144\n8,32,4,17\n   \n",
            '"userId","movieId","rating","timestamp"\n"7","31","2.5","1260759144"\n"8","32","4","17"\n',
            "userId, movieId, rating, timestamp\n7, 31, 2.5, 1260759144\n 8 , 32 , 4 , 17 \n",
            HEADER + "7,31,2.5,1260759144.9\n8,32,4,17.0\n",
            'title,TIMESTAMP,Rating,Movie ID,user_id\n"a, b",1260759144,2.5,31,7\n,17,4,32,8\n',
        ],
        ids=[
            *(
                "comma",
                "semicolon",
                "tab",
                "dat",
                "u.data",
                "no header",
                "colons in a title",
                "BOM",
                "CRLF",
                "blank lines",
            ),
            *("blank lines above", "quoted", "spaces", "float timestamps", "extra column, other order"),
        ],
    )
    def test_the_same_ratings_in_many_formats(self, read, content):
        assert rows_of(read(content)) == [(7, 31, 2.5, 1260759144), (8, 32, 4.0, 17)]

    def test_parquet(self, tmp_path):
        path = tmp_path / "ratings.csv"
        frame = pl.DataFrame(
            {"userId": ["x", "y"], "movieId": [31, 32], "rating": [2.5, 4.0], "more": [0, 0]}
        )
        frame.write_parquet(path)
        assert (
            rows_of(read_ratings(path))
            == rows_of(read_ratings(str(path)))
            == [("x", 31, 2.5), ("y", 32, 4.0)]
        )

    def test_a_file_name_is_not_a_pattern(self, tmp_path):
        path = tmp_path / "ratings[1]*.csv"
        path.write_text(HEADER + "1,2,3,4\n")
        assert len(read_ratings(path)) == 1

    def test_dates_as_text(self, read):
        assert read(HEADER + "1,2,3.5,2005-04-02 23:53:47\n").timestamps.tolist() == [1112486027]

    def test_names_can_be_mapped(self, read):
        content = "who,what,how,rating\n1,2,3,9\n"
        assert rows_of(read(content, user="who", item="what", rating="how")) == [(1, 2, 3.0)]

    def test_given_scale(self, read):
        assert read(HEADER + "1,2,3,4\n", scale=(1, 7)).scale == (1, 7)

    def test_repeated_ratings_are_counted(self, read):
        ratings = read(HEADER + "1,2,3,10\n1,2,4,5\n1,3,5,1\n1,3,4,1\n")
        assert rows_of(ratings) == [(1, 2, 3.0, 10), (1, 3, 4.0, 1)]
        assert ratings.n_dropped == 2


class TestNumbersInPieces:
    @given(
        rows=st.lists(
            st.tuples(
                st.sampled_from([1, 77, 2**31 - 1, 2**40]),
                st.integers(1, 10**6),
                st.sampled_from([0.5, 4]),
                st.integers(0, 9),
            ),
            min_size=1,
            max_size=30,
            unique_by=lambda row: row[:2],
        ),
        delimiter=st.sampled_from([",", "\t", "::"]),
        header=st.booleans(),
        line_end=st.sampled_from(["\n", "\r\n"]),
        last=st.booleans(),
    )
    def test_a_file_of_numbers_is_the_same_wherever_it_is_cut(
        self, tmp_path_factory, rows, delimiter, header, line_end, last
    ):
        names = [("user", "item", "rating", "time")] if header else []
        lines = [delimiter.join(map(str, fields)) for fields in [*names, *rows]]
        path = tmp_path_factory.mktemp("pieces") / "r"
        path.write_bytes((line_end.join(lines) + line_end * last).encode())
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(delimited, "PIECE", 23)
            ratings = read_ratings(path)
        assert rows_of(ratings) == rows
        assert ratings.users.dtype == ratings.items.dtype == np.int32

    @pytest.mark.parametrize("last", ["x,2,3,4\n", "1,,3,4\n", '"7",2,3,4\n', "\n\n7,2,3,4\n", "7,2,3\n"])
    def test_a_fault_far_down_is_reported_as_in_a_small_file(self, read, monkeypatch, last):
        def outcome():
            try:
                return rows_of(read(HEADER + "".join(f"{n},2,3,4\n" for n in range(1, 7)) + last))
            except RatingsError as error:
                return str(error)

        whole = outcome()
        monkeypatch.setattr(delimited, "PIECE", 23)
        assert outcome() == whole

    def test_a_column_with_two_roles_keeps_both_types(self, read):
        with pytest.raises(RatingsError, match=r"line 3: expected a user id, .* found 2\.5"):
            read("who,what,how\n1,2,3\n2.5,2,3\n", user="who", item="what", rating="who")

    def test_timestamps_decide_the_last_rating_even_if_they_are_left_out(self, read):
        ratings = read(HEADER + "1,2,3,10\n1,2,4,5\n", timestamps=False)
        assert ratings.timestamps is None
        assert rows_of(ratings) == [(1, 2, 3.0)]


class TestIds:
    @pytest.mark.parametrize("user", [5_000_000_000, -3, 2**63 - 1])
    def test_64_bit_integers(self, read, user):
        assert read(HEADER + f"{user},2,3,4\n").user_ids.tolist() == [user]

    def test_longer_ones_are_strings(self, read):
        assert read(HEADER + f"{2**64},2,3,4\n5,2,3,4\n").user_ids.tolist() == [str(2**64), "5"]

    def test_a_column_with_one_string_is_text_and_the_other_stays_integers(self, read):
        ratings = read(HEADER + "1,2,3,4\nx,2,3,4\n")
        assert ratings.user_ids.tolist() == ["1", "x"]
        assert ratings.item_ids.tolist() == [2]

    @given(
        st.dictionaries(
            st.tuples(
                *[st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6).filter(is_there)] * 2
            ),
            st.sampled_from([0.5, 1, 3.5, 5]),
            min_size=1,
            max_size=20,
        ),
        st.sampled_from([",", ";", "\t"]),
        st.sampled_from(["\n", "\r\n"]),
    )
    def test_any_text_survives_a_round_trip(self, tmp_path_factory, pairs, delimiter, line_end):
        path = tmp_path_factory.mktemp("trip") / "r"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
            writer.writerow(["user", "item", "rating"])
            # The first row keeps columns of digits from being read as integers.
            writer.writerow(["u", "i", 2])
            writer.writerows([user, item, value] for (user, item), value in pairs.items())
        pairs = {(user.strip(), item.strip()): value for (user, item), value in pairs.items()}
        expected = {("u", "i"): 2} | pairs
        ratings = read_ratings(path)
        assert {(user, item): value for user, item, value in rows_of(ratings)} == expected
        assert len(ratings) == len({("u", "i"), *pairs})


class TestIdsStayApart:
    """Ids that are written differently are never merged, and a missing id is an error."""

    def test_leading_zeros_are_part_of_an_id(self, read):
        ratings = read(HEADER + "1,007,3,4\n1,7,5,4\n")
        assert ratings.item_ids.tolist() == ["007", "7"]
        assert ratings.n_dropped == 0
        assert ratings.user_ids.tolist() == [1]
        assert read(HEADER + "1,0114508,3,4\n").item_ids.tolist() == ["0114508"]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "::"])
    @pytest.mark.parametrize("other", ["007", "+7", "00", " 007", "-07"])
    @pytest.mark.parametrize("padding", ["", "8,8,3,4\n", "81,8,3,4\n"])  # at even and at odd bytes
    def test_in_any_place_of_a_file_of_numbers(self, read, delimiter, other, padding):
        for line in (f"{other},9,3,4\n", f"9,{other},3,4\n"):
            for content in (line + padding, padding + line, HEADER + padding + line):
                ratings = read(content.replace(",", delimiter))
                assert other.strip() in [*ratings.user_ids.tolist(), *ratings.item_ids.tolist()]

    def test_zeros_of_other_columns_keep_the_ids_integers(self, read):
        assert rows_of(read(HEADER + "1,10,0.5,0\n0,2,05,007\n")) == [(1, 10, 0.5, 0), (0, 2, 5.0, 7)]

    def test_minus_zero_is_not_zero(self, read):
        assert read(HEADER + "-0,1,3,4\n0,1,3,4\n").user_ids.tolist() == ["-0", "0"]

    def test_whole_decimals_are_integers_as_in_a_frame(self, read):
        ratings = read("1.0,31.0,2.5\n2.0,31.0,3\n")
        assert rows_of(ratings) == [(1, 31, 2.5), (2, 31, 3.0)]
        frame = pd.DataFrame({"user": [1.0, 2.0], "item": [31.0, 31.0], "rating": [2.5, 3]})
        assert rows_of(read_ratings(frame)) == rows_of(ratings)

    def test_two_ways_to_write_a_number_are_two_ids(self, read):
        assert read(HEADER + "1,2,3,4\n1.0,2,3,4\n").user_ids.tolist() == ["1", "1.0"]

    def test_spaces_around_an_id_are_no_part_of_it(self, read):
        assert read(HEADER + " 1,2,3,4\n1,5,3,4\nx,5,3,4\n").user_ids.tolist() == ["1", "x"]
        frame = {"user": [" a", "a"], "item": [1, 2], "rating": [3, 4]}
        with pytest.raises(RatingsError, match=r"row 1: .* differs from others by more than spaces .* ' a'"):
            read_ratings(frame)

    @pytest.mark.parametrize("missing", ["NaN", "null", "None", "<NA>", '""', "  "])
    @pytest.mark.parametrize("other", ["1", "x"])
    def test_a_missing_id_is_an_error_with_its_line(self, read, missing, other):
        with pytest.raises(RatingsError, match="line 3: expected a user id, found"):
            read(HEADER + f"{other},2,3,4\n{missing},2,3,4\n")
        frame = {"user": [other, missing.strip('"')], "item": [1, 2], "rating": [3, 4]}
        with pytest.raises(RatingsError, match="row 2: expected a user id, found"):
            read_ratings(frame)

    def test_integers_and_strings_do_not_mix(self):
        for users in ([1, "1"], np.array([1, "1"], object), pd.Series([1, "1"], dtype=object)):
            with pytest.raises(RatingsError, match=r"row 2: expected a user id, an integer as .* found '1'"):
                Ratings.from_columns(users, [1, 2], [3, 4])
        with pytest.raises(RatingsError, match=r"row 2: expected an item id, a string as the first, found 1"):
            read_ratings({"user": [1, 2], "item": ["1", 1], "rating": [3, 4]})

    def test_ids_can_be_kept_as_text(self, read, tmp_path):
        content = HEADER + "1,2,3,4\n10,2,3,4\n"
        assert rows_of(read(content, text_ids=True)) == [("1", "2", 3.0, 4), ("10", "2", 3.0, 4)]
        assert rows_of(read(content, text_ids=["item"])) == [(1, "2", 3.0, 4), (10, "2", 3.0, 4)]
        with pytest.raises(ValueError, match="text_ids: expected a bool"):
            read(content, text_ids="user")
        frame = pd.DataFrame({"user": [1.0, 10.0], "item": [2, 2], "rating": [3, 4]})
        assert rows_of(read_ratings(frame, text_ids=True)) == [("1", "2", 3.0), ("10", "2", 4.0)]
        path = tmp_path / "cached"
        path.write_text(content)
        assert [
            read_ratings(path, text_ids=text, cache=True).user_ids.tolist() for text in (True, False)
        ] == [
            ["1", "10"],
            [1, 10],
        ]

    def test_a_long_id_is_refused_before_it_fills_the_memory(self, read):
        with pytest.raises(RatingsError, match="line 3: expected a user id of at most 256 char") as caught:
            read(HEADER + f"1,2,3,4\n{'x' * 10_000},2,3,4\n")
        assert len(str(caught.value)) < 300
        assert read(HEADER + f"{'x' * 256},2,3,4\n").user_ids[0] == "x" * 256


class TestColumnsNobodyAskedFor:
    def test_dates_of_days_are_times(self, read):
        content = "userId,itemId,rating,date\n1,2,3,2005-09-06\n"
        assert read(content).timestamps.tolist() == [1125964800]

    def test_a_column_without_times_does_not_prevent_reading_without_times(self, read):
        content = "userId,itemId,rating,date\n1,2,3,soon\n1,3,4,\n"
        assert rows_of(read(content, timestamps=False)) == [(1, 2, 3.0), (1, 3, 4.0)]
        with pytest.raises(RatingsError, match="line 2: expected a timestamp"):
            read(content)
        with pytest.raises(RatingsError, match="line 2: expected a timestamp"):
            read(content, timestamps=False, timestamp="date")

    def test_other_columns_may_contain_anything(self, read):
        content = (
            "note,user,item,rating\n" + "".join(f"7,{n},2,3\n" for n in range(200)) + '"text, 007",1,3,3\n'
        )
        assert rows_of(read(content))[-1] == (1, 3, 3.0)


class TestDelimiters:
    def test_the_delimiter_that_divides_all_lines_alike_is_chosen(self, read):
        rows = "1;Alien, 1979;4\n2;Aliens, or: more, of the same;5\n"
        assert rows_of(read("user;item;rating\n" + rows)) == rows_of(read(rows))
        assert read(rows).item_ids.tolist() == ["Alien, 1979", "Aliens, or: more, of the same"]
        rows = "u;a, b, c, d, e;4\nv;b;5\nw;c;5\n"  # the first line has more commas than semicolons
        assert read(rows).item_ids.tolist() == ["a, b, c, d, e", "b", "c"]

    def test_a_bar(self, read):
        assert rows_of(read("user|item|rating\n1|2|3\n")) == [(1, 2, 3.0)]

    def test_gzip(self, read):
        content = gzip.compress((HEADER + "1,2,3,4\n1,x,5,6\n").encode())
        assert rows_of(read(content)) == [(1, "2", 3.0, 4), (1, "x", 5.0, 6)]
        assert rows_of(read(gzip.compress(b"1::2::3::4\n" * 9))) == [(1, 2, 3.0, 4)]
        with pytest.raises(RatingsError, match=r"line 2: expected a finite number as rating, found 'bad'"):
            read(gzip.compress((HEADER + "1,2,bad,4\n").encode()))
        with pytest.raises(RatingsError, match="expected a whole gzip file"):
            read(content[:20])


def test_ratings_report_whether_the_scale_was_guessed(read, tmp_path):
    content = HEADER + "1,2,3,4\n"
    assert read(content).scale_is_guessed
    assert read(content.replace("1", "x")).scale_is_guessed
    assert not read(content, scale=(1, 5)).scale_is_guessed
    (tmp_path / "r").write_text(content)
    assert [read_ratings(tmp_path / "r", cache=True).scale_is_guessed for _ in range(2)] == [True, True]


def test_errors_are_short_for_any_file(read):
    names = [f"column {n} " + "x" * 200 for n in range(500)]
    for content in (
        ",".join(names) + "\n" + "1," * 499 + "1\n",
        HEADER + f"1,2,{'y' * 10**6},4\n",
        HEADER + f'1,2,"{"y" * 10**6},4\n',
    ):
        with pytest.raises(RatingsError) as caught:
            read(content)
        assert len(str(caught.value)) <= 300


class TestFrames:
    @pytest.mark.parametrize(
        "frame",
        [
            pl.DataFrame({"user": ["a", "b"], "item": [1, 2], "rating": [3, 4]}),
            pl.LazyFrame({"user": ["a", "b"], "item": [1, 2], "rating": [3, 4]}),
            pd.DataFrame({"user": ["a", "b"], "item": [1, 2], "rating": [3.0, 4.0]}, index=[9, 5]),
            pd.DataFrame({"user": pd.Categorical(["a", "b"]), "item": [1.0, 2.0], "rating": ["3", "4"]}),
            pd.DataFrame(
                {"user": np.array(["a", "b"], object), "item": [1, 2], "rating": [3, 4]}
            ).convert_dtypes(),
            pl.DataFrame({"user": ["a", "b"], "item": [1, 2], "rating": [3, 4]}).to_arrow(),
            {"user": ["a", "b"], "item": [1, 2], "rating": [3, 4]},
        ],
        ids=["polars", "lazy", "pandas", "categories", "nullable", "arrow", "dict"],
    )
    def test_of_every_kind(self, frame):
        assert rows_of(read_ratings(frame)) == [("a", 1, 3.0), ("b", 2, 4.0)]

    def test_a_dict_may_have_iterators_and_one_value_for_all_rows(self):
        frame = {"user": (name for name in "ab"), "item": range(1, 3), "rating": 4, "time": "1970-01-02"}
        assert rows_of(read_ratings(frame)) == [("a", 1, 4.0, 86400), ("b", 2, 4.0, 86400)]

    def test_pandas_dates_and_numbered_columns(self):
        frame = pd.DataFrame({0: [1], 1: [2], 2: [3], "time": pd.to_datetime(["1970-01-02"])})
        assert rows_of(read_ratings(frame, user="0", item="1", rating="2")) == [(1, 2, 3.0, 86400)]

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"user": ["a", None]}, "data frame, row 2: expected a user id, found nothing"),
            ({"item": pd.array([1, None], dtype="Int64")}, "data frame, row 2: expected an item id, found"),
            ({"rating": [3, np.nan]}, "data frame, row 2: expected a finite number as rating, found NaN"),
            ({"user": [1.0, 2.5]}, r"row 2: expected a user id, an integer or a string, found 2\.5"),
        ],
    )
    def test_faults_are_named_by_row(self, columns, message):
        frame = pd.DataFrame({"user": ["a", "b"], "item": [1, 2], "rating": [3.0, 4.0]} | columns)
        with pytest.raises(RatingsError, match=message):
            read_ratings(frame)

    @pytest.mark.parametrize(
        "source", [5, None, object(), b"ratings.csv", {1, 2}, [1, 2], [[1, 2, 3.0]], iter([1]),
                   pl.Series([1]), pd.Series([1]), np.zeros((3, 3))]
    )  # fmt: skip
    def test_a_source_without_ratings_is_a_type_error_that_names_it(self, source):
        found = f"expected Ratings, a path, a data frame, .*, found {type(source).__name__}$"
        with pytest.raises(TypeError, match=found):
            read_ratings(source)


COLUMNS = {"user": [7, 9, 9], "item": [1, 1, 2], "rating": [4.0, 2.0, 5.0], "timestamp": [30, 20, 10]}


class TestWhateverHoldsRatings:
    @pytest.mark.parametrize(
        "source",
        [
            tuple(COLUMNS.values()),
            tuple(map(np.array, COLUMNS.values())),
            tuple(map(pd.Series, COLUMNS.values())),
            tuple(map(pl.Series, COLUMNS.values())),
            MappingProxyType(COLUMNS),
            pd.DataFrame(COLUMNS),
            pl.DataFrame(COLUMNS),
            pl.LazyFrame(COLUMNS),
            pa.table(COLUMNS),
            pa.table(COLUMNS).to_batches()[0],
            pl.DataFrame(COLUMNS).to_dicts(),
            pd.DataFrame(COLUMNS).to_records(index=False),
        ],
        ids=lambda source: type(source).__name__,
    )
    def test_tables_and_tuples_of_columns_are_the_same_ratings(self, source):
        ratings = read_ratings(source)
        assert ratings.to_polars().equals(Ratings.from_columns(*COLUMNS.values()).to_polars())

    def test_a_tuple_needs_no_timestamps(self):
        assert read_ratings(tuple(COLUMNS.values())[:3]).timestamps is None

    @pytest.mark.parametrize("n", [0, 1, 2, 5])
    def test_a_tuple_of_another_length_is_refused(self, n):
        with pytest.raises(RatingsError, match=rf"expected \(users, items, ratings\) .* a tuple of {n}$"):
            read_ratings(([1],) * n)

    def test_ratings_are_returned_unchanged(self):
        ratings = read_ratings(COLUMNS)
        assert read_ratings(ratings) is ratings
        with pytest.raises(ValueError, match=r"no settings with Ratings, .* found \['user', 'scale'\]"):
            read_ratings(ratings, user="u", scale=(1, 5))

    @pytest.mark.parametrize("form", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
    @pytest.mark.parametrize("kind", ["matrix", "array"])
    def test_stored_entries_of_a_sparse_matrix_are_ratings(self, form, kind):
        dense = np.array([[0, 4, 0], [0, 0, 0], [2, 0, 5]])
        ratings = read_ratings(getattr(scipy.sparse, f"{form}_{kind}")(dense))
        found = zip(*ratings.to_polars().sort("user_id", "item_id").to_dict().values(), strict=True)
        assert list(found) == [(0, 1, 4.0), (2, 0, 2.0), (2, 2, 5.0)]

    def test_a_stored_zero_is_a_rating(self):
        matrix = scipy.sparse.csr_array(([0.0, 10.0], ([0, 1], [1, 0])))
        assert read_ratings(matrix).values.tolist() == [0, 10]

    def test_padding_zeros_of_blocks_are_not_ratings(self):
        matrix = scipy.sparse.bsr_array(np.array([[0, 4, 0, 0], [0, 0, 0, 0]]), blocksize=(2, 2))
        assert read_ratings(matrix).values.tolist() == [4]
        assert matrix.nnz == 4

    @pytest.mark.parametrize(
        ("matrix", "message"),
        [
            (scipy.sparse.csr_array((3, 4)), "sparse matrix: expected at least one rating, found none"),
            (scipy.sparse.coo_array([1.0, 2.0]), "sparse matrix: expected rows of users, .*, found 1 axes"),
            (
                scipy.sparse.csr_array([[0, 0], [np.nan, 0]]),
                "sparse matrix, row 1, column 0: expected a finite",
            ),
            (
                scipy.sparse.csr_array([[0, 1j]]),
                "sparse matrix, row 0, column 1: expected a number as rating",
            ),
        ],
    )
    def test_faults_of_a_sparse_matrix_are_named_by_row_and_column(self, matrix, message):
        with pytest.raises(RatingsError, match=message):
            read_ratings(matrix)

    def test_a_sparse_matrix_has_no_names_of_columns(self):
        with pytest.raises(ValueError, match="expected no names of columns with a sparse matrix"):
            read_ratings(scipy.sparse.eye_array(3).tocsr(), user="u")


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "some.file: expected a table, found an empty file"),
            (" \n\r\n", "some.file: expected a table, found an empty file"),
            (HEADER, "some.file: expected at least one row, found only a header"),
            (HEADER + "\n\n", "some.file: expected at least one row, found only a header"),
            (bytes(range(256)) * 9, "some.file: expected UTF-8 text or Parquet, found binary data"),
            (HEADER.encode("utf-16"), "some.file: expected UTF-8 text or Parquet, found UTF-16; .*'utf-16'"),
            (b"PAR1 and no more", "some.file: expected a whole Parquet file, found: "),
            (HEADER.encode() + b"1,2,3,4\n\xe9,2,3,4\n", "some.file, line 3: expected UTF-8 text, .*0xe9"),
            ("us\xe9r,item,rating\n".encode("latin-1"), "some.file, line 1: expected UTF-8 text, .*0xe9"),
            (
                "a,b,c\n1,2,3\n",
                "expected a column of users, such as 'user_id', found .*'a', 'b', 'c'; .* given as user",
            ),
            ("user,b,c\n1,2,3\n", "expected a column of items, .* given as item"),
            ("user,item\n1,2\n", "expected a column of ratings, such as 'rating', found .*'user', 'item'"),
            (HEADER + "1,2,3,4\n1,3,good,4\n", "line 3: expected a finite number as rating, found 'good'"),
            (HEADER + "1,2,3,4\n1,3,NaN,4\n", "line 3: expected a finite number as rating, found NaN"),
            (HEADER + "1,2,3,4\n1,3,-inf,4\n", "line 3: expected a finite number as rating, found -inf"),
            (HEADER + "1,2,3,4\n1,3,,4\n", "line 3: expected a finite number as rating, found nothing"),
            ("user;item;score\n1;2;3,5\n", "line 2: expected a finite number as rating, found '3,5'"),
            (HEADER + "1,2,3,4\n,3,4,4\n", "line 3: expected a user id, found nothing"),
            (HEADER + 'a,2,3,4\n"",3,4,4\n', "line 3: expected a user id, found nothing"),
            (HEADER + "1,2,3,4\n1,3\n", "line 3: expected 4 fields, as in the first line, found 2"),
            (HEADER + "1,2,3,4\n1\n", "line 3: expected 4 fields, as in the first line, found 1"),
            (HEADER + "1,2,3,4\n1,3,4,\n", "line 3: expected a timestamp, .* found nothing"),
            (HEADER + "1,2,3,4\n1,3,4,today\n", "line 3: expected a timestamp, .* found 'today'"),
            (HEADER + "1,2,bad,4\n,3,4,4\n", "line 2: expected a finite number as rating, found 'bad'"),
            ("1::2::5::9\n1::3::x::9\n", "line 2: expected a finite number as rating, found 'x'"),
            ("1\t2\t5\t9\n1\t3\n", "line 2: expected 4 fields, as in the first line, found 2"),
            (HEADER + '1,2,3,4\n1,"3,4,4\n', "line 3: expected quotes in pairs, found one without"),
            (HEADER + '1,"a"b,3,4\n', "line 2: expected quotes around whole fields"),
        ],
    )
    def test_bad_files_are_named_with_line_and_expectation(self, read, content, message):
        with pytest.raises(RatingsError, match=message) as caught:
            read(content)
        assert "\n" not in str(caught.value)

    def test_lines_are_counted_as_an_editor_does(self, read):
        content = "\n" + HEADER + '"two\nlines",2,3,4\n\n\r\nx,2,bad,4\n'
        with pytest.raises(RatingsError, match=r"some\.file, line 7: expected a finite number"):
            read(content)

    def test_a_line_far_down(self, read):
        with pytest.raises(RatingsError, match="line 30002: expected an item id, found nothing"):
            read(HEADER + "1,2,3,4\n" * 30_000 + "1,,3,4\n")

    def test_a_rating_outside_the_given_scale(self, read):
        with pytest.raises(RatingsError, match=r"line 4: expected a rating from 0\.5 to 5, found 5\.5"):
            read(HEADER + "1,2,3,4\n\n1,3,5.5,4\n", scale=(0.5, 5))

    def test_a_named_column_that_is_missing(self, read):
        with pytest.raises(RatingsError, match="expected a column 'whom' as user, found the columns 'who'"):
            read("who,item,rating\n1,2,3\n", user="whom")
        with pytest.raises(RatingsError, match="expected a column 'who' as user, found the columns 'user'"):
            read("1,2,3\n", user="who")

    def test_no_file_and_no_directory(self, tmp_path):
        with pytest.raises(RatingsError, match=r"nope\.csv: expected a file of ratings, found: No such file"):
            read_ratings(tmp_path / "nope.csv")
        with pytest.raises(RatingsError, match=r"found a folder without any of ratings\.csv, ratings\.dat"):
            read_ratings(tmp_path)

    @pytest.mark.parametrize("name", ["ratings.csv", "ratings.dat", "u.data"])
    def test_a_folder_of_movielens(self, tmp_path, name):
        (tmp_path / name).write_text("1\t10\t4\n2\t10\t3\n")
        assert len(read_ratings(tmp_path)) == 2

    def test_a_bad_row_of_parquet(self, tmp_path):
        path = tmp_path / "r.parquet"
        pl.DataFrame({"user": [1, 2], "item": [1, None], "rating": [1, 2]}).write_parquet(path)
        with pytest.raises(RatingsError, match=r"r\.parquet, row 2: expected an item id, found nothing"):
            read_ratings(path)


@pytest.mark.skipif(
    MOVIELENS is None, reason="NUMPY_NEURAL_MF_DATA names no folder with MovieLens latest-small"
)
def test_movielens_latest_small():
    ratings = read_ratings(Path(MOVIELENS or "") / "ratings.csv")
    assert (len(ratings), ratings.n_users, ratings.n_items) == (100_004, 671, 9_066)
    assert (ratings.scale, ratings.n_dropped) == ((0.5, 5.0), 0)
    assert rows_of(ratings.take([0])) == [(1, 31, 2.5, 1260759144)]
    assert ratings.mean == pytest.approx(3.5436, abs=1e-4)
