"""The loops of the Gibbs sampler, compiled by Numba; loops over a part of the ratings may run in threads."""

from __future__ import annotations

import math

import numpy as np

from ..training.engines.numba_compat import compiled


@compiled
def weight(block, is_bias, u, i, z):
    """Return the weight of a block's bias or factor in a rating's mean: users 0, items 1, contexts 2."""
    if is_bias:
        return 1.0
    return i + z if block == 0 else u + z if block == 1 else u + i


@compiled
def sum_rows(part, bounds, rows, updated, drawn, first, is_bias, now, step, precision, residual, sums):
    """Update residuals by the step of the block drawn last, and sum over each row of the next block.

    The sums A = Σ p h² and B = Σ p h e, with precision p, weight h and residual e, are sufficient statistics.
    So the cost of a draw grows with the entries of X, not with the entries of its expansion to ratings
    (Rendle, 2013, "Scaling factorization machines to relational data"). rows[b, n] is the row of rating n in
    `now` and `step`, which hold the rows of all blocks; the rows of the next block begin at `first`. Block -1
    means no block.
    """
    A, B = sums[part]
    A[:] = 0.0
    B[:] = 0.0
    for n in range(bounds[part], bounds[part + 1]):
        u, i, z = now[rows[0, n]], now[rows[1, n]], 0.0
        for context in range(2, len(rows)):
            z += now[rows[context, n]]
        if updated >= 0:
            residual[n] -= weight(updated, is_bias, u, i, z) * step[rows[updated, n]]
        if drawn >= 0:
            h, row = weight(drawn, is_bias, u, i, z), rows[drawn, n] - first
            weighted = precision[rows[0, n]] * h
            A[row] += weighted * h
            B[row] += weighted * residual[n]


@compiled
def draw_fields(parts, starts, rows, x, ends, z, steps, log_u, rate, mean, inverse_variance, v, Xv, sums):
    """Draw the coefficients of each field of X in turn, up to the columns `ends`, and scale each field.

    `parts` are the sums of `sum_rows`; `sums` holds A, B and y = X v of one field side by side in each row.
    """
    sums[:] = 0.0
    for part in range(len(parts)):
        for row in range(len(sums)):
            sums[row, 0] += parts[part, 0, row]
            sums[row, 1] += parts[part, 1, row]
    first = 0
    Xv[:] = 0.0
    for f in range(len(ends)):
        draw_columns(f, first, ends[f], starts, rows, x, z, mean, inverse_variance, v, sums)
        scale_field(f, first, ends[f], steps, log_u, rate, mean, inverse_variance, v, sums)
        Xv += sums[:, 2]
        first = ends[f]


@compiled
def field_sums(ends, v):
    """Return the sums of each field's coefficients and of their squares, shape (2, n_fields)."""
    sums, first = np.zeros((2, len(ends))), 0
    for f in range(len(ends)):
        total, squares = 0.0, 0.0
        for c in range(first, ends[f]):
            total += v[c]
            squares += v[c] * v[c]
        sums[:, f], first = (total, squares), ends[f]
    return sums


@compiled
def draw_columns(f, first, end, starts, rows, x, z, mean, inverse_variance, v, sums):
    """Draw the coefficient v_c of each column c of a field given all others, and update v, B and y.

    The conditional of v_c is normal with precision Λ + Σ_n p_n h_n² x² and mean
    (Λ m + Σ_n p_n h_n x (e_n + h_n x v_c)) / precision (Rendle, 2012, "Factorization machines with libFM",
    eq. 25).
    """
    sums[:, 2] = 0.0
    prior = inverse_variance[f]
    for c in range(first, end):
        linear, square = 0.0, 0.0
        for entry in range(starts[c], starts[c + 1]):
            row = rows[entry]
            linear += x[entry] * sums[row, 1]
            square += x[entry] * x[entry] * sums[row, 0]
        total = prior + square
        drawn = (prior * mean[f] + linear + square * v[c]) / total + z[c] / math.sqrt(total)
        step = drawn - v[c]
        v[c] = drawn
        for entry in range(starts[c], starts[c + 1]):
            row = rows[entry]
            sums[row, 1] -= step * x[entry] * sums[row, 0]
            sums[row, 2] += drawn * x[entry]


