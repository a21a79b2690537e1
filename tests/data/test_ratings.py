"""Ratings keep their values and ids, and refuse invalid ones."""

import dataclasses
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.data import Ratings, RatingsError, columns, read_ratings
from numpy_neural_mf.data.ids import index_of
from numpy_neural_mf.data.raw_values import MISSING

int_ids = st.integers(-(2**63), 2**63 - 1)
# UTF-8 cannot encode surrogates; NumPy pads with NUL; spaces around an id are refused.
str_ids = st.text(
    st.characters(exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1, max_size=20
).filter(lambda text: text not in MISSING)
few_ids = st.sampled_from([3, 1, 2, -5])


@pytest.fixture
def ratings():
    return Ratings.from_columns(["b", "a", "b"], [20, 10, 10], [4.5, 3.0, 1.0], [7, 8, 9])


class TestColumns:
    def test_indices_point_at_sorted_unique_raw_ids(self, ratings):
        assert ratings.user_ids.tolist() == ["a", "b"]
        assert ratings.item_ids.tolist() == [10, 20]
        assert ratings.users.tolist() == [1, 0, 1]
        assert ratings.items.tolist() == [1, 0, 0]
        assert ratings.raw_users.tolist() == ["b", "a", "b"]
        assert ratings.raw_items.tolist() == [20, 10, 10]

    def test_dtypes_are_as_documented_and_arrays_are_writable(self, ratings):
        columns = (ratings.users, ratings.items, ratings.values, ratings.timestamps)
        assert [column.dtype for column in columns] == [np.int32, np.int32, np.float32, np.int64]
        assert all(column.flags.writeable for column in columns)

    @given(st.lists(st.tuples(st.one_of(int_ids), str_ids, st.sampled_from([1, 2.5, 5])), min_size=1))
    def test_raw_ids_survive_a_round_trip(self, rows):
        users, items, values = zip(*rows, strict=True)
        ratings = Ratings.from_columns(users, items, values)
        last = {(user, item): value for user, item, value in rows}
        triples = zip(
            ratings.raw_users.tolist(), ratings.raw_items.tolist(), ratings.values.tolist(), strict=True
        )
        assert {(user, item): value for user, item, value in triples} == last
        assert len(ratings) == len(last)

    def test_integers_beyond_64_bits_become_strings(self):
        ratings = Ratings.from_columns([2**64, 1], [1, 1], [1, 2])
        assert ratings.user_ids.tolist() == ["1", "18446744073709551616"]

    def test_whole_floats_are_integers(self):
        assert Ratings.from_columns(np.array([1.0, 7.0]), [1, 1], [1, 2]).user_ids.tolist() == [1, 7]

    def test_dates_become_seconds_since_1970_and_floats_are_truncated(self):
        dates = np.array(["1970-01-02", "2005-04-02T23:53:47"], "datetime64[us]")
        assert Ratings.from_columns([1, 2], [1, 1], [1, 2], dates).timestamps.tolist() == [86400, 1112486027]
        assert Ratings.from_columns([1], [1], [1], [17.9]).timestamps.tolist() == [17]


class TestDuplicates:
    @given(
        st.lists(st.tuples(few_ids, few_ids, st.integers(1, 5), st.integers(0, 3)), min_size=1),
        st.booleans(),
    )
    def test_the_last_rating_of_a_pair_counts_and_the_order_stays(self, rows, timed):
        last: dict[tuple[int, int], int] = {}
        for row, (user, item, _, time) in enumerate(rows):
            held = last.get((user, item))
            if held is None or not timed or time >= rows[held][3]:
                last[user, item] = row
        kept = [rows[row] for row in sorted(last.values())]
        users, items, values, times = zip(*rows, strict=True)
        ratings = Ratings.from_columns(users, items, values, times if timed else None)
        assert ratings.raw_users.tolist() == [user for user, *_ in kept]
        assert ratings.raw_items.tolist() == [item for _, item, *_ in kept]
        assert ratings.values.tolist() == [value for *_, value, _ in kept]
        assert ratings.n_dropped == len(rows) - len(kept)


@given(
    st.lists(st.tuples(few_ids, few_ids, st.integers(1, 5), st.integers(0, 3)), min_size=1),
    st.sampled_from([1, 10**12]),
)
def test_long_columns_are_processed_in_blocks_with_the_same_result(rows, stretch):
    users, items, values, times = zip(*rows, strict=True)
    users = np.array(users) * stretch  # sparse ids are searched for, not looked up in a table
    at_once = Ratings.from_columns(users, items, values, times)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(columns, "BLOCK", 3)
        in_blocks = Ratings.from_columns(users, items, values, times)
        compact = in_blocks.take(in_blocks.users == 0).compact()
    assert in_blocks.to_polars().equals(at_once.to_polars())
    assert in_blocks.n_dropped == at_once.n_dropped
    assert compact.to_polars().equals(at_once.take(at_once.users == 0).to_polars())


class TestIndexOf:
    anything = st.one_of(int_ids, str_ids, st.none(), st.floats(), st.integers())

    @given(st.sets(int_ids), st.lists(anything))
    def test_integers_as_a_dict_would(self, ids, wanted):
        known = np.array(sorted(ids), np.int64)
        index = {int(raw): position for position, raw in enumerate(known)}
        index |= {str(raw): position for raw, position in index.items()}
        assert index_of(known, wanted).tolist() == [index.get(raw, -1) for raw in wanted]

    @given(st.sets(str_ids), st.lists(anything))
    def test_strings_as_a_dict_would(self, ids, wanted):
        known = np.array(sorted(ids), str)
        index = {raw: position for position, raw in enumerate(sorted(ids))}
        written = [str(raw) if isinstance(raw, int) else raw for raw in wanted]
        assert index_of(known, wanted).tolist() == [index.get(raw, -1) for raw in written]

    def test_scalars_give_scalars_and_arrays_their_shape(self, ratings):
        assert index_of(ratings.item_ids, 20).shape == ()
        assert int(index_of(ratings.item_ids, 20)) == 1
        assert int(index_of(ratings.user_ids, "b")) == 1
        np.testing.assert_array_equal(index_of(ratings.item_ids, np.array([[10, 11]])), [[0, -1]])
        assert index_of(ratings.item_ids, pl.Series([20, 10])).dtype == np.int32

    def test_a_string_is_not_an_integer_unless_written_canonically(self, ratings):
        assert index_of(ratings.item_ids, ["20", "020", "20.0"]).tolist() == [1, -1, -1]
        assert index_of(ratings.user_ids, [0, 1]).tolist() == [-1, -1]
        assert index_of(ratings.user_ids, np.array(["a", "z"])).tolist() == [0, -1]

    def test_longer_strings_are_not_truncated(self, ratings):
        assert index_of(ratings.user_ids, ["ab", "b", "b\0"]).tolist() == [-1, 1, -1]
        assert index_of(ratings.user_ids, np.array(["ab", "b"])).tolist() == [-1, 1]

    def test_unsigned_and_out_of_range_integers(self, ratings):
        wanted = np.array([10, 2**63 + 10], np.uint64)
        assert index_of(ratings.item_ids, wanted).tolist() == [0, -1]


class TestParts:
    def test_take_keeps_ids_and_scale(self, ratings):
        part = ratings.take([2, 1])
        assert part.raw_users.tolist() == ["b", "a"]
        assert part.timestamps.tolist() == [9, 8]
        assert part.user_ids is ratings.user_ids
        assert part.scale == ratings.scale
        assert len(ratings.take([])) == 0
        assert ratings.take(ratings.values > 2).values.tolist() == [4.5, 3.0]

    def test_compact_keeps_only_occurring_ids(self, ratings):
        part = ratings.take([1]).compact()
        assert part.user_ids.tolist() == ["a"]
        assert part.item_ids.tolist() == [10]
        assert part.raw_users.tolist() == ["a"]

    def test_to_a_frame_and_back(self, ratings):
        frame = ratings.to_polars()
        assert frame.columns == ["user_id", "item_id", "rating", "timestamp"]
        for same in (frame, ratings.to_pandas(), ratings.to_polars()):
            assert read_ratings(same, scale=ratings.scale).to_polars().equals(frame)
        assert pl.DataFrame(ratings.to_pandas().to_dict("list"), frame.schema).equals(frame)

    def test_its_head_shows_the_first_rows(self, ratings):
        assert ratings.head().equals(ratings.to_polars())
        assert ratings.head(2).equals(ratings.to_polars()[:2])

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            (slice(2), [0, 1]),
            (slice(None, None, -1), [2, 1, 0]),
            ([2, 0], [2, 0]),
            ([-1], [2]),
            (np.array([1], np.uint8), [1]),
            ([True, False, True], [0, 2]),
            (pl.Series([False, True, False]), [1]),
            ([], []),
            (slice(5, None), []),
        ],
    )
    def test_a_part_is_chosen_by_a_slice_a_mask_or_integers(self, ratings, rows, expected):
        part = dataclasses.replace(ratings, n_dropped=1)[rows]
        assert isinstance(part, Ratings)
        assert part.to_polars().equals(ratings.to_polars()[expected])
        assert part.n_dropped == 0
        assert part.item_ids is ratings.item_ids

    @pytest.mark.parametrize("rows", [1, [0.5], ["a"], [[0]], [True], (slice(1), 0), None, [None]])
    def test_anything_else_is_refused(self, ratings, rows):
        with pytest.raises(
            IndexError, match=r"expected a slice, a mask of shape \(3,\) or integers .*, found"
        ):
            ratings[rows]

    def test_a_ratings_object_has_a_short_representation(self, ratings):
        assert repr(ratings) == "Ratings: 3 ratings of 2 items by 2 users, 0.5 to 5, mean 2.83, density 75 %"
        assert repr(ratings.take([])) == "Ratings: 0 ratings of 2 items by 2 users, 0.5 to 5"
        assert math.isnan(ratings.take([]).mean)

    def test_the_noise_floor_is_the_root_of_the_mean_variance(self, ratings):
        assert ratings.noise_floor is None
        noisy = dataclasses.replace(ratings, noise_variance=np.array([1, 4, 4], np.float32))
        assert noisy.noise_floor == pytest.approx(math.sqrt(3))
        assert noisy.take([0]).noise_floor == 1

    def test_expected_ratings_stay_with_their_ratings(self, ratings):
        known = dataclasses.replace(ratings, expected=np.array([1, 4, 3], np.float32))
        np.testing.assert_array_equal(known.take([2, 0]).expected, [3, 1])
        np.testing.assert_array_equal(known.part(slice(1, 3)).expected, [4, 3])
        assert ratings.take([0]).expected is None


