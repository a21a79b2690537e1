"""Averages of posterior samples, and the posterior mean as a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mf.architecture import Architecture
from ..mf.forward import Factorization
from ..mf.parameters import Parameters
from ..utils.arrays import Float64Array, FloatArray, IntArray
from .context import ContextEffects, ContextVariables
from .posterior_mean import PosteriorMean
from .sampler import Sampler

# Columns kept while collecting, as a multiple of the rank, which keeps the error of truncating twice small.
OVERSAMPLING = 2

# Rows that are converted to float64 at once.
BLOCK = 1 << 14


class Posterior:
    """Sums over the samples of a sampler.

    `rank` is the number of columns of the mean of P Qᵀ; `context_variables` describe the context blocks.
    """

    def __init__(
        self, sampler: Sampler, rank: int, context_variables: ContextVariables | None = None
    ) -> None:
        self._sampler, self._context_variables = sampler, context_variables
        n_users, n_items = len(sampler.users.bias), len(sampler.items.bias)
        n_categories = sum(len(context.bias) for context in sampler.contexts)
        self._products = {"user_item": LowRankMean(n_users, n_items, rank)}
        self._products["pair_context"] = LowRankMean(n_users + n_items, n_categories, rank)
        self._sums = {name: np.zeros(len(array)) for name, array in self._sample().items()}

    @property
    def n_samples(self) -> int:
        """Number of samples in the sums."""
        return int(self._sums["numbers"][0])

    def add(self) -> None:
        """Add the sampler's current sample."""
        s = self._sampler
        for name, array in self._sample().items():
            self._sums[name] += array
        self._products["user_item"].add(s.users.factors.T, s.items.factors.T)
        if s.contexts:
            pairs = np.hstack([s.users.factors, s.items.factors])
            self._products["pair_context"].add(pairs.T, np.hstack([c.factors for c in s.contexts]).T)

    def predict_sample(
        self, users: IntArray, items: IntArray, times: NDArray[np.int64] | None
    ) -> Float64Array:
        """Return predictions of the sampler's current sample for pairs of rows (-1: unknown), shape (n,).

        The unknown user is the mean of all users, and the unknown item the mean of all items.
        """
        s = self._sampler
        by_user, by_item = (np.pad(x.by_row, ((0, 0), (0, 1)), mode="mean") for x in (s.users, s.items))
        u, i = by_user[:, users], by_item[:, items]
        prediction = s.intercept + u[0] + i[0] + np.einsum("kn,kn->n", u[1:], i[1:])
        if times is not None:
            for drift in s.drifts:
                prediction += drift.bias.at(users, items, times)
            variables = self._context_variables
            categories = [] if variables is None else variables.categories(users, times)
            for context, category in zip(s.contexts, categories, strict=True):
                z = context.by_row[:, category]
                prediction += z[0] + np.einsum("kn,kn->n", u[1:] + i[1:], z[1:])
        return np.asarray(s.rating_std * prediction)

    def mean(self) -> PosteriorMean:
        """Return the posterior mean as a model: geometric means of timescales, means of the rest."""
        std, means = self._sampler.rating_std, self._means()
        form = Architecture(embedding_dim=self._products["user_item"].rank)
        drifts = []
        for n, drift in enumerate(self._sampler.drifts):
            path, timescale = std * self._sums[f"path.{n}"] / self.n_samples, np.exp(means["numbers"][2 + n])
            drifts.append(replace(drift.bias, values=path.astype(np.float32), timescale=float(timescale)))
        context = None
        if self._context_variables is not None:
            pairs, factors = self._products["pair_context"].factors()
            tables = [std * self._sums["context_bias"] / self.n_samples, factors]
            for rows in np.split(pairs, [len(means["user_bias"])]):
                tables.append(np.pad(std * rows, ((0, 1), (0, 0)), mode="mean"))
            context = ContextEffects(self._context_variables, *(table.astype(np.float32) for table in tables))
        return PosteriorMean(Factorization(form, self._parameters()), tuple(drifts), context)

    def deviations(self) -> NDArray[np.float32]:
        """Return the predictive standard deviation of each user's ratings, then any user's: (n_users + 1,).

        The predictive variance is the variance of the noise, σ², plus the variance v of the mean r̂, estimated
        from the training ratings. The posterior without the rating itself has v σ² / (σ² - v) in place of v
        (leave-one-out of a normal posterior).
        """
        users, means = self._sampler.users.row_of, self._means()
        sigma2 = means["noise"][users]
        v = np.clip(means["residual_squared"] - means["residual"] ** 2, 0, 0.9 * sigma2)
        of_rating = sigma2 + v * sigma2 / (sigma2 - v)
        n_ratings = np.bincount(users, minlength=len(means["noise"]))
        of_all = float(of_rating.mean())
        of_user = np.bincount(users, of_rating, minlength=len(n_ratings)) / np.maximum(n_ratings, 1)
        variance = np.append(np.where(n_ratings, of_user, of_all), of_all)
        return np.asarray(self._sampler.rating_std * np.sqrt(variance), np.float32)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all sums, by name."""
        products = {which: product.state() for which, product in self._products.items()}
        return self._sums | {
            f"{which}.{name}": a for which, part in products.items() for name, a in part.items()
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a result of `state`; raise ValueError for products that are impossible."""
        n_factors = len(self._sampler.users.factors)
        for name, total in self._sums.items():
            total[...] = state[name]
        for which, product in self._products.items():
            product.restore({name: state[f"{which}.{name}"] for name in ("P", "Q", "n")}, n_factors)

    def _sample(self) -> dict[str, Float64Array]:
        """Return the arrays to sum; "numbers" are 1, the intercept and the logarithms of the timescales."""
        s = self._sampler
        arrays = {"numbers": np.array([1, s.intercept, *(math.log(drift.timescale) for drift in s.drifts)])}
        arrays |= {"user_bias": s.users.bias, "item_bias": s.items.bias, "noise": 1 / s.noise_precision}
        arrays |= {"context_bias": np.concatenate([np.zeros(0), *(context.bias for context in s.contexts)])}
        arrays |= {"residual": s.residual, "residual_squared": s.residual**2}
        return arrays | {f"path.{n}": drift.path for n, drift in enumerate(s.drifts)}

    def _means(self) -> dict[str, Float64Array]:
        return {name: total / self.n_samples for name, total in self._sums.items()}

    def _parameters(self) -> Parameters:
        """Return the float32 tables of an architecture with biases and product.

        Biases and factors have mean zero; their means are part of μ. The last row of each table, which stands
        for the unknown, is zero. Each column of the user factors has the same variance as the user biases, so
        one prior serves both.
        """
        means, std = self._means(), self._sampler.rating_std
        user_part, item_part, P, Q = self._products["user_item"].centred()
        b_u, b_i = means["user_bias"] + user_part, means["item_bias"] + item_part
        mu = means["numbers"][1] + b_u.mean() + b_i.mean()
        b_u, b_i = b_u - b_u.mean(), b_i - b_i.mean()
        scale = std * max(float(b_u.std()), 1e-3)
        parameters = {
            "intercept": np.array([std * mu]),
            "user_embedding.weight": np.pad(P * scale, ((0, 1), (0, 0))),
            "item_embedding.weight": np.pad(Q * (std / scale), ((0, 1), (0, 0))),
            "user_bias.weight": std * np.append(b_u, 0.0)[:, None],
            "item_bias.weight": std * np.append(b_i, 0.0)[:, None],
        }
        return {name: value.astype(np.float32) for name, value in parameters.items()}


