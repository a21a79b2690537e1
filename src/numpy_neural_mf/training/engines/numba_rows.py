"""Row operations of a step, compiled by Numba: sums of gradients by row, row updates, per-sample SGD."""

import numpy as np

from ..objective import MOST
from .numba_compat import AHEAD, compiled, in_threads, inlined, prefetch
from .numba_optimizers import row_in, update


@inlined
def update_part(
    part, n_threads, step, users, items, share_u, share_i, row_gradients, residuals, curvatures, squares, P,
    Q, b_u, b_i, place_u, place_i, mine, rows, sums, bias_sums, shrink, user_squares,
):  # fmt: skip
    """Sum the gradients of one thread's users (even parts) or items (odd parts), and update these rows."""
    k, thread, of_thread = P.table.shape[1], part // 2, mine[part]
    memory = rows[part], sums[part], bias_sums[part], shrink[part]
    if part % 2 == 0:
        of_thread = of_thread[: ratings_of_thread(users, thread, n_threads, of_thread)]
        update_side(
            step, users, of_thread, share_u, row_gradients[:, :k], residuals, curvatures[:, :k],
            curvatures[:, 2 * k], place_u, memory, P, b_u,
        )  # fmt: skip
        for r in of_thread:
            user_squares[users[r]] += squares[r]
    else:
        of_thread = of_thread[: ratings_of_thread(items, thread, n_threads, of_thread)]
        update_side(
            step, items, of_thread, share_i, row_gradients[:, k:], residuals, curvatures[:, k : 2 * k],
            curvatures[:, 2 * k], place_i, memory, Q, b_i,
        )  # fmt: skip


@inlined
def update_side(
    step, ids, ratings, share, row_gradients, residuals, curvatures, of_biases, place, memory, table, bias
):  # fmt: skip
    """Sum the gradients and the data of the rows that some ratings of a batch use, and update these rows."""
    own, total, bias_total, shrunk = memory
    n_rows = sum_rows(ids, ratings, share, row_gradients, residuals, place, own, total, bias_total, shrunk)
    record(ids, ratings, curvatures, of_biases, table.data, bias.data)
    update(step, own, n_rows, total, shrunk, table)
    if len(bias.table):
        update(step, own, n_rows, bias_total, shrunk, bias)


@compiled
def update_rows(
    n_threads, step, users, items, share_u, share_i, row_gradients, residuals, curvatures, squares, P, Q,
    b_u, b_i, place_u, place_i, mine, rows, sums, bias_sums, shrink, user_squares,
):  # fmt: skip
    """Sum the gradients of each row in the order of the batch and update it; a row belongs to one thread."""
    in_threads(update_part, 2 * n_threads, (
        n_threads, step, users, items, share_u, share_i, row_gradients, residuals, curvatures, squares, P, Q,
        b_u, b_i, place_u, place_i, mine, rows, sums, bias_sums, shrink, user_squares,
    ))  # fmt: skip


@inlined
def record(ids, ratings, curvatures, of_biases, data, bias_data):
    """Add the curvatures w J² of some ratings to the data of their rows."""
    for j in range(len(ratings)):
        if j + AHEAD < len(ratings):
            prefetch(data, ids[ratings[j + AHEAD]])
            prefetch(curvatures, ratings[j + AHEAD])
        total, added = data[ids[ratings[j]]], curvatures[ratings[j]]
        for f in range(len(total)):
            total[f] += added[f]
    if len(bias_data):
        for r in ratings:
            bias_data[ids[r], 0] += of_biases[r]


@inlined
def owner(row, n_threads):
    """Return the thread of a row, from a hash of its number, since popular rows may be neighbours."""
    mixed = np.uint32(np.uint32(row) * np.uint32(0x9E3779B1)) >> np.uint32(16)
    return np.uint32(mixed * np.uint32(n_threads)) >> np.uint32(16)


# Compiled without fast mathematics, which rounds differently in vectorised iterations and in the last ones:
# the number of threads decides which rows come last.
@inlined(fastmath=False)
def shrinkage(count, share, n):
    """Return 2 / n times the sum of a row's shares in the `count` of n ratings that use it."""
    return count * (type(n)(2) / n * share)


@inlined
def ratings_of_thread(ids, thread, n_threads, mine):
    """Set the first elements of `mine` to the ratings whose rows belong to a thread; return their number."""
    n_mine = 0
    for r in range(len(ids)):  # without a branch, which a processor could not predict
        mine[n_mine] = r
        n_mine += owner(ids[r], n_threads) == thread
    return n_mine


