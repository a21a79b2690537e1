"""Threads that work on parts of the ratings in parallel; any number of threads gives the same bits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.arrays import Float32Array

# Fewer ratings are not worth a thread, and each part needs its own sums.
RATINGS_PER_PART, MAX_PARTS = 25_000, 8


def parts_of(n: int) -> NDArray[np.int64]:
    """Return the bounds of the parts of n ratings, which do not depend on the number of threads."""
    n_parts = min(max(n // RATINGS_PER_PART, 1), MAX_PARTS)
    return np.arange(n_parts + 1) * n // n_parts


class Threads:
    """Python threads, for functions that release the interpreter's lock, as compiled ones do.

    Unlike Numba's threads, they serve any number of callers, also in a forked process. The default number is
    one per processor, or the environment variable NUMBA_NUM_THREADS.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        from numba import config

        self._n_threads = n_threads or int(config.NUMBA_NUM_THREADS)
        self._pool = ThreadPoolExecutor(self._n_threads)

    def run(self, function: Callable[..., Any], n_parts: int, *arguments: Any) -> None:
        """Call the function with each part from 0 and the arguments; any free thread takes the next part."""
        parts = iter(range(n_parts))

        def work() -> None:
            for part in parts:
                function(part, *arguments)

        helpers = [self._pool.submit(work) for _ in range(min(self._n_threads, n_parts) - 1)]
        work()
        for helper in helpers:
            if not helper.cancel():
                helper.result()

    def normals(self, n: int, rng: np.random.Generator) -> Float32Array:
        """Draw n standard normal numbers; each part has its own generator."""
        z, bounds = np.empty(n, np.float32), parts_of(n)
        seeds = rng.integers(1 << 63, size=len(bounds) - 1)

        def fill(part: int) -> None:
            own = z[bounds[part] : bounds[part + 1]]
            np.random.default_rng(seeds[part]).standard_normal(dtype=np.float32, out=own)

        self.run(fill, len(seeds))
        return z
