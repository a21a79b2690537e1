"""What the engines are tried on: forms of models, parameters, penalties and batches, float64 by default."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from numpy_neural_mf.mf import architecture
from numpy_neural_mf.mf.side_features import Bags, moments
from numpy_neural_mf.nn import ACTIVATIONS, CumulativeLogit

# Dropout draws from a generator of one's own: what is to be compared goes without, unless a test asks for it.
Architecture = partial(architecture.Architecture, dropout=0.0)
A_SMALL, B_MEDIUM, C_WIDE = (
    replace(given, dropout=0.0)
    for given in (architecture.A_SMALL, architecture.B_MEDIUM, architecture.C_WIDE)
)

N_USERS, N_ITEMS = 9, 6

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


def draw_parameters(architecture, dtype=np.float64, n_users=N_USERS, n_items=N_ITEMS, bags=None):
    """No parameter is zero, so none can be left out unseen."""
    rng = np.random.default_rng(7)
    n_steps = len(ORDINAL.steps) if architecture.likelihood == "ordinal" else 0
    n_features = {f"n_{side}_features": of_side.matrix.shape[1] for side, of_side in (bags or {}).items()}
    shapes = architecture.parameter_shapes(n_users, n_items, **n_features, n_steps=n_steps)
    return {name: (0.5 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


def draw_penalty(dtype=np.float64):
    rng = np.random.default_rng(8)
    return tuple(rng.uniform(0, 0.3, n + 1).astype(dtype) for n in (N_USERS, N_ITEMS))


def draw_bags(*sides, n_periods=0):
    """Rows of none, one or several of seven features, one of which nobody has; the unknown has none."""
    rng, bags = np.random.default_rng(9), {}
    for side, n in (("user", N_USERS), ("item", N_ITEMS)):
        X = 0.4 * rng.normal(size=(n + 1, 7)) * (rng.random((n + 1, 7)) < 0.4)
        X[-1], X[0], X[:, 3] = 0, 0, 0
        if side in sides:
            bags[side] = Bags(csr_array(X), rng.uniform(0, 0.3, 7 + n_periods), n_periods)
    return bags


# Not evenly spaced, and one of them, 2, is given by nobody.
ORDINAL = CumulativeLogit(np.array([0.5, 1.0, 2.0, 3.0, 3.5, 5.0]), 0.8)


def in_steps(batch):
    """The same batch with ratings that are steps of `ORDINAL`."""
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


def draw_moments(n_periods, seed=0, dtype=np.float64):
    """A batch whose ratings are at some periods, not at all."""
    rng = np.random.default_rng(seed)
    users, items, ratings = draw_batch(seed, dtype=dtype)
    periods = rng.choice(n_periods, n_periods // 2 + 1, replace=False)
    drawn = periods[rng.integers(0, len(periods), len(ratings))]
    return moments(users, drawn, n_periods), moments(items, drawn, n_periods), ratings


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
