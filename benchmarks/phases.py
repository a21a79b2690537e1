"""Where the time of the numba engine goes: a table of the phases of an epoch.

    python benchmarks/phases.py [--users 162541 --items 59047 --n-ratings 4000000]

Nanoseconds of wall time for each rating, and the share of the whole, over one epoch after a first one; and
what share it is of the speed that the processor's matrix products alone would allow, as NumPy's BLAS runs
them on large matrices.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from harness import machine

from numpy_neural_mf import A_SMALL, B_MEDIUM, C_WIDE, Architecture, simulate_ratings
from numpy_neural_mf.data.batches import Batches
from numpy_neural_mf.nn import Adam
from numpy_neural_mf.training.engines import NumbaEngine
from numpy_neural_mf.training.objective import Objective

ARCHITECTURES = {
    "A_SMALL": A_SMALL,
    "B_MEDIUM": B_MEDIUM,
    "C_WIDE": C_WIDE,
    "MF_16": Architecture(16),
    "MF_64": Architecture(64),
}
PHASES = {
    "batches": "shuffle and gather the ratings of a batch",
    "gradients": "gather rows, forward, backward",
    "update_rows": "sum gradients by row, update rows and moments",
    "update": "update the weights of the MLP",
}


def speed_of_products(n: int = 4096) -> float:
    """Floating-point operations per second of a product of two n x n matrices, the best of three."""
    matrix = np.random.default_rng(0).random((n, n), np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / min(seconds)


class Timed:
    """The kernels, whose times add up in a counter."""

    def __init__(self, kernels: Any, seconds: Counter[str]) -> None:
        self._kernels, self._seconds = kernels, seconds

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._kernels, name)
        return timed(found, self._seconds, name) if name in PHASES else found


def timed(function: Callable[..., Any], seconds: Counter[str], name: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            seconds[name] += time.perf_counter() - start  # type: ignore[assignment]

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=["B_MEDIUM"])
    parser.add_argument("--users", type=int, default=162_541)
    parser.add_argument("--items", type=int, default=59_047)
    parser.add_argument("--n-ratings", type=int, default=4_000_000)
    parser.add_argument("--batch-size", type=int, default=8192)
    given = parser.parse_args()
    ratings = simulate_ratings(given.users, given.items, given.n_ratings)
    print(machine("numpy", "numba"))
    print(f"{ratings}; Adam, batches of {given.batch_size:,}, dropout 0; ns/rating")
    products = speed_of_products()
    print(f"products of matrices: {products / 1e9:.0f} GFLOP/s")
    for name in given.architectures:
        architecture = replace(ARCHITECTURES[name], dropout=0.0)
        rng = np.random.default_rng(0)
        parameters = architecture.initial_parameters(ratings.n_users, ratings.n_items, ratings.mean, rng)
        penalty = (np.full(n + 1, 0.02, np.float32) for n in (ratings.n_users, ratings.n_items))
        engine = NumbaEngine(architecture, parameters, Adam(0.005), Objective(*penalty))
        batches = Batches(ratings, given.batch_size, rng)
        for batch in batches.epoch():
            engine.step(*batch)
        seconds: Counter[str] = Counter()
        engine._kernels = Timed(engine._kernels, seconds)
        engine._of_rows = Timed(engine._of_rows, seconds)
        start, epoch = time.perf_counter(), batches.epoch()
        next_batch = timed(lambda epoch=epoch: next(epoch, None), seconds, "batches")
        while (batch := next_batch()) is not None:
            engine.step(*batch)
        total = time.perf_counter() - start
        seconds["in Python"] = total - sum(seconds.values())  # type: ignore[assignment]
        speed = len(ratings) / total
        flops = 6 * sum(n * m for n, m in pairwise(architecture.layer_sizes))
        print(f"\n{name}: {speed / 1e6:.2f} M ratings/s, {speed * flops / products:.0%} of products")
        for phase in (*PHASES, "in Python"):
            what = PHASES.get(phase, "everything else")
            print(
                f"{phase:12}{seconds[phase] / len(ratings) * 1e9:8.1f}{seconds[phase] / total:8.0%}  {what}"
            )


if __name__ == "__main__":
    main()
