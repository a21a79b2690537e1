"""What is alike: rows of a table by the cosine of the angle between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .top_n import top_n


def most_similar(
    table: NDArray[np.floating[Any]], row: int, n: int, allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The other rows of highest cosine with one of them: p · q / (‖p‖ ‖q‖), 0 where a norm is.

    Parameters
    ----------
    table : array of shape (n_rows, k)
    row : int
    n : int
    allowed : bool array of shape (n_rows,)
        Rows to choose from.

    Returns
    -------
    rows, cosines : arrays of shape (n,), or shorter where there are fewer
        Most similar first, equal ones by row.
    """
    norms = np.linalg.norm(table, axis=1)
    cosines = table @ table[row] / np.maximum(norms * norms[row], np.finfo(table.dtype).tiny)
    cosines = np.clip(cosines, -1, 1)
    others = allowed & (np.arange(len(table)) != row)
    rows = top_n(np.where(others, cosines, -np.inf)[None], min(n, int(others.sum())))[0]
    return rows, cosines[rows].astype(np.float32)
