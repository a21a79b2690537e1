"""A neural network from scratch: every piece is a few lines of NumPy, with its derivative beside it."""

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
from .losses import binary_cross_entropy, huber, mae, mse
from .network import NeuralNetwork
from .optimizers import OPTIMIZERS, SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp, clip_by_norm
from .ordinal import CumulativeLogit
from .parameter import GroupedIds, Parameter, RowGradient
from .schedules import constant, cosine, exponential, linear_warmup, step_decay

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "OPTIMIZERS",
    "SGD",
    "Activation",
    "AdaGrad",
    "Adam",
    "AdamW",
    "CumulativeLogit",
    "Dense",
    "Dropout",
    "Embedding",
    "EmbeddingBag",
    "GroupedIds",
    "Layer",
    "NeuralNetwork",
    "Optimizer",
    "Parameter",
    "RMSProp",
    "RowGradient",
    "Sequential",
    "binary_cross_entropy",
    "check_gradients",
    "clip_by_norm",
    "constant",
    "cosine",
    "default_initializer",
    "exponential",
    "gelu",
    "gradient_errors",
    "he_normal",
    "he_uniform",
    "huber",
    "identity",
    "leaky_relu",
    "linear_warmup",
    "mae",
    "mse",
    "normal",
    "relu",
    "sigmoid",
    "step_decay",
    "tanh",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]
