"""The prior means of rows with features: a regression of the rows of a side on their features."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from ..mf.parameters import Parameters
from ..mf.side_information import SideFeatures
from ..nn.parameter import Array
from .distributed import Communicator

STEPS = 3  # steps of conjugate gradients in an update
FIRST = 0.05  # τ_E² before the first update, relative to the mean variance of rows about their prior
ROUNDING = 1e-12  # relative rounding error of a square in float32
FLAT = 1e-3  # precision of the coefficients of the constant, relative to σ²
FIXED = 1e9  # the same for biases, whose mean is the intercept: two means that both move would diverge


class PriorMeans:
    """Rows have the prior mean X E, with X the features of a user or an item and a constant (Rendle, 2010).

    The model is hierarchical: E is not part of a step. The ratings of a row are an observation y of it with
    precision D, so y = X E plus noise of variance τ² + σ²/D, with the row integrated out. E is the solution
    of this ridge regression. Its penalty is inferred for each field, so a field that predicts nothing does no
    harm.
    """

    def __init__(self, features: SideFeatures, counts: NDArray[np.int64], communicator: Communicator) -> None:
        own = communicator.rows
        X = features.matrix[np.arange(len(counts))[own]]
        self._n_rows = len(counts)
        self._X, self._transposed = X, scipy.sparse.csr_array(X.T)
        self._squares = scipy.sparse.csr_array(self._transposed * self._transposed)
        self._fields, self.names = features.fields, features.names
        self._communicator = communicator
        n = counts[own].astype(np.float32)
        # One of the n ratings in implicit feedback is the one to be explained, so only the others count.
        self._share = (np.maximum(n - 1, 0) / np.maximum(n, 1) if features.has_sets else n > 0)[:, None]
        self.coefficients: Parameters = {}
        self.variances: Parameters = {}  # τ_E² of each field

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that change, by name, to be saved."""
        found: dict[str, NDArray[np.generic]] = {f"coefficients.{n}": E for n, E in self.coefficients.items()}
        return found | {f"variances.{name}": tau2 for name, tau2 in self.variances.items()}

    def reserve(self, name: str, d: int, tau2: float) -> None:
        """Allocate the coefficients of a table with d columns."""
        self.coefficients[name] = np.zeros((self._X.shape[1], d), np.float32)
        self.variances[name] = np.full((len(self.names), d), FIRST * tau2, np.float32)

    def update(
        self, name: str, rows: Array, data: Array, prior: Array, precision: Array, noise: float
    ) -> None:
        """Take a few steps towards E, set `prior` to X E, and move rows with it by the share Λ / (D + Λ).

        `data` is D and `precision` is Λ, both times σ².
        """
        E, tau2, by_prior = self.coefficients[name], self.variances[name], precision / (data + precision)
        weight = self._share * precision * (1 - by_prior)  # 1 / (1/Λ + 1/D)
        target = self._share * precision * (rows - by_prior * prior)  # weight · y, also for D = 0
        constant = np.full(tau2.shape[1], FIXED if name.endswith("bias.weight") else FLAT)
        penalty = np.vstack([constant, noise / tau2])[self._fields].astype(np.float32)
        diagonal = self._sum(self._squares @ weight) + penalty
        self._descend(E, self._sum(self._transposed @ target), weight, penalty, diagonal)
        found = E**2 + noise / diagonal
        for field in range(1, len(self.names) + 1):
            t = found[self._fields == field].mean(axis=0)
            tau2[field - 1] = np.maximum(t, 1e-6 * noise)
        moved = self._X @ E
        rows += by_prior * (moved - prior)
        prior[...] = moved

    def explained(self, name: str) -> Parameters:
        """Return, by field, the variance over rows of its contribution to their prior mean, shape (d,)."""
        n = self._n_rows - 1  # the unknown has no features
        found: Parameters = {}
        for number, field in enumerate(self.names, start=1):
            columns = np.flatnonzero(self._fields == number)
            added = self._X[:, columns] @ self.coefficients[name][columns]
            mean, square = self._sum(np.stack([added.sum(axis=0), (added**2).sum(axis=0)])) / n
            found[field] = square - mean**2
        return found

    def _descend(self, E: Array, b: Array, weight: Array, penalty: Array, diagonal: Array) -> None:
        """Take steps of conjugate gradients for each column, preconditioned by the diagonal.

        See Nocedal and Wright, 2006, "Numerical Optimization", algorithm 5.3.
        """

        def product(x: Array) -> Array:
            return self._sum(self._transposed @ (weight * (self._X @ x))) + penalty * x

        residual = b - product(E)
        z = residual / diagonal
        direction, before = z.copy(), (residual * z).sum(axis=0)
        least = ROUNDING * (b * b / diagonal).sum(axis=0)  # a column below this is solved
        for _ in range(STEPS):
            ahead = product(direction)
            step = before / np.maximum((direction * ahead).sum(axis=0), np.finfo(np.float32).tiny)
            step = np.where(before > least, step, 0)
            E += step * direction
            residual -= step * ahead
            z = residual / diagonal
            after = (residual * z).sum(axis=0)
            direction = z + after / np.maximum(before, np.finfo(np.float32).tiny) * direction
            before = after

    def _sum(self, of_process: Array) -> Array:
        return np.asarray(self._communicator.all_reduce(of_process), np.float32)
