"""Initialisers: the spread given in the papers, measured on large samples."""

import numpy as np
import pytest

from numpy_neural_mf.nn import (
    INITIALIZERS,
    Dense,
    default_initializer,
    he_normal,
    he_uniform,
    normal,
    xavier_normal,
    xavier_uniform,
    zeros,
)

N_OUT, N_IN = 300, 700
VARIANCE = {
    normal: 0.01**2,
    xavier_uniform: 2 / (N_IN + N_OUT),
    xavier_normal: 2 / (N_IN + N_OUT),
    he_uniform: 2 / N_IN,
    he_normal: 2 / N_IN,
}
# The sample variance of n draws has relative standard error √((κ - 1) / n), with kurtosis κ.
KURTOSIS = {xavier_uniform: 9 / 5, he_uniform: 9 / 5}

each_random = pytest.mark.parametrize("initializer", VARIANCE, ids=lambda f: f.__name__)


@each_random
@pytest.mark.parametrize("seed", range(3))
def test_mean_and_variance_follow_the_formula(initializer, seed):
    n, variance = N_OUT * N_IN, VARIANCE[initializer]
    w = initializer(np.random.default_rng(seed), (N_OUT, N_IN))
    assert w.shape == (N_OUT, N_IN)
    assert abs(w.mean()) < 5 * np.sqrt(variance / n)
    assert abs(w.var() / variance - 1) < 5 * np.sqrt((KURTOSIS.get(initializer, 3) - 1) / n)


@pytest.mark.parametrize("initializer", [xavier_uniform, he_uniform])
def test_uniform_weights_fill_their_bounds_and_never_leave_them(initializer):
    bound = np.sqrt(3 * VARIANCE[initializer])
    largest = np.abs(initializer(np.random.default_rng(0), (N_OUT, N_IN))).max()
    assert 0.999 * bound < largest <= bound


@each_random
def test_only_the_generator_decides_the_weights(initializer):
    first, again, other = (initializer(np.random.default_rng(seed), (3, 4)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_normal_has_the_given_standard_deviation():
    w = normal(np.random.default_rng(0), (N_OUT, N_IN), std=3.0)
    assert abs(w.std() / 3 - 1) < 5 * np.sqrt(0.5 / w.size)


def test_zeros_are_zero():
    np.testing.assert_array_equal(zeros(np.random.default_rng(0), (2, 3)), np.zeros((2, 3)))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu"])
def test_the_relu_family_starts_as_he_proposed(activation):
    assert default_initializer(activation) is he_uniform


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "identity", "my_own"])
def test_everything_else_starts_as_glorot_proposed(activation):
    assert default_initializer(activation) is xavier_uniform


@pytest.mark.parametrize("name", INITIALIZERS)
def test_a_layer_accepts_each_initializer(name):
    layer = Dense(4, 3, np.random.default_rng(7), INITIALIZERS[name])
    expected = INITIALIZERS[name](np.random.default_rng(7), (3, 4))
    np.testing.assert_array_equal(layer.weight.value, expected.astype(np.float32))
    np.testing.assert_array_equal(layer.parameters["bias"].value, np.zeros(3))
