"""The loops of the Gibbs sampler, compiled by Numba: every draw depends on the one before it."""

from __future__ import annotations

import math

from numba import njit

compiled = njit(fastmath=True, nogil=True, error_model="numpy", cache=True)


@compiled
def take_out(row_of, h, precision, Xv, residual, A, B):
    """Add h_n (X v)_row(n) to the residual e_n of each rating; sums over the ratings of each row.

    A = Σ p h² and B = Σ p h e, with precisions p_n and e as it was before: what the conditionals of all of v
    depend on, so that a draw costs the entries of X, not their ratings (Rendle, 2013, "Scaling factorization
    machines to relational data").
    """
    A[:] = 0.0
    B[:] = 0.0
    for n in range(len(row_of)):
        row, weighted = row_of[n], precision[n] * h[n]
        A[row] += weighted * h[n]
        B[row] += weighted * residual[n]
        residual[n] += h[n] * Xv[row]


@compiled
def put_back(row_of, h, Xv, residual):
    """Take h_n (X v)_row(n) from the residual again."""
    for n in range(len(row_of)):
        residual[n] -= h[n] * Xv[row_of[n]]


@compiled
def draw_columns(starts, rows, x, field, mean, inverse_variance, z, v, Xv, A, B):
    """Draw the coefficient v_c of each column c of X given all others.

    The conditional of v_c is normal with precision Λ_c + Σ_n p_n h_n² x² and mean
    (Λ_c m_c + Σ_n p_n h_n x (e_n + h_n x v_c)) / precision (Rendle, 2012, "Factorization machines with
    libFM", eq. 25). `v`, `Xv` and `B` are brought up to date; `A` and `B` are those of `take_out`.
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
    """Multiply each field, its coefficients, their mean and standard deviation, by one number s > 0.

    Given its coefficients a precision hardly moves where they are many, and given the precision hardly the
    coefficients where ratings say little of each. Together they do: Metropolis' walk over log s (Liu and
    Sabatti, 2000, "Generalised Gibbs sampler and multigrid Monte Carlo"). The logarithm of the target is
    b (s - 1) - a (s - 1)² / 2 - r Λ / (2 s²) - log s with y = X v of the field alone, a = Σ A y², b = Σ B y
    and the prior Λ ~ Gamma(1/2, r/2).

    `steps` are those of the walk, `log_u` what they are accepted by: shape (n_fields, n_steps).
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
def add_likelihood(row_of, told, kinds, precision, residual, log_p):
    """Add to log_p[row, k] the log likelihood of its ratings, were the row of kind k: but for a constant.

    `told[n, k]` is what kind k adds to rating n, `kinds` the kind of each row as it is in the residual.
    """
    for n in range(len(row_of)):
        row = row_of[n]
        without = residual[n] + told[n, kinds[row]]
        for k in range(told.shape[1]):
            log_p[row, k] += precision[n] * told[n, k] * (without - 0.5 * told[n, k])


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
