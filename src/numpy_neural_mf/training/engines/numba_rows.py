"""What a step does to tables of rows, compiled by Numba: gradients summed by row, and optimisers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from .numba_compat import AHEAD, compiled, prefetch

SGD, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, ADAM = range(6)


# One number's step: nn/optimizers.py has the formulas. m and s are the optimiser's state, the rest
# `NumbaOptimizer.count_steps`.


def sgd(value, gradient, m, s, rate, h1, h2, epsilon):
    return value - rate * gradient, m, s


def momentum(value, gradient, m, s, rate, decay, h2, epsilon):
    m = decay * m + gradient
    return value - rate * m, m, s


def nesterov(value, gradient, m, s, rate, decay, h2, epsilon):
    m = decay * m + gradient
    return value - rate * (gradient + decay * m), m, s


def adagrad(value, gradient, m, s, rate, h1, h2, epsilon):
    m += gradient * gradient
    return value - rate * gradient / (np.sqrt(m) + epsilon), m, s


def rmsprop(value, gradient, m, s, rate, decay, h2, epsilon):
    one = type(value)(1)
    m = decay * m + (one - decay) * gradient * gradient
    return value - rate * gradient / (np.sqrt(m) + epsilon), m, s


def adam(value, gradient, m, s, rate, beta1, beta2, epsilon):
    one = type(value)(1)
    m = beta1 * m + (one - beta1) * gradient
    s = beta2 * s + (one - beta2) * gradient * gradient
    return value - rate * m / (np.sqrt(s) + epsilon), m, s


def row_loop(formula: Callable[..., Any]) -> Any:
    """A loop over rows for a formula: one that asks in each row which formula took three times as long."""
    formula = compiled(formula)

    @compiled
    def update_by(table, rows, n_rows, g, shrink, a, b, h):
        c, k = table.dtype.type, table.shape[1]
        rate, h1, h2, epsilon, decay = c(h[0]), c(h[1]), c(h[2]), c(h[3]), c(h[4])
        for j in range(n_rows):
            if j + AHEAD < n_rows:
                prefetch(table, rows[j + AHEAD])
                prefetch(a, rows[j + AHEAD])
                prefetch(b, rows[j + AHEAD])
            v, m, s, d, shrunk = table[rows[j]], a[rows[j]], b[rows[j]], g[j], shrink[j]
            for f in range(k):
                x = v[f]
                value, of_m, of_s = formula(decay * x, d[f] + shrunk * x, m[f], s[f], rate, h1, h2, epsilon)
                # In place of what is not remembered there is the table itself, which is written last.
                s[f] = of_s
                m[f] = of_m
                v[f] = value

    return update_by


by_sgd, by_momentum, by_nesterov = row_loop(sgd), row_loop(momentum), row_loop(nesterov)
by_adagrad, by_rmsprop, by_adam = row_loop(adagrad), row_loop(rmsprop), row_loop(adam)


@compiled
def update(kind, table, rows, n_rows, g, shrink, a, b, h):
    """One step of an optimiser on rows of a table.

    The gradient of rows[j] is g[j] + shrink[j] · row; a and b are the optimiser's state, h what its
    formula needs.
    """
    if kind == SGD:
        by_sgd(table, rows, n_rows, g, shrink, a, b, h)
    elif kind == MOMENTUM:
        by_momentum(table, rows, n_rows, g, shrink, a, b, h)
    elif kind == NESTEROV:
        by_nesterov(table, rows, n_rows, g, shrink, a, b, h)
    elif kind == ADAGRAD:
        by_adagrad(table, rows, n_rows, g, shrink, a, b, h)
    elif kind == RMSPROP:
        by_rmsprop(table, rows, n_rows, g, shrink, a, b, h)
    else:
        by_adam(table, rows, n_rows, g, shrink, a, b, h)


@compiled(parallel=True)
def update_rows(
    n_threads, kind, h, users, items, penalty_u, penalty_i, row_gradients, residuals, P, P_a, P_b, Q, Q_a,
    Q_b, b_u, b_u_a, b_u_b, b_i, b_i_a, b_i_b, place_u, place_i, mine, rows, sums, bias_sums, shrink,
):  # fmt: skip
    """Sum the gradients of each row and update it, in the order of the batch; a row belongs to one thread."""
    k = P.shape[1]
    for part in prange(2 * n_threads):
        thread, own, total = part // 2, rows[part], sums[part]
        bias_total, shrunk = bias_sums[part], shrink[part]
        if part % 2 == 0:
            n_rows = sum_rows(users, penalty_u, row_gradients[:, :k], residuals, place_u, mine[part],
                              own, total, bias_total, shrunk, thread, n_threads)  # fmt: skip
            update(kind, P, own, n_rows, total, shrunk, P_a, P_b, h)
            if len(b_u):
                update(kind, b_u, own, n_rows, bias_total, shrunk, b_u_a, b_u_b, h)
        else:
            n_rows = sum_rows(items, penalty_i, row_gradients[:, k:], residuals, place_i, mine[part],
                              own, total, bias_total, shrunk, thread, n_threads)  # fmt: skip
            update(kind, Q, own, n_rows, total, shrunk, Q_a, Q_b, h)
            if len(b_i):
                update(kind, b_i, own, n_rows, bias_total, shrunk, b_i_a, b_i_b, h)


@compiled
def owner(row, n_threads):
    """The thread that a row belongs to, by its number well mixed: popular rows may be neighbours."""
    mixed = np.uint32(np.uint32(row) * np.uint32(0x9E3779B1)) >> np.uint32(16)
    return np.uint32(mixed * np.uint32(n_threads)) >> np.uint32(16)


# Without fast mathematics, which rounds differently in vectorised iterations and in the last ones: the number
# of threads decides which rows are last.
@compiled(fastmath=False)
def shrinkage(count, penalty, n):
    """2 λ / n of a row that `count` of n ratings use."""
    return count * (type(n)(2) / n * penalty)


@compiled
def sum_rows(
    ids, penalty, row_gradients, residuals, place, mine, rows, sums, bias_sums, shrink, thread, n_threads
):
    """The rows of a thread that a batch uses, how many, and the sums of their gradients, in its order.

    place[row] is where the row is among them, -1 before it first comes and again in the end.
    """
    n, k, n_mine, n_rows = len(ids), row_gradients.shape[1], 0, 0
    c = residuals.dtype.type
    zero, one = c(0), c(1)
    for r in range(n):  # without a branch, that no processor could foresee
        mine[n_mine] = r
        n_mine += owner(ids[r], n_threads) == thread
    for r in mine[:n_mine]:
        row, g = ids[r], row_gradients[r]
        j = place[row]
        new = j < 0
        if new:
            j = n_rows
            place[row], rows[j] = j, row
            n_rows += 1
        bias_sums[j, 0] = residuals[r] + (zero if new else bias_sums[j, 0])
        shrink[j] = one + (zero if new else shrink[j])
        total = sums[j]
        for f in range(k):
            before = total[f]
            total[f] = g[f] + (zero if new else before)
    for j in range(n_rows):
        place[rows[j]] = -1
        shrink[j] = shrinkage(shrink[j], penalty[rows[j]], c(n))
    return n_rows