class TestScale:
    @pytest.mark.parametrize(
        ("values", "scale"),
        [
            ([1, 4, 5], (1, 5)),
            ([2], (1, 5)),
            ([0.5, 4], (0.5, 5)),
            ([3.5, 4], (0.5, 5)),
            ([0, 1], (0, 1)),
            ([0, 2.5], (0, 5)),
            ([1, 7], (1, 7)),
            ([1, 8], (1, 10)),
            ([1, 1], (0, 1)),
            ([0, 10], (0, 10)),
            ([3, 97], (1, 100)),
            ([0, 100], (0, 100)),
            ([-9.75, 8.25], (-9.75, 8.25)),
            ([3.25], (0, 3.25)),
        ],
    )
    def test_the_first_known_scale_that_holds_all(self, values, scale):
        n = len(values)
        assert Ratings.from_columns(range(n), [1] * n, values).scale == scale

    def test_a_given_scale_is_kept(self):
        assert Ratings.from_columns([1], [1], [3], scale=(1, 7)).scale == (1, 7)

    @pytest.mark.parametrize("scale", [(5, 1), (1, 1), (1, math.inf), (math.nan, 5), (1, 2, 3)])
    def test_an_impossible_scale_is_refused(self, scale):
        with pytest.raises(ValueError, match="scale: expected"):
            Ratings.from_columns([1], [1], [1], scale=scale)