@compiled
def scale_field(f, first, end, steps, log_u, rate, mean, inverse_variance, v, sums):
    """Multiply the coefficients of a field, their mean and standard deviation, by one number s > 0.

    Precision and coefficients mix slowly given each other. A Metropolis walk over log s, with proposals
    `steps` and acceptance by `log_u`, moves both together (Liu and Sabatti, 2000, "Generalised Gibbs sampler
    and multigrid Monte Carlo"). With y = X v of the field, a = Σ A y², b = Σ B y and the prior
    Λ ~ Gamma(1/2, r/2), the log density is b (s - 1) - a (s - 1)² / 2 - r Λ / (2 s²) - log s. The walk
    updates v, B, y and the prior.
    """
    a, b, prior = 0.0, 0.0, rate[f] * inverse_variance[f]
    for row in range(len(sums)):
        y = sums[row, 2]
        a += sums[row, 0] * y * y
        b += sums[row, 1] * y
    s, old = 1.0, -0.5 * prior
    for n in range(steps.shape[1]):
        t = s * math.exp(steps[f, n])
        new = b * (t - 1.0) - 0.5 * a * (t - 1.0) ** 2 - 0.5 * prior / (t * t) - math.log(t)
        if log_u[f, n] < new - old:
            s, old = t, new
    mean[f] *= s
    inverse_variance[f] /= s * s
    v[first:end] *= s
    for row in range(len(sums)):
        sums[row, 1] -= (s - 1.0) * sums[row, 0] * sums[row, 2]
        sums[row, 2] *= s


@compiled
def cluster_log_likelihood(part, bounds, row_of, rows, own, effects, clusters, precision, residual, log_p):
    """Fill log_p[part, row, cluster], each row's log likelihood in each cluster, up to a constant.

    Cluster k adds to the mean of a rating the sum of effects[row, k] over its rows in all blocks except
    `own`. The residual includes the effects of the current `clusters`.
    """
    log_p[part] = 0.0
    effect = np.empty(effects.shape[1])
    for n in range(bounds[part], bounds[part + 1]):
        effect[:] = 0.0
        for block in range(len(rows)):
            if block != own:
                for k in range(len(effect)):
                    effect[k] += effects[rows[block, n], k]
        row = row_of[n]
        without = residual[n] + effect[clusters[row]]
        for k in range(len(effect)):
            log_p[part, row, k] += precision[n] * effect[k] * (without - 0.5 * effect[k])


@compiled
def change_clusters(part, bounds, row_of, rows, own, effects, old, new, residual):
    """Update the residuals of rows whose cluster has changed: see `cluster_log_likelihood`."""
    for n in range(bounds[part], bounds[part + 1]):
        was, now = old[row_of[n]], new[row_of[n]]
        if was != now:
            for block in range(len(rows)):
                if block != own:
                    residual[n] -= effects[rows[block, n], now] - effects[rows[block, n], was]


@compiled
def observe(part, bounds, order, residual, precision, path, target, variance):
    """Fill residuals without the path, and the variances of their noise, in the order of the timeline."""
    for i in range(bounds[part], bounds[part + 1]):
        target[i] = residual[order[i]] + path[i]
        variance[i] = 1.0 / precision[order[i]]


@compiled
def draw_paths(part, groups, starts, order, variance, filtered, z, target, path, residual):
    """Draw the path of each group's process backwards from its filtered moments, and update the residual.

    See Carter and Kohn, 1994, "On Gibbs sampling for state space models".
    """
    a, m, P = filtered
    for group in range(groups[part], groups[part + 1]):
        first, end = starts[group], starts[group + 1]
        for i in range(end - 1, first - 1, -1):
            mean, spread = m[i], P[i]
            if i < end - 1:
                decay = a[i + 1]
                gain = decay * spread / (decay * decay * spread + variance * (1.0 - decay * decay))
                mean += gain * (path[i + 1] - decay * mean)
                spread = max(spread - gain * decay * spread, 0.0)
            path[i] = mean + math.sqrt(spread) * z[i]
            residual[order[i]] = target[i] - path[i]
