"""Filters and smoothers of Ornstein-Uhlenbeck processes, and ridge regressions, compiled by Numba."""

from __future__ import annotations

import math

import numpy as np

from .engines.numba_compat import compiled


@compiled
def filter_paths(part, groups, starts, gaps, target, noise, parameters, filtered, log_p):
    """Run a Kalman filter for the Ornstein-Uhlenbeck process of each group, given noisy observations.

    From one rating to the next the process decays by a = exp(-gap/timescale) and gains as much variance as it
    loses: d_n = a d_(n-1) + N(0, s² (1 - a²)). `parameters` are pairs of s² and timescale. Each pair has its
    own parts; a part has the groups from groups[part] to groups[part + 1]. The function fills a, the filtered
    mean and variance of each rating, and the log density of the observations, up to a constant.
    """
    pair, part = divmod(part, len(groups) - 1)
    variance, timescale = parameters[pair]
    a, m, P = filtered[pair]
    total, product = 0.0, 1.0
    for group in range(groups[part], groups[part + 1]):
        mean, spread = 0.0, variance
        for i in range(starts[group], starts[group + 1]):
            a[i] = math.exp(-gaps[i] / timescale)
            mean, spread = a[i] * mean, a[i] * a[i] * spread + variance * (1.0 - a[i] * a[i])
            F, error = spread + noise[i], target[i] - mean
            gain = spread / F
            mean, spread = mean + gain * error, spread - gain * spread
            m[i], P[i] = mean, spread
            total += error * error / F
            product *= F  # one logarithm for many factors
            if not 1e-100 < product < 1e100:
                total, product = total + math.log(product), 1.0
    log_p[pair, part] = -0.5 * (total + math.log(product))


@compiled
def smooth_paths(starts, variance, filtered, mean, spread):
    """Fill the mean and variance of each group's process given all its observations.

    This is the smoother of Rauch, Tung and Striebel (1965), from the moments that `filter_paths` filled.
    """
    a, m, P = filtered
    for group in range(len(starts) - 1):
        first, end = starts[group], starts[group + 1]
        for i in range(end - 1, first - 1, -1):
            mean[i], spread[i] = m[i], P[i]
            if i < end - 1:
                decay = a[i + 1]
                ahead = decay * decay * P[i] + variance * (1.0 - decay * decay)
                gain = decay * P[i] / ahead
                mean[i] += gain * (mean[i + 1] - decay * m[i])
                spread[i] += gain * gain * (spread[i + 1] - ahead)


@compiled
def regress(
    starts, order, items, bins, Q, V, Z, target, precision, prior_precision, coefficients, variances
):  # fmt: skip
    """Fill means and variances of the coefficients of each group's ridge regression, shape (n_groups, k + 1).

    Group g has the observations order[starts[g]:starts[g + 1]]. The regressors of an observation are 1 and a
    normal vector with mean Q[item] + Z[bin] and variances V[item].
    """
    d = Q.shape[1] + 1
    x, A, b = np.ones(d), np.empty((d, d)), np.empty(d)
    for group in range(len(starts) - 1):
        A[:], b[:] = 0.0, 0.0
        for place in range(starts[group], starts[group + 1]):
            n = order[place]
            w, q, v, z = precision[n], Q[items[n]], V[items[n]], Z[bins[n]]
            for f in range(d - 1):
                x[f] = q[f] + z[f]
                A[f, f] += w * v[f]
            for f in range(d):
                wx = w * x[f]
                b[f] += wx * target[n]
                for e in range(f + 1):
                    A[f, e] += wx * x[e]
        for f in range(d):
            A[f, f] += prior_precision[f]
            for e in range(f):
                A[e, f] = A[f, e]
        inverse = np.linalg.inv(A)
        coefficients[group] = inverse @ b
        for f in range(d):
            variances[group, f] = inverse[f, f]
