"""Common parts of benchmarks: worker processes that measure time and memory, and result files.

A benchmark is a module to run from the repository's root: ``python -m benchmarks.speed.engines --help``.
Each row is printed as it is measured and written to ``benchmarks/results/NAME.json`` with the command, date,
commit, versions and hardware. ``python -m benchmarks.harness FILE.json ...`` renders it as Markdown.
"""

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "numpy-neural-mf", "numpy", "scipy", "scikit-learn", "polars", "numba", "torch", "pandas", "pyarrow",
    "scikit-surprise", "implicit", "myfm",
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Options of a benchmark, with the module's docstring as their description.

    `quick` has the defaults of ``--quick``, a run of seconds that checks whether the benchmark works.
    """

    def __init__(self, doc: str | None, **quick: Any) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(description=doc, formatter_class=raw, allow_abbrev=False)
        self.defaults_of_quick = quick
        self.add_argument("--output", type=Path, help="result file; by default benchmarks/results/NAME.json")
        self.add_argument("--quick", action="store_true", help="the smallest size, to a temporary file")

    def add_options(self, **defaults: Any) -> None:
        """Add an option of each default's type; a list takes several values, False makes a flag."""
        for name, default in defaults.items():
            option, about = f"--{name.replace('_', '-')}", f"by default {default}" if default else None
            if default is False:
                self.add_argument(option, action="store_true")
            elif isinstance(default, list):
                self.add_argument(option, nargs="+", type=type(default[0]), default=default, help=about)
            else:
                self.add_argument(option, type=type(default), default=default, help=about)

    def parse_args(self, *given: Any) -> Any:
        if "--quick" in sys.argv[1:]:
            self.set_defaults(**self.defaults_of_quick)
        return super().parse_args(*given)


class Results:
    """Tables of figures: each row is printed and written to the JSON file as it is measured.

    `name` is the stem of the file. `given` are the options; all, with defaults, are written as conditions.
    """

    def __init__(self, name: str, given: argparse.Namespace, **conditions: Any) -> None:
        folder = Path(tempfile.gettempdir()) if given.quick else RESULTS
        self.path = given.output or folder / f"{name}.json"
        options = {key: value for key, value in vars(given).items() if key not in ("output", "quick")}
        conditions = {
            key: ", ".join(map(str, value)) if isinstance(value, list) else plain(value)
            for key, value in (options | conditions).items()
            if value not in (None, False, [])
        }
        self.content = provenance() | {"name": name, "conditions": conditions, "tables": {}}
        for part in ("versions", "hardware", "conditions"):
            print(", ".join(f"{key} {value}" for key, value in self.content[part].items()), flush=True)
        print(f"Results: {self.path}", flush=True)

    def add(self, table: str, **figures: Any) -> None:
        """Print a row of a table, below its header if it is the first row, and save it."""
        rows = self.content["tables"].setdefault(table, [])
        if not rows:
            print(f"\n{table}\n\n{markdown_row(figures)}\n{markdown_row(['---'] * len(figures))}")
        rows.append({name: plain(value) for name, value in figures.items()})
        print(markdown_row(map(shown, rows[-1].values())), flush=True)
        self.write()

    def note(self, name: str, value: Any) -> None:
        """Print a condition that became known only during the run, and save it."""
        self.content["conditions"][name] = plain(value)
        print(f"{name}: {shown(plain(value))}", flush=True)
        self.write()

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.content, indent=2, ensure_ascii=False)
        self.path.write_text(text + "\n", encoding="utf-8")


def provenance() -> dict[str, Any]:
    """Return command, date, commit, versions and hardware of this run."""
    git = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    module = getattr(sys.modules["__main__"], "__spec__", None)
    started = ["python", "-m", module.name] if module else ["python", *sys.argv[:1]]
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    processor = next(names, platform.processor() or platform.machine())
    hardware = {"processor": processor, "CPUs": os.cpu_count(), "platform": platform.platform(), "load": load}
    command = " ".join([*started, *(f'"{a}"' if " " in a else a for a in sys.argv[1:])])
    date = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"command": command, "date": date, "commit": commit or None}
    return about | {"versions": versions, "hardware": hardware}


def markdown(content: Mapping[str, Any]) -> str:
    """Return a result file as Markdown: each table, then the command, the versions and the hardware."""
    lines = []
    for title, rows in content["tables"].items():
        lines += [f"**{title}**", "", markdown_row(rows[0]), markdown_row(["---"] * len(rows[0]))]
        lines += [*(markdown_row(map(shown, row.values())) for row in rows), ""]
    facts = content["conditions"] | content["hardware"] | content["versions"]
    about = ", ".join(f"{name} {shown(value)}" for name, value in facts.items())
    lines.append(f"`{content['command']}` on {content['date'][:10]}, {content['commit']}; {about}.")
    return "\n".join(lines)


