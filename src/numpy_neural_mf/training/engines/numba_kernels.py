"""The kernels of the Numba engine: loss, gradients and predictions of a batch, in one pass over its rows.

A batch is cut into tiles of `TILE` ratings; a tile stays in the processor's cache from the gathering of its
rows to their gradients. The order of sums over a batch does not depend on the number of threads, so any
number gives the same bits.
"""

from collections import namedtuple

import numpy as np

from ..objective import LEAST_SLOPE
from .numba_compat import AHEAD, compiled, in_threads, inlined, prefetch
from .numba_gather import add_gathered, add_previous, gather, gather_rows
from .numba_layers import TILE, activate, add_noise, add_outer, add_product, rating_loss, unseen

# Users, items, time bins and previous items of ratings: int32 arrays of shape (n,), empty if not used.
Pairs = namedtuple("Pairs", "users items bins previous")

# Parameters and architecture. The vectors of a rating are P_u + Y_t and Q_i + Z_t, its biases b_u + b_y and
# b_i + b_z. Absent tables have no columns, absent biases and cutpoints θ no rows. A holds y and w of previous
# items. The MLP's weights and biases lie one after another; each layer begins at its entry in `starts`.
Model = namedtuple(
    "Model", "P Q b_u b_i Y Z b_y b_z A mu product sizes activation weights transposed starts theta tau steps"
)

# Variances of P, Q, b_u, b_i and y, the weights w of users, half the second derivative of the loss, σ², and
# the key of random signs: see `Objective`.
Spread = namedtuple("Spread", "V W v_u v_i v_y weight curvature noise key")


@inlined
def run_layers(model, x, slope, y, top):
    """Add f of a tile to y. Rows of x hold p, q and the inputs of all layers; slope has the same layout.

    The first layer's input begins at row `top`: p and q themselves, or p and q with noise (`add_noise`).
    """
    sizes, weights, starts = model.sizes, model.weights, model.starts
    n_layers = len(sizes) - 1
    for layer in range(n_layers):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        inputs, slopes = x[top : top + n_in], slope[top : top + n_in]
        if layer:
            activate(model.activation, inputs, slopes, n_in)
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


@inlined
def backward(model, x, v, slope, dr, inverse, weight, cost, dx, g, J2, h):
    """Given dr = dL/dr̂, set dx[: 2 k] = dL/d[p, q] of a tile and add dL/dweights to g.

    The rest of dx is scratch. Sets J2[: 2 k] = w E[J²], with J = dr̂/d[p, q] and inverse = 1 / dr, and adds w
    times the variance of p · q to h, where w is the rating's weight in the variance. The loss has the
    weighted variance with the factor cost / 2.
    """
    k, sizes, starts = model.P.shape[1], model.sizes, model.starts
    n_layers, top = len(sizes) - 1, 2 * k
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
        dy = inner
        if layer:
            for f in range(n_in):
                for t in range(TILE):
                    inner[f, t] *= slope[top + f, t]
            top -= sizes[layer - 1]
    for f in range(2 * k):  # assigning arrays takes seconds to compile: Numba's message on their shapes
        for t in range(TILE):
            dx[f, t] = dy[f, t]
    for f in range(k):
        p, q, dp, dq, v_p, v_q = x[f], x[k + f], dx[f], dx[k + f], v[f], v[k + f]
        if model.product:
            for t in range(TILE):
                dp[t] += dr[t] * q[t]
                dq[t] += dr[t] * p[t]
        of_p, of_q = J2[f], J2[k + f]
        for t in range(TILE):
            J_p, J_q = inverse[t] * dp[t], inverse[t] * dq[t]
            of_p[t], of_q[t] = weight[t] * J_p * J_p, weight[t] * J_q * J_q
        if model.product:  # with uncertain vectors
            for t in range(TILE):
                w_p, w_q = weight[t] * v_p[t], weight[t] * v_q[t]
                of_p[t] += w_q
                of_q[t] += w_p
                w_p *= q[t]
                w_q *= p[t]
                h[t] += w_p * q[t] + w_q * p[t]
                dp[t] += cost * w_q
                dq[t] += cost * w_p


