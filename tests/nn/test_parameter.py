"""Row gradients: the rows that a batch uses, with gradients summed over repeated rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.nn import GroupedIds, Parameter, RowGradient

N_ROWS = 70_000  # beyond 16 bits, where another sort is used


@st.composite
def batches(draw, dtype=np.float64):
    """Ids with repeats, and a row of values for each."""
    n_rows = draw(st.sampled_from([1, 5, N_ROWS]))
    ids = draw(st.lists(st.integers(0, n_rows - 1), max_size=40))
    ids += draw(st.lists(st.sampled_from(ids), max_size=20)) if ids else []
    width = draw(st.integers(1, 6))
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).standard_normal((len(ids), width))
    return np.array(ids, draw(st.sampled_from([np.int32, np.int64]))), values.astype(dtype)


def dense(ids, values):
    """The oracle: NumPy's unbuffered addition into a whole table."""
    table = np.zeros((N_ROWS, values.shape[1]), values.dtype)
    np.add.at(table, ids, values)
    return table


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_coalescing_sums_duplicate_rows(dtype, tolerance):
    @given(batches(dtype))
    def holds(batch):
        ids, values = batch
        groups = GroupedIds(ids)
        summed = groups.sum(values)
        np.testing.assert_array_equal(groups.rows, np.unique(ids))
        assert summed.dtype == dtype
        assert summed.shape == (len(groups.rows), values.shape[1])
        np.testing.assert_allclose(summed, dense(ids, values)[groups.rows], rtol=0, atol=tolerance)

    holds()


def test_no_ids_give_no_rows():
    for width in (2, 3):
        groups = GroupedIds(np.array([], np.int32))
        assert len(groups.rows) == 0
        assert groups.sum(np.empty((0, width), np.float32)).shape == (0, width)


@pytest.mark.parametrize("n", [2, 4])
def test_a_sum_needs_one_row_for_each_id(n):
    with pytest.raises(ValueError, match=f"expected 3 rows, one for each id, found {n}"):
        GroupedIds(np.array([2, 0, 2])).sum(np.ones((n, 2)))


@pytest.mark.parametrize("ids", [[0.0], [True], [[1, 2]], ["a"], 3])
def test_ids_are_a_column_of_integers(ids):
    with pytest.raises(TypeError, match=r"ids must be integers of shape \(n,\), not "):
        GroupedIds(np.array(ids))


def test_grouping_leaves_ids_and_values_as_they_were():
    ids, values = np.array([2, 0, 2]), np.arange(6.0).reshape(3, 2)
    GroupedIds(ids).sum(values)
    np.testing.assert_array_equal(ids, [2, 0, 2])
    np.testing.assert_array_equal(values, np.arange(6.0).reshape(3, 2))


@given(batches())
def test_positions_lead_back_to_the_ids_and_counts_count_them(batch):
    groups = GroupedIds(batch[0])
    np.testing.assert_array_equal(groups.rows[groups.positions], batch[0])
    np.testing.assert_array_equal(groups.counts, np.unique(batch[0], return_counts=True)[1])


@given(batches(), st.data())
def test_the_sum_of_row_gradients_is_the_sum_of_their_tables(batch, data):
    ids, values = batch
    cut = data.draw(st.integers(0, len(ids)))
    parts = [GroupedIds(ids[:cut]), GroupedIds(ids[cut:])]
    first, second = (
        RowGradient(groups.rows, groups.sum(part))
        for groups, part in zip(parts, (values[:cut], values[cut:]), strict=True)
    )
    total = first + second
    np.testing.assert_array_equal(total.rows, np.unique(ids))
    np.testing.assert_allclose(
        total.to_dense((N_ROWS, values.shape[1])), dense(ids, values), rtol=0, atol=1e-12
    )


def test_a_dense_row_gradient_is_zero_in_rows_that_the_batch_does_not_use():
    table = RowGradient(np.array([1, 3]), np.ones((2, 2), np.float32)).to_dense((4, 2))
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, [[0, 0], [1, 1], [0, 0], [1, 1]])


def test_gradients_of_several_uses_add_up():
    parameter = Parameter(np.zeros(2))
    parameter.accumulate(np.array([1.0, 2.0]))
    parameter.accumulate(np.array([10.0, 20.0]))
    np.testing.assert_array_equal(parameter.pop_grad(), [11, 22])


def test_accumulating_never_changes_a_given_gradient():
    parameter, gradient = Parameter(np.zeros(2)), np.array([1.0, 2.0])
    parameter.accumulate(gradient)
    parameter.accumulate(gradient)
    np.testing.assert_array_equal(gradient, [1, 2])


def test_a_gradient_can_be_popped_once():
    parameter = Parameter(np.zeros(2))
    parameter.accumulate(np.ones(2))
    parameter.pop_grad()
    with pytest.raises(RuntimeError, match="backward"):
        parameter.pop_grad()