class TestRefusals:
    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (([], [], []), "ratings: expected at least one rating, found none"),
            (([1, 2], [1], [1]), "expected columns of one length, found .*'users': 2, 'items': 1"),
            (([1, None], [1, 2], [1, 2]), "ratings, row 2: expected a user id, found nothing"),
            ((["a", ""], [1, 2], [1, 2]), "row 2: expected a user id, found nothing"),
            (([1, 2], [1, math.nan], [1, 2]), "row 2: expected an item id, found nothing"),
            ((np.array([1, 2.5]), [1, 2], [1, 2]), r"row 2: expected a user id, .*integer.* found 2\.5"),
            ((["a", "a\0"], [1, 2], [1, 2]), "row 2: expected a user id that does not end in NUL"),
            (([b"x"], [1], [1]), "row 1: expected a user id, an integer or a string, found b'x'"),
            (([1, 2], [1, 2], [1, math.nan]), "row 2: expected a finite number as rating, found"),
            (([1, 2], [1, 2], [1, math.inf]), "row 2: expected a finite number as rating, found inf"),
            (([1, 2], [1, 2], ["1", "good"]), "row 2: expected a finite number as rating, found 'good'"),
            (([1, 2], [1, 2], [[1], [2]]), "row 1: expected a number as rating"),
            (([1, 2], [1, 2], [1, 2], [5, None]), "row 2: expected a timestamp.* found nothing"),
            (([1, None], [None, 2], [1, 2]), "row 1: expected an item id"),
        ],
    )
    def test_bad_values_are_named_by_row(self, columns, message):
        with pytest.raises(RatingsError, match=message):
            Ratings.from_columns(*columns)

    def test_a_rating_outside_the_given_scale(self):
        with pytest.raises(RatingsError, match=r"shop, row 2: expected a rating from 1 to 5, found 5\.5"):
            Ratings.from_columns([1, 2], [1, 2], [5, 5.5], scale=(1, 5), source="shop")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"users": np.array([0, 1], np.int32)}, r"items: expected a int32 array of shape \(2,\)"),
            ({"users": np.array([0, 1, 0])}, "users: expected a int32 array"),
            ({"users": np.array([0, 2, 0], np.int32)}, "users: expected indices from 0 to 1, found 0 to 2"),
            ({"items": np.array([0, -1, 0], np.int32)}, "items: expected indices"),
            ({"values": np.array([1, 2, 6], np.float32)}, "values: expected finite ratings within the scale"),
            ({"values": np.array([1, 2, np.nan], np.float32)}, "values: expected finite ratings"),
            ({"values": [1, 2, 3]}, "values: expected a float32 array"),
            ({"item_ids": np.array([20, 10])}, "item_ids: expected sorted unique ids"),
            ({"item_ids": np.array([10.0, 20.0])}, "item_ids: expected int64 or str"),
            ({"timestamps": np.array([1.0, 2, 3])}, "timestamps: expected a int64 array"),
            ({"noise_variance": np.array([1.0])}, "noise_variance: expected a float32 array"),
            ({"expected": np.array([1.0])}, "expected: expected a float32 array"),
            ({"scale": (5, 1)}, "scale: expected"),
        ],
    )
    def test_ratings_check_themselves_when_made(self, ratings, change, message):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(ratings, **change)


