"""Plain versions of code that other modules optimise; tests require equal results."""

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
    """Return the new value, m and v of `Adam.update` in step t = 1, 2, ... (Kingma and Ba, 2015, alg. 1)."""
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return value - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon), m, v


def sum_by_id(ids: IntArray, values: Array) -> tuple[IntArray, Array]:
    """Return the distinct ids, ascending, shape (m,), and the sum of the rows of each, shape (m, d).

    This is `GroupedIds.sum`.
    """
    rows, positions = np.unique(ids, return_inverse=True)
    sums = np.zeros((len(rows), values.shape[1]), values.dtype)
    np.add.at(sums, positions, values)
    return rows, sums


def put_rows(table: Array, rows: IntArray, values: Array) -> None:
    """Change some rows of a table in place, as `parameter.put_rows` does."""
    table[rows] = values


def dropout(x: Array, kept: Array, rate: float) -> Array:
    """Return x / (1 - rate) where kept, else zero, as `Dropout.forward` does: the mean is that of x."""
    return np.where(kept, x / (1 - rate), 0)


def random_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw -1 or 1 for each element with equal probability, as `NumpyEngine._signs` does."""
    return np.where(rng.random(shape) < 0.5, -1.0, 1.0)
