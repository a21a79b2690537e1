"""The kernels of the Numba engine: loss, gradients and predictions of a batch, in one pass over its rows.

A batch is cut into tiles of `TILE` ratings; a tile stays in the processor's cache from the gathering of its
rows to their gradients. Sums over a batch have an order that does not depend on the number of threads, so
that any number gives the same bits.
"""

from collections import namedtuple

from numba import prange

from .numba_compat import AHEAD, compiled, prefetch
from .numba_layers import TILE, activate, add_outer, add_product, drop, rating_loss

# Users, items and time bins of ratings, int32 arrays of shape (n,); no bins for a model without time.
Pairs = namedtuple("Pairs", "users items bins")

# Parameters, form and dropout. The vectors of a rating are P_u + Y_t and Q_i + Z_t, its biases b_u + b_y and
# b_i + b_z; absent tables have no columns, absent biases and cutpoints θ no rows. The MLP's weights and
# biases lie one after another, those of a layer from `starts`; dropout keeps a unit with probability `keep`.
Model = namedtuple(
    "Model",
    "P Q b_u b_i Y Z b_y b_z mu product sizes activation weights transposed starts theta tau keep key",
)


@compiled
def gather(table, ids, first, n, x):
    """x[f, t] = table[ids[first + t], f]; what is beyond the n ratings of the tile is zero."""
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


@compiled
def add_gathered(table, bins, first, n, x):
    """x[f, t] += table[bins[first + t], f]."""
    for t in range(n):
        row = table[bins[first + t]]
        for f in range(table.shape[1]):
            x[f, t] += row[f]


@compiled
def forward(pairs, first, n, model, x, slope, y, position):
    """y = r̂ of a tile. x holds, one below the other, p and q and the inputs of all layers; slope alike.

    The first layer's input is p and q; where some of it is dropped, a copy comes between.
    """
    users, items, bins = pairs.users, pairs.items, pairs.bins
    sizes, weights, starts = model.sizes, model.weights, model.starts
    keep, k = model.keep, model.P.shape[1]
    y[:] = model.mu
    if len(model.b_u):
        for t in range(n):
            y[t] += model.b_u[users[first + t], 0] + model.b_i[items[first + t], 0]
            if len(bins):
                y[t] += model.b_y[bins[first + t], 0] + model.b_z[bins[first + t], 0]
    if k == 0:
        return
    gather(model.P, users, first, n, x[:k])
    gather(model.Q, items, first, n, x[k : 2 * k])
    if len(bins):
        add_gathered(model.Y, bins, first, n, x[:k])
        add_gathered(model.Z, bins, first, n, x[k : 2 * k])
    if model.product:
        for f in range(k):
            p, q = x[f], x[k + f]
            for t in range(TILE):
                y[t] += p[t] * q[t]
    n_layers = len(sizes) - 1
    top = 0  # where the layer's input begins
    if keep < 1:
        top = 2 * k
        x[top : top + 2 * k] = x[: 2 * k]
        slope[top : top + 2 * k] = 1
    for layer in range(n_layers):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        inputs, slopes = x[top : top + n_in], slope[top : top + n_in]
        if layer:
            activate(model.activation, inputs, slopes, n_in)
        if keep < 1:
            drop(inputs, slopes, n_in, keep, model.key, (position * x.shape[0] + top) * TILE)
        W = weights[starts[layer] : starts[layer] + n_out * n_in].reshape(n_out, n_in)
        if layer == n_layers - 1:
            add_product(W, inputs, y.reshape(1, TILE), 1, n_in)
        else:
            bias = weights[starts[layer] + n_out * n_in : starts[layer + 1]]
            top += n_in
            z = x[top : top + n_out]
            for o in range(n_out):
                z[o] = bias[o]
            add_product(W, inputs, z, n_out, n_in)


