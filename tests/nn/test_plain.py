"""Optimised code computes the same as its plain formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.nn import Adam, Dropout, GroupedIds, parameter, plain


@given(seed=st.integers(0, 2**32 - 1), n_steps=st.integers(1, 5))
def test_adam(seed, n_steps):
    rng = np.random.default_rng(seed)
    value = {"x": rng.standard_normal(4)}
    expected, m, v, optimizer = value["x"].copy(), np.zeros(4), np.zeros(4), Adam()
    for t in range(1, n_steps + 1):
        gradient = rng.standard_normal(4)
        optimizer.step(value, {"x": gradient})
        expected, m, v = plain.adam(expected, gradient, m, v, t)
    np.testing.assert_allclose(value["x"], expected, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "dim"), [(np.float64, 3), (np.float32, 4), (np.float32, 3)])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30))
def test_sum_by_id(seed, n, dtype, dim):
    rng = np.random.default_rng(seed)
    ids, values = rng.integers(8, size=n), rng.standard_normal((n, dim)).astype(dtype)
    rows, sums = plain.sum_by_id(ids, values)
    grouped = GroupedIds(ids)
    assert grouped.rows.tolist() == rows.tolist()
    np.testing.assert_allclose(grouped.sum(values), sums, rtol=1e-5, atol=1e-6)


def test_sum_by_id_without_scipy(monkeypatch):
    monkeypatch.setattr(GroupedIds, "_one_hot", None)
    ids, values = np.array([3, 1, 3]), np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(GroupedIds(ids).sum(values), plain.sum_by_id(ids, values)[1])


@pytest.mark.parametrize("order", ["C", "F"])
def test_put_rows(order):
    ours, expected = (np.asarray(np.arange(12.0).reshape(4, 3), order=order) for _ in range(2))
    rows, values = np.array([0, 2]), -np.ones((2, 3))
    parameter.put_rows(ours, rows, values)
    plain.put_rows(expected, rows, values)
    np.testing.assert_array_equal(ours, expected)


def test_dropout():
    x = np.random.default_rng(0).standard_normal((50, 7)) + 5
    y, backward = Dropout(0.3, np.random.default_rng(1)).forward(x, training=True)
    np.testing.assert_allclose(y, plain.dropout(x, y != 0, 0.3))
    np.testing.assert_allclose(backward(np.ones_like(x)), plain.dropout(np.ones_like(x), y != 0, 0.3))
    assert np.mean(y == 0) == pytest.approx(0.3, abs=0.08)


def test_random_signs():
    signs = plain.random_signs(np.random.default_rng(0), (40, 50))
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.1
