"""A recommender as a scikit-learn regressor, for cross-validation and hyperparameter search."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin, clone

from ..data import Ratings
from ..data.tables import frame_of, read_columns
from ..utils.arrays import Float32Array
from .base import Recommender


class RatingRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Regressor that predicts the ratings y of the (user, item) pairs X by a recommender.

    X is a pandas, polars or Arrow data frame with one row per rating and columns of users, items and,
    optionally, timestamps, named as for `read_ratings`; other columns are not used. y has shape (n,). `score`
    is R². A RatingsError says that a column is missing or has an invalid value.

    Parameters
    ----------
    recommender : Recommender; `fit` fits a clone of it; its settings are ``recommender__epochs`` and so on

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
        """Predict the ratings of the pairs X, float32 of shape (n,)."""
        return self.recommender_.predict(*_columns(X))  # type: ignore[no-any-return]


def _columns(X: Any) -> tuple[Any, Any, Any]:
    """Return users, items and timestamps, None without timestamps."""
    found = read_columns(frame_of(X), dict.fromkeys(("user", "item", "timestamp"))).roles
    users, items = np.asarray(found["user"]), np.asarray(found["item"])
    return users, items, found.get("timestamp")
