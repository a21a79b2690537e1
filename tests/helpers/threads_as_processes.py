"""Two threads that stand for two processes: each sums and gathers with the other."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from numpy_neural_mf.training.distributed import Communicator


class Thread(Communicator):
    """Thread `rank` of two, which exchange arrays on a board."""

    size = 2

    def __init__(self, rank, board, barrier):
        self.rank, self._board, self._barrier = rank, board, barrier

    def _both(self, array):
        self._board[self.rank] = np.array(array)
        self._barrier.wait()
        both = list(self._board)
        self._barrier.wait()
        return both

    def all_reduce(self, numbers):
        return sum(self._both(numbers))

    def all_gather(self, column):
        return np.concatenate(self._both(column))

    def place(self, n):
        first, second = (int(count) for count in self._both(n))
        return slice(first) if self.rank == 0 else slice(first, first + second)


def in_two(run):
    """What `run` returns for each of two communicators, in threads."""
    board, barrier = [None, None], Barrier(2, timeout=60)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda rank: run(Thread(rank, board, barrier)), (0, 1)))