@inlined
def factor_gradients(
    pairs, ratings, first, size, model, spread, d_theta, row_gradients, residuals, squares, curvatures
):  # fmt: skip
    """Fill the gradients of a tile without an MLP, reading rows in place; return the sum of its losses."""
    users, items, bins = pairs.users, pairs.items, pairs.bins
    P, Q, n, k, loss = model.P, model.Q, len(users), model.P.shape[1], 0.0
    cast, follows = type(model.mu), len(pairs.previous) > 0
    for r in range(first, first + size):
        u, i = users[r], items[r]
        if r + AHEAD < n:
            prefetch(P, users[r + AHEAD])
            prefetch(Q, items[r + AHEAD])
            prefetch(spread.V, users[r + AHEAD])
            prefetch(spread.W, items[r + AHEAD])
        y, h, p, q, g = model.mu, cast(0), P[u], Q[i], row_gradients[r]
        if len(model.b_u):
            y += model.b_u[u, 0] + model.b_i[i, 0]
            h += spread.v_u[u, 0] + spread.v_i[i, 0]
        for f in range(k):
            g[f], g[k + f] = q[f], p[f]
        if len(bins):
            if len(model.b_u):
                y += model.b_y[bins[r], 0] + model.b_z[bins[r], 0]
            at_user, at_item = model.Y[bins[r]], model.Z[bins[r]]
            for f in range(k):
                g[f] += at_item[f]
                g[k + f] += at_user[f]
        v_p, v_q = spread.V[u], spread.W[i]
        j = pairs.previous[r] if follows else 0
        added, v_y = model.A[j], spread.v_y[j]
        if follows:
            y += added[k]
            for f in range(k):
                g[k + f] += added[f]
                h += g[f] * g[f] * v_y[f]
        for f in range(k):
            y += g[f] * g[k + f]
            h += g[f] * g[f] * v_p[f] + g[k + f] * g[k + f] * v_q[f]
        w = spread.weight[u]
        value, residuals[r], error = rating_loss(y, ratings[r], n, w, model, d_theta)
        loss += value
        weight, of_rating = cast(spread.curvature * w), curvatures[r]
        dr, c, of_rating[2 * k] = residuals[r], cast(2) / cast(n) * weight, weight
        squares[r] = unseen(error, weight * h, spread)
        for f in range(k):
            of_p, of_q, v = g[f], g[k + f], v_p[f] + v_y[f] if follows else v_p[f]
            of_rating[f] = weight * (of_p * of_p + v_q[f])
            of_rating[k + f] = weight * (of_q * of_q + v)
            g[f] = dr * of_p + c * of_q * v_q[f]
            g[k + f] = dr * of_q + c * of_p * v
    return loss


@inlined
def tile_gradients(
    pairs, ratings, first, size, tile, model, spread, d_theta, scratch, g, row_gradients, residuals, squares,
    curvatures,
):  # fmt: skip
    """Fill the gradients of a tile with an MLP; return the sum of its losses."""
    x, slope, dx, J2 = scratch[0], scratch[1], scratch[2], scratch[4]
    y, dr, weight, inverse, h = scratch[3, 0], scratch[3, 1], scratch[3, 2], scratch[3, 3], scratch[3, 4]
    n, k, loss = len(ratings), model.P.shape[1], 0.0
    v, cast = slope[: 2 * k], type(model.mu)  # the slopes of p and q are not needed
    gather_rows(pairs, first, size, model, x, y)
    gather(spread.V, pairs.users, first, size, v[:k])
    gather(spread.W, pairs.items, first, size, v[k : 2 * k])
    add_noise(x, v, 2 * k, spread.key, tile * TILE, scratch[3, 5].view(np.uint32))
    if len(pairs.previous):  # which the MLP does not use
        add_previous(pairs.previous, first, size, model, x, y)
        add_gathered(spread.v_y, pairs.previous, first, size, v[:k])
    run_layers(model, x, slope, y, 2 * k)
    dr[:], inverse[:], h[:] = 0, 0, 0
    for t in range(size):
        u, i = pairs.users[first + t], pairs.items[first + t]
        w = spread.weight[u]
        weight[t] = spread.curvature * w
        value, dr[t], y[t] = rating_loss(y[t], ratings[first + t], n, w, model, d_theta)  # y: the error
        loss += value
        residuals[first + t] = dr[t]
        inverse[t] = cast(1) / dr[t] if abs(dr[t]) > LEAST_SLOPE else cast(0)
        if len(spread.v_u):
            h[t] = weight[t] * (spread.v_u[u, 0] + spread.v_i[i, 0])
    backward(model, x, v, slope, dr, inverse, weight, cast(2) / cast(n), dx, g, J2, h)
    for t in range(size):  # two loops: the strides of four arrays in one would not fit into the cache
        for f in range(2 * k):
            row_gradients[first + t, f] = dx[f, t]
        squares[first + t] = unseen(y[t], h[t], spread)
    for t in range(size):
        for f in range(2 * k):
            curvatures[first + t, f] = J2[f, t]
        curvatures[first + t, 2 * k] = weight[t]
    return loss


