"""The loops of the fused engine, compiled by Numba: one step reads each number of a batch once or twice.

A batch is cut into tiles of `TILE` ratings. Within a tile every array is (features, TILE), so that inner
loops run over ratings and fill vector registers, whatever the widths of the layers; a tile stays in the
processor's cache from the gathering of its rows to their gradients. What is summed over a batch is summed in
an order that does not depend on the number of threads: the same bits come out for any.

What a loop calls lies in its file: Numba asks of that file alone whether what it has compiled is still valid.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

from .numba_base import AHEAD, compiled, prefetch

TILE = 128  # ratings
IDENTITY, RELU, LEAKY_RELU, SIGMOID, TANH, GELU = range(6)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent of a float that a loop can take many of at a time."""
    raise NotImplementedError


@overload(tanh)
def _tanh(x: Any) -> Any:
    if x is not types.float32:

        def exact(x: Any) -> Any:
            return math.tanh(x)

        return exact
    c = np.float32

    def rational(x: Any) -> Any:
        # Eigen's rational approximation: beyond 9 tanh is 1 to rounding.
        x = min(max(x, c(-9)), c(9))
        x2 = x * x
        p = c(-2.76076847742355e-16) * x2 + c(2.00018790482477e-13)
        p = p * x2 + c(-8.60467152213735e-11)
        p = p * x2 + c(5.12229709037114e-08)
        p = p * x2 + c(1.48572235717979e-05)
        p = p * x2 + c(6.37261928875436e-04)
        p = p * x2 + c(4.89352455891786e-03)
        q = c(1.19825839466702e-06) * x2 + c(1.18534705686654e-04)
        q = q * x2 + c(2.26843463243900e-03)
        q = q * x2 + c(4.89352518554385e-03)
        return min(max(x * p / q, c(-1)), c(1))

    return rational


