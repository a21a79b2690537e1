"""From a ratings.csv to a saved model: time and memory of each step.

    python benchmarks/scale.py [--n-ratings 25000095]

The file has MovieLens 25M's shape and format (see large_file.py). Everything runs in a process of its own:
reading, splitting, five epochs of B_MEDIUM in batches of 8,192 on the compiled engine, saving. The peak is
that of the resident memory while a step runs, pages of mapped files included; `private` is the highest seen
of what the system could not take back. --mapped starts from columns kept by an earlier reading. Needs Linux,
which tells the peak of a step.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from harness import machine
from large_file import write_large_file

from numpy_neural_mf import B_MEDIUM, NeuralMF, random_split, read_ratings

MB = 1e6
KEEP = "import sys, numpy_neural_mf as nmf; nmf.read_ratings(sys.argv[1], cache=True)"


def status(field: str) -> float:
    """Memory of this process in MB: VmHWM (peak), VmRSS, RssAnon."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith(f"{field}:"))


class Steps:
    """Prints time and memory of each step, and of all at the end."""

    def __init__(self) -> None:
        self.start, self.peak, self.private = time.perf_counter(), 0.0, 0.0
        print(f"{'step':16}{'wall s':>9}{'CPU s':>9}{'peak MB':>10}{'after MB':>10}{'private':>10}")

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        wall, cpu = time.perf_counter(), time.process_time()
        private, done = [status("RssAnon")], threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                private.append(status("RssAnon"))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        memory = f"{status('VmHWM'):10,.0f}{status('VmRSS'):10,.0f}{max(private):10,.0f}"
        print(f"{name:16}{wall:9.2f}{cpu:9.2f}{memory}", flush=True)
        self.peak, self.private = max(self.peak, status("VmHWM")), max(self.private, *private)

    def end(self) -> None:
        wall = time.perf_counter() - self.start
        print(
            f"{'all':16}{wall:9.2f}{time.process_time():9.2f}{self.peak:10,.0f}{'':10}{self.private:10,.0f}"
        )


def run(path: Path, epochs: int, timestamps: bool, mapped: bool) -> None:
    """The steps, one after the other, in this process."""
    step = Steps()
    with step("import"):
        import numba  # noqa: F401
    with step("read"):
        ratings = read_ratings(path, timestamps=timestamps, cache=mapped)
    n_ratings, n_bytes = len(ratings), 20 if ratings.timestamps is not None else 12
    with step("split"):
        train, test = random_split(ratings)
        del ratings
    with step("train"):
        model = NeuralMF(B_MEDIUM, epochs=epochs, batch_size=8192, learning_rate=0.005, engine="numba")
        model.fit(train)
    with step("save"), tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.safetensors"))
    with step("predict"):
        some = test.take(np.arange(min(1_000_000, len(test))))
        model.predict(some.raw_users, some.raw_items)
    step.end()
    rmse = ", ".join(f"{loss**0.5:.4f}" for loss in model.history_.validation_loss)
    print(f"{n_ratings:,} ratings of {n_bytes} bytes; validation RMSE by epoch {rmse}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-ratings", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--file", type=Path, help="read this file; made there if there is none")
    parser.add_argument("--timestamps", action="store_true", help="keep them: 8 bytes more a rating")
    parser.add_argument("--mapped", action="store_true", help="from the columns kept beside the file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        run(given.file, given.epochs, given.timestamps, given.mapped)
        return
    print(machine("numpy", "polars", "numba"))
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or Path(folder, "ratings.csv")
        if not path.exists():
            write_large_file(path, given.n_ratings)
        print(f"{path.stat().st_size / MB:,.0f} MB of ratings")
        options = ["--worker", "--file", str(path), "--epochs", str(given.epochs)]
        options += ["--timestamps"] * given.timestamps + ["--mapped"] * given.mapped
        if given.mapped:
            subprocess.run([sys.executable, "-c", KEEP, str(path)], check=True)
        subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    main()
