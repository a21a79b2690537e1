"""Threads: a pool that does without them where none can be started, and a limit of those of BLAS."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import OpenBLASController, ThreadpoolController

P = ParamSpec("P")
T = TypeVar("T")
_lock = Lock()
_inside = 0
_limit: Any = None
_thread_pools = cache(ThreadpoolController)  # finding them takes longer than one user's recommendations


class Threads(ThreadPoolExecutor):
    """A pool of threads; where no thread can be started, as in a browser, calls run in the calling thread."""

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `concurrent.futures.Executor.submit`."""
        try:
            return super().submit(call, *args, **kwargs)
        except RuntimeError:
            if self._threads or self._shutdown:
                raise
        done: Future[T] = Future()
        try:
            done.set_result(call(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


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
