"""Gathering of the rows that a tile of ratings looks up, by Numba: features come first, ratings last."""

from .numba_compat import AHEAD, inlined, prefetch
from .numba_layers import TILE


@inlined
def gather(table, ids, first, n, x):
    """Set x[f, t] = table[ids[first + t], f]; elements beyond the n ratings of the tile are zero."""
    k = table.shape[1]
    for t in range(n):
        if first + t + AHEAD < len(ids):
            prefetch(table, ids[first + t + AHEAD])
        row = table[ids[first + t]]
        for f in range(k):
            x[f, t] = row[f]
    for t in range(n, TILE):
        for f in range(k):
            x[f, t] = 0


@inlined
def add_gathered(table, bins, first, n, x):
    """Add table[bins[first + t], f] to x[f, t]."""
    for t in range(n):
        row = table[bins[first + t]]
        for f in range(table.shape[1]):
            x[f, t] += row[f]


@inlined
def gather_rows(pairs, first, n, model, x, y):
    """Set x[: 2 k] to p and q of a tile, and y to r̂ without f."""
    users, items, bins = pairs.users, pairs.items, pairs.bins
    k = model.P.shape[1]
    y[:] = model.mu
    if len(model.b_u):
        for t in range(n):
            y[t] += model.b_u[users[first + t], 0] + model.b_i[items[first + t], 0]
            if len(bins):
                y[t] += model.b_y[bins[first + t], 0] + model.b_z[bins[first + t], 0]
    gather(model.P, users, first, n, x[:k])
    gather(model.Q, items, first, n, x[k : 2 * k])
    if len(bins):
        add_gathered(model.Y, bins, first, n, x[:k])
        add_gathered(model.Z, bins, first, n, x[k : 2 * k])
    for f in range(k if model.product else 0):
        p, q = x[f], x[k + f]
        for t in range(TILE):
            y[t] += p[t] * q[t]


@inlined
def add_previous(previous, first, n, model, x, y):
    """Add y_j to x[:k] and y_j · q + w_j to y of a tile, for the previous items j: see `Objective`."""
    k = model.P.shape[1]
    for t in range(n):
        row = model.A[previous[first + t]]
        y[t] += row[k]
        for f in range(k):
            x[f, t] += row[f]
            y[t] += row[f] * x[k + f, t]
