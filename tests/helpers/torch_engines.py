"""Objectives and engines of the tests of PyTorch's engine."""

from dataclasses import replace

import numpy as np
from cases import (
    B_MEDIUM,
    N_ITEMS,
    N_TIME_BINS,
    N_USERS,
    ORDINAL,
    draw_batch,
    draw_parameters,
    previous_of,
    with_time_bins,
)

from numpy_neural_mf.mf.parameters import SIDES, is_table
from numpy_neural_mf.nn import Adam
from numpy_neural_mf.training.engines import new_torch_engine
from numpy_neural_mf.training.objective import Objective


def objective_of(architecture=B_MEDIUM, dtype=np.float64, *, signs=False, **fields):
    """One whose numbers all differ, with a prior by row for users; `fields` replace its own.

    What the MLP is given has no variance, so that no engine draws signs, unless `signs`.
    """
    rng = np.random.default_rng(8)
    tables = architecture.tables(N_USERS, N_ITEMS)
    share, prior, precision, variance = {}, {}, {}, {}
    for table in tables:
        n, d = table.shape
        share[table.entity] = 1 / rng.integers(1, 6, n).astype(dtype)
        precision[table.name] = rng.uniform(0.1, 0.5, d).astype(dtype)
        prior[table.name] = rng.normal(size=(n if table.entity == "user" else 1, d)).astype(dtype)
        if table.entity in SIDES:
            is_point = table.kind == "embedding" and architecture.n_layers and not signs
            variance[table.name] = rng.uniform(0.1, 0.3, (n, d)).astype(dtype) * (0 if is_point else 1)
    objective = Objective(
        share, prior, precision, variance,
        weight=rng.uniform(0.5, 1.5, N_USERS + 1).astype(dtype),
        noise=np.full(1, 0.8, dtype),
        squares=np.zeros(N_USERS + 1, dtype),
        data={name: np.zeros_like(v) for name, v in variance.items()},
        **previous_of(architecture, rng, dtype),
    )  # fmt: skip
    if architecture.likelihood == "ordinal":
        objective = replace(objective, ordinal=ORDINAL, weight=np.ones_like(objective.weight))
    return replace(objective, **fields)


# What two processes learn from together.
SHARED_FORM, SHARED_BATCH = replace(B_MEDIUM, periods=N_TIME_BINS), with_time_bins(draw_batch(n=40))


def shard(architecture, rows, dtype=np.float64):
    """Parameters and objective of a process that has some rows of every table."""

    def own(name, value):
        return np.ascontiguousarray(value[rows]) if is_table(name) and len(value) > 1 else value

    def own_of(arrays):
        return {name: own(name, value) for name, value in arrays.items()}

    o = objective_of(architecture, dtype)
    of_rows = {"prior": own_of(o.prior), "variance": own_of(o.variance), "data": own_of(o.data)}
    return own_of(draw_parameters(architecture, dtype)), replace(o, **of_rows)


def require_same_records(found, expected, rtol=1e-9):
    """Two objectives have the same squares and data, and there are such."""
    found, expected = ({"squares": o.squares, **o.data} for o in (found, expected))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, err_msg=name)
        assert value.any()


def new_engine(architecture=B_MEDIUM, optimizer=None, dtype=np.float32, *, on=None, seed=0, **fields):
    """PyTorch's, with drawn parameters; `on` has its device and precision, `fields` are of the objective."""
    parameters, objective = draw_parameters(architecture, dtype), objective_of(architecture, dtype, **fields)
    rng = np.random.default_rng(seed)
    return new_torch_engine(architecture, parameters, optimizer or Adam(0.01), objective, rng, **(on or {}))
