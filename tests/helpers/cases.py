"""Inputs of the engines' tests: architectures, parameters, objectives and batches, float64 by default."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from numpy_neural_mf.mf import architecture
from numpy_neural_mf.mf.side_information import SideFeatures
from numpy_neural_mf.nn import ACTIVATIONS, CumulativeLogit
from numpy_neural_mf.training.objective import Objective

# Each engine draws its own dropout masks: comparisons go without dropout, unless a test asks for it.
Architecture = partial(architecture.Architecture, dropout=0.0)
A_SMALL, B_MEDIUM, C_WIDE = (
    replace(given, dropout=0.0)
    for given in (architecture.A_SMALL, architecture.B_MEDIUM, architecture.C_WIDE)
)

N_USERS, N_ITEMS, N_TIME_BINS = 9, 6, 4

ARCHITECTURES = {
    "A_SMALL": A_SMALL,
    "B_MEDIUM": B_MEDIUM,
    "C_WIDE": C_WIDE,
    "no MLP": Architecture(embedding_dim=5),
    "no MLP, no biases": Architecture(embedding_dim=4, biases=False),
    "no biases": Architecture(embedding_dim=4, hidden_layer_sizes=(5,), biases=False),
    "no product": Architecture(embedding_dim=4, hidden_layer_sizes=(5,), product=False),
    "biases alone": Architecture(product=False),
    "MLP alone": Architecture(embedding_dim=3, hidden_layer_sizes=(4,), biases=False, product=False),
    "widths of one": Architecture(embedding_dim=1, hidden_layer_sizes=(1, 1), activation="tanh"),
    "three hidden layers": Architecture(embedding_dim=3, hidden_layer_sizes=(7, 5, 3), activation="gelu"),
} | {name: Architecture(embedding_dim=4, hidden_layer_sizes=(8, 5), activation=name) for name in ACTIVATIONS}


def draw_parameters(architecture, dtype=np.float64, n_users=N_USERS, n_items=N_ITEMS, side_features=None):
    """No parameter is zero, so none can be left out unseen."""
    rng = np.random.default_rng(7)
    n_steps = len(ORDINAL.steps) if architecture.likelihood == "ordinal" else 0
    n_features = {f"n_{side}_features": f.matrix.shape[1] for side, f in (side_features or {}).items()}
    shapes = architecture.parameter_shapes(n_users, n_items, **n_features, n_steps=n_steps)
    return {name: (0.5 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


def draw_objective(architecture=None, dtype=np.float64, n_users=N_USERS, n_items=N_ITEMS, **fields):
    """Penalties of every row of an architecture; `fields` replace those of the objective."""
    rng = np.random.default_rng(8)
    user_penalty, item_penalty = (rng.uniform(0, 0.3, n + 1).astype(dtype) for n in (n_users, n_items))
    objective = Objective(user_penalty, item_penalty)
    if architecture is not None and architecture.periods:
        of_bins = {side: rng.uniform(0, 0.3, architecture.periods).astype(dtype) for side in ("user", "item")}
        objective = replace(objective, time_penalty=of_bins)
    if architecture is not None and architecture.likelihood == "ordinal":
        objective = replace(objective, ordinal=ORDINAL)
    return replace(objective, **fields)


def draw_side_features(*sides):
    """Rows of none, one or several of seven features, one of which nobody has; the unknown has none."""
    rng, found = np.random.default_rng(9), {}
    for side, n in (("user", N_USERS), ("item", N_ITEMS)):
        X = 0.4 * rng.normal(size=(n + 1, 7)) * (rng.random((n + 1, 7)) < 0.4)
        X[-1], X[0], X[:, 3] = 0, 0, 0
        if side in sides:
            found[side] = SideFeatures(csr_array(X), rng.uniform(0, 0.3, 7))
    return found


# Not evenly spaced, and one of them, 2, is given by nobody.
ORDINAL = CumulativeLogit(np.array([0.5, 1.0, 2.0, 3.0, 3.5, 5.0]), 0.8)


def in_categories(batch):
    """The same batch with ratings that are categories of `ORDINAL`."""
    users, items, ratings = batch
    given = ORDINAL.steps[[0, 1, 3, 4, 5]]
    return users, items, given[np.arange(len(ratings)) % 5].astype(ratings.dtype)


SIDES_WITH_FEATURES = {"users": ("user",), "items": ("item",), "both": ("user", "item")}


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


def as_tensors(*arrays):
    return [torch.tensor(a, dtype=torch.float64 if a.dtype.kind == "f" else torch.int64) for a in arrays]


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
