"""Per-sample stochastic gradient descent, compiled by Numba."""

from __future__ import annotations

from .numba_compat import AHEAD, compiled, prefetch


# Sums may be taken in any order, but infinities and NaN stay: training checks for them.
@compiled(fastmath={"reassoc", "nsz", "contract"})
def descend(users, items, ratings, P, Q, b_u, b_i, intercept, penalty_u, penalty_i, learning_rate):
    """A step of biased matrix factorisation on each rating, in order; the mean squared error.

    With e = r̂ - r and η = 2 · learning_rate, since the loss is e² without a half (Koren, Bell and Volinsky,
    2009, "Matrix factorization techniques for recommender systems"; Funk, 2006, for the order)::

        μ ← μ - η e        b_u ← b_u - η (e + λ_u b_u)      p ← p - η (e q + λ_u p)
                           b_i ← b_i - η (e + λ_i b_i)      q ← q - η (e p + λ_i q)

    where p and q on the right are those before the step. It is the step of a batch of one: no row comes twice
    in it, so nothing is grouped, and no gradient is stored.
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
