"""The PyTorch engine on a device, or in many processes: ratings per second, and bytes that must move.

    python benchmarks/torch_engine.py [--device cuda --precisions float32 tf32 bfloat16]
    torchrun --standalone --nproc-per-node=2 benchmarks/torch_engine.py

Epochs as `training.train` runs them, without validation, on random pairs, few items rated often. "GB/s" is
what the rows of a batch, their moments and nothing else come to, read and written once: what to hold against
the memory's bandwidth. For a peer see benchmarks/engines.py --engine torch.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import product

import numpy as np
from harness import machine, median_and_range

from numpy_neural_mf import A_SMALL, B_MEDIUM, C_WIDE
from numpy_neural_mf.engines import new_torch_engine
from numpy_neural_mf.files import is_first_process
from numpy_neural_mf.nn import Adam

ARCHITECTURES = {"A_SMALL": A_SMALL, "B_MEDIUM": B_MEDIUM, "C_WIDE": C_WIDE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=["B_MEDIUM"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8192, 65_536])
    parser.add_argument("--precisions", nargs="+", default=["float32"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--users", type=int, default=6_040)
    parser.add_argument("--items", type=int, default=3_706)
    parser.add_argument("--n-ratings", type=int, default=1_000_000)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    columns = (
        rng.integers(0, given.users, given.n_ratings, dtype=np.int32),
        (given.items * rng.random(given.n_ratings) ** 3).astype(np.int32),
        rng.integers(1, 6, given.n_ratings).astype(np.float32),
    )
    if is_first_process():
        print(machine("torch"))
        print(
            f"{given.n_ratings:,} ratings of {given.items:,} items by {given.users:,} users, {given.device}"
        )
        print(f"{'architecture':13}{'batch':>9}{'precision':>10}{'M ratings/s':>22}{'GB/s':>8}")
    for name, size, precision in product(given.architectures, given.batch_sizes, given.precisions):
        form = replace(ARCHITECTURES[name], dropout=given.dropout)
        engine = new_torch_engine(
            form,
            form.initial_parameters(given.users, given.items, 3.0, rng),
            Adam(0.005),
            *(np.full(n + 1, 0.02, np.float32) for n in (given.users, given.items)),
            rng=np.random.default_rng(0),
            device=given.device,
            precision=precision,
        )
        rates, order = [], np.random.default_rng(0)
        for _ in range(given.repeats + 1):
            rows = order.permutation(given.n_ratings)
            start = time.perf_counter()
            for batch in engine.cut(columns, rows, size):
                engine.step(*batch)
            rates.append(given.n_ratings / (time.perf_counter() - start))
        first = rows[:size]
        distinct = sum(len(np.unique(column[first])) for column in columns[:2])
        bytes_per_rating = distinct * (form.embedding_dim + 1) * 4 * 3 * 2 / len(first)
        rate = median_and_range(np.array(rates[1:]) / 1e6)
        if is_first_process():
            bandwidth = np.median(rates[1:]) * bytes_per_rating / 1e9
            print(f"{name:13}{size:9,}{precision:>10}{rate:>22}{bandwidth:8.2f}", flush=True)


if __name__ == "__main__":
    main()