class LowRankMean:
    """Average of products P Qᵀ of factors of shape (n_users, k) and (n_items, k), as one of `rank` columns.

    Posterior samples are determined only up to a rotation, so the mean of their factors has no meaning, but
    the mean of their products has one. The factors of all samples, side by side, are factors of the sum; a
    truncated singular value decomposition is its best approximation (Eckart and Young, 1936).
    """

    def __init__(self, n_users: int, n_items: int, rank: int) -> None:
        self.rank = rank
        self._P: list[FloatArray] = [np.zeros((n_users, 0), np.float32)]
        self._Q: list[FloatArray] = [np.zeros((n_items, 0), np.float32)]
        self._n = 0

    def add(self, P: FloatArray, Q: FloatArray) -> None:
        """Include one more product in the mean."""
        self._P.append(P.astype(np.float32))
        self._Q.append(Q.astype(np.float32))
        self._n += 1
        if sum(part.shape[1] for part in self._P) > 2 * OVERSAMPLING * self.rank + P.shape[1]:
            P, values, Q = _decomposed(self._P, self._Q, OVERSAMPLING * self.rank)
            self._P, self._Q = [P * values], [Q]

    def state(self) -> dict[str, FloatArray]:
        """Return the collected factors, by name."""
        return {"P": np.hstack(self._P), "Q": np.hstack(self._Q), "n": np.array(self._n)}

    def restore(self, state: Mapping[str, FloatArray], n_factors: int) -> None:
        """Continue from a result of `state`; raise ValueError if P or Q is too wide for its samples."""
        P, Q, n = state["P"], state["Q"], int(state["n"])
        width, most = P.shape[1], 2 * OVERSAMPLING * self.rank + n_factors
        if width != Q.shape[1] or width > most or not min(n, 1) <= width <= n * n_factors:
            raise ValueError(f"the sum of {n} products: factors of {width} and {Q.shape[1]} columns")
        self._P, self._Q, self._n = [P], [Q], n

    def centred(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return the mean as b_u + b_i + p_u · q_i, float32, with p centred over users and q over items.

        Returns the biases of users and items, P and Q. The columns of P have mean square 1 and are in
        descending order of the singular values; columns of zeros fill up the rest.
        """
        P, values, Q = _decomposed(self._P, self._Q, OVERSAMPLING * self.rank)
        P *= values / max(self._n, 1)
        item_bias = Q @ P.mean(axis=0)
        P -= P.mean(axis=0)
        user_bias = P @ Q.mean(axis=0)
        Q -= Q.mean(axis=0)
        P, values, Q = _decomposed([P], [Q], self.rank)
        scale = np.sqrt(np.float32(len(P)))
        return user_bias, item_bias, self._padded(P * scale), self._padded(Q * (values / scale))

    def factors(self) -> tuple[FloatArray, FloatArray]:
        """Return the factors of the mean, float32 arrays of shape (n_users, rank) and (n_items, rank)."""
        P, values, Q = _decomposed(self._P, self._Q, self.rank)
        return self._padded(P * (values / max(self._n, 1))), self._padded(Q)

    def _padded(self, factors: FloatArray) -> FloatArray:
        return np.pad(factors, ((0, 0), (0, self.rank - factors.shape[1])))


def _decomposed(
    columns_P: list[FloatArray], columns_Q: list[FloatArray], rank: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return P Qᵀ as U diag(values) Vᵀ with orthonormal U and V and the `rank` largest singular values."""
    (P, T_p, R_p), (Q, T_q, R_q) = _orthogonalized(columns_P), _orthogonalized(columns_Q)
    U, values, Vt = np.linalg.svd(R_p @ R_q.T, full_matrices=False)
    of_P, of_Q = (T_p @ U[:, :rank]).astype(np.float32), (T_q @ Vt[:rank].T).astype(np.float32)
    return P @ of_P, values[:rank].astype(np.float32), Q @ of_Q


def _orthogonalized(columns: list[FloatArray]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the columns as a float32 matrix A, with T and R such that A T is orthonormal and A = A T R.

    T and R are computed from Aᵀ A in float64, which is as exact as a QR decomposition in float32 and takes a
    tenth of its time.
    """
    A = np.hstack(columns)
    gram = np.zeros((A.shape[1], A.shape[1]))
    for first in range(0, len(A), BLOCK):
        block = A[first : first + BLOCK].astype(np.float64)
        gram += block.T @ block
    values, V = np.linalg.eigh(gram)
    kept = values > 1e-14 * values.max(initial=0)
    root, V = np.sqrt(values[kept]), V[:, kept]
    return A, V / root, root[:, None] * V.T
