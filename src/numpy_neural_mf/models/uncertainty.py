"""Models that say how far a rating may be from what they predict: intervals and distributions."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from ..mf.architecture import Parameters
from .base import Recommender
from .fold_in import NewItem, NewUser

# Distinct ratings up to which they are steps of a scale.
MAX_STEPS = 20

TOO_MANY = f"expected ratings in at most {MAX_STEPS} steps, found more in training"


class PredictsIntervals(Recommender):
    """A model that says how probable each rating is.

    Attributes
    ----------
    rating_steps_ : float32 array
        The distinct ratings that training saw, ascending; empty if they are more than 20.
    """

    rating_steps_: NDArray[np.float32]

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
            Share of the ratings that should be within; of a model that tells of steps alone, at least.

        Returns
        -------
        low, high : float32 arrays
            Within the rating scale.

        Raises
        ------
        ValueError
            `coverage` is not between 0 and 1, or the model was not trained to tell (see `NeuralMF`).
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage must be between 0 and 1, not {coverage}")
        return self._interval(coverage, users, items, timestamps)

    def predict_distribution(
        self,
        users: ArrayLike | NewUser,
        items: ArrayLike | NewItem,
        timestamps: ArrayLike | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How probable each step of the rating scale is.

        Parameters
        ----------
        users, items, timestamps
            As `predict` takes them.

        Returns
        -------
        steps : float32 array of shape (n_steps,)
            The distinct ratings that training saw, ascending.
        probabilities : float32 array of shape (..., n_steps)

        Raises
        ------
        ValueError
            Ratings are not steps of a scale: training saw more than 20 distinct ones; or the model was not
            trained to tell (see `NeuralMF`).
        """
        return self.rating_steps_, self._probabilities(users, items, timestamps)

    @abstractmethod
    def _interval(self, coverage: float, *asked: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    @abstractmethod
    def _probabilities(self, *asked: Any) -> NDArray[np.float32]: ...


class NormalRatings(PredictsIntervals):
    """A model of biases and product whose ratings are normal, with a deviation of each user's own.

    The probability of a step is that the normal falls nearer to it than to any other.

    Attributes
    ----------
    parameters_ : dict of str to float32 array
    deviation_ : float32 array of shape (n_users + 1,)
        Standard deviation of a rating of each user from its prediction; the last, of any user.
    """

    parameters_: Parameters
    deviation_: NDArray[np.float32]

    def _interval(self, coverage: float, *asked: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        prediction = self.predict(*asked)
        half = np.float32(ndtri((1 + coverage) / 2)) * self._deviation_of(*asked[:2])
        low, high = (np.clip(prediction + sign * half, *self.rating_scale_) for sign in (-1, 1))
        return low, high

    def _probabilities(self, *asked: Any) -> NDArray[np.float32]:
        prediction, steps = self.predict(*asked), self.rating_steps_
        if not len(steps):
            raise ValueError(TOO_MANY)
        edges = np.concatenate([[-np.inf], (steps[1:] + steps[:-1]) / 2, [np.inf]])
        below = ndtr((edges - prediction[..., None]) / self._deviation_of(*asked[:2])[..., None])
        return np.asarray(np.diff(below, axis=-1), np.float32)

    def _deviation_of(self, users: ArrayLike | NewUser, items: ArrayLike | NewItem) -> NDArray[np.float32]:
        """Standard deviations of ratings: who has no rating yet may be like any of the others."""
        u, i = self._rows(self.user_ids_, users), self._rows(self.item_ids_, items)
        of_each_user, of_each_item = self._n_ratings("user"), self._n_ratings("item")
        u_is_new, i_is_new = np.append(of_each_user, 0)[u] == 0, np.append(of_each_item, 0)[i] == 0
        if isinstance(users, NewUser):
            u, u_is_new = np.full((), -1), np.full((), False)
        if isinstance(items, NewItem):
            i_is_new = np.full((), False)
        of_user, of_item = (
            float(self.parameters_[f"{side}_bias.weight"][:-1].var()) for side in ("user", "item")
        )
        p, q = (self.parameters_[f"{side}_embedding.weight"][:-1] for side in ("user", "item"))
        of_product = float(np.square(p).mean(axis=0) @ np.square(q).mean(axis=0))
        variance = np.square(self.deviation_[u]) + of_user * u_is_new + of_item * i_is_new
        return np.asarray(np.sqrt(variance + of_product * (u_is_new | i_is_new)), np.float32)


def steps_of(ratings: NDArray[np.float32]) -> NDArray[np.float32]:
    """The distinct ratings, ascending, if they are few."""
    steps = np.unique(ratings)
    return steps if len(steps) <= MAX_STEPS else steps[:0]
