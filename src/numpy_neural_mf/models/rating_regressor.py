"""A recommender as a regressor of scikit-learn, for its cross-validation and searches over settings."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin, clone

from ..data import Ratings
from ..data.tables import frame_of, read_columns
from ..utils.arrays import Float32Array
from .base import Recommender


class RatingRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts the ratings y of the pairs X of a user and an item by a recommender.

    X is a data frame of pandas, polars or Arrow, with a row for each rating and columns of users, items and,
    if there are any, timestamps, named as `read_ratings` expects them; other columns are not used. y has
    shape (n,). `score` is R². A RatingsError says that a column is missing or has a value that is not valid.

    Parameters
    ----------
    recommender : Recommender, of which `fit` fits a clone; its settings are ``recommender__epochs`` and so on

    Attributes
    ----------
    recommender_ : Recommender, fitted

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from numpy_neural_mf import ItemKNN, RatingRegressor, simulate_ratings
    >>> frame = simulate_ratings(n_users=300, n_items=100, n_ratings=6_000).to_polars()
    >>> cross_val_score(RatingRegressor(ItemKNN()), frame, frame["rating"], cv=3).shape
    (3,)
    """

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Fit a clone of the recommender to the ratings y of the pairs X."""
        users, items, timestamps = _columns(X)
        ratings = Ratings.from_columns(users, items, y, timestamps)
        self.recommender_ = clone(self.recommender).fit(ratings)
        return self

    def predict(self, X: Any) -> Float32Array:
        """The predicted ratings of the pairs X, float32 of shape (n,)."""
        return self.recommender_.predict(*_columns(X))  # type: ignore[no-any-return]


def _columns(X: Any) -> tuple[Any, Any, Any]:
    """Users, items and timestamps, None where there are none."""
    found = read_columns(frame_of(X), dict.fromkeys(("user", "item", "timestamp"))).roles
    users, items = np.asarray(found["user"]), np.asarray(found["item"])
    return users, items, found.get("timestamp")
