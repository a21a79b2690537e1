"""Threads do not survive a fork: engines refuse to start theirs in a forked process, which would hang."""

from __future__ import annotations

import os

# The process in which each engine first started threads; a forked process inherits the entry.
_started_in: dict[str, int] = {}


def require_same_process(engine: str) -> None:
    """Note that an engine has threads in this process.

    Raises
    ------
    RuntimeError
        It had started them in the process from which this one was forked.
    """
    if _started_in.setdefault(engine, os.getpid()) != os.getpid():
        raise RuntimeError(
            f'engine "{engine}" has trained in the process from which this one was forked, and its threads '
            'do not survive a fork: start processes with multiprocessing.get_context("spawn"), or use '
            'engine="numpy"'
        )
