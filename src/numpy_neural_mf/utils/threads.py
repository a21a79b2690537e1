"""Threads: BLAS on one thread for a while, asked for by any number of threads at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController

_lock = Lock()
_inside = 0
_limit: Any = None
_thread_pools = cache(ThreadpoolController)  # the search for them takes longer than to recommend to one user


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A context in which BLAS computes on the calling thread: small products gain nothing from more.

    The first that enters limits the whole process, and the last that leaves, in any thread, restores it.
    """
    global _inside, _limit
    with _lock:
        _inside += 1
        if _inside == 1:
            _limit = _thread_pools().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _let_any_thread_set_limits()
                _limit.restore_original_limits()
                _let_any_thread_set_limits()


def _let_any_thread_set_limits() -> None:
    """Since version 3.8, threadpoolctl ignores limits of OpenBLAS by another thread than the first."""
    if hasattr(OpenBLASController, "clear_controlling_thread"):
        OpenBLASController.clear_controlling_thread(force=True)
