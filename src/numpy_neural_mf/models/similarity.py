"""What is alike: rows of a table by the cosine of the angle between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ranking import top_n


def most_similar(
    table: NDArray[np.floating[Any]], row: int, n: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The other rows of highest cosine with one of them: p · q / (‖p‖ ‖q‖), 0 where a norm is.

    Parameters
    ----------
    table : array of shape (n_rows, k)
    row : int
    n : int

    Returns
    -------
    rows, cosines : arrays of shape (min(n, n_rows - 1),)
        Most similar first, equal ones by row.
    """
    norms = np.linalg.norm(table, axis=1)
    cosines = table @ table[row] / np.maximum(norms * norms[row], np.finfo(table.dtype).tiny)
    cosines = np.clip(cosines, -1, 1)
    cosines[row] = -np.inf
    rows = top_n(cosines[None], min(n, len(table) - 1))[0]
    return rows, cosines[rows].astype(np.float32)
