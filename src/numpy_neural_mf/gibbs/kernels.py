"""The loops of the Gibbs sampler, compiled by Numba: every draw depends on the one before it."""

from __future__ import annotations

import math

from numba import njit

compiled = njit(fastmath=True, nogil=True, error_model="numpy", cache=True)


@compiled
def draw_columns(
    row_of, h, residual, precision, starts, rows, x, field, mean, inverse_variance, z, v, Xv, A, B
):
    """Draw the coefficient v_c of each column c of X given all others, where r̂ holds h_n (X v)_row(n).

    With residuals e_n and precisions p_n, the conditional of v_c is normal with precision
    Λ_c + Σ_n p_n h_n² x² and mean (Λ_c m_c + Σ_n p_n h_n x (e_n + h_n x v_c)) / precision (Rendle, 2012,
    "Factorization machines with libFM", eq. 25). Σ over ratings is gathered by row of X first, A = Σ p h² and
    B = Σ p h e, so that a draw costs the entries of its column, not their ratings (Rendle, 2013, "Scaling
    factorization machines to relational data").

    `v`, `Xv` and `residual` are brought up to date; `A` and `B` are room for the sums, one for each row.
    """
    A[:] = 0.0
    B[:] = 0.0
    for n in range(len(row_of)):
        row, weighted = row_of[n], precision[n] * h[n]
        A[row] += weighted * h[n]
        B[row] += weighted * residual[n]
        residual[n] += h[n] * Xv[row]
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
    for n in range(len(row_of)):
        residual[n] -= h[n] * Xv[row_of[n]]


@compiled
def log_likelihood(starts, order, gaps, target, precision, variance, timescale):
    """Log density, but for a constant, of what a timeline is observed as: see `draw_levels`."""
    total = 0.0
    for group in range(len(starts) - 1):
        m, P = 0.0, variance
        for place in range(starts[group], starts[group + 1]):
            a = math.exp(-gaps[place] / timescale)
            m, P = a * m, a * a * P + variance * (1.0 - a * a)
            F = P + 1.0 / precision[order[place]]
            error = target[order[place]] - m
            total -= 0.5 * (math.log(F) + error * error / F)
            m, P = m + P / F * error, P - P / F * P
    return total


@compiled
def draw_levels(starts, order, gaps, target, precision, variance, timescale, z, m, P, level):
    """Draw the path of each group of an Ornstein-Uhlenbeck process, given noisy observations of it.

    The level falls to exp(-gap/timescale) of itself from one rating to the next, and as much of the variance
    comes anew as is lost: d_n = a d_(n-1) + N(0, s² (1 - a²)). Forward a Kalman filter, backward a draw
    (Carter and Kohn, 1994, "On Gibbs sampling for state space models").

    `level` is filled in, in the order of the timeline, as are `m` and `P`, the filtered moments.
    """
    for group in range(len(starts) - 1):
        first, end = starts[group], starts[group + 1]
        mean, spread = 0.0, variance
        for place in range(first, end):
            a = math.exp(-gaps[place] / timescale)
            mean, spread = a * mean, a * a * spread + variance * (1.0 - a * a)
            F = spread + 1.0 / precision[order[place]]
            mean += spread / F * (target[order[place]] - mean)
            spread -= spread / F * spread
            m[place], P[place] = mean, spread
        for place in range(end - 1, first - 1, -1):
            mean, spread = m[place], P[place]
            if place < end - 1:
                a = math.exp(-gaps[place + 1] / timescale)
                gain = a * spread / (a * a * spread + variance * (1.0 - a * a))
                mean += gain * (level[place + 1] - a * mean)
                spread = max(spread - gain * a * spread, 0.0)
            level[place] = mean + math.sqrt(spread) * z[place]
