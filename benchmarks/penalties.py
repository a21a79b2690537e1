"""The objective of an engine without inference, the one that users of PyTorch minimise."""

from typing import Any

import numpy as np

from numpy_neural_mf import Architecture
from numpy_neural_mf.mf.parameters import SIDES
from numpy_neural_mf.training.objective import Objective


def penalised(
    form: Architecture,
    n_users: int,
    n_items: int,
    penalty: float,
    rows: slice = slice(None),
    dtype: Any = np.float32,
) -> Objective:
    """Return the mean over ratings of the squared error plus `penalty` times the squares of their rows.

    All variances are 0, which does not make steps cheaper. With several processes, each has its own `rows`.
    """
    tables = form.tables(n_users, n_items)
    own = {t.name: np.zeros(t.shape, dtype)[rows] for t in tables if t.entity in SIDES}
    return Objective(
        share={t.entity: np.ones(t.shape[0], dtype) for t in tables},
        prior={t.name: np.zeros((1, t.shape[1]), dtype) for t in tables},
        precision={t.name: np.full(t.shape[1], penalty, dtype) for t in tables},
        variance=own,
        weight=np.ones(n_users + 1, dtype),
        noise=np.ones(1, dtype),
        squares=np.zeros(n_users + 1, dtype),
        data={name: np.zeros_like(variance) for name, variance in own.items()},
    )
