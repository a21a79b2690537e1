"""Threads: limit BLAS to one thread for a while; any number of threads may ask for this at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController

_lock = Lock()
_inside = 0
_limit: Any = None
_thread_pools = cache(ThreadpoolController)  # finding them takes longer than one user's recommendations


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to the calling thread in this context: small products gain nothing from more threads.

    The first thread that enters limits the whole process, and the last that leaves restores it.
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
    """Let any thread limit OpenBLAS: since version 3.8, threadpoolctl obeys only the first thread."""
    if hasattr(OpenBLASController, "clear_controlling_thread"):
        OpenBLASController.clear_controlling_thread(force=True)
