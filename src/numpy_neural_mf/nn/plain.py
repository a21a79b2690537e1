"""What other modules write for speed, as its formula reads: tests require equal results."""

import numpy as np

from .parameter import Array, IntArray


def adam(
    value: Array,
    gradient: Array,
    m: Array,
    v: Array,
    t: int,
    learning_rate: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Array, Array, Array]:
    """`Adam.update`: the new value, m and v of step t = 1, 2, ... (Kingma and Ba, 2015, algorithm 1)."""
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return value - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon), m, v


def sum_by_id(ids: IntArray, values: Array) -> tuple[IntArray, Array]:
    """`GroupedIds.sum`: the distinct ids, ascending, shape (m,), and the sum of the rows of each, (m, d)."""
    rows, positions = np.unique(ids, return_inverse=True)
    sums = np.zeros((len(rows), values.shape[1]), values.dtype)
    np.add.at(sums, positions, values)
    return rows, sums


def put_rows(table: Array, rows: IntArray, values: Array) -> None:
    """`parameter.put_rows`: change some rows of a table in place."""
    table[rows] = values


def dropout(x: Array, kept: Array, rate: float) -> Array:
    """`Dropout.forward`: zero where not kept, and larger where kept, so that the mean is that of x."""
    return np.where(kept, x / (1 - rate), 0)


def random_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """`NumpyEngine._signs`: -1 or 1 for each element, with equal probability."""
    return np.where(rng.random(shape) < 0.5, -1.0, 1.0)
