"""Work done in threads ahead of its turn, in order, and no further ahead than there is room for."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import repeat
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def made_ahead(make: Callable[[Given], Made], given: Iterable[Given], n: int) -> Iterator[Made]:
    """What `make` makes of each that is given, by n threads while the n before it are at use."""
    coming: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(n) as threads:
        for one in given:
            coming.append(threads.submit(make, one))
            if len(coming) > n:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def one_ahead(iterator: Iterator[Made]) -> Iterator[Made]:
    """The same, each made by another thread while the one before is at use."""
    return iter(partial(next, made_ahead(lambda _: next(iterator, None), repeat(None), 1)), None)
