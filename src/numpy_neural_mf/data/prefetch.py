"""Prefetching in threads: results come in order, and only a limited number is computed ahead."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import repeat
from typing import TypeVar

from ..utils.threads import Threads

Given = TypeVar("Given")
Made = TypeVar("Made")


def made_ahead(make: Callable[[Given], Made], given: Iterable[Given], n: int) -> Iterator[Made]:
    """Yield ``make(one)`` for each of `given`, in order; n threads compute up to n results ahead."""
    coming: deque[Future[Made]] = deque()
    with Threads(n) as threads:
        for one in given:
            coming.append(threads.submit(make, one))
            if len(coming) > n:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def one_ahead(iterator: Iterator[Made]) -> Iterator[Made]:
    """Return an iterator over the same elements; another thread computes the next one meanwhile."""
    return iter(partial(next, made_ahead(lambda _: next(iterator, None), repeat(None), 1)), None)
