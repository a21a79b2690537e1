"""Time bins of equal length, from the first rating to the last."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TimeBins:
    """n bins from the earliest timestamp to the latest; earlier times are in the first, later in the last."""

    first: int
    last: int
    n: int

    def of(self, times: NDArray[np.int64]) -> NDArray[np.int32]:
        """The bin of each time, from 0."""
        # Not in whole numbers, which nanoseconds would overflow.
        passed = (times.astype(np.float64) - self.first) / (float(self.last) - self.first + 1)
        return np.clip(np.floor(self.n * passed), 0, self.n - 1).astype(np.int32)
