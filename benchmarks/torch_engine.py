"""The PyTorch engine on a device, in one and in more processes: ratings per second, traffic and memory.

    python benchmarks/torch_engine.py --processes 1 2 4
    python benchmarks/torch_engine.py --device cuda --precisions float32 tf32 bfloat16
    python benchmarks/torch_engine.py --batch-sizes 1024 8192 --compile

Epochs as `training.train` runs them, without validation, on random pairs in mapped columns, few items rated
often. "GB/s" is what the rows of a batch, their moments and nothing else come to, read and written once:
what to hold against the memory's bandwidth. "kB sent" is what a process sends in a step, as Linux counts the
traffic of the loopback device: not that between GPUs, and that of other programs, too. "peak MB" is the
resident memory of the largest process, the pages of its share of the ratings included. --compile has
`torch.compile` make the MLP's two passes, whose shapes, unlike those of the rows around it, are the same in
every batch. For a peer see benchmarks/engines.py --engine torch.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from harness import machine, median_and_range

from numpy_neural_mf import A_SMALL, B_MEDIUM, C_WIDE, Ratings
from numpy_neural_mf.data.batches import Batches
from numpy_neural_mf.engines import new_torch_engine, processes_of
from numpy_neural_mf.engines.torch_module import NeuralMFModule
from numpy_neural_mf.files import is_first_process
from numpy_neural_mf.nn import Adam

ARCHITECTURES = {"A_SMALL": A_SMALL, "B_MEDIUM": B_MEDIUM, "C_WIDE": C_WIDE}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--processes", nargs="+", type=int, default=[1], help="so many, one after the other")
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=["B_MEDIUM"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8192, 65_536])
    parser.add_argument("--precisions", nargs="+", default=["float32"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--users", type=int, default=6_040)
    parser.add_argument("--items", type=int, default=3_706)
    parser.add_argument("--n-ratings", type=int, default=1_000_000)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--columns", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = options()
    if given.columns is not None:
        run(given)
        return
    rng = np.random.default_rng(0)
    columns = {
        "users": rng.integers(0, given.users, given.n_ratings, dtype=np.int32),
        "items": (given.items * rng.random(given.n_ratings) ** 3).astype(np.int32),
        "values": rng.integers(1, 6, given.n_ratings).astype(np.float32),
    }
    print(machine("torch"))
    print(f"{given.n_ratings:,} ratings of {given.items:,} items by {given.users:,} users, {given.device}")
    print(
        f"{'processes':9} {'architecture':13}{'batch':>9}{'precision':>10}{'M ratings/s':>22}{'GB/s':>8}"
        f"{'kB sent':>10}{'peak MB':>10}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, column in columns.items():
            np.save(Path(folder, name), column)
        for n in given.processes:
            torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
            command = [sys.executable, *torchrun, __file__, *sys.argv[1:], "--columns", folder]
            subprocess.run(command, check=True)


def run(given: argparse.Namespace) -> None:
    """All that is asked for, in this process and its like."""
    if given.compile:
        NeuralMFModule._mlp = torch.compile(NeuralMFModule._mlp)
    columns = (np.load(given.columns / f"{name}.npy", mmap_mode="r") for name in ("users", "items", "values"))
    ids = np.arange(given.users), np.arange(given.items)
    whole = Ratings(*map(np.asarray, columns), *ids, (1.0, 5.0))
    processes = processes_of("torch", given.device)
    ratings = whole.part(processes.part(len(whole)))
    for name, size, precision in product(given.architectures, given.batch_sizes, given.precisions):
        form = replace(ARCHITECTURES[name], dropout=given.dropout)
        engine = new_torch_engine(
            form,
            form.initial_parameters(
                given.users, given.items, 3.0, np.random.default_rng(0), rows=processes.rows
            ),
            Adam(0.005),
            *(np.full(n + 1, 0.02, np.float32) for n in (given.users, given.items)),
            rng=np.random.default_rng(0),
            device=given.device,
            precision=precision,
        )
        batches, rates, sent = (
            Batches(ratings, size, np.random.default_rng(0), engine.cut, len(whole)),
            [],
            [],
        )
        for _ in range(given.repeats + 1):
            start, sent_before, n_steps = time.perf_counter(), bytes_sent(), 0
            for batch in batches.epoch():
                engine.step(*batch)
                n_steps += 1
            rates.append(len(whole) / (time.perf_counter() - start))
            sent.append((bytes_sent() - sent_before) / n_steps / processes.size)
        peak = highest(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, given.device)
        distinct = sum(len(np.unique(column[:size])) for column in (whole.users, whole.items))
        bytes_per_rating = distinct * (form.embedding_dim + 1) * 4 * 3 * 2 / min(size, len(whole))
        if is_first_process():
            rate = median_and_range(np.array(rates[1:]) / 1e6)
            bandwidth = np.median(rates[1:]) * bytes_per_rating / 1e9
            print(
                f"{processes.size:9} {name:13}{size:9,}{precision:>10}{rate:>22}{bandwidth:8.2f}"
                f"{np.median(sent[1:]) / 1e3:10,.0f}{peak:10,.0f}",
                flush=True,
            )


def highest(number: float, device: str) -> float:
    """The highest of all processes' numbers."""
    tensor = torch.tensor(number, device=device)
    if dist.is_initialized():
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return float(tensor)


def bytes_sent() -> int:
    """What has gone through the loopback device since the machine started; 0 where nobody counts."""
    counts = Path("/proc/net/dev")
    if not counts.exists():
        return 0
    line = next(line for line in counts.read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])


if __name__ == "__main__":
    main()
