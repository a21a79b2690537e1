"""Tables with a row for each of the same users, items or features: their rows come and go together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class JoinedTables:
    """Some tables as one, whose rows are theirs side by side: so what there is to do by row is done once.

    Parameters
    ----------
    parts : sequence of tensors of shapes (n, d_1), (n, d_2), ...
        Changed in place.
    """

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self._parts = parts
        self._widths = [part.shape[1] for part in parts]

    def __getitem__(self, rows: Tensor) -> Tensor:
        if len(self._parts) == 1:
            return self._parts[0][rows]
        return torch.cat([part[rows] for part in self._parts], dim=1)

    def __setitem__(self, rows: Tensor, values: Tensor) -> None:
        for part, columns in zip(self._parts, torch.split(values, self._widths, dim=1), strict=True):
            part[rows] = columns
