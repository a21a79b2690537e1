"""Weight initialisers: (rng, shape) -> float64 array of this shape, which is (n_out, n_in) in Dense."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .parameter import Array

Initializer = Callable[[np.random.Generator, tuple[int, ...]], Array]


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return zeros; `rng` is not used."""
    return np.zeros(shape)


def normal(rng: np.random.Generator, shape: tuple[int, ...], std: float = 0.01) -> Array:
    """Draw from a normal distribution with mean 0 and standard deviation `std`."""
    return std * rng.standard_normal(shape)


def xavier_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw uniformly with variance 2 / (n_in + n_out) (Glorot and Bengio, 2010, eq. 16)."""
    return _uniform(rng, shape, variance=2 / sum(shape))


def xavier_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw from a normal distribution with variance 2 / (n_in + n_out) (Glorot and Bengio, 2010, eq. 12)."""
    return normal(rng, shape, std=float(np.sqrt(2 / sum(shape))))


def he_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw uniformly with variance 2 / n_in (He et al., 2015, eq. 10)."""
    return _uniform(rng, shape, variance=2 / shape[1])


def he_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw from a normal distribution with variance 2 / n_in (He et al., 2015, eq. 10)."""
    return normal(rng, shape, std=float(np.sqrt(2 / shape[1])))


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> Array:
    limit = np.sqrt(3 * variance)  # a uniform variable on (-a, a) has variance a² / 3
    return rng.uniform(-limit, limit, shape)


def default_initializer(activation: str) -> Initializer:
    """Return He's for the ReLU family, where half of the units output zero, and Xavier's for all others."""
    return he_uniform if activation in ("relu", "leaky_relu", "gelu") else xavier_uniform


def initial_weight(
    initializer: Initializer, rng: np.random.Generator, shape: tuple[int, int], dtype: type[np.floating[Any]]
) -> Array:
    """Return an initialiser's values in a float type; raise ValueError for a shape that could broadcast."""
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"dtype must be a float type, not {dtype}")
    value = initializer(rng, shape)
    if np.shape(value) != shape:
        raise ValueError(f"the initializer must return shape {shape}, not {np.shape(value)}")
    return np.array(value, dtype)


INITIALIZERS: dict[str, Initializer] = {
    f.__name__: f for f in (zeros, normal, xavier_uniform, xavier_normal, he_uniform, he_normal)
}
