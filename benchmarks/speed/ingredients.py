"""Where the time of training NeuralMF goes: by part of the model, and by phase of the numba engine.

    python -m benchmarks.speed.ingredients [--engines numba torch] [--device cuda]
    python -m benchmarks.speed.ingredients --phases --architectures A_SMALL B_MEDIUM C_WIDE MF_16

By part: C_wide with one more part each, on simulated ratings with times and a description of each item. An
epoch is one as `fit` runs it, without validation; the figure is the fastest of those after the first, and its
time relative to the plain model on the same engine.

--phases: nanoseconds of wall time for each rating, and the share of the whole, over one epoch after a first
one; and the speed relative to the processor's matrix products alone, as NumPy's BLAS computes them on large
matrices.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
from benchmarks.harness import Results, new_parser

from numpy_neural_mf import A_SMALL, B_MEDIUM, C_WIDE, Architecture, NeuralMF, Ratings, simulate_ratings
from numpy_neural_mf.data.batches import Batches
from numpy_neural_mf.nn import Adam
from numpy_neural_mf.training.engines import NumbaEngine
from numpy_neural_mf.training.objective import Objective

PARTS = {
    "plain": C_WIDE,
    "features": replace(C_WIDE, features=True),
    "sets": replace(C_WIDE, implicit=True),
    "time": replace(C_WIDE, periods=24),
    "ordinal": replace(C_WIDE, likelihood="ordinal"),
    "features, sets, time": replace(C_WIDE, features=True, implicit=True, periods=24),
}
ARCHITECTURES = {
    "A_SMALL": A_SMALL, "B_MEDIUM": B_MEDIUM, "C_WIDE": C_WIDE, "MF_16": Architecture(16),
    "MF_64": Architecture(64),
}  # fmt: skip
PHASES = {
    "batches": "shuffle and gather the ratings of a batch",
    "gradients": "gather rows, forward, backward",
    "update_rows": "sum gradients by row, update rows and moments",
    "update": "update the weights of the MLP",
    "in Python": "everything else",
}


def by_part(ratings: Ratings, given: Any, results: Results) -> None:
    """A row for each engine and part."""
    plain: dict[str, float] = {}
    for engine, name in product(given.engines, given.only):
        where = {"device": given.device, "precision": given.precision} if engine == "torch" else {}
        model = NeuralMF(
            PARTS[name], engine=engine, epochs=given.epochs, batch_size=given.batch_size,
            validation_fraction=0.0, **where,
        )  # fmt: skip
        seconds = min(model.fit(ratings).history_.seconds[1:])
        row = {
            "M ratings/s": len(ratings) / seconds / 1e6,
            "relative time": seconds / plain.setdefault(engine, seconds),
        }
        results.add("epoch of C_wide", engine=engine, part=name, **row)


def by_phase(ratings: Ratings, given: Any, results: Results) -> None:
    """A table for each architecture."""
    products = speed_of_products()
    results.note("GFLOP/s of matrix products", products / 1e9)
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
        results.note(f"{name}, M ratings/s", speed / 1e6)
        results.note(f"{name}, share of the speed of products", speed * flops / products)
        for phase, what in PHASES.items():
            row = {
                "ns a rating": seconds[phase] / len(ratings) * 1e9,
                "share": f"{seconds[phase] / total:.0%}",
            }
            results.add(name, phase=phase, **row, what=what)


class Timed:
    """The kernels; their times are summed in a counter."""

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


def speed_of_products(n: int = 4096) -> float:
    """Floating-point operations per second of a product of two n x n matrices, the best of three."""
    matrix = np.random.default_rng(0).random((n, n), np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / min(seconds)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--phases", action="store_true", help="by phase of the numba engine")
    parser.add_argument(
        "--architectures", nargs="+", choices=ARCHITECTURES, default=["B_MEDIUM"], help="of --phases"
    )
    parser.add_argument("--engines", nargs="+", default=["numba", "torch"])
    parser.add_argument("--device", default="auto", help="of the engine torch")
    parser.add_argument("--precision", default="float32", help="of the engine torch")
    parser.add_argument("--batch-size", type=int, default=8192)
    parser.add_argument("--users", type=int, help="by default 6,040, of --phases 162,541")
    parser.add_argument("--items", type=int, help="by default 3,706, of --phases 59,047")
    parser.add_argument("--n-ratings", type=int, help="by default 1,000,209, of --phases 4,000,000")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[*PARTS], choices=PARTS, metavar="PART")
    given = parser.parse_args()
    usual = (162_541, 59_047, 4_000_000) if given.phases else (6_040, 3_706, 1_000_209)
    shape = tuple(
        n or default for n, default in zip((given.users, given.items, given.n_ratings), usual, strict=True)
    )
    planted = {} if given.phases else {"drift": 0.4, "side_information": 1.0}
    ratings = simulate_ratings(*shape, **planted, random_state=0)
    name = "phases" if given.phases else "ingredients"
    results = Results(name, given.output, ratings=str(ratings), batch=given.batch_size, device=given.device)
    (by_phase if given.phases else by_part)(ratings, given, results)
    results.write()


if __name__ == "__main__":
    main()
