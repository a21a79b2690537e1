"""Threads that work on several parts of the ratings at a time, with the same bits for any number of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.arrays import Float32Array

# Fewer ratings are not worth a thread, and each part has sums of its own.
RATINGS_PER_PART, MAX_PARTS = 25_000, 8


def parts_of(n: int) -> NDArray[np.int64]:
    """Bounds of the parts of n ratings, which do not depend on the number of threads."""
    n_parts = min(max(n // RATINGS_PER_PART, 1), MAX_PARTS)
    return np.arange(n_parts + 1) * n // n_parts


class Threads:
    """Python's threads, for functions that release the interpreter's lock, as compiled ones do.

    Unlike Numba's they serve any number of callers, also in a forked process. The default is one for each
    processor, or as many as the environment variable NUMBA_NUM_THREADS says.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        from numba import config

        self._n_threads = n_threads or int(config.NUMBA_NUM_THREADS)
        self._pool = ThreadPoolExecutor(self._n_threads)

    def run(self, function: Callable[..., Any], n_parts: int, *arguments: Any) -> None:
        """Call the function with each part from 0 and the arguments; a free thread takes the next part."""
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
        """Standard normal numbers, those of each part from a generator of its own."""
        z, bounds = np.empty(n, np.float32), parts_of(n)
        seeds = rng.integers(1 << 63, size=len(bounds) - 1)

        def fill(part: int) -> None:
            own = z[bounds[part] : bounds[part + 1]]
            np.random.default_rng(seeds[part]).standard_normal(dtype=np.float32, out=own)

        self.run(fill, len(seeds))
        return z
