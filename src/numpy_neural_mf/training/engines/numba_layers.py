"""The layers of the MLP on a tile of ratings, and the loss of a rating, compiled by Numba.

Every array of a tile is (features, TILE), so inner loops run over ratings and fill vector registers for any
width of the layers.
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

from ..objective import MOST
from .numba_compat import inlined

TILE = 128  # ratings
IDENTITY, RELU, LEAKY_RELU, SIGMOID, TANH, GELU = range(6)


def tanh(x):
    """Return the hyperbolic tangent of a float in a form that loops can vectorise."""
    raise NotImplementedError


@overload(tanh)
def _tanh(x):
    if x is not types.float32:
        return lambda x: math.tanh(x)
    c = np.float32

    def rational(x):
        # Eigen's rational approximation; beyond 9, tanh is 1 to rounding.
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


@inlined
def add_product(W, x, y, n_out, n_in):
    """Add W x to y for a tile, x (n_in, TILE), y (n_out, TILE), in blocks of four to reuse registers."""
    whole_in, whole_out = n_in // 4 * 4, n_out // 4 * 4
    for o in range(0, whole_out, 4):
        y0, y1, y2, y3 = y[o], y[o + 1], y[o + 2], y[o + 3]
        for i in range(0, whole_in, 4):
            a0, a1, a2, a3 = W[o, i], W[o, i + 1], W[o, i + 2], W[o, i + 3]
            b0, b1, b2, b3 = W[o + 1, i], W[o + 1, i + 1], W[o + 1, i + 2], W[o + 1, i + 3]
            c0, c1, c2, c3 = W[o + 2, i], W[o + 2, i + 1], W[o + 2, i + 2], W[o + 2, i + 3]
            d0, d1, d2, d3 = W[o + 3, i], W[o + 3, i + 1], W[o + 3, i + 2], W[o + 3, i + 3]
            x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
            for t in range(TILE):
                # Read before anything is written: for all the compiler knows, y and x may overlap.
                p, q, r, s = x0[t], x1[t], x2[t], x3[t]
                y0[t] += a0 * p + a1 * q + a2 * r + a3 * s
                y1[t] += b0 * p + b1 * q + b2 * r + b3 * s
                y2[t] += c0 * p + c1 * q + c2 * r + c3 * s
                y3[t] += d0 * p + d1 * q + d2 * r + d3 * s
    for o in range(n_out):
        yo = y[o]
        for i in range(whole_in if o < whole_out else 0, n_in):
            a, xi = W[o, i], x[i]
            for t in range(TILE):
                yo[t] += a * xi[t]


@inlined
def add_outer(dy, x, g, n_out, n_in):
    """Add dy xᵀ, a tile's gradient of the weights, to g, shape (n_out, n_in)."""
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


@inlined
def activate(kind, z, slope, n):
    """Set z ← f(z) and slope ← f'(z) for a tile of n features."""
    c = z.dtype.type
    one, half = c(1), c(0.5)
    for f in range(n):
        y, s = z[f], slope[f]
        if kind == IDENTITY:
            s[:] = one
        elif kind in (RELU, LEAKY_RELU):
            below = c(0) if kind == RELU else c(0.01)
            for t in range(TILE):
                s[t] = one if y[t] > 0 else below
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


@inlined
def add_noise(x, v, n, key, first, hashes):
    """Set x[n : 2 n] = x[:n] ± √v with random signs, for a tile of n features and ratings from `first` on.

    `hashes` is memory for TILE integers.
    """
    # A hash of key and position (Chris Wellons' lowbias32) gives the signs, the same in any thread.
    for word in range(0, n, 32):  # features whose signs are the 32 bits of one hash
        start = np.uint32(first * (1 + n // 32) + word // 32 * TILE)
        for t in range(TILE):
            h = np.uint32(start + np.uint32(t)) ^ key
            h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D))
            h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B))
            hashes[t] = h ^ (h >> np.uint32(16))
        for f in range(word, min(word + 32, n)):
            y, z, u, bit = x[f], x[n + f], v[f], np.uint32(f - word)
            for t in range(TILE):
                s = math.sqrt(u[t])
                z[t] = y[t] + (s if (hashes[t] >> bit) & np.uint32(1) else -s)


@inlined
def ordinal_loss(y, step, theta, tau, d_theta):
    """Return -log P of an ordinal category and its derivative by y; add those by θ. See nn/ordinal.py."""
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


@inlined
def rating_loss(y, rating, n, weight, model, d_theta):
    """Return a rating's loss, its derivative by y in the weighted mean over n ratings, and the error of y.

    With cutpoints, the rating is the number of a category.
    """
    c = type(y)
    if len(model.theta):
        loss, dy = ordinal_loss(y, int(rating), model.theta, model.tau, d_theta)
        return float(loss), dy / c(n), y - model.steps[int(rating)]
    error = y - rating
    return float(error * error), c(2) / c(n) * weight * error, error


@inlined
def unseen(error, variance, spread):
    """Return e² / (1 - h) given w times the variance of r̂; h is the rating's share in its own prediction."""
    c = type(error)
    return error * error / (c(1) - min(variance / c(spread.noise), c(MOST)))
