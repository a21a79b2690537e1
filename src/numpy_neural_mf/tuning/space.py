"""The search space of `tune`, in Optuna's distributions, and its values as settings of `NeuralMF`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..mf.architecture import Architecture
from ..models import NeuralMF

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# As text, since a study stores plain values.
HIDDEN_LAYER_SIZES = ("[]", "[16]", "[32, 16]", "[64]", "[64, 32]", "[128, 64]")


def search_space(architecture: Architecture | None) -> dict[str, BaseDistribution]:
    """Distributions of the settings of `NeuralMF`, by name; a given architecture is not searched."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(0.003, 0.1, log=True),
        "batch_size": IntDistribution(256, 4096, log=True),
        "regularization": FloatDistribution(0.05, 0.8, log=True),
    }
    if architecture is None:
        space |= {
            "embedding_dim": IntDistribution(8, 64, log=True),
            "hidden_layer_sizes": CategoricalDistribution(HIDDEN_LAYER_SIZES),
            "activation": CategoricalDistribution(("relu", "tanh", "gelu")),
        }
    if architecture is None or architecture.hidden_layer_sizes:
        highest = 0.6 if architecture is None else max(0.6, architecture.dropout)
        space |= {
            "dropout": FloatDistribution(0.0, highest),
            "weight_decay": FloatDistribution(0.03, 3.0, log=True),
        }
    return space


def default_values(model: NeuralMF, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The settings of a model, as values of the search space."""
    values = vars(model) | asdict(model.architecture)
    values["hidden_layer_sizes"] = str(list(values["hidden_layer_sizes"]))
    return {name: values[name] for name in space}


def as_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the search space, as settings of `NeuralMF`."""
    return {name: json.loads(v) if name == "hidden_layer_sizes" else v for name, v in values.items()}


def architecture_settings(architecture: Architecture | None) -> dict[str, Any]:
    """The fields of a given architecture that are set, as plain values; dropout is left out, as it is searched."""
    given = asdict(architecture) if architecture else {}
    left_out = {"dropout"} | {name for name in ("features", "implicit") if not given.get(name)}
    set_ = {name: value for name, value in given.items() if name not in left_out and value is not None}
    return {name: np.asarray(value).tolist() for name, value in set_.items()}
