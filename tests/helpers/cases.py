"""Inputs of the engines' tests: architectures, parameters, objectives and batches, float64 by default."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from numpy_neural_mf.mf.architecture import A_SMALL, B_MEDIUM, C_WIDE, Architecture
from numpy_neural_mf.mf.parameters import SIDES, TIME_BINS
from numpy_neural_mf.nn import ACTIVATIONS, CumulativeLogit
from numpy_neural_mf.training.objective import Objective

N_USERS, N_ITEMS, N_TIME_BINS = 9, 6, 4

ARCHITECTURES = {
    "A_SMALL": A_SMALL,
    "B_MEDIUM": B_MEDIUM,
    "C_WIDE": C_WIDE,
    "no MLP": Architecture(embedding_dim=5),
    "no MLP, no biases": Architecture(embedding_dim=4, biases=False),
    "no biases": Architecture(embedding_dim=4, hidden_layer_sizes=(5,), biases=False),
    "no product": Architecture(embedding_dim=4, hidden_layer_sizes=(5,), product=False),
    "only biases": Architecture(product=False),
    "only the MLP": Architecture(embedding_dim=3, hidden_layer_sizes=(4,), biases=False, product=False),
    "widths of one": Architecture(embedding_dim=1, hidden_layer_sizes=(1, 1), activation="tanh"),
    "three hidden layers": Architecture(embedding_dim=3, hidden_layer_sizes=(7, 5, 3), activation="gelu"),
} | {name: Architecture(embedding_dim=4, hidden_layer_sizes=(8, 5), activation=name) for name in ACTIVATIONS}


def draw_parameters(architecture, dtype=np.float64, n_users=N_USERS, n_items=N_ITEMS):
    """No parameter is zero, so none can be left out unseen."""
    rng = np.random.default_rng(7)
    n_steps = len(ORDINAL.steps) if architecture.likelihood == "ordinal" else 0
    shapes = architecture.parameter_shapes(n_users, n_items, n_steps=n_steps)
    return {name: (0.5 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


def draw_objective(
    architecture, dtype=np.float64, n_users=N_USERS, n_items=N_ITEMS, *, with_signs=False, **fields
):
    """Everything by chance; `fields` replace those of the objective.

    The tables of users have a prior for each row, the others one of all rows. Random signs
    differ by engine: where there is an MLP, vectors do not vary unless a test asks for signs.
    """
    rng = np.random.default_rng(8)
    n_rows = {"user": n_users + 1, "item": n_items + 1}
    n_rows |= dict.fromkeys(TIME_BINS.values(), architecture.periods)
    share = {entity: rng.uniform(0.1, 1, n).astype(dtype) for entity, n in n_rows.items()}
    prior, precision, variance = {}, {}, {}
    for table in architecture.tables(n_users, n_items):
        (n, d), by_row = table.shape, table.entity == "user"
        prior[table.name] = rng.normal(0, 0.5, (n if by_row else 1, d)).astype(dtype)
        precision[table.name] = rng.uniform(0.1, 0.6, d).astype(dtype)
        if table.entity in SIDES:
            is_fixed = table.kind == "embedding" and architecture.hidden_layer_sizes and not with_signs
            variance[table.name] = rng.uniform(0, 0 if is_fixed else 0.5, (n, d)).astype(dtype)
    objective = Objective(
        share,
        prior,
        precision,
        variance,
        weight=rng.uniform(0.5, 2, n_users + 1).astype(dtype),
        noise=np.full(1, 2, dtype),
        squares=np.zeros(n_users + 1, dtype),
        data={name: np.zeros_like(v) for name, v in variance.items()},
        **previous_of(architecture, rng, dtype, n_items),
        ordinal=ORDINAL if architecture.likelihood == "ordinal" else None,
    )
    return replace(objective, **fields)


def previous_of(architecture, rng, dtype, n_items=N_ITEMS):
    """What an objective has of previous items."""
    if not architecture.previous_item:
        return {}
    n, k = n_items + 1, architecture.embedding_dim
    vectors, variance = rng.normal(0, 0.5, (n, k + 1)), rng.uniform(0, 0.5, (n, k))
    return {"previous": vectors.astype(dtype), "previous_variance": variance.astype(dtype)}


# Not evenly spaced, and one of them, 2, is given by nobody.
ORDINAL = CumulativeLogit(np.array([0.5, 1.0, 2.0, 3.0, 3.5, 5.0]), 0.8)


def in_categories(batch):
    """The same batch with ratings that are categories of `ORDINAL`."""
    users, items, ratings = batch
    given = ORDINAL.steps[[0, 1, 3, 4, 5]]
    return users, items, given[np.arange(len(ratings)) % 5].astype(ratings.dtype)


def draw_batch(seed=0, n=16, dtype=np.float64):
    """More ratings than users and items, so that ids repeat; which of them are there changes by seed."""
    rng = np.random.default_rng(seed)
    users = rng.choice(N_USERS, N_USERS // 2, replace=False)[rng.integers(0, N_USERS // 2, n)]
    items = rng.choice(N_ITEMS, N_ITEMS // 2, replace=False)[rng.integers(0, N_ITEMS // 2, n)]
    return users.astype(np.int32), items.astype(np.int32), rng.uniform(0.5, 5, n).astype(dtype)


def with_time_bins(batch, seed=0):
    """The batch with time bins, some of them and not all."""
    rng = np.random.default_rng(seed)
    bins = rng.choice(N_TIME_BINS, N_TIME_BINS // 2 + 1, replace=False)
    return *batch, bins[rng.integers(0, len(bins), len(batch[0]))].astype(np.int32)


def with_previous_items(batch, seed=0):
    """The batch with items that users rated before, of some users none; time bins are None if it has none."""
    rng = np.random.default_rng(seed)
    users, items, ratings, bins = *batch, *([None] if len(batch) == 3 else [])
    return users, items, ratings, bins, rng.integers(0, N_ITEMS + 1, len(users)).astype(np.int32)


def as_tensors(*arrays):
    types = {"f": torch.float64, "i": torch.int64}
    return [None if a is None else torch.tensor(a, dtype=types[a.dtype.kind]) for a in arrays]


def relative_error(given, expected):
    """Worst over all parameters of the largest difference over the largest element."""
    assert given.keys() == expected.keys()
    return max(np.abs(given[n] - expected[n]).max() / np.abs(expected[n]).max() for n in expected)


class CutOffError(Exception):
    """Stands for whatever ends a training."""


def cut_off(progress):
    if progress.epoch == 4:
        raise CutOffError


def require_resumed_to_the_bit(new_model, ratings, folder):
    """A training cut off in its fourth epoch, and gone on with, ends as an undisturbed one."""
    with pytest.raises(CutOffError):
        new_model().fit(ratings, on_progress=cut_off, checkpoint_dir=folder)
    resumed = new_model().fit(ratings, checkpoint_dir=folder)
    undisturbed = new_model().fit(ratings)
    assert resumed.history_.train_loss == undisturbed.history_.train_loss
    for name, value in undisturbed.parameters_.items():
        assert resumed.parameters_[name].tobytes() == value.tobytes()