@inlined
def sum_rows(ids, ratings, share, row_gradients, residuals, place, rows, sums, bias_sums, shrink):
    """Fill the rows that some ratings of a batch use and their gradient sums; return the number of rows.

    Rows are in the order of the batch. place[row] is the row's position among them, or -1 before its first
    rating; in the end it is -1 again.
    """
    n, k, n_rows = len(ids), row_gradients.shape[1], 0
    c = residuals.dtype.type
    zero, one = c(0), c(1)
    for m in range(len(ratings)):
        if m + AHEAD < len(ratings):
            prefetch(row_gradients, ratings[m + AHEAD])
        r = ratings[m]
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
        shrink[j] = shrinkage(shrink[j], share[rows[j]], c(n))
    return n_rows


# Let e = r̂ - r, w the weight of the user, s the share of a row, and η = 2 · learning_rate, since the loss is
# e² without a half. For each rating, `descend` computes (Koren, Bell and Volinsky, 2009, "Matrix
# factorization techniques for recommender systems"; Funk, 2006, for the order)
#
#     μ ← μ - η w e
#     b_u ← b_u - η (w e + s_u Λ (b_u - m))                 b_i ← b_i - η (w e + s_i Λ (b_i - m))
#     p ← p - η (w (e q + v_i p) + s_u Λ (p - m))           q ← q - η (w (e p + v_u q) + s_i Λ (q - m))
#
# where p and q on the right are the values before the step, and Λ and m belong to the prior of each row.


# Sums may be taken in any order, but infinities and NaN must stay, because training checks for them.
@compiled(fastmath={"reassoc", "nsz", "contract"})
def descend(
    users, items, ratings, P, Q, b_u, b_i, intercept, share_u, share_i, spread, learning_rate, squares
):  # fmt: skip
    """Take a step of biased matrix factorisation on each rating, in order; return the mean squared error.

    Gradients are not stored, but data and squares are: see `Objective`.
    """
    n, k, c = len(users), P.table.shape[1], intercept.dtype.type
    eta, mu, total = c(2 * learning_rate), intercept[0], 0.0
    for r in range(n):
        u, i = users[r], items[r]
        if r + AHEAD < n:
            prefetch(P.table, users[r + AHEAD])
            prefetch(Q.table, items[r + AHEAD])
            prefetch(spread.V, users[r + AHEAD])
            prefetch(spread.W, items[r + AHEAD])
        p, q, v_p, v_q, w = P.table[u], Q.table[i], spread.V[u], spread.W[i], spread.weight[u]
        error, h = mu - ratings[r], c(0)
        if len(b_u.table):
            error += b_u.table[u, 0] + b_i.table[i, 0]
            h += spread.v_u[u, 0] + spread.v_i[i, 0]
        product = c(0)
        for f in range(k):
            product += p[f] * q[f]
            h += p[f] * p[f] * v_q[f] + q[f] * q[f] * v_p[f]
        error += product
        square, c_w = error * error, c(w)
        for f in range(k):
            P.data[u, f] += c_w * (q[f] * q[f] + v_q[f])
            Q.data[i, f] += c_w * (p[f] * p[f] + v_p[f])
        total += square
        squares[u] += square / (c(1) - min(h * w / spread.noise, c(MOST)))
        cost = eta * w
        step, kept_u, kept_i = cost * error, eta * share_u[u], eta * share_i[i]
        mu -= step
        if len(b_u.table):
            b_u.data[u, 0] += c_w
            b_i.data[i, 0] += c_w
            m_u, m_i = b_u.prior[row_in(b_u.prior, u)], b_i.prior[row_in(b_i.prior, i)]
            b, d = b_u.table[u, 0], b_i.table[i, 0]
            b_u.table[u, 0] = b - kept_u * b_u.precision[0] * (b - m_u[0]) - step
            b_i.table[i, 0] = d - kept_i * b_i.precision[0] * (d - m_i[0]) - step
        m_u, m_i = P.prior[row_in(P.prior, u)], Q.prior[row_in(Q.prior, i)]
        for f in range(k):
            x, y = p[f], q[f]
            p[f] = x - kept_u * P.precision[f] * (x - m_u[f]) - step * y - cost * x * v_q[f]
            q[f] = y - kept_i * Q.precision[f] * (y - m_i[f]) - step * x - cost * y * v_p[f]
    intercept[0] = mu
    return total / n
