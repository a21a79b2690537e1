"""Recommenders that predict the distribution of a rating: intervals and probabilities."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from ..utils.settings import check_number
from .base import Recommender
from .fold_in import NewItem, NewUser
from .located import Located, locate

# Distinct ratings up to which they count as the categories of a scale.
MAX_STEPS = 20

TOO_MANY = f"expected at most {MAX_STEPS} distinct training ratings, found more"


class DistributionRecommender(Recommender):
    """A model that predicts the distribution of a rating, not only its mean.

    Attributes
    ----------
    rating_steps_ : float32 array
        The distinct training ratings, ascending; empty if there are more than 20 or the model does not know.
    """

    @property
    @abstractmethod
    def rating_steps_(self) -> NDArray[np.float32]: ...

    def predict_interval(
        self,
        users: ArrayLike | NewUser,
        items: ArrayLike | NewItem,
        timestamps: ArrayLike | None = None,
        coverage: float = 0.9,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest and highest rating to expect.

        Parameters
        ----------
        users, items, timestamps
            As `predict` takes them.
        coverage : float, default 0.9
            Share of the ratings that should be within; at least this for ordinal categories.

        Returns
        -------
        low, high : float32 arrays
            Within the rating scale.

        Raises
        ------
        ValueError
            `coverage` is not between 0 and 1, or the model predicts means only (see `NeuralMF`).
        """
        check_number("coverage", coverage, above=0, below=1)
        return self._interval(coverage, locate(self.fitted_, users, items, timestamps))

    def predict_distribution(
        self,
        users: ArrayLike | NewUser,
        items: ArrayLike | NewItem,
        timestamps: ArrayLike | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The probability of each category of the rating scale.

        Parameters
        ----------
        users, items, timestamps
            As `predict` takes them.

        Returns
        -------
        steps : float32 array of shape (n_steps,)
            The distinct training ratings, ascending.
        probabilities : float32 array of shape (..., n_steps)

        Raises
        ------
        ValueError
            There are more than 20 distinct training ratings, or the model predicts means only (see
            `NeuralMF`).
        """
        return self.rating_steps_, self._probabilities(locate(self.fitted_, users, items, timestamps))

    @abstractmethod
    def _interval(
        self, coverage: float, located: Located
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    @abstractmethod
    def _probabilities(self, located: Located) -> NDArray[np.float32]: ...


def normal_interval(
    mean: NDArray[np.float32], deviation: NDArray[np.float32], coverage: float, scale: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The central interval of a normal distribution, within the scale."""
    half = np.float32(ndtri((1 + coverage) / 2)) * deviation
    low, high = (np.clip(mean + sign * half, *scale) for sign in (-1, 1))
    return low, high


def normal_probabilities(
    mean: NDArray[np.float32], deviation: NDArray[np.float32], steps: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The probability that a normal variable is nearest to each step, shape (..., n_steps)."""
    if not len(steps):
        raise ValueError(TOO_MANY)
    edges = np.concatenate([[-np.inf], (steps[1:] + steps[:-1]) / 2, [np.inf]])
    below = ndtr((edges - mean[..., None]) / deviation[..., None])
    return np.asarray(np.diff(below, axis=-1), np.float32)


def few_steps(ratings: NDArray[np.float32]) -> NDArray[np.float32]:
    """The distinct ratings, ascending; none if there are more than 20."""
    steps = np.unique(ratings)
    return steps if len(steps) <= MAX_STEPS else steps[:0]