@compiled
def backward(model, x, slope, dr, dx, g):
    """dx[: 2 k] = dL/d[p, q] of a tile and g += dL/dweights, from dr = dL/dr̂; the rest of dx is scratch."""
    k, sizes, starts = model.P.shape[1], model.sizes, model.starts
    n_layers, keep = len(sizes) - 1, model.keep
    top = 2 * k if keep < 1 else 0
    for layer in range(n_layers - 1):
        top += sizes[layer]
    dy = dr.reshape(1, TILE)
    for layer in range(n_layers - 1, -1, -1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        end = starts[layer] + n_out * n_in
        dW, WT = g[starts[layer] : end].reshape(n_out, n_in), model.transposed[starts[layer] : end]
        add_outer(dy, x[top : top + n_in], dW, n_out, n_in)
        if layer < n_layers - 1:
            dc = g[end : starts[layer + 1]]
            for o in range(n_out):
                total = dc.dtype.type(0)
                for t in range(TILE):
                    total += dy[o, t]
                dc[o] += total
        inner = dx[top : top + n_in]
        inner[:] = 0
        add_product(WT.reshape(n_in, n_out), dy, inner, n_in, n_out)
        if layer or keep < 1:
            for f in range(n_in):
                d, s = inner[f], slope[top + f]
                for t in range(TILE):
                    d[t] *= s[t]
        dy = inner
        if layer:
            top -= sizes[layer - 1]
    if keep < 1:
        dx[: 2 * k] = dy
    if model.product:
        for f in range(k):
            p, q, dp, dq = x[f], x[k + f], dx[f], dx[k + f]
            for t in range(TILE):
                dp[t] += dr[t] * q[t]
                dq[t] += dr[t] * p[t]


@compiled
def factor_gradients(pairs, ratings, first, size, model, d_theta, row_gradients, residuals):
    """Without an MLP: the loss of a tile, summed, and gradients, from rows where they lie."""
    users, items, bins = pairs.users, pairs.items, pairs.bins
    P, Q, n, k, loss = model.P, model.Q, len(users), model.P.shape[1], 0.0
    for r in range(first, first + size):
        if r + AHEAD < n:
            prefetch(P, users[r + AHEAD])
            prefetch(Q, items[r + AHEAD])
        y, p, q, g = model.mu, P[users[r]], Q[items[r]], row_gradients[r]
        if len(model.b_u):
            y += model.b_u[users[r], 0] + model.b_i[items[r], 0]
        if len(bins):
            if len(model.b_u):
                y += model.b_y[bins[r], 0] + model.b_z[bins[r], 0]
            at_user, at_item = model.Y[bins[r]], model.Z[bins[r]]
            for f in range(k):
                g[f] = q[f] + at_item[f]
                g[k + f] = p[f] + at_user[f]
                y += g[f] * g[k + f]
        else:
            for f in range(k):
                y += p[f] * q[f]
        value, dr = rating_loss(y, ratings[r], n, model.theta, model.tau, d_theta)
        loss += value
        residuals[r] = dr
        if len(bins):
            for f in range(2 * k):
                g[f] *= dr
        else:
            for f in range(k):
                g[f] = dr * q[f]
                g[k + f] = dr * p[f]
    return loss


@compiled
def tile_gradients(pairs, ratings, first, size, tile, model, d_theta, scratch, g, row_gradients, residuals):
    """With an MLP: the loss of a tile, summed, and gradients."""
    x, slope, dx = scratch[0], scratch[1], scratch[2]
    y, dr = scratch[3, 0], scratch[3, 1]
    n, k, loss = len(ratings), model.P.shape[1], 0.0
    forward(pairs, first, size, model, x, slope, y, tile)
    dr[:] = 0
    for t in range(size):
        value, dr[t] = rating_loss(y[t], ratings[first + t], n, model.theta, model.tau, d_theta)
        loss += value
        residuals[first + t] = dr[t]
    backward(model, x, slope, dr, dx, g)
    for t in range(size):
        row = row_gradients[first + t]
        for f in range(2 * k):
            row[f] = dx[f, t]
    return loss


@compiled
def add_by_bin(bins, first, size, row_gradients, residuals, sums):
    """Add the gradients of the rows of a tile, and of the biases, to the sums of their time bins."""
    k = row_gradients.shape[1]
    for r in range(first, first + size):
        row, total = row_gradients[r], sums[bins[r]]
        for f in range(k):
            total[f] += row[f]
        total[k] += residuals[r]


@compiled(parallel=True)
def gradients(
    n_threads, pairs, ratings, model, scratch, chunk_gradients, chunk_theta, chunk_bins, chunk_losses,
    row_gradients, residuals,
):  # fmt: skip
    """Losses and gradients of a batch, chunk by chunk; of the rows for each rating, shape (n, 2 k).

    With cutpoints θ, ratings are numbers of categories, and the gradients of θ are of sums, not means.
    """
    n = len(ratings)
    n_tiles, n_chunks = -(-n // TILE), len(chunk_losses)
    for thread in prange(n_threads):
        for chunk in range(thread, n_chunks, n_threads):
            g, d_theta, loss = chunk_gradients[chunk], chunk_theta[chunk], 0.0
            g[:], d_theta[:], chunk_bins[chunk] = 0, 0, 0
            for tile in range(n_tiles * chunk // n_chunks, n_tiles * (chunk + 1) // n_chunks):
                first = tile * TILE
                size = min(TILE, n - first)
                if len(model.sizes):
                    loss += tile_gradients(
                        pairs, ratings, first, size, tile, model, d_theta, scratch[thread], g, row_gradients,
                        residuals,
                    )  # fmt: skip
                else:
                    loss += factor_gradients(
                        pairs, ratings, first, size, model, d_theta, row_gradients, residuals
                    )
                if len(pairs.bins):
                    add_by_bin(pairs.bins, first, size, row_gradients, residuals, chunk_bins[chunk])
            chunk_losses[chunk] = loss


@compiled
def predict(pairs, model, scratch, predictions):
    """r̂ of pairs, shape (n,)."""
    n = len(predictions)
    for first in range(0, n, TILE):
        size, y = min(TILE, n - first), scratch[3, 0]
        forward(pairs, first, size, model, scratch[0], scratch[1], y, 0)
        predictions[first : first + size] = y[:size]