@inlined
def add_by_bin(bins, first, size, row_gradients, residuals, sums):
    """Add the gradients of the rows of a tile, and of the biases, to the sums of their time bins."""
    k = row_gradients.shape[1]
    for r in range(first, first + size):
        row, total = row_gradients[r], sums[bins[r]]
        for f in range(k):
            total[f] += row[f]
        total[k] += residuals[r]


@inlined
def chunks_of_thread(
    thread, n_threads, factors, layers, pairs, ratings, model, spread, scratch, chunk_gradients, chunk_theta,
    chunk_bins, chunk_losses, row_gradients, residuals, squares, curvatures,
):  # fmt: skip
    """Fill losses and gradients of the chunks of one thread: see `gradients`."""
    n = len(ratings)
    n_tiles, n_chunks = -(-n // TILE), len(chunk_losses)
    for chunk in range(n_chunks * thread // n_threads, n_chunks * (thread + 1) // n_threads):
        g, d_theta, loss = chunk_gradients[chunk], chunk_theta[chunk], 0.0
        g[:], d_theta[:], chunk_bins[chunk] = 0, 0, 0
        for tile in range(n_tiles * chunk // n_chunks, n_tiles * (chunk + 1) // n_chunks):
            first = tile * TILE
            size = min(TILE, n - first)
            if factors is not None:
                loss += factor_gradients(
                    pairs, ratings, first, size, model, spread, d_theta, row_gradients, residuals, squares,
                    curvatures,
                )  # fmt: skip
            if layers is not None:
                loss += tile_gradients(
                    pairs, ratings, first, size, tile, model, spread, d_theta, scratch[thread], g,
                    row_gradients, residuals, squares, curvatures,
                )  # fmt: skip
            if len(pairs.bins):
                add_by_bin(pairs.bins, first, size, row_gradients, residuals, chunk_bins[chunk])
        chunk_losses[chunk] = loss


@compiled
def gradients(
    n_threads, factors, layers, pairs, ratings, model, spread, scratch, chunk_gradients, chunk_theta,
    chunk_bins, chunk_losses, row_gradients, residuals, squares, curvatures,
):  # fmt: skip
    """Fill losses and gradients of a batch by chunk; row gradients are by rating, shape (n, 2 k).

    With cutpoints θ, ratings are category numbers, and the gradients of θ are those of sums, not means. One
    of `factors` and `layers` is None, as the model has no MLP or has one: Numba skips what None rules out.
    """
    in_threads(chunks_of_thread, n_threads, (
        n_threads, factors, layers, pairs, ratings, model, spread, scratch, chunk_gradients, chunk_theta,
        chunk_bins, chunk_losses, row_gradients, residuals, squares, curvatures,
    ))  # fmt: skip


@compiled
def predict(pairs, model, scratch, predictions):
    """Fill the predictions r̂ of pairs, shape (n,)."""
    n = len(predictions)
    for first in range(0, n, TILE):
        size, y = min(TILE, n - first), scratch[3, 0]
        gather_rows(pairs, first, size, model, scratch[0], y)
        run_layers(model, scratch[0], scratch[1], y, 0)
        if len(pairs.previous):
            add_previous(pairs.previous, first, size, model, scratch[0], y)
        predictions[first : first + size] = y[:size]
