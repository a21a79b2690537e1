"""NeuralNetwork: dense layers trained with mini-batches, as a scikit-learn estimator."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import count
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..utils.settings import check_boolean, check_choice, check_integer, check_number, check_sizes
from .activations import ACTIVATIONS, ActivationFunction, sigmoid
from .initializers import INITIALIZERS, Initializer, default_initializer, zeros
from .layers import Activation, Dense, Dropout, Layer, Sequential
from .losses import LOSSES, Loss, log_softmax
from .optimizers import OPTIMIZERS, Optimizer
from .parameter import Array
from .schedules import Schedule


@dataclass(eq=False, repr=False)
class NeuralNetwork(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Fully connected network: dense layers and activations, by default trained on squared error.

    It predicts the expected y given X. The output layer is linear; with a cross-entropy it gives logits, and
    the prediction is their sigmoid or softmax. The output layer starts with zero weights and with the bias
    that predicts the mean of y, so the first prediction is the best constant. Standardise X, and y unless it
    is of order 1.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default (100,); () is linear regression
    activation : str or callable, default "relu"
        A name in `ACTIVATIONS`, or f(x) -> (y, backward) with backward(dy) -> dx.
    loss : str or callable, default "mse"
        A name in `LOSSES`, or f(output, y) -> (loss, dL/doutput). "binary_cross_entropy" needs y in [0, 1],
        "softmax_cross_entropy" y of shape (n, n_classes) with rows that sum to 1: np.eye(n_classes)[classes].
        The class of a row is then predict(X).argmax(axis=1).
    initializer : str or callable, optional
        A name in `INITIALIZERS`, or f(rng, (n_out, n_in)) -> array, for the weights of hidden layers; by
        default `default_initializer(activation)`.
    optimizer : str or Optimizer, default "adam"
        A name in `OPTIMIZERS`, or an instance with its own settings. Each fit uses a copy without its state.
    learning_rate : float or callable, default 0.001
        The rate of an optimiser given by name, or a schedule, step -> rate, for any optimiser.
    batch_size : int, default 32, maximum number of rows of X per step; batches differ by at most one row
    epochs : int, default 200, maximum number of passes over the training rows
    weight_decay : float, default 0.0
        Before each step of any optimiser, the weights, but not the biases, are multiplied by
        1 - rate · weight_decay (decoupled decay; Loshchilov and Hutter, 2019).
    dropout : float in [0, 1), default 0.0, probability that a hidden unit is left out of a training step
    early_stopping : bool, default False
        Hold out a `validation_fraction` of the rows, stop when their loss has not improved for `patience`
        epochs, and keep the weights of the best epoch.
    validation_fraction : float in (0, 1), default 0.1
    patience : int, default 10
    random_state : int, numpy.random.Generator or None, default None
        Draws held-out rows, weights, then batches and dropout, in this order. On the same machine, the same
        int gives the same network bit for bit.

    Attributes
    ----------
    network_ : Sequential
        `network_.parameters["0.weight"].value` is the weight of the first layer, shape (n_out, n_in). Names
        number the layers, including activations, as in PyTorch's nn.Sequential.
    history_ : dict of str to list of float
        For each epoch, "loss" is the mean over its steps; "validation_loss", with early stopping, is the loss
        of the held-out rows after it.

    Examples
    --------
    >>> X = np.linspace(-2, 2, 100).reshape(-1, 1)
    >>> model = NeuralNetwork((16, 16), learning_rate=0.01, random_state=0)
    >>> model.fit(X, np.sin(2 * X[:, 0])).score(X, np.sin(2 * X[:, 0])) > 0.99
    True
    """

    hidden_layer_sizes: Sequence[int] = (100,)
    activation: str | ActivationFunction = "relu"
    _: KW_ONLY
    loss: str | Loss = "mse"
    initializer: str | Initializer | None = None
    optimizer: str | Optimizer = "adam"
    learning_rate: float | Schedule = 0.001
    batch_size: int = 32
    epochs: int = 200
    weight_decay: float = 0.0
    dropout: float = 0.0
    early_stopping: bool = False
    validation_fraction: float = 0.1
    patience: int = 10
    random_state: int | np.random.Generator | None = None

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train from scratch; a fit that fails or is interrupted leaves the estimator as it was.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Training computes in float32 if X is float32, otherwise in float64.
        y : array-like of shape (n,) or (n, n_outputs)

        Raises
        ------
        TypeError, ValueError
            A setting has the wrong type or is out of range, or X or y has values that are not finite.
        FloatingPointError
            Training diverged: the loss is no longer finite.
        """
        self._check_settings()
        fitted = copy.copy(self)
        with np.errstate(over="ignore", invalid="ignore"):  # one FloatingPointError instead of many warnings
            fitted._fit(X, y)
        self.__dict__ = fitted.__dict__
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return predictions for X of shape (n, n_features), in the dtype of training and the shape of y."""
        check_is_fitted(self)
        dtype = next(iter(self.network_.parameters.values())).value.dtype
        y, _ = self.network_.forward(validate_data(self, X, dtype=dtype, reset=False))
        if self.loss == "binary_cross_entropy":
            y = sigmoid(y)[0]
        elif self.loss == "softmax_cross_entropy":
            y = np.exp(log_softmax(y))
        return y.reshape(len(y), *self._y_shape)

    def _fit(self, X: ArrayLike, y: ArrayLike) -> None:
        dtypes = [np.float64, np.float32]
        inputs, targets = validate_data(self, X, y, dtype=dtypes, multi_output=True, y_numeric=True)
        self._y_shape = targets.shape[1:]
        targets = targets.reshape(len(targets), -1).astype(inputs.dtype)
        self._check_targets(targets)
        rng = np.random.default_rng(self.random_state)
        order = rng.permutation(len(inputs))
        n_held_out = int(np.ceil(self.validation_fraction * len(inputs))) if self.early_stopping else 0
        if n_held_out == len(inputs):
            raise ValueError(f"early stopping leaves no row to train on: n_samples={len(inputs)}")
        held_out, train = order[:n_held_out], order[n_held_out:]
        self.network_ = self._build(inputs.shape[1], targets[train].mean(axis=0), rng)
        self._train(inputs[train], targets[train], inputs[held_out], targets[held_out], rng)

    def _build(self, n_in: int, y_mean: Array, rng: np.random.Generator) -> Sequential:
        activation = ACTIVATIONS[self.activation] if isinstance(self.activation, str) else self.activation
        given = self.initializer or default_initializer(getattr(activation, "__name__", ""))
        initializer = INITIALIZERS[given] if isinstance(given, str) else given
        dtype = y_mean.dtype.type
        layers: list[Layer] = []
        for n_out in self.hidden_layer_sizes:
            layers += [Dense(n_in, n_out, rng, initializer, dtype=dtype), Activation(activation)]
            if self.dropout:
                layers.append(Dropout(self.dropout, rng))
            n_in = n_out
        last = Dense(n_in, len(y_mean), rng, zeros, dtype=dtype)
        last.parameters["bias"].value[:] = self._output_of(y_mean)
        return Sequential(*layers, last)

    def _output_of(self, mean: Array) -> Array:
        """Return the output predicting this mean; a mean of 0 or 1 has an infinite logit and is clipped."""
        inside = np.clip(mean, 1e-3, 1 - 1e-3)
        if self.loss == "binary_cross_entropy":
            return np.log(inside / (1 - inside))
        return np.log(inside) if self.loss == "softmax_cross_entropy" else mean

    def _check_targets(self, y: Array) -> None:
        if self.loss == "binary_cross_entropy" and not ((y >= 0) & (y <= 1)).all():
            raise ValueError(f"binary_cross_entropy: expected y in [0, 1], found {y.min():g} to {y.max():g}")
        if self.loss == "softmax_cross_entropy" and (
            y.min() < 0 or not np.allclose(y.sum(axis=1), 1, atol=1e-3)
        ):
            expected = "y of shape (n, n_classes) with rows that sum to 1, such as np.eye(n_classes)[classes]"
            raise ValueError(f"softmax_cross_entropy: expected {expected}")

    def _train(self, X: Array, y: Array, X_out: Array, y_out: Array, rng: np.random.Generator) -> None:
        step, network, loss_of = self._step_function(), self.network_, self._loss
        values = {name: p.value for name, p in network.parameters.items()}
        names = ["loss", "validation_loss"] if self.early_stopping else ["loss"]
        self.history_: dict[str, list[float]] = {name: [] for name in names}
        best_epoch, best_loss, best = 0, np.inf, values
        for epoch in range(self.epochs):
            order = rng.permutation(len(X))
            batches = np.array_split(order, -(-len(X) // self.batch_size))
            loss = sum(step(X[batch], y[batch]) * len(batch) for batch in batches) / len(X)
            _require_finite(loss, epoch)
            self.history_["loss"].append(loss)
            if self.early_stopping:
                validation_loss, _ = loss_of(network.forward(X_out)[0], y_out)
                self.history_["validation_loss"].append(validation_loss)
                if validation_loss < best_loss:
                    best_epoch, best_loss, best = epoch, validation_loss, copy.deepcopy(values)
                elif epoch - best_epoch >= self.patience:
                    break
        for name, value in values.items():
            value[...] = best[name]
        _require_finite(loss_of(network.forward(X[batches[-1]])[0], y[batches[-1]])[0], epoch)

    @property
    def _loss(self) -> Loss:
        return LOSSES[self.loss] if isinstance(self.loss, str) else self.loss

    def _step_function(self) -> Callable[[Array, Array], float]:
        """Return a function that takes one step on one batch and returns the loss before the step."""
        network, parameters, loss_of = self.network_, self.network_.parameters, self._loss
        values = {name: p.value for name, p in parameters.items()}
        weights = [value for name, value in values.items() if name.endswith("weight")]
        optimizer = copy.deepcopy(self.optimizer)
        if isinstance(optimizer, str):
            rate = {} if callable(self.learning_rate) else {"learning_rate": self.learning_rate}
            optimizer = OPTIMIZERS[optimizer](**rate)
        optimizer.state.clear()
        n_steps = count()

        def step(X: Array, y: Array) -> float:
            if callable(self.learning_rate):
                optimizer.learning_rate = self.learning_rate(next(n_steps))
            prediction, backward = network.forward(X, training=True)
            loss, gradient = loss_of(prediction, y)
            backward(gradient)
            if self.weight_decay:
                for W in weights:
                    W *= 1 - optimizer.learning_rate * self.weight_decay
            optimizer.step(values, {name: p.pop_grad() for name, p in parameters.items()})
            return loss

        return step

    def _check_settings(self) -> None:
        check_sizes("hidden_layer_sizes", self.hidden_layer_sizes)
        if not callable(self.activation):
            check_choice("activation", self.activation, ACTIVATIONS)
        if not callable(self.loss):
            check_choice("loss", self.loss, LOSSES)
        if not (self.initializer is None or callable(self.initializer)):
            check_choice("initializer", self.initializer, INITIALIZERS)
        if not isinstance(self.optimizer, Optimizer):
            check_choice("optimizer", self.optimizer, OPTIMIZERS)
        if not callable(self.learning_rate):
            check_number("learning_rate", self.learning_rate, above=0)
        check_integer("batch_size", self.batch_size, at_least=1)
        check_integer("epochs", self.epochs, at_least=1)
        check_number("weight_decay", self.weight_decay, at_least=0)
        check_number("dropout", self.dropout, at_least=0, below=1)
        check_boolean("early_stopping", self.early_stopping)
        check_number("validation_fraction", self.validation_fraction, above=0, below=1)
        check_integer("patience", self.patience, at_least=1)
        if not isinstance(self.random_state, np.random.Generator):
            check_integer("random_state", self.random_state, at_least=0, optional=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _require_finite(loss: float, epoch: int) -> None:
    if not np.isfinite(loss):
        where = f"epoch {epoch + 1}, loss {loss}"
        raise FloatingPointError(f"training diverged in {where}: scale X and y or lower learning_rate")
