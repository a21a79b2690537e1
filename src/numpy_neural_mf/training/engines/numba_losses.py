"""The loss of one rating and its derivatives, compiled by Numba."""

from __future__ import annotations

import math

from .numba_compat import compiled


@compiled
def ordinal_loss(y, step, theta, tau, d_theta):
    """-log P of an ordinal category, and its derivative by y; adds those by θ. See nn/ordinal.py."""
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
def rating_loss(y, rating, n, theta, tau, d_theta):
    """The loss of a rating, and its derivative by y in the mean over n ratings."""
    c = type(y)
    if len(theta):
        loss, dy = ordinal_loss(y, int(rating), theta, tau, d_theta)
        return float(loss), dy / c(n)
    error = y - rating
    return float(error * error), c(2) / c(n) * error
