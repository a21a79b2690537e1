"""The PyTorch engine on a device, in one or more processes: ratings per second, traffic and memory.

    python -m benchmarks.speed.torch_processes --processes 1 2 4
    python -m benchmarks.speed.torch_processes --device cuda --precisions float32 tf32 bfloat16
    python -m benchmarks.speed.torch_processes --batch-sizes 1024 8192 --compile
    python -m benchmarks.speed.torch_processes --device cuda --loader --kernels

Steps run as in `training.train`, on random pairs in mapped columns, with few popular items. "GB/s" counts the
rows of a batch and their moments, read and written once. "kB sent" is the traffic of a process in a step, as
Linux counts it on the loopback device: it excludes traffic between GPUs, and includes that of other programs.
"peak MB" is the resident memory of the largest process; on CUDA it is the peak memory of its tensors there.
"busy" is the share of the time in which kernels ran on the device, as PyTorch's profiler measures in some
steps; --kernels prints the kernels. --compile applies `torch.compile` to the MLP's two passes. --eager
launches every kernel from the host, without graphs. --loader measures a baseline: the same model and
optimiser as a plain module, as PyTorch's tutorials write it, with a DataLoader over --loader-ratings ratings;
"speedup" is our rate over the baseline's. Another baseline is in benchmarks/speed/engines.py.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import cache
from itertools import islice, product
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from benchmarks.data import random_ratings
from benchmarks.harness import Parser, Results, plain
from benchmarks.penalties import penalised
from benchmarks.plain_torch import PlainModel, optimizers_of, train_step
from benchmarks.speed.engines import ARCHITECTURES
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, TensorDataset

from numpy_neural_mf import Architecture, Ratings
from numpy_neural_mf.data.batches import Batches
from numpy_neural_mf.nn import Adam
from numpy_neural_mf.training.engines import communicator_of, new_torch_engine
from numpy_neural_mf.training.engines.torch_engine import TorchEngine
from numpy_neural_mf.training.engines.torch_module import NeuralMFModule
from numpy_neural_mf.utils.atomic_io import is_first_process

STEPS_PROFILED = 10  # with profiled kernels
ROWS = "rows.jsonl"  # of the first process
COLUMNS = ("users", "items", "values")


def main() -> None:
    parser = Parser(__doc__, n_ratings=20_000, users=600, items=400, repeats=1, batch_sizes=[1024])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=["B_MEDIUM"])
    parser.add_options(processes=[1], batch_sizes=[8192, 65_536], precisions=["float32"], device="cpu")
    parser.add_options(users=6_040, items=3_706, n_ratings=1_000_000, repeats=5)
    parser.add_options(compile=False, eager=False, kernels=False, loader=False, loader_ratings=300_000)
    parser.add_argument("--columns", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.columns is not None:
        run(given)
        return
    ratings = random_ratings(given.users, given.items, given.n_ratings)
    results = Results(f"torch_processes_{given.device}", given)
    if given.device == "cuda":
        results.note("GPU", torch.cuda.get_device_name())
        results.note("GB/s of a copy", copied_per_second() / 1e9)
    with tempfile.TemporaryDirectory() as folder:
        for name in COLUMNS:
            np.save(Path(folder, name), getattr(ratings, name))
        for n in given.processes:
            torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
            worker = ["-m", "benchmarks.speed.torch_processes", *sys.argv[1:], "--columns", folder]
            subprocess.run([sys.executable, *torchrun, *worker], check=True)
            for line in Path(folder, ROWS).read_text().splitlines():
                results.add("training", **json.loads(line))
            Path(folder, ROWS).unlink()


def run(given: argparse.Namespace) -> None:
    """Measure every combination of the options, in this process and the others of its group."""
    if given.eager:
        TorchEngine._is_graphed = lambda engine, dtype: False  # type: ignore[method-assign]
    if given.compile:
        NeuralMFModule._mlp = torch.compile(NeuralMFModule._mlp)
    columns = (np.load(given.columns / f"{name}.npy", mmap_mode="r") for name in COLUMNS)
    ids = np.arange(given.users), np.arange(given.items)
    whole = Ratings(*map(np.asarray, columns), *ids, (0.5, 5.0))
    communicator = communicator_of("torch", given.device)
    ratings = whole.part(communicator.part(len(whole)))
    for name, size, precision in product(given.architectures, given.batch_sizes, given.precisions):
        form = ARCHITECTURES[name]
        shape, rng = (given.users, given.items), np.random.default_rng(0)
        first = form.initial_parameters(*shape, 3.0, rng, rows=communicator.rows)
        objective = penalised(form, *shape, 0.02, communicator.rows)
        where = {"device": given.device, "precision": precision}
        engine = new_torch_engine(form, first, Adam(0.005), objective, rng=np.random.default_rng(0), **where)
        batches = Batches(ratings, size, np.random.default_rng(0), engine.cut, len(whole))
        rates, sent = [], []
        if given.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for _ in range(given.repeats + 1):
            start, sent_before, n_steps = time.perf_counter(), bytes_sent(), 0
            for batch in batches.epoch():
                loss = engine.step(*batch)
                n_steps += 1
            float(loss)
            rates.append(len(whole) / (time.perf_counter() - start))
            sent.append((bytes_sent() - sent_before) / n_steps / communicator.size)
        on_host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        peak = torch.cuda.max_memory_allocated() if given.device == "cuda" else on_host
        peak = highest(peak / 1e6, given.device)
        busy = seconds_of_kernels(engine, batches, given) * n_steps * np.median(rates[1:]) / len(whole)
        peer = (form, whole, size, given.loader_ratings, given.device)
        ratio = np.median(rates[1:]) / loader_rate(*peer) if given.loader else np.nan
        distinct = sum(len(np.unique(column[:size])) for column in (whole.users, whole.items))
        bytes_per_rating = distinct * (form.embedding_dim + 1) * 4 * 3 * 2 / min(size, len(whole))
        if is_first_process():
            rate = np.array(rates[1:])
            row = {
                "processes": communicator.size, "architecture": name, "batch": size, "precision": precision,
                "M ratings/s": rate / 1e6, "GB/s": np.median(rate) * bytes_per_rating / 1e9,
                "kB sent": np.median(sent[1:]) / 1e3, "peak MB": peak, "busy": busy, "speedup": ratio,
            }  # fmt: skip
            with Path(given.columns, ROWS).open("a") as file:
                file.write(json.dumps({key: plain(value) for key, value in row.items()}) + "\n")


def seconds_of_kernels(engine: TorchEngine, batches: Batches, given: argparse.Namespace) -> float:
    """Return the mean seconds of the kernels of a step on the device; NaN on the CPU."""
    if given.device != "cuda":
        return float("nan")
    some = [tuple(column.clone() for column in batch) for batch in islice(batches.epoch(), STEPS_PROFILED)]
    float(engine.step(*some[0]))
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for batch in some:
            engine.step(*batch)
        torch.cuda.synchronize()
    if given.kernels:
        by_time = {"sort_by": "self_cuda_time_total", "row_limit": 25, "max_name_column_width": 90}
        print(profiled.key_averages().table(**by_time))
    on_device = [e for e in profiled.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return sum(event.self_device_time_total for event in on_device) / 1e6 / len(some)


@cache
def loader_rate(form: Architecture, ratings: Ratings, size: int, n_ratings: int, device: str) -> float:
    """Return ratings per second of the plain model with a DataLoader, in the second of two epochs.

    The result is the better rate of collecting batches in the main process and in four workers.
    """
    columns = (ratings.users, ratings.items, ratings.values)
    users, items, values = (torch.from_numpy(np.array(column[: max(size, n_ratings)])) for column in columns)
    data = TensorDataset(users.long(), items.long(), values)
    model = PlainModel(form, len(ratings.user_ids), len(ratings.item_ids)).to(device)
    optimizers, rates = optimizers_of(model, 0.005), []
    for n_workers in (0, 4):
        workers = {"num_workers": n_workers, "persistent_workers": n_workers > 0}
        loader = DataLoader(data, batch_size=size, shuffle=True, pin_memory=device == "cuda", **workers)
        for _ in range(2):
            start = time.perf_counter()
            for batch in loader:
                batch = [column.to(device, non_blocking=True) for column in batch]
                loss = train_step(model, optimizers, *batch)
            float(loss)
            rate = len(data) / (time.perf_counter() - start)
        rates.append(rate)
    return max(rates)


def copied_per_second() -> float:
    """Return bytes read and written per second, by copies within the device."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda").random_(256)
    there = torch.empty_like(source)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    there.copy_(source)
    start.record()
    for _ in range(10):
        there.copy_(source)
    end.record()
    torch.cuda.synchronize()
    return 10 * 2 * source.numel() / (start.elapsed_time(end) / 1e3)


def highest(number: float, device: str) -> float:
    """Return the highest of all processes' numbers."""
    tensor = torch.tensor(number, device=device)
    if dist.is_initialized():
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return float(tensor)


def bytes_sent() -> int:
    """Return bytes sent through the loopback device since the system started; 0 if they are not counted."""
    counts = Path("/proc/net/dev")
    if not counts.exists():
        return 0
    line = next(line for line in counts.read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])


if __name__ == "__main__":
    main()
