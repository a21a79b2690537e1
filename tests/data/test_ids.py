"""Ids in any collection are looked up; anything else is an error."""

from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from numpy_neural_mf.data.ids import as_ids, ids_among, index_of

KNOWN = np.array([7, 8, 9])
TABLE = {9: 1.0, 7: 2.0}


@pytest.mark.parametrize(
    "ids",
    [
        (one for one in (9, 7)),
        TABLE,
        TABLE.keys(),
        map(int, "97"),
        pd.Series([9, 7]),
        pd.Index([9, 7]),
        pl.Series([9, 7]),
        np.array([9, 7]),
        [9, 7],
        (9, 7),
    ],
    ids=lambda ids: type(ids).__name__,
)
def test_every_collection_is_accepted_in_its_order(ids):
    assert index_of(KNOWN, ids).tolist() == [2, 0]


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_set_has_the_order_of_its_ids(kind):
    assert index_of(KNOWN, kind([9, 7, 100])).tolist() == [0, 2, -1]
    assert as_ids(kind(["b", "a"])).tolist() == ["a", "b"]


def test_one_id_has_no_dimension():
    assert index_of(KNOWN, 8).shape == index_of(KNOWN, "x").shape == as_ids(np.int64(8)).shape == ()
    assert index_of(KNOWN, [[7, 8], [9, 1]]).tolist() == [[0, 1], [2, -1]]


def test_an_integer_equals_only_its_canonical_text():
    assert index_of(KNOWN, ["7", 9, "07", "7.0", " 8", "+8", "٧", "8\n", "", None]).tolist() == [0, 2] + 8 * [
        -1
    ]
    assert index_of(KNOWN, np.array(["9", "x"])).tolist() == [2, -1]
    texts = np.array(["7", "a"])
    assert index_of(texts, [7, "a", np.int64(7), 7.0, None]).tolist() == [0, 1, 0, -1, -1]
    assert index_of(texts, np.array([[7], [8]])).tolist() == [[0], [-1]]
    assert index_of(np.array([-3, 0]), ["-3", "0", "-0", "9" * 19]).tolist() == [0, 1, -1, -1]


@pytest.mark.parametrize(
    "no_id",
    [
        None, b"7", object(), 7j, True, [{7, 8}], [[7], [8, 9]], [b"7"], np.array([b"7"]), [True, False],
        np.array([True, False]), np.array(["2020-01-01"], "datetime64[ns]"), [datetime(2020, 1, 1)],
        pd.DataFrame({"item": [7]}), pl.DataFrame({"item": [7]}), np.array({7}),
    ],
)  # fmt: skip
def test_values_that_are_not_ids_are_refused(no_id):
    with pytest.raises(TypeError, match="expected an id or a collection of ids, found"):
        index_of(KNOWN, no_id)


def test_missing_ids_are_unknown():
    nullable = pd.Series([7, None], dtype="Int64")
    assert index_of(KNOWN, nullable).tolist() == index_of(KNOWN, [7, None]).tolist() == [0, -1]
    assert index_of(KNOWN, [7, np.nan, pd.NaT]).tolist() == [0, -1, -1]


@pytest.mark.parametrize("one", ["Comedy", 7, np.int64(7)])
def test_one_id_is_not_a_collection(one):
    with pytest.raises(TypeError, match="exclude: expected a collection of ids, found one"):
        ids_among("exclude", one)
