"""Programs against each other on one machine: each in a process of its own, and they run in turns."""

from __future__ import annotations

import multiprocessing
import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np


class Worker:
    """A process that makes one thing to run, and runs it whenever asked; idle, it takes no processor.

    `new_run(*settings)` is called in that process and returns a function without arguments; both must be
    importable. Environment variables hold for the process from its start, as thread pools want them.
    """

    def __init__(self, new_run: Callable[..., Callable[[], Any]], *settings: Any, **environment: str) -> None:
        kept = dict(os.environ)
        os.environ.update(environment)  # a process that is spawned inherits it
        context = multiprocessing.get_context("spawn")
        self._pipe, other_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(other_end, new_run, settings), daemon=True)
        self._process.start()
        os.environ.clear()
        os.environ.update(kept)
        self._pipe.recv()  # ready

    def run(self) -> Any:
        self._pipe.send("run")
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, new_run: Callable[..., Callable[[], Any]], settings: tuple[Any, ...]) -> None:
    run = new_run(*settings)
    pipe.send("ready")
    try:
        while pipe.recv():
            pipe.send(run())
    except EOFError:
        return


def run_in_turns(workers: Mapping[str, Worker], repeats: int) -> dict[str, list[Any]]:
    """What each worker returned, run by run; who is first alternates. The first run of each is a warm-up."""
    results: dict[str, list[Any]] = {name: [] for name in workers}
    for worker in workers.values():
        worker.run()
    for repeat in range(repeats):
        for name in list(workers)[:: -1 if repeat % 2 else 1]:
            results[name].append(workers[name].run())
    return results


def median_and_range(sample: Any, digits: int = 2) -> str:
    return f"{np.median(sample):.{digits}f} [{min(sample):.{digits}f}, {max(sample):.{digits}f}]"


def status(field: str) -> float:
    """Memory of this process in MB, as Linux tells it: VmHWM (peak), VmRSS, RssAnon."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{field}:"))


def machine(*packages: str) -> str:
    """Where the figures come from, and how busy it was: compare them within one run only."""
    processor = platform.processor() or platform.machine()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{platform.platform()}, {processor}, {os.cpu_count()} CPUs{load}\n"
        f"Python {platform.python_version()}, {versions}"
    )
