"""How the defaults of NeuralMF were chosen: each setting varied alone, never with a look at a test fold.

python benchmarks/defaults.py [RATINGS] [--seeds N] [--architecture C_WIDE]

For ratings, the training part of the first fold of the accuracy protocol (see accuracy.py) is split again,
90 % to 10 %, once for each seed. Beside them, or alone, simulated ratings with latent structure are split
80 % to 20 %, and the error is told by how much it is above the noise floor.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console

import numpy_neural_mf.models.neural_mf as neural_mf
from numpy_neural_mf import (
    A_SMALL,
    B_MEDIUM,
    C_WIDE,
    NeuralMF,
    Ratings,
    k_fold,
    random_split,
    read_ratings,
    simulate_ratings,
)
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.reporting.console import rich_table

ARCHITECTURES = {"A_SMALL": A_SMALL, "B_MEDIUM": B_MEDIUM, "C_WIDE": C_WIDE}
# Setting -> values to try beside the default.
GRID: dict[str, tuple[Any, ...]] = {
    "regularization": (0.1, 0.15, 0.3),
    "dropout": (0.1, 0.2, 0.4),
    "weight_decay": (0.0, 0.1, 1.0, 3.0),
    "learning_rate": (0.005, 0.01, 0.02, 0.05),
    "epochs": (15, 20, 50),
    "batch_size": (256, 512, 2048),
    "schedule": ("constant",),
    "validation_fraction": (0.0, 0.02, 0.1),
    "product": (False,),
    "penalty exponent": (0.0, 1.0),
}

Split = tuple[Ratings, Ratings]


def main() -> None:
    """Print a row for each setting."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", nargs="?")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="C_WIDE")
    options = parser.parse_args()
    seeds = range(options.seeds)
    simulated = [random_split(simulate_ratings(random_state=seed), 0.2, seed) for seed in seeds]
    real: list[Split] = []
    if options.ratings:
        train, _ = next(iter(k_fold(read_ratings(options.ratings))))
        real = [random_split(train, 0.1, seed) for seed in seeds]
    variants: list[tuple[str, Any]] = [("defaults", None)]
    variants += [(name, value) for name, values in GRID.items() for value in values]
    rows = []
    for name, value in variants:
        row = {"setting": name if value is None else f"{name} = {value}"}
        if real:
            row["RMSE"] = f"{np.mean(errors(options.architecture, name, value, real)):.4f}"
        above = [
            error / test.noise_floor - 1
            for error, (_, test) in zip(
                errors(options.architecture, name, value, simulated), simulated, strict=True
            )
            if test.noise_floor
        ]
        row["simulated, above floor"] = f"{100 * np.mean(above):.2f} %"
        rows.append(row)
        print(*row.values(), sep="   ", flush=True)
    print(f"{options.architecture}, mean of {options.seeds} splits")
    Console().print(rich_table(pl.DataFrame(rows)))


def errors(architecture: str, name: str, value: Any, splits: list[Split]) -> list[float]:
    """Test RMSE on each split with one setting changed."""
    usual = neural_mf.frequency_scaled
    settings = {} if value is None or name == "penalty exponent" else {name: value}
    if name == "penalty exponent":
        neural_mf.frequency_scaled = lambda *args: penalties(value, *args)
    try:
        found = []
        for seed, (train, test) in enumerate(splits):
            model = NeuralMF(ARCHITECTURES[architecture], random_state=seed, **settings).fit(train)
            found.append(rmse(model.predict(test.raw_users, test.raw_items), test.values))
        return found
    finally:
        neural_mf.frequency_scaled = usual


def penalties(exponent: float, regularization: float, counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """`frequency_scaled` with another exponent: 0 is a Gaussian prior, 1 Koren's penalty."""
    scaled = np.maximum(counts, 1.0) ** (exponent - 1)
    return np.asarray(scaled * (regularization * counts.sum() / (scaled @ counts)), np.float32)


if __name__ == "__main__":
    main()