def markdown_row(cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def shown(value: Any) -> str:
    """Format a figure: a median with its range, or a number with four significant digits or decimals."""
    if isinstance(value, list):
        if not value or isinstance(value[0], str):
            return ", ".join(map(str, value))
        if len(value) == 1:
            return shown(value[0])
        return f"{shown(float(np.median(value)))} [{shown(min(value))}, {shown(max(value))}]"
    if isinstance(value, float):
        decimals = 4 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
        return f"{value:,.{decimals}f}"
    return "" if value is None else f"{value:,}" if type(value) is int else str(value)


def plain(value: Any) -> Any:
    """Convert a NumPy array or number for JSON."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float) and value != value:
        return None  # JSON has no NaN
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


class Measurement(NamedTuple):
    """Result, time and memory of one run. Memory is resident, in MB; peaks are those during the run."""

    value: Any
    seconds: float
    cpu_seconds: float
    before_mb: float
    peak_mb: float
    peak_anonymous_mb: float  # without pages of mapped files, which the system can reclaim


class Worker:
    """A process that calls `new_run(*settings)` once, and measures the returned function on each request.

    Environment variables are set before the process starts, since thread pools read them at the start.
    """

    def __init__(self, new_run: Callable[..., Callable[[], Any]], *settings: Any, **environment: str) -> None:
        kept = dict(os.environ)
        os.environ.update(environment)  # a spawned process inherits it
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=_start, initargs=(new_run, settings))
        self._pool.submit(int).result()  # ready
        os.environ.clear()
        os.environ.update(kept)

    def run(self) -> Measurement:
        return self._pool.submit(measure).result()

    def close(self) -> None:
        self._pool.shutdown()


_run: Callable[[], Any]  # of this worker


def _start(new_run: Callable[..., Callable[[], Any]], settings: tuple[Any, ...]) -> None:
    global _run
    _run = new_run(*settings)


def measured(new_run: Callable[..., Callable[[], Any]], *settings: Any, **environment: str) -> Measurement:
    """Measure one run in its own process."""
    with closing(Worker(new_run, *settings, **environment)) as worker:
        return worker.run()


def measure(run: Callable[[], Any] | None = None) -> Measurement:
    """Measure a run in this process, by default the worker's; reset the peak of memory if Linux allows it."""
    before = memory("VmRSS")
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    anonymous, done = [memory("RssAnon")], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            anonymous.append(memory("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        value = (run or _run)()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        done.set()
        watcher.join()
    anonymous.append(memory("RssAnon"))
    return Measurement(value, wall, cpu, before, memory("VmHWM"), max(anonymous))


def run_in_turns(workers: Mapping[str, Worker], repeats: int) -> dict[str, list[Measurement]]:
    """Return the measurements of each worker, in alternating order; the first run of each is a warm-up."""
    found: dict[str, list[Measurement]] = {name: [] for name in workers}
    for worker in workers.values():
        worker.run()
    for repeat in range(repeats):
        for name in list(workers)[:: -1 if repeat % 2 else 1]:
            found[name].append(workers[name].run())
    for worker in workers.values():
        worker.close()
    return found


def memory(field: str) -> float:
    """Return memory of this process in MB, as Linux reports it: VmHWM (peak), VmRSS, RssAnon; else NaN."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{field}:")), np.nan)


def squared_errors(
    new_model: Callable[[int], Any], splits: Sequence[tuple[Any, Any]], seeds: int = 1
) -> tuple[np.ndarray, float]:
    """Return the squared error of each test rating of `cross_validate`, and the mean seconds of a training.

    Where the expected ratings are known, the errors are expected errors, without the influence of noise.
    """
    from numpy_neural_mf import cross_validate  # not in workers, whose memory is measured

    models = [new_model(seed) for _ in splits for seed in range(seeds)]
    next_model = iter(models).__next__
    runs = cross_validate(lambda seed: next_model(), splits=splits, seeds=seeds).runs
    errors = []
    for model, test in zip(models, (test for _, test in splits for _ in range(seeds)), strict=True):
        prediction = model.predict(test.raw_users, test.raw_items, test.timestamps)
        truth, noise = (test.values, 0.0) if test.expected is None else (test.expected, test.noise_variance)
        errors.append((prediction - truth.astype(np.float64)) ** 2 + noise)
    return np.concatenate(errors), float(np.mean([run.seconds for run in runs]))


def paired_gain(squares: np.ndarray, other: np.ndarray) -> str:
    """Return the RMSE minus that of another model on the same ratings, with its 95 % interval over ratings.

    To first order, a difference of RMSE is the difference of the mean squared errors over twice the RMSE.
    """
    difference = (squares - other) / (2 * np.sqrt(other.mean()))
    half = 1.96 * difference.std() / np.sqrt(len(difference))
    return f"{difference.mean():+.4f} ± {half:.4f}"


def mean_and_error(sample: Sequence[float] | np.ndarray) -> str:
    """Return mean and standard error."""
    values = np.asarray(sample)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():+.4f} ± {error:.4f}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(markdown(json.loads(Path(name).read_text(encoding="utf-8"))))
