"""What steps do to tables, compiled by Numba: gradients summed by row, optimisers, per-sample descent."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from ...mf.parameters import Parameters
from ...nn import SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp
from ...nn.optimizers import State
from ...nn.parameter import Array, IntArray
from .numba_compat import AHEAD, compiled, prefetch

OF_SGD, OF_MOMENTUM, OF_NESTEROV, OF_ADAGRAD, OF_RMSPROP, OF_ADAM = range(6)
KINDS: dict[type[Optimizer], int] = {
    SGD: OF_SGD, Adam: OF_ADAM, AdamW: OF_ADAM, RMSProp: OF_RMSPROP, AdaGrad: OF_ADAGRAD,
}  # fmt: skip


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


# The step of one number, looped over rows: nn/optimizers.py has the formulas. m and s are the optimiser's
# state, the rest `NumbaOptimizer.count_steps`.


@row_loop
def sgd(value, gradient, m, s, rate, h1, h2, epsilon):
    return value - rate * gradient, m, s


@row_loop
def momentum(value, gradient, m, s, rate, decay, h2, epsilon):
    m = decay * m + gradient
    return value - rate * m, m, s


@row_loop
def nesterov(value, gradient, m, s, rate, decay, h2, epsilon):
    m = decay * m + gradient
    return value - rate * (gradient + decay * m), m, s


@row_loop
def adagrad(value, gradient, m, s, rate, h1, h2, epsilon):
    m += gradient * gradient
    return value - rate * gradient / (np.sqrt(m) + epsilon), m, s


@row_loop
def rmsprop(value, gradient, m, s, rate, decay, h2, epsilon):
    one = type(value)(1)
    m = decay * m + (one - decay) * gradient * gradient
    return value - rate * gradient / (np.sqrt(m) + epsilon), m, s


@row_loop
def adam(value, gradient, m, s, rate, beta1, beta2, epsilon):
    one = type(value)(1)
    m = beta1 * m + (one - beta1) * gradient
    s = beta2 * s + (one - beta2) * gradient * gradient
    return value - rate * m / (np.sqrt(s) + epsilon), m, s


@compiled
def update(kind, table, rows, n_rows, g, shrink, a, b, h):
    """One step on rows[j], of gradient g[j] + shrink[j] · row; a and b are the state, h is for formulas."""
    if kind == OF_SGD:
        sgd(table, rows, n_rows, g, shrink, a, b, h)
    elif kind == OF_MOMENTUM:
        momentum(table, rows, n_rows, g, shrink, a, b, h)
    elif kind == OF_NESTEROV:
        nesterov(table, rows, n_rows, g, shrink, a, b, h)
    elif kind == OF_ADAGRAD:
        adagrad(table, rows, n_rows, g, shrink, a, b, h)
    elif kind == OF_RMSPROP:
        rmsprop(table, rows, n_rows, g, shrink, a, b, h)
    else:
        adam(table, rows, n_rows, g, shrink, a, b, h)


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


# Sums may be taken in any order, but infinities and NaN stay: training checks for them.
@compiled(fastmath={"reassoc", "nsz", "contract"})
def descend(users, items, ratings, P, Q, b_u, b_i, intercept, penalty_u, penalty_i, learning_rate):
    """A step of biased matrix factorisation on each rating, in order; the mean squared error.

    With e = r̂ - r and η = 2 · learning_rate, since the loss is e² without a half (Koren, Bell and Volinsky,
    2009, "Matrix factorization techniques for recommender systems"; Funk, 2006, for the order)::

        μ ← μ - η e        b_u ← b_u - η (e + λ_u b_u)      p ← p - η (e q + λ_u p)
                           b_i ← b_i - η (e + λ_i b_i)      q ← q - η (e p + λ_i q)

    where p and q on the right are those before the step. No gradient is stored.
    """
    n, k, c = len(users), P.shape[1], intercept.dtype.type
    eta, mu, squares = c(2 * learning_rate), intercept[0], 0.0
    for r in range(n):
        if r + AHEAD < n:
            prefetch(P, users[r + AHEAD])
            prefetch(Q, items[r + AHEAD])
        u, i = users[r], items[r]
        p, q, error = P[u], Q[i], mu - ratings[r]
        if len(b_u):
            error += b_u[u, 0] + b_i[i, 0]
        product = c(0)
        for f in range(k):
            product += p[f] * q[f]
        error += product
        squares += error * error
        step, kept_u, kept_i = eta * error, c(1) - eta * penalty_u[u], c(1) - eta * penalty_i[i]
        mu -= step
        if len(b_u):
            b_u[u, 0] = kept_u * b_u[u, 0] - step
            b_i[i, 0] = kept_i * b_i[i, 0] - step
        for f in range(k):
            p_f, q_f = p[f], q[f]
            p[f] = kept_u * p_f - step * q_f
            q[f] = kept_i * q_f - step * p_f
    intercept[0] = mu
    return squares / n


class NumbaOptimizer:
    """Takes the steps of an optimiser on tables and on dense arrays, in place."""

    def __init__(self, optimizer: Optimizer, parameters: Parameters) -> None:
        self._optimizer = optimizer
        self._parameters = parameters
        self._one_row: dict[str, tuple[Array, Array, Array, IntArray, Array]] = {}
        if type(optimizer) not in KINDS:
            raise TypeError(f'engine "numba" has no compiled {type(optimizer).__name__}: use engine "numpy"')
        self.kind = KINDS[type(optimizer)]
        if isinstance(optimizer, SGD) and optimizer.momentum:
            self.kind = OF_NESTEROV if optimizer.nesterov else OF_MOMENTUM

    def count_steps(self, n: int = 1) -> NDArray[np.float64]:
        """Count n steps of all; rate, two decays, epsilon and the decay of the value in the last of them."""
        steps = self._state["intercept"]["step"]
        steps += n
        o, rate, t = self._optimizer, self._optimizer.learning_rate, int(steps)
        if isinstance(o, Adam):
            root = math.sqrt(1 - o.beta2**t)
            decay = 1 - rate * o.weight_decay if isinstance(o, AdamW) else 1
            numbers = [rate * root / (1 - o.beta1**t), o.beta1, o.beta2, root * o.epsilon, decay]
        elif isinstance(o, RMSProp):
            numbers = [rate, o.decay, 0, o.epsilon, 1]
        elif isinstance(o, AdaGrad):
            numbers = [rate, 0, 0, o.epsilon, 1]
        else:
            numbers = [rate, getattr(o, "momentum", 0), 0, 0, 1]
        return np.array(numbers, np.float64)

    def memory(self, name: str, value: Array) -> list[Array]:
        """A parameter and the two arrays remembered for it; in place of one that there is not, any array."""
        state, slots = self._state.get(name, {}), self._optimizer.slots
        return [value, *(state[slot] for slot in slots if slot in state), value, value][:3]

    def update_rows(
        self, name: str, ids: IntArray, gradient: Array, shrinkage: Array, h: NDArray[np.float64]
    ) -> None:
        """A step on some rows of a table, of gradient + shrinkage · row each."""
        value, a, b = self.memory(name, self._parameters[name])
        ids = np.ascontiguousarray(ids, np.int32)
        update(self.kind, value, ids, len(ids), np.ascontiguousarray(gradient), shrinkage, a, b, h)

    def update_dense(self, name: str, gradient: Array, h: NDArray[np.float64]) -> None:
        """A step on a dense array, as a table of one row."""
        if name not in self._one_row:  # a step is so short that to make these each time would show
            own, a, b = (array.reshape(1, -1) for array in self.memory(name, self._parameters[name]))
            self._one_row[name] = own, a, b, np.zeros(1, np.int32), np.zeros(1, own.dtype)
        value, a, b, row, nothing = self._one_row[name]
        update(self.kind, value, row, 1, gradient.reshape(1, -1), nothing, a, b, h)

    @cached_property
    def _state(self) -> dict[str, State]:
        """The optimizer's, with one count of steps for all: every step changes every parameter.

        Made when the engine is first used: by then it is new, or has come from a checkpoint.
        """
        state = self._optimizer.state
        for name, value in self._parameters.items():
            state.setdefault(name, self._optimizer.new_state(value))
        for of_parameter in state.values():
            of_parameter["step"] = state["intercept"]["step"]
        return state
