"""A neural network from scratch: each part is a few lines of NumPy, with its derivative next to it."""

from typing import TYPE_CHECKING

from .activations import ACTIVATIONS, gelu, identity, leaky_relu, relu, sigmoid, tanh
from .gradcheck import check_gradients, gradient_errors
from .initializers import (
    INITIALIZERS,
    default_initializer,
    he_normal,
    he_uniform,
    normal,
    xavier_normal,
    xavier_uniform,
    zeros,
)
from .layers import Activation, Dense, Dropout, Embedding, EmbeddingBag, Layer, Sequential
from .losses import LOSSES, binary_cross_entropy, huber, mae, mse, softmax_cross_entropy
from .optimizers import OPTIMIZERS, SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp, clip_by_norm
from .ordinal import CumulativeLogit
from .parameter import GroupedIds, Parameter, RowGradient
from .schedules import constant, cosine, exponential, linear_warmup, step_decay

if TYPE_CHECKING:
    from .network import NeuralNetwork
else:

    def __getattr__(name):
        """Import NeuralNetwork at its first use: it needs scikit-learn, the other modules only NumPy."""
        if name != "NeuralNetwork":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .network import NeuralNetwork

        return NeuralNetwork


__all__ = [
    "ACTIVATIONS", "INITIALIZERS", "LOSSES", "OPTIMIZERS", "SGD", "Activation", "AdaGrad", "Adam", "AdamW",
    "CumulativeLogit", "Dense", "Dropout", "Embedding", "EmbeddingBag", "GroupedIds", "Layer",
    "NeuralNetwork", "Optimizer", "Parameter", "RMSProp", "RowGradient", "Sequential", "binary_cross_entropy",
    "check_gradients", "clip_by_norm", "constant", "cosine", "default_initializer", "exponential", "gelu",
    "gradient_errors", "he_normal", "he_uniform", "huber", "identity", "leaky_relu", "linear_warmup", "mae",
    "mse", "normal", "relu", "sigmoid", "softmax_cross_entropy", "step_decay", "tanh", "xavier_normal",
    "xavier_uniform", "zeros",
]  # fmt: skip