@compiled
def add_product(W, x, y, n_out, n_in):
    """y += W x for a tile: x is (n_in, TILE), y is (n_out, TILE); four by four, to reuse registers."""
    whole_in = n_in // 4 * 4
    for o in range(0, n_out - 3, 4):
        y0, y1, y2, y3 = y[o], y[o + 1], y[o + 2], y[o + 3]
        for i in range(0, whole_in, 4):
            a0, a1, a2, a3 = W[o, i], W[o, i + 1], W[o, i + 2], W[o, i + 3]
            b0, b1, b2, b3 = W[o + 1, i], W[o + 1, i + 1], W[o + 1, i + 2], W[o + 1, i + 3]
            c0, c1, c2, c3 = W[o + 2, i], W[o + 2, i + 1], W[o + 2, i + 2], W[o + 2, i + 3]
            d0, d1, d2, d3 = W[o + 3, i], W[o + 3, i + 1], W[o + 3, i + 2], W[o + 3, i + 3]
            x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
            for t in range(TILE):
                # Read before anything is written: for all the compiler knows, y and x might overlap.
                p, q, r, s = x0[t], x1[t], x2[t], x3[t]
                y0[t] += a0 * p + a1 * q + a2 * r + a3 * s
                y1[t] += b0 * p + b1 * q + b2 * r + b3 * s
                y2[t] += c0 * p + c1 * q + c2 * r + c3 * s
                y3[t] += d0 * p + d1 * q + d2 * r + d3 * s
        for i in range(whole_in, n_in):
            a, b, c, d, xi = W[o, i], W[o + 1, i], W[o + 2, i], W[o + 3, i], x[i]
            for t in range(TILE):
                y0[t] += a * xi[t]
                y1[t] += b * xi[t]
                y2[t] += c * xi[t]
                y3[t] += d * xi[t]
    for o in range(n_out // 4 * 4, n_out):
        yo = y[o]
        for i in range(n_in):
            a, xi = W[o, i], x[i]
            for t in range(TILE):
                yo[t] += a * xi[t]


@compiled
def add_outer(dy, x, g, n_out, n_in):
    """g += dy xᵀ for a tile: the gradient of the weights, shape (n_out, n_in)."""
    zero = g.dtype.type(0)
    whole_in = n_in // 4 * 4
    for o in range(0, n_out - 1, 2):
        p, q = dy[o], dy[o + 1]
        for i in range(0, whole_in, 4):
            x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
            a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
            for t in range(TILE):
                a0 += p[t] * x0[t]
                a1 += p[t] * x1[t]
                a2 += p[t] * x2[t]
                a3 += p[t] * x3[t]
                b0 += q[t] * x0[t]
                b1 += q[t] * x1[t]
                b2 += q[t] * x2[t]
                b3 += q[t] * x3[t]
            g[o, i] += a0
            g[o, i + 1] += a1
            g[o, i + 2] += a2
            g[o, i + 3] += a3
            g[o + 1, i] += b0
            g[o + 1, i + 1] += b1
            g[o + 1, i + 2] += b2
            g[o + 1, i + 3] += b3
        for i in range(whole_in, n_in):
            a0, b0, x0 = zero, zero, x[i]
            for t in range(TILE):
                a0 += p[t] * x0[t]
                b0 += q[t] * x0[t]
            g[o, i] += a0
            g[o + 1, i] += b0
    if n_out % 2:
        p = dy[n_out - 1]
        for i in range(n_in):
            a0, x0 = zero, x[i]
            for t in range(TILE):
                a0 += p[t] * x0[t]
            g[n_out - 1, i] += a0


@compiled
def activate(kind, z, slope, n):
    """z ← f(z) and slope ← f'(z) for a tile of n features."""
    c = z.dtype.type
    one, half = c(1), c(0.5)
    for f in range(n):
        y, s = z[f], slope[f]
        if kind == IDENTITY:
            for t in range(TILE):
                s[t] = one
        elif kind == RELU:
            for t in range(TILE):
                s[t] = one if y[t] > 0 else c(0)
                y[t] *= s[t]
        elif kind == LEAKY_RELU:
            for t in range(TILE):
                s[t] = one if y[t] > 0 else c(0.01)
                y[t] *= s[t]
        elif kind == SIGMOID:
            for t in range(TILE):
                y[t] = half + half * tanh(half * y[t])
                s[t] = y[t] * (one - y[t])
        elif kind == TANH:
            for t in range(TILE):
                y[t] = tanh(y[t])
                s[t] = one - y[t] * y[t]
        else:
            a, b = c(math.sqrt(2 / math.pi)), c(0.044715)
            for t in range(TILE):
                x = y[t]
                h = tanh(a * (x + b * x * x * x))
                y[t] = half * x * (one + h)
                s[t] = half * (one + h) + half * x * (one - h * h) * a * (one + c(3) * b * x * x)


@compiled
def drop(x, slope, n, keep, key, first):
    """Inverted dropout of a tile: x and slope are zero with probability 1 - keep, else divided by keep.

    The random number of a unit of a rating is a hash of key and position (Chris Wellons' lowbias32), so that
    it does not depend on which thread asks.
    """
    scale = x.dtype.type(1 / keep)
    limit = np.uint32(min(keep * 2.0**32, 2.0**32 - 1))
    for f in range(n):
        y, s = x[f], slope[f]
        start = np.uint32(first + f * TILE)
        for t in range(TILE):
            h = np.uint32(start + np.uint32(t)) ^ key
            h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D))
            h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B))
            h = np.uint32(h ^ (h >> np.uint32(16)))
            m = scale if h < limit else x.dtype.type(0)
            y[t] *= m
            s[t] *= m


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
def forward(
    users, items, first, n, P, Q, b_u, b_i, mu, product, sizes, activation, weights, starts, x, slope, y,
    keep, key, position,
):  # fmt: skip
    """y = r̂ of a tile. x holds, one below the other, p and q and the inputs of all layers; slope alike.

    The first layer's input is p and q; where some of it is dropped, a copy comes between.
    """
    k = P.shape[1]
    y[:] = mu
    if len(b_u):
        for t in range(n):
            y[t] += b_u[users[first + t], 0] + b_i[items[first + t], 0]
    if k == 0:
        return
    gather(P, users, first, n, x[:k])
    gather(Q, items, first, n, x[k : 2 * k])
    if product:
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
            activate(activation, inputs, slopes, n_in)
        if keep < 1:
            drop(inputs, slopes, n_in, keep, key, (position * x.shape[0] + top) * TILE)
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
def backward(k, product, sizes, transposed, starts, keep, x, slope, dr, dx, g):
    """dx[: 2 k] = dL/d[p, q] of a tile and g += dL/dweights, from dr = dL/dr̂; the rest of dx is scratch."""
    n_layers = len(sizes) - 1
    top = 2 * k if keep < 1 else 0
    for layer in range(n_layers - 1):
        top += sizes[layer]
    dy = dr.reshape(1, TILE)
    for layer in range(n_layers - 1, -1, -1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        end = starts[layer] + n_out * n_in
        dW, WT = g[starts[layer] : end].reshape(n_out, n_in), transposed[starts[layer] : end]
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
    if product:
        for f in range(k):
            p, q, dp, dq = x[f], x[k + f], dx[f], dx[k + f]
            for t in range(TILE):
                dp[t] += dr[t] * q[t]
                dq[t] += dr[t] * p[t]


@compiled
def step_loss(y, step, theta, tau, d_theta):
    """-log P of a step of the scale, and its derivative by y; adds those by θ. See nn/ordinal.py."""
    zero, one, last = theta.dtype.type(0), theta.dtype.type(1), len(theta)
    loss, dy, crowding = zero, zero, zero
    if 0 < step < last:
        gap = (theta[step] - theta[step - 1]) / tau
        loss -= math.log(-math.expm1(-gap))
        crowding = one / math.expm1(gap)
    if step < last:
        b = (theta[step] - y) / tau
        e = math.exp(-abs(b))
        s = (e if b > 0 else one) / (one + e)  # σ(-b)
        loss += math.log1p(e) + max(-b, zero)
        dy += s
        d_theta[step] -= (s + crowding) / tau
    if step > 0:
        a = (theta[step - 1] - y) / tau
        e = math.exp(-abs(a))
        s = (one if a > 0 else e) / (one + e)  # σ(a)
        loss += math.log1p(e) + max(a, zero)
        dy -= s
        d_theta[step - 1] += (s + crowding) / tau
    return loss, dy / tau


@compiled
def factor_gradients(
    users, items, ratings, first, size, P, Q, b_u, b_i, mu, theta, tau, d_theta, row_gradients, residuals
):
    """Without an MLP: the loss of a tile, summed, and gradients, from rows where they lie."""
    n, k, loss, c = len(users), P.shape[1], 0.0, ratings.dtype.type
    scale = c(2) / c(n)
    for r in range(first, first + size):
        if r + AHEAD < n:
            prefetch(P, users[r + AHEAD])
            prefetch(Q, items[r + AHEAD])
        y, p, q, g = mu, P[users[r]], Q[items[r]], row_gradients[r]
        if len(b_u):
            y += b_u[users[r], 0] + b_i[items[r], 0]
        for f in range(k):
            y += p[f] * q[f]
        if len(theta):
            value, dy = step_loss(y, int(ratings[r]), theta, tau, d_theta)
            loss += value
            dr = dy / c(n)
        else:
            error = y - ratings[r]
            loss += error * error
            dr = scale * error
        residuals[r] = dr
        for f in range(k):
            g[f] = dr * q[f]
            g[k + f] = dr * p[f]
    return loss


@njit(fastmath=True, nogil=True, error_model="numpy", cache=True, parallel=True)
def gradients(
    n_threads, users, items, ratings, P, Q, b_u, b_i, mu, product, sizes, activation, weights, starts,
    transposed, theta, tau, keep, key, scratch, chunk_gradients, chunk_theta, chunk_losses, row_gradients,
    residuals,
):  # fmt: skip
    """Losses and gradients of a batch, chunk by chunk; of the rows for each rating, shape (n, 2 k).

    Where there are cutpoints θ, ratings are numbers of steps, and their gradients are of sums, not means.
    """
    n, k, c = len(users), P.shape[1], ratings.dtype.type
    n_tiles, n_chunks = -(-n // TILE), len(chunk_losses)
    scale = c(2) / c(n)
    for thread in prange(n_threads):
        x, slope, dx = scratch[thread, 0], scratch[thread, 1], scratch[thread, 2]
        y, dr = scratch[thread, 3, 0], scratch[thread, 3, 1]
        for chunk in range(thread, n_chunks, n_threads):
            g, d_theta, loss = chunk_gradients[chunk], chunk_theta[chunk], 0.0
            g[:], d_theta[:] = 0, 0
            for tile in range(n_tiles * chunk // n_chunks, n_tiles * (chunk + 1) // n_chunks):
                first = tile * TILE
                size = min(TILE, n - first)
                if len(sizes) == 0:
                    loss += factor_gradients(users, items, ratings, first, size, P, Q, b_u, b_i, mu,
                                             theta, tau, d_theta, row_gradients, residuals)  # fmt: skip
                    continue
                forward(users, items, first, size, P, Q, b_u, b_i, mu, product, sizes, activation, weights,
                        starts, x, slope, y, keep, key, tile)  # fmt: skip
                dr[:] = 0
                for t in range(size):
                    if len(theta):
                        value, dy = step_loss(y[t], int(ratings[first + t]), theta, tau, d_theta)
                        loss += value
                        dr[t] = dy / c(n)
                    else:
                        error = y[t] - ratings[first + t]
                        loss += error * error
                        dr[t] = scale * error
                    residuals[first + t] = dr[t]
                backward(k, product, sizes, transposed, starts, keep, x, slope, dr, dx, g)
                for t in range(size):
                    row = row_gradients[first + t]
                    for f in range(2 * k):
                        row[f] = dx[f, t]
            chunk_losses[chunk] = loss


@compiled
def predict(
    users, items, P, Q, b_u, b_i, mu, product, sizes, activation, weights, starts, scratch, predictions
):
    """r̂ of pairs, shape (n,)."""
    for first in range(0, len(users), TILE):
        size = min(TILE, len(users) - first)
        y = scratch[3, 0]
        forward(users, items, first, size, P, Q, b_u, b_i, mu, product, sizes, activation, weights, starts,
                scratch[0], scratch[1], y, 1.0, np.uint32(0), 0)  # fmt: skip
        predictions[first : first + size] = y[:size]
