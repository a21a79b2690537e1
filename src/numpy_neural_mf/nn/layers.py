"""Layers: forward(x) returns (y, backward), and backward(dy) adds parameter gradients and returns dx.

What backward needs lives in its closure: a layer keeps nothing between calls, may be used twice in one step,
and a prediction leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np

from .activations import ActivationFunction, Backward
from .initializers import Initializer, normal, xavier_uniform
from .parameter import Array, GroupedIds, IntArray, Parameter, RowGradient


class Layer(Protocol):
    """A differentiable function with named parameters."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Name to parameter; empty where there is nothing to learn."""
        ...

    def forward(self, x: Any, training: bool = False) -> tuple[Array, Callable[[Array], Any]]:
        """Return y, shape (n, n_out), and the function that turns dL/dy into dL/dx."""
        ...


class Dense:
    """y = x Wᵀ + b.

    Parameters
    ----------
    n_in, n_out : int
        Columns of x and of y.
    rng : numpy.random.Generator
        Draws the weight.
    initializer : callable, default xavier_uniform
        First values of the weight; the bias starts at zero.
    bias : bool, default True
        Whether there is a b.
    dtype : dtype, default float32
        Of the parameters, and so of all that is computed.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        rng: np.random.Generator,
        initializer: Initializer = xavier_uniform,
        bias: bool = True,
        dtype: type[np.floating[Any]] = np.float32,
    ) -> None:
        self.weight = Parameter(initializer(rng, (n_out, n_in)).astype(dtype))
        self.bias = Parameter(np.zeros(n_out, dtype)) if bias else None

    @classmethod
    def of(cls, weight: Parameter, bias: Parameter | None = None) -> Dense:
        """A layer of parameters that exist already: weight (n_out, n_in), bias (n_out,)."""
        layer = cls.__new__(cls)
        layer.weight, layer.bias = weight, bias
        return layer

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"weight": self.weight} | ({"bias": self.bias} if self.bias else {})

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Backward]:
        """x: (n, n_in) -> y: (n, n_out)."""
        W, b = self.weight, self.bias
        y = x @ W.value.T
        if b is not None:
            y += b.value

        def backward(dy: Array) -> Array:
            W.accumulate(dy.T @ x)
            if b is not None:
                b.accumulate(np.ones(len(dy), dy.dtype) @ dy)  # dy.sum(axis=0), by BLAS
            return dy @ W.value

        return y, backward


class _Table:
    """What `Embedding` and `EmbeddingBag` have in common: the table."""

    def __init__(
        self,
        n_rows: int,
        dim: int,
        rng: np.random.Generator,
        initializer: Initializer = normal,
        dtype: type[np.floating[Any]] = np.float32,
    ) -> None:
        self.weight = Parameter(initializer(rng, (n_rows, dim)).astype(dtype))

    @classmethod
    def of(cls, weight: Parameter) -> Self:
        """A layer whose table, (n_rows, dim), exists already."""
        layer = cls.__new__(cls)
        layer.weight = weight
        return layer

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"weight": self.weight}


class Embedding(_Table):
    """y = W[ids]: a table of rows, of which a step reads and learns only those that it names.

    Parameters
    ----------
    n_rows, dim : int
        Shape of the table.
    rng : numpy.random.Generator
        Draws the table.
    initializer : callable, default normal with standard deviation 0.01
        First values of the table.
    dtype : dtype, default float32
    """

    def forward(
        self, ids: IntArray | GroupedIds, training: bool = False
    ) -> tuple[Array, Callable[[Array], None]]:
        """ids: (n,) from 0 to n_rows - 1 -> y: (n, dim).

        Ids that were grouped before share their sort between tables.
        """
        groups = ids if isinstance(ids, GroupedIds) else GroupedIds(ids)

        def backward(dy: Array) -> None:
            self.weight.accumulate(RowGradient(groups.rows, groups.sum(dy)))

        return self.weight.value.take(groups.ids, axis=0), backward


class EmbeddingBag(_Table):
    """y = X W with sparse X: each row of y is the weighted sum of a bag of rows of the table.

    A row of X names the rows of W that are in its bag, by column, and their weights. Only rows of W that are
    in a bag are learned.

    Parameters
    ----------
    n_rows, dim : int
        Shape of the table.
    rng : numpy.random.Generator
        Draws the table.
    initializer : callable, default normal with standard deviation 0.01
        First values of the table.
    dtype : dtype, default float32
    """

    def forward(
        self, X: Any, training: bool = False, rows: IntArray | None = None
    ) -> tuple[Array, Callable[[Array], None]]:
        """X: scipy.sparse.csr_array of shape (n, n_rows) -> y: (n, dim).

        Tables that are given the same bags share ``rows_in(X)``, if it is given, too.
        """
        W = self.weight

        def backward(dy: Array) -> None:
            touched = rows_in(X) if rows is None else rows
            W.accumulate(RowGradient(touched, (X.T @ dy).take(touched, axis=0)))

        return X @ W.value, backward


def rows_in(X: Any) -> IntArray:
    """The rows of a table that are in any bag of X, ascending: its columns that are not empty."""
    is_in = np.zeros(X.shape[1], bool)
    is_in[X.indices] = True
    return np.flatnonzero(is_in)


class Activation:
    """An activation function as a layer.

    Parameters
    ----------
    function : callable
        f(x) -> (y, backward), as in `activations`, or your own.
    """

    def __init__(self, function: ActivationFunction) -> None:
        self.function = function

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {}

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Backward]:
        """Element by element."""
        return self.function(x)


class Dropout:
    """In training, each element is zero with probability `rate` and divided by 1 - rate otherwise.

    At prediction the identity (inverted dropout; Srivastava et al., 2014, section 10).

    Parameters
    ----------
    rate : float
        In [0, 1).
    rng : numpy.random.Generator
        Draws the masks.

    Raises
    ------
    ValueError
        `rate` outside [0, 1).
    """

    def __init__(self, rate: float, rng: np.random.Generator) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate must be in [0, 1), not {rate}")
        self.rate = rate
        self.rng = rng

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {}

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Backward]:
        """x: any shape -> y: the same shape."""
        if not training or self.rate == 0:
            return x, lambda dy: dy
        # Sixteen random bits decide about an element: each 64-bit number that is drawn serves four.
        bits = self.rng.integers(2**64, size=-(-x.size // 4), dtype=np.uint64).view(np.uint16)
        kept = bits[: x.size].reshape(x.shape) >= round(self.rate * 2**16)
        scale = kept.astype(x.dtype)
        scale *= 1 / (1 - self.rate)
        return x * scale, lambda dy: dy * scale


class Sequential:
    """Layers one after the other; parameters are named by position, as in PyTorch's nn.Sequential.

    A layer may stand in several places; its parameters are named, and so learned, once, by the first.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    @property
    def parameters(self) -> dict[str, Parameter]:
        names: dict[Parameter, str] = {}
        for i, layer in enumerate(self.layers):
            for name, p in layer.parameters.items():
                names.setdefault(p, f"{i}.{name}")
        return {name: p for p, name in names.items()}

    def forward(self, x: Any, training: bool = False) -> tuple[Array, Callable[[Array], Any]]:
        """Through all layers; backward is the chain rule, last layer first."""
        backwards = []
        for layer in self.layers:
            x, backward_layer = layer.forward(x, training)
            backwards.append(backward_layer)

        def backward(dy: Array) -> Any:
            for backward_layer in reversed(backwards):
                dy = backward_layer(dy)
            return dy

        return x, backward
