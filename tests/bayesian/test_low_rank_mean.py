"""The mean of many products, compared with a singular value decomposition of the dense mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_neural_mf.bayesian import LowRankMean


def rebuilt(mean):
    user_bias, item_bias, P, Q = mean.centred()
    return user_bias[:, None] + item_bias + P @ Q.T


def samples(n, n_users=9, n_items=7, k=2, seed=0):
    """The same factors with different noise and a different rotation each time."""
    rng = np.random.default_rng(seed)
    P, Q = rng.normal(size=(n_users, k)), rng.normal(size=(n_items, k))
    for _ in range(n):
        R = np.linalg.qr(rng.normal(size=(k, k)))[0]
        noise_p, noise_q = 0.1 * rng.normal(size=P.shape), 0.1 * rng.normal(size=Q.shape)
        yield (P + noise_p) @ R, (Q + noise_q) @ R


@given(n=st.integers(1, 30), k=st.integers(1, 3), n_users=st.integers(1, 9), n_items=st.integers(1, 9))
@settings(max_examples=40)
def test_with_enough_columns_the_mean_is_exact(n, k, n_users, n_items):
    mean, total = LowRankMean(n_users, n_items, rank=9), np.zeros((n_users, n_items))
    for P, Q in samples(n, n_users, n_items, k):
        mean.add(P, Q)
        total += P @ Q.T
    np.testing.assert_allclose(rebuilt(mean), total / n, atol=1e-4)


def test_with_too_few_columns_the_best_approximation_is_kept():
    mean, total = LowRankMean(9, 7, rank=2), np.zeros((9, 7))
    for P, Q in samples(50):
        mean.add(P, Q)
        total += P @ Q.T / 50
    rows, columns = total.mean(axis=1, keepdims=True), total.mean(axis=0, keepdims=True)
    centred = total - rows - columns + total.mean()
    U, values, Vt = np.linalg.svd(centred)
    _, _, P, Q = mean.centred()
    np.testing.assert_allclose(P @ Q.T, (U[:, :2] * values[:2]) @ Vt[:2], atol=0.02)


def test_centred_factors_have_mean_zero_and_user_factors_mean_square_one():
    mean = LowRankMean(9, 7, rank=2)
    for P, Q in samples(5):
        mean.add(P, Q)
    user_bias, _, P, Q = mean.centred()
    np.testing.assert_allclose(P.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(Q.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.square(P).mean(axis=0), 1, rtol=1e-5)
    assert user_bias.mean() == pytest.approx(0, abs=1e-6)


def test_missing_columns_are_zero():
    mean = LowRankMean(9, 7, rank=5)
    mean.add(np.ones((9, 1)), np.ones((7, 1)))
    _, _, P, Q = mean.centred()
    assert (P.shape, Q.shape) == ((9, 5), (7, 5))
    np.testing.assert_allclose(P @ Q.T, 0, atol=1e-6)
    np.testing.assert_allclose(rebuilt(mean), 1, rtol=1e-6)


def test_the_mean_of_no_products_is_zero():
    np.testing.assert_array_equal(rebuilt(LowRankMean(3, 4, rank=2)), np.zeros((3, 4)))


def test_a_restored_mean_continues_bit_for_bit():
    one, other = LowRankMean(9, 7, rank=2), LowRankMean(9, 7, rank=2)
    for P, Q in samples(6):
        one.add(P, Q)
        other.restore(other.state(), 3)
        other.add(P, Q)
    for a, b in zip(one.centred(), other.centred(), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("rank", [2, 5])
def test_factors_of_the_mean_are_its_best_approximation(rank):
    mean = LowRankMean(9, 7, rank=rank)
    for P, Q in samples(6):
        mean.add(P, Q)
    P, Q = mean.factors()
    assert (P.shape, Q.shape, P.dtype) == ((9, rank), (7, rank), np.float32)
    expected = sum(P @ Q.T for P, Q in samples(6)) / 6
    U, values, Vt = np.linalg.svd(expected)
    np.testing.assert_allclose(P @ Q.T, (U[:, :rank] * values[:rank]) @ Vt[:rank], atol=0.05)
