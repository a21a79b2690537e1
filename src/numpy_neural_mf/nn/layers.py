"""Layers: forward(x) returns (y, backward), and backward(dy) adds parameter gradients and returns dx.

The closure `backward` keeps the arrays it needs, so a layer stores nothing and may be used twice in one step.
"""

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np

from ..utils.settings import check_integer, check_number
from .activations import ActivationFunction, Backward
from .initializers import Initializer, initial_weight, normal, xavier_uniform
from .parameter import Array, GroupedIds, IntArray, Parameter, RowGradient

RowsOutput = tuple[Array, Callable[[Array], None]]  # ids and bag weights have no derivative


class Layer(Protocol):
    """A differentiable function with named parameters."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Parameters by name; empty for a layer without parameters."""
        return {}

    def forward(self, x: Any, training: bool = False) -> tuple[Array, Callable[[Array], Any]]:
        """Return y, shape (n, n_out), and the function from dL/dy to dL/dx."""
        ...


class Dense:
    """y = x Wᵀ + b.

    Parameters
    ----------
    n_in, n_out : int, columns of x and of y
    rng : numpy.random.Generator, which draws the weight
    initializer : callable, default xavier_uniform
        Initialises the weight; the initial bias is zero.
    bias : bool, default True, whether to add b
    dtype : float type, default float32
        The dtype of the parameters, and of y if x has it too.
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
        check_integer("n_in", n_in, at_least=1)
        check_integer("n_out", n_out, at_least=1)
        self.weight = Parameter(initial_weight(initializer, rng, (n_out, n_in), dtype))
        self.bias = Parameter(np.zeros(n_out, dtype)) if bias else None

    @classmethod
    def of(cls, weight: Parameter, bias: Parameter | None = None) -> Self:
        """Return a layer with the given parameters: weight of shape (n_out, n_in), bias of shape (n_out,)."""
        layer = cls.__new__(cls)
        layer.weight, layer.bias = weight, bias
        return layer

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"weight": self.weight} | ({"bias": self.bias} if self.bias else {})

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Backward]:
        """Map x of shape (n, n_in) to y of shape (n, n_out); raise ValueError for an x of another shape."""
        W, b = self.weight, self.bias
        n_in = W.value.shape[1]
        if np.ndim(x) != 2 or np.shape(x)[1] != n_in:
            raise ValueError(f"x must have shape (n, {n_in}), not {np.shape(x)}")
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
    """Base of `Embedding` and `EmbeddingBag`: a table with one row for each id."""

    def __init__(
        self,
        n_rows: int,
        dim: int,
        rng: np.random.Generator,
        initializer: Initializer = normal,
        dtype: type[np.floating[Any]] = np.float32,
    ) -> None:
        check_integer("n_rows", n_rows, at_least=1)
        check_integer("dim", dim, at_least=1)
        self.weight = Parameter(initial_weight(initializer, rng, (n_rows, dim), dtype))

    @classmethod
    def of(cls, weight: Parameter) -> Self:
        """Return a layer with the given table, of shape (n_rows, dim)."""
        layer = cls.__new__(cls)
        layer.weight = weight
        return layer

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"weight": self.weight}


class Embedding(_Table):
    """y = W[ids]: a table from which a step reads and updates only the rows of its ids.

    Its shape is (n_rows, dim). The default initialiser is normal with standard deviation 0.01.
    """

    def forward(self, ids: IntArray | GroupedIds, training: bool = False) -> RowsOutput:
        """Map integer ids of shape (n,), from 0 to n_rows - 1, to y of shape (n, dim).

        Ids in a shared `GroupedIds` are sorted only once. Raises IndexError for an id that is not a row of
        the table: NumPy would count a negative one from the end.
        """
        groups = ids if isinstance(ids, GroupedIds) else GroupedIds(ids)
        (lowest, highest), n_rows = groups.bounds, len(self.weight.value)
        if lowest < 0 or highest >= n_rows:
            found = lowest if lowest < 0 else highest
            raise IndexError(f"id {found} is not in a table of {n_rows} rows, 0 to {n_rows - 1}")

        def backward(dy: Array) -> None:
            self.weight.accumulate(RowGradient(groups.rows, groups.sum(dy)))

        return self.weight.value.take(groups.ids, axis=0), backward


class EmbeddingBag(_Table):
    """y = X W with sparse X: each row of y is the weighted sum of a bag of rows of the table.

    In a row of X, the columns are the rows of W in the bag and the values are their weights. A step updates
    only the rows of W that are in a bag. The parameters are the same as for `Embedding`.
    """

    def forward(self, X: Any, training: bool = False, rows: IntArray | None = None) -> RowsOutput:
        """Map X, a scipy.sparse.csr_array of shape (n, n_rows), to y of shape (n, dim).

        Tables that are read with the same X can share rows_in(X) as `rows`.
        """
        W = self.weight

        def backward(dy: Array) -> None:
            touched = rows_in(X) if rows is None else rows
            W.accumulate(RowGradient(touched, (X.T @ dy).take(touched, axis=0)))

        return X @ W.value, backward


def rows_in(X: Any) -> IntArray:
    """Return the rows of a table that are in any bag of X, ascending: the columns of X with an entry."""
    is_in = np.zeros(X.shape[1], bool)
    is_in[X.indices] = True
    return np.flatnonzero(is_in)


class Activation(Layer):
    """A layer that applies an activation function, f(x) -> (y, backward), from `activations` or your own."""

    def __init__(self, function: ActivationFunction) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, such as nn.relu, not {function!r}")
        self.function = function

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Backward]:
        """Apply the function to each element."""
        return self.function(x)


class Dropout(Layer):
    """In training, set each element to zero with probability `rate` and divide the others by 1 - rate.

    In prediction it is the identity (inverted dropout; Srivastava et al., 2014, section 10). `rate` is in
    [0, 1), and `rng` draws the masks.
    """

    def __init__(self, rate: float, rng: np.random.Generator) -> None:
        check_number("dropout rate", rate, at_least=0, below=1)
        self.rate = rate
        self.rng = rng

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Backward]:
        """Map x of any shape to y of the same shape."""
        if not training or self.rate == 0:
            return x, lambda dy: dy
        # Sixteen random bits decide on one element, so a 64-bit draw serves four elements.
        bits = self.rng.integers(2**64, size=-(-x.size // 4), dtype=np.uint64).view(np.uint16)
        kept = bits[: x.size].reshape(x.shape) >= round(self.rate * 2**16)
        scale = kept.astype(x.dtype)
        scale *= 1 / (1 - self.rate)
        return x * scale, lambda dy: dy * scale


class Sequential:
    """Apply layers in order; parameters are named by position, as in PyTorch's nn.Sequential.

    A layer may be used in several places; its parameters have only the name of the first place.
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
        """Apply all layers; backward applies the chain rule, last layer first."""
        backwards = []
        for layer in self.layers:
            x, backward_layer = layer.forward(x, training)
            backwards.append(backward_layer)

        def backward(dy: Array) -> Any:
            for backward_layer in reversed(backwards):
                dy = backward_layer(dy)
            return dy

        return x, backward
