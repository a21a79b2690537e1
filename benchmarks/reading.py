"""Reading a large ratings.csv against other readers in Python: time, memory, and the ratio to the fastest.

    python benchmarks/reading.py [--n-ratings 25000095]

The file has MovieLens 25M's shape and format (see large_file.py). Ours reads, checks every value, codes the
ids, and looks for pairs rated twice; cached is the second time, when it maps what it has kept. The others
only parse. Each run is a process of its own, and they take turns. CPU time counts all threads; the peak is
that of resident memory, the mapped file included, and where cached that of the first time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import machine, median_and_range
from large_file import write_large_file


def ours(path: str) -> Any:
    from numpy_neural_mf import read_ratings

    return lambda: read_ratings(path)


def ours_cached(path: str) -> Any:
    from numpy_neural_mf import read_ratings

    read_ratings(path, cache=True)
    return lambda: read_ratings(path, cache=True)


def polars_eager(path: str) -> Any:
    import polars as pl

    return lambda: pl.read_csv(path)


def polars_streaming(path: str) -> Any:
    import polars as pl

    return lambda: pl.scan_csv(path).collect(engine="streaming")


def pandas(path: str) -> Any:
    import pandas as pd

    return lambda: pd.read_csv(path)


def pyarrow(path: str) -> Any:
    import pyarrow.csv

    return lambda: pyarrow.csv.read_csv(path)


READERS: dict[str, Callable[[str], Callable[[], Any]]] = {
    "ours": ours,
    "ours, cached": ours_cached,
    "polars eager": polars_eager,
    "polars streaming": polars_streaming,
    "pandas": pandas,
    "pyarrow": pyarrow,
}


def run(name: str, path: str) -> None:
    """Read once in this process, and print what it took."""
    read = READERS[name](path)
    wall, cpu = time.perf_counter(), time.process_time()
    table = read()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps([len(table), wall, cpu, peak]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-ratings", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--file", type=Path, help="read this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        run(given.worker, str(given.file))
        return
    print(machine("numpy", "polars", "pandas", "pyarrow"))
    results: dict[str, list[list[float]]] = {name: [] for name in READERS}
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or Path(folder, "ratings.csv")
        if not path.exists():
            write_large_file(path, given.n_ratings)
        path.read_bytes()  # none is first to fetch it from the disk
        for repeat in range(given.repeats):
            for name in list(READERS)[:: -1 if repeat % 2 else 1]:
                command = [sys.executable, __file__, "--worker", name, "--file", str(path)]
                printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                results[name].append(json.loads(printed))
        print(f"{path.stat().st_size / 1e6:,.0f} MB, {results['ours'][0][0]:,.0f} ratings")
    peers = [runs for name, runs in results.items() if not name.startswith("ours")]
    fastest = min(np.median([wall for _, wall, *_ in runs]) for runs in peers)
    print(f"{'reader':18}{'wall s':>20}{'CPU s':>20}{'peak MB':>9}{'speed':>8}  of the fastest peer's")
    for name, runs in results.items():
        _, walls, cpus, peaks = zip(*runs, strict=True)
        columns = f"{median_and_range(walls):>20}{median_and_range(cpus):>20}{np.median(peaks):9,.0f}"
        print(f"{name:18}{columns}{fastest / np.median(walls):8.2f}")


if __name__ == "__main__":
    main()
