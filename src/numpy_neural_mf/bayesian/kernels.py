"""The sequential loops of the Gibbs sampler, compiled by Numba."""

from __future__ import annotations

import math

from ..training.engines.numba_compat import compiled


@compiled
def remove_term(row_of, h, precision, Xv, residual, A, B):
    """Add h_n (X v)_row(n) to the residual e_n of each rating; fill A and B with sums over the rows' ratings.

    A = Σ p h² and B = Σ p h e, with precisions p_n and e before the call, are sufficient statistics for the
    conditionals of v, so a draw costs the entries of X and not those of its expansion to ratings (Rendle,
    2013, "Scaling factorization machines to relational data").
    """
    A[:] = 0.0
    B[:] = 0.0
    for n in range(len(row_of)):
        row, weighted = row_of[n], precision[n] * h[n]
        A[row] += weighted * h[n]
        B[row] += weighted * residual[n]
        residual[n] += h[n] * Xv[row]


@compiled
def restore_term(row_of, h, Xv, residual):
    """Subtract h_n (X v)_row(n) from the residual of each rating."""
    for n in range(len(row_of)):
        residual[n] -= h[n] * Xv[row_of[n]]


@compiled
def draw_columns(starts, rows, x, field, mean, inverse_variance, z, v, Xv, A, B):
    """Draw the coefficient v_c of each column c of X given all others.

    The conditional of v_c is normal with precision Λ_c + Σ_n p_n h_n² x² and mean
    (Λ_c m_c + Σ_n p_n h_n x (e_n + h_n x v_c)) / precision (Rendle, 2012, "Factorization machines with
    libFM", eq. 25). Updates `v`, `Xv` and `B`; `A` and `B` are those of `remove_term`.
    """
    for c in range(len(v)):
        linear, square = 0.0, 0.0
        for entry in range(starts[c], starts[c + 1]):
            row = rows[entry]
            linear += x[entry] * B[row]
            square += x[entry] * x[entry] * A[row]
        prior = inverse_variance[field[c]]
        total = prior + square
        drawn = (prior * mean[field[c]] + linear + square * v[c]) / total + z[c] / math.sqrt(total)
        step = drawn - v[c]
        v[c] = drawn
        for entry in range(starts[c], starts[c + 1]):
            row = rows[entry]
            B[row] -= step * x[entry] * A[row]
            Xv[row] += step * x[entry]


@compiled
def scale_fields(starts, rows, x, ends, steps, log_u, rate, mean, inverse_variance, v, Xv, A, B, y):
    """Multiply the coefficients of each field, their mean and standard deviation, by one number s > 0.

    Given its coefficients, the precision of a large field mixes slowly, and given the precision, so do
    coefficients with little data. A Metropolis walk over log s moves both together (Liu and Sabatti, 2000,
    "Generalised Gibbs sampler and multigrid Monte Carlo"). With y = X v of the field, a = Σ A y², b = Σ B y
    and the prior Λ ~ Gamma(1/2, r/2), the log density of the target is
    b (s - 1) - a (s - 1)² / 2 - r Λ / (2 s²) - log s.

    `steps` are the proposed steps of log s, `log_u` the logarithms of the uniform variates that accept or
    reject them: shape (n_fields, n_steps).
    """
    first = 0
    for f in range(len(ends)):
        y[:] = 0.0
        for c in range(first, ends[f]):
            for entry in range(starts[c], starts[c + 1]):
                y[rows[entry]] += x[entry] * v[c]
        a, b, prior = 0.0, 0.0, rate[f] * inverse_variance[f]
        for row in range(len(y)):
            a += A[row] * y[row] * y[row]
            b += B[row] * y[row]
        s, old = 1.0, -0.5 * prior
        for n in range(steps.shape[1]):
            t = s * math.exp(steps[f, n])
            new = b * (t - 1.0) - 0.5 * a * (t - 1.0) ** 2 - 0.5 * prior / (t * t) - math.log(t)
            if log_u[f, n] < new - old:
                s, old = t, new
        mean[f] *= s
        inverse_variance[f] /= s * s
        for c in range(first, ends[f]):
            v[c] *= s
        for row in range(len(y)):
            Xv[row] += (s - 1.0) * y[row]
            B[row] -= (s - 1.0) * y[row] * A[row]
        first = ends[f]


@compiled
def add_cluster_log_likelihood(row_of, effect, clusters, precision, residual, log_p):
    """Add to log_p[row, k] the log likelihood of the row's ratings in cluster k, up to a constant.

    `effect[n, k]` is the term that cluster k adds to the mean of rating n; `clusters` are the clusters of the
    rows in the residual.
    """
    for n in range(len(row_of)):
        row = row_of[n]
        without = residual[n] + effect[n, clusters[row]]
        for k in range(effect.shape[1]):
            log_p[row, k] += precision[n] * effect[n, k] * (without - 0.5 * effect[n, k])


@compiled
def log_likelihood(starts, order, gaps, target, precision, variance, timescale):
    """Log density of noisy observations of the paths, up to a constant: see `draw_paths`."""
    total = 0.0
    for group in range(len(starts) - 1):
        m, P = 0.0, variance
        for i in range(starts[group], starts[group + 1]):
            a = math.exp(-gaps[i] / timescale)
            m, P = a * m, a * a * P + variance * (1.0 - a * a)
            F = P + 1.0 / precision[order[i]]
            error = target[order[i]] - m
            total -= 0.5 * (math.log(F) + error * error / F)
            m, P = m + P / F * error, P - P / F * P
    return total


@compiled
def draw_paths(starts, order, gaps, target, precision, variance, timescale, z, m, P, path):
    """Draw the path of each group's Ornstein-Uhlenbeck process, given noisy observations of it.

    From one rating to the next the process decays by a = exp(-gap/timescale) and gains as much variance as it
    loses: d_n = a d_(n-1) + N(0, s² (1 - a²)). A forward Kalman filter is followed by backward sampling
    (Carter and Kohn, 1994, "On Gibbs sampling for state space models").

    Fills `path` and the filtered moments `m` and `P`, all in the order of the timeline.
    """
    for group in range(len(starts) - 1):
        first, end = starts[group], starts[group + 1]
        mean, spread = 0.0, variance
        for i in range(first, end):
            a = math.exp(-gaps[i] / timescale)
            mean, spread = a * mean, a * a * spread + variance * (1.0 - a * a)
            F = spread + 1.0 / precision[order[i]]
            mean += spread / F * (target[order[i]] - mean)
            spread -= spread / F * spread
            m[i], P[i] = mean, spread
        for i in range(end - 1, first - 1, -1):
            mean, spread = m[i], P[i]
            if i < end - 1:
                a = math.exp(-gaps[i + 1] / timescale)
                gain = a * spread / (a * a * spread + variance * (1.0 - a * a))
                mean += gain * (path[i + 1] - a * mean)
                spread = max(spread - gain * a * spread, 0.0)
            path[i] = mean + math.sqrt(spread) * z[i]