@given(st.sets(st.integers(-50, 50), min_size=1), st.lists(st.integers(-60, 60), min_size=120, max_size=200))
def test_many_ids_close_together_are_found_by_a_table_as_by_a_search(known, wanted):
    ids = np.array(sorted(known), np.int64)
    place = {raw: n for n, raw in enumerate(ids.tolist())}
    assert index_of(ids, np.array(wanted)).tolist() == [place.get(raw, -1) for raw in wanted]
    extreme = np.array([-(2**63), 2**63 - 1] * 100, np.int64)
    assert set(index_of(ids, extreme).tolist()) == {-1}


@pytest.mark.parametrize("size", [1e30, -1e10])
def test_a_rating_too_large_for_models_is_refused(tmp_path, size):
    (tmp_path / "r").write_text(f"1,2,3\n1,3,{size}\n")
    with pytest.raises(RatingsError, match=r"line 2: expected a rating from -1e\+09 to 1e\+09"):
        read_ratings(tmp_path / "r")
    with pytest.raises(RatingsError, match=r"row 2: expected a rating from"):
        Ratings.from_columns([1, 1], [2, 3], [3, size])


@pytest.mark.parametrize("scale", [(0, 1e30), (1e-42, 3e-42)])
def test_a_scale_too_large_or_too_narrow_for_models_is_refused(scale):
    with pytest.raises(ValueError, match="scale: expected a lowest and a highest rating"):
        Ratings.from_columns([1, 1], [2, 3], [0, 1e-42], scale=scale)
    with pytest.raises(ValueError, match="scale: expected a lowest and a highest rating"):
        Ratings.from_columns([1, 1], [2, 3], [1e-42, 3e-42])


@given(st.lists(st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.binary(), st.builds(object))))
def test_any_objects_are_ratings_or_a_short_error(objects):
    for raw in ((objects, objects, [3] * len(objects)), ([1] * len(objects), objects, objects)):
        for as_column in (list, lambda values: np.array([*values, None], object)[:-1], tuple):
            try:
                Ratings.from_columns(*map(as_column, raw))
            except RatingsError as error:
                assert len(str(error)) <= 300  # noqa: PT017
                assert str(error).isprintable()  # noqa: PT017
