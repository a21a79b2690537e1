"""Worst relative error of every derivative against central differences, in float64.

python benchmarks/gradients.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from numpy_neural_mf import A_SMALL, B_MEDIUM, C_WIDE, Architecture
from numpy_neural_mf.nn import (
    ACTIVATIONS,
    Activation,
    Adam,
    Dense,
    Embedding,
    Sequential,
    binary_cross_entropy,
    check_gradients,
    gradient_errors,
    huber,
    mae,
    mse,
)
from numpy_neural_mf.training.engines import NumpyEngine
from numpy_neural_mf.training.objective import Objective

ARCHITECTURES = {
    "A_small": A_SMALL,
    "B_medium": B_MEDIUM,
    "C_wide": C_WIDE,
    "biased matrix factorisation": Architecture(8),
}


def main() -> None:
    """Print a line for each derivative and the worst of all."""
    worst = 0.0
    for name, errors in cases():
        error = max(errors.values())
        worst = max(worst, error)
        print(f"{name:32s} {error:.1e}   ({', '.join(errors)})")
    print(f"{'worst of all':32s} {worst:.1e}")


def cases() -> Iterator[tuple[str, dict[str, float]]]:
    """Name and errors of each layer, activation, loss and model."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 5))
    yield "Dense", check_gradients(Dense(5, 3, rng, dtype=np.float64), x)
    yield (
        "Embedding, ids repeated",
        check_gradients(Embedding(6, 4, rng, dtype=np.float64), np.array([0, 3, 3, 5, 0])),
    )
    for name, function in ACTIVATIONS.items():
        yield f"activation {name}", check_gradients(Activation(function), x)
        network = Sequential(
            Dense(5, 8, rng, dtype=np.float64), Activation(function), Dense(8, 2, rng, dtype=np.float64)
        )
        yield f"two layers, {name}", check_gradients(network, x)
    target = rng.uniform(size=(7, 5))
    for loss in (mse, mae, huber, binary_cross_entropy):
        yield (
            f"loss {loss.__name__}",
            gradient_errors(
                lambda loss=loss: loss(x, target)[0], {"prediction": x}, {"prediction": loss(x, target)[1]}
            ),
        )
    for name, architecture in ARCHITECTURES.items():
        yield f"whole model, {name}", model_errors(replace(architecture, dropout=0.0), rng)


def model_errors(architecture: Architecture, rng: np.random.Generator) -> dict[str, float]:
    """Loss and penalty of a batch with repeated ids, with respect to every parameter."""
    parameters = architecture.initial_parameters(5, 4, 3.5, rng, np.float64)
    for value in parameters.values():  # away from the zeros that training starts with
        value += 0.3 * rng.standard_normal(value.shape)
    penalties = Objective(np.full(6, 0.1), np.full(5, 0.2))
    engine = NumpyEngine(architecture, parameters, Adam(), penalties)
    users, items = rng.integers(0, 5, 12), rng.integers(0, 4, 12)
    ratings = rng.uniform(1, 5, 12)
    _, gradients = engine.loss_and_gradients(users, items, ratings)
    objective: Callable[[], float] = lambda: (  # noqa: E731
        mse(engine.predict(users, items), ratings)[0] + engine.penalty(users, items)
    )
    return gradient_errors(objective, parameters, gradients)


if __name__ == "__main__":
    main()
