"""What every benchmark uses: worker processes that measure time and memory, and result files.

A benchmark is a module that runs from the repository's root, for example
``python -m benchmarks.speed.engines --help``. Each row of figures is printed as it is measured, and all rows
are written to ``benchmarks/results/NAME.json`` with the command, the date, the commit, the versions and the
hardware. ``python -m benchmarks.harness FILE.json ...`` renders result files as Markdown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "numpy-neural-mf", "numpy", "scipy", "scikit-learn", "polars", "numba", "torch", "pandas", "pyarrow",
    "scikit-surprise", "implicit", "myfm",
)  # fmt: skip


# Arguments and results


def new_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser of arguments with the module's docstring as its description, and `--output`."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--output", type=Path, help="result file; by default benchmarks/results/NAME.json")
    return parser


class Results:
    """Tables of figures, printed row by row and written as JSON.

    Parameters
    ----------
    name : str
        Stem of the result file.
    output : Path, optional
        Result file, in place of ``benchmarks/results/NAME.json``.
    **conditions
        What holds for all rows, such as the shape of the data.
    """

    def __init__(self, name: str, output: Path | None = None, **conditions: Any) -> None:
        self.path = output or RESULTS / f"{name}.json"
        self.content = provenance() | {"name": name, "conditions": conditions, "tables": {}}
        for part in ("versions", "hardware", "conditions"):
            print(", ".join(f"{key} {value}" for key, value in self.content[part].items()), flush=True)

    def add(self, table: str, **figures: Any) -> None:
        """Print a row of a table, below its header if it is the first, and keep it."""
        rows = self.content["tables"].setdefault(table, [])
        if not rows:
            print(f"\n{table}\n\n{markdown_row(figures)}\n{markdown_row(['---'] * len(figures))}")
        rows.append({name: plain(value) for name, value in figures.items()})
        print(markdown_row(map(shown, rows[-1].values())), flush=True)

    def note(self, name: str, value: Any) -> None:
        """Print a condition that became known only in the run, and keep it."""
        self.content["conditions"][name] = plain(value)
        print(f"{name}: {shown(plain(value))}", flush=True)

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.content, indent=2, ensure_ascii=False)
        self.path.write_text(text + "\n", encoding="utf-8")
        print(f"\nWrote {self.path}")


def provenance() -> dict[str, Any]:
    """Command, date, commit, versions and hardware of this run."""
    git = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    module = getattr(sys.modules["__main__"], "__spec__", None)
    started = ["python", "-m", module.name] if module else ["python", *sys.argv[:1]]
    hardware = {"processor": _processor(), "CPUs": os.cpu_count(), "platform": platform.platform()}
    if hasattr(os, "getloadavg"):
        hardware["load"] = round(os.getloadavg()[0], 1)
    return {
        "command": " ".join([*started, *(f'"{a}"' if " " in a else a for a in sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit or None,
        "versions": {"python": platform.python_version()} | _versions(),
        "hardware": hardware,
    }


def markdown(content: Mapping[str, Any]) -> str:
    """A result file as Markdown: each table, below it the command, the versions and the hardware."""
    lines = []
    for title, rows in content["tables"].items():
        lines += [f"**{title}**", "", markdown_row(rows[0]), markdown_row(["---"] * len(rows[0]))]
        lines += [*(markdown_row(map(shown, row.values())) for row in rows), ""]
    facts = content["conditions"] | content["hardware"] | content["versions"]
    about = ", ".join(f"{name} {shown(value)}" for name, value in facts.items())
    return "\n".join(
        [*lines, f"`{content['command']}` on {content['date'][:10]}, {content['commit']}; {about}."]
    )


def markdown_row(cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def shown(value: Any) -> str:
    """A figure as a cell: a median with its range, a number with four significant digits or decimals."""
    if isinstance(value, list):
        if not value or isinstance(value[0], str):
            return ", ".join(map(str, value))
        if len(value) == 1:
            return shown(value[0])
        return f"{shown(float(np.median(value)))} [{shown(min(value))}, {shown(max(value))}]"
    if isinstance(value, float):
        return (
            f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"
        )
    return "" if value is None else f"{value:,}" if type(value) is int else str(value)


def plain(value: Any) -> Any:
    """A NumPy array or number as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float) and value != value:
        return None  # JSON has no NaN
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


# Workers


class Measurement(NamedTuple):
    """What one run returned and took. Memory is resident, in MB; peaks are those during the run."""

    value: Any
    seconds: float
    cpu_seconds: float
    before_mb: float
    peak_mb: float
    peak_anonymous_mb: float  # without the pages of mapped files, which the system can take back


class Worker:
    """A process that makes one function, and measures it each time it is asked; idle, it uses no processor.

    `new_run(*settings)` is called in that process and returns a function without arguments; both must be
    importable. Environment variables are set before the process starts, as thread pools need them.
    """

    def __init__(self, new_run: Callable[..., Callable[[], Any]], *settings: Any, **environment: str) -> None:
        kept = dict(os.environ)
        os.environ.update(environment)  # a spawned process inherits it
        context = multiprocessing.get_context("spawn")
        self._pipe, other_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(other_end, new_run, settings))
        self._process.start()
        other_end.close()
        os.environ.clear()
        os.environ.update(kept)
        self._received()  # ready

    def run(self) -> Measurement:
        self._pipe.send("run")
        return Measurement(*self._received())

    def close(self) -> None:
        self._pipe.close()
        self._process.join()

    def _received(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the worker ended with {self._process.exitcode}") from None


def _serve(pipe: Connection, new_run: Callable[..., Callable[[], Any]], settings: tuple[Any, ...]) -> None:
    run = new_run(*settings)
    pipe.send("ready")
    try:
        while pipe.recv():
            pipe.send(tuple(measure(run)))
    except EOFError:
        return


def measured(new_run: Callable[..., Callable[[], Any]], *settings: Any, **environment: str) -> Measurement:
    """One run in a process of its own."""
    worker = Worker(new_run, *settings, **environment)
    try:
        return worker.run()
    finally:
        worker.close()


def measure(run: Callable[[], Any]) -> Measurement:
    """Run in this process. The peak restarts with the run where Linux allows it."""
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
        value = run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        done.set()
        watcher.join()
    anonymous.append(memory("RssAnon"))
    return Measurement(value, wall, cpu, before, memory("VmHWM"), max(anonymous))


def run_in_turns(workers: Mapping[str, Worker], repeats: int) -> dict[str, list[Measurement]]:
    """The measurements of each worker; the order alternates. The first run of each is a warm-up."""
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
    """Memory of this process in MB, as Linux reports it: VmHWM (peak), VmRSS, RssAnon; NaN elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{field}:")), np.nan)


# Statistics


def paired_gain(squares: np.ndarray, other: np.ndarray) -> str:
    """RMSE less that of another model on the same ratings, with its 95 % interval over ratings.

    To first order, a difference of RMSE is that of the mean squared errors over twice the RMSE.
    """
    difference = (squares - other) / (2 * np.sqrt(other.mean()))
    half = 1.96 * difference.std() / np.sqrt(len(difference))
    return f"{difference.mean():+.4f} ± {half:.4f}"


def mean_and_error(sample: Sequence[float] | np.ndarray) -> str:
    """Mean and standard error."""
    values = np.asarray(sample)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():+.4f} ± {error:.4f}"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(markdown(json.loads(Path(name).read_text(encoding="utf-8"))))
