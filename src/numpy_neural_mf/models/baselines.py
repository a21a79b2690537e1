"""Baselines for a neural model: the mean, and a linear regression on user and item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import scipy

from ..data import Ratings, RatingsLike, random_split
from ..mf.architecture import Architecture
from ..mf.forward import Factorization
from ..mf.likelihood import Normal
from ..mf.parameters import SIDES
from ..mf.regularization import RowPenalty
from ..utils.arrays import Float64Array
from ..utils.forwarded import Forwarded
from ..utils.settings import check_fields, check_number, known_keywords
from .base import Callback, Recommender
from .files import HUGE, TINY, Contents, Saved
from .fitted import Fitted, FittedModel, rows_of_pairs
from .given_ratings import given_ratings, warn_if_constant
from .incremental_update import Update


def biases_only(mean: float, user_bias: Float64Array, item_bias: Float64Array) -> Factorization:
    """Return the model μ + b_u + b_i, for biases of shape (n_users + 1,) and (n_items + 1,)."""
    parameters = {
        "intercept": np.array([mean]),
        "user_bias.weight": user_bias[:, None],
        "item_bias.weight": item_bias[:, None],
    }
    return Factorization(Architecture(product=False), parameters)


class GlobalMean(Recommender):
    """The mean of all ratings, `mean_`, for every pair."""

    n_parameters_ = 1
    mean_ = Forwarded[float]("fitted_.model.intercept")

    def fit(
        self, ratings: RatingsLike, validation: RatingsLike = None, on_progress: Callback = None, *,
        progress: bool = False,
    ) -> Self:  # fmt: skip
        """Compute the mean; validation is not used."""
        ratings, validation = given_ratings(ratings, validation)
        ratings = ratings.compact()
        self._state = Fitted.of(ratings, self._model(ratings.mean, ratings.scale))
        return self

    @staticmethod
    def _model(mean: float, scale: tuple[float, float]) -> FittedModel:
        form = Factorization(Architecture(biases=False, product=False), {"intercept": np.array([mean])})
        return FittedModel(form, Normal(scale), RowPenalty(0.0, 0.0))

    def _updated(self, update: Update) -> FittedModel:
        return self._model(float(update.interactions.ratings.mean(dtype=np.float64)), self.rating_scale_)

    def _saved(self) -> Saved:
        return Saved({}, {}, {"mean": np.array([self.mean_])})

    @classmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedModel]:
        check_fields("settings", contents.settings, ())
        check_fields("summary", contents.summary, ())
        return cls(), cls._model(float(contents.take("mean", np.float64, (1,))[0]), contents.rating_scale)


class BiasRecommender(Recommender):
    """A model with biases of users and items, float64 of shape (n + 1,)."""

    @property
    def user_bias_(self) -> Float64Array:
        return self.fitted_.model.bias("user")

    @property
    def item_bias_(self) -> Float64Array:
        return self.fitted_.model.bias("item")


@known_keywords()
class LinearRegression(BiasRecommender):
    """Ridge regression on one-hot users and items: r̂_ui = μ + b_u + b_i, by scikit-learn.

    The penalty is alpha times the sum of squares of all b. The alpha with the lowest error on a held-out
    tenth of the ratings is chosen; then all ratings are fitted.

    Parameters
    ----------
    alphas : sequence of float, default (1, 3, 10, 30, 100, 1000, 100000)
        Candidates, above 0; a single value is used without a choice.

    Attributes
    ----------
    alpha_ : float
    intercept_, user_bias_, item_bias_ : float and float64 arrays of shape (n_users + 1,), (n_items + 1,)
        μ, b_u and b_i; the last element is zero and stands for an unknown user or item.
    """

    alpha_ = Forwarded[float]("fitted_.model.penalty.user")
    intercept_ = Forwarded[float]("fitted_.model.intercept")

    def __init__(self, alphas: Sequence[float] = (1, 3, 10, 30, 100, 1_000, 100_000)) -> None:
        if not len(alphas):
            raise ValueError("alphas: expected at least one")
        for alpha in alphas:
            check_number("alphas", alpha, above=0)
        self.alphas = alphas

    @property
    def n_parameters_(self) -> int:
        return 1 + len(self.user_ids_) + len(self.item_ids_)

    def fit(
        self, ratings: RatingsLike, validation: RatingsLike = None, on_progress: Callback = None, *,
        progress: bool = False,
    ) -> Self:  # fmt: skip
        """Choose alpha, on `validation` if given, and solve the least-squares problem."""
        ratings, validation = given_ratings(ratings, validation)
        warn_if_constant(ratings)
        alpha = self._best_alpha(ratings, validation)
        ratings = ratings.compact()
        self._state = Fitted.of(ratings, _ridge(alpha, _one_hot(ratings), ratings))
        return self

    def _best_alpha(self, ratings: Ratings, validation: Ratings | None) -> float:
        """Return the alpha with the lowest error on held-out ratings."""
        if len(self.alphas) == 1 or len(ratings) < 10:
            return self.alphas[0]
        part, held_out = (ratings, validation) if validation is not None else random_split(ratings, 0.1)
        part = part.compact()
        one_hot = _one_hot(part)
        users, items = rows_of_pairs(held_out, part.user_ids, part.item_ids)
        errors = []
        for alpha in self.alphas:
            model = _ridge(alpha, one_hot, part)
            prediction = model.likelihood.rating(model.scores(users, items).astype(np.float32))
            errors.append(float(np.square(prediction - held_out.values).sum()))
        return self.alphas[int(np.argmin(errors))]

    def _updated(self, update: Update) -> FittedModel:
        seen, ids = update.interactions, (update.user_ids, update.item_ids)
        ratings = Ratings(seen.users, seen.items, seen.ratings, *ids, self.rating_scale_)
        return _ridge(self.alpha_, _one_hot(ratings), ratings)

    def _saved(self) -> Saved:
        biases = {f"{side}_bias": self.fitted_.model.bias(side) for side in SIDES}
        arrays = {"intercept": np.array([self.intercept_])} | biases
        return Saved({"alphas": [float(a) for a in self.alphas]}, {"alpha": float(self.alpha_)}, arrays)

    @classmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedModel]:
        check_fields("settings", contents.settings, ["alphas"])
        check_fields("summary", contents.summary, ["alpha"])
        model, alpha = cls(**contents.settings), contents.summary["alpha"]
        check_number("alpha", alpha, at_least=TINY, at_most=HUGE)
        seen, (lowest, highest) = contents.interactions.ratings, map(np.float32, contents.rating_scale)
        if not lowest <= seen.min() <= seen.max() <= highest:
            raise ValueError(f"seen.ratings: expected ratings from {lowest:g} to {highest:g}")
        form = biases_only(
            float(contents.take("intercept", np.float64, (1,))[0]),
            contents.take("user_bias", np.float64, (len(contents.user_ids) + 1,)),
            contents.take("item_bias", np.float64, (len(contents.item_ids) + 1,)),
        )
        return model, FittedModel(form, Normal(contents.rating_scale), RowPenalty(float(alpha), float(alpha)))


def _ridge(alpha: float, one_hot: scipy.sparse.csr_array, ratings: Ratings) -> FittedModel:
    """Return the solution of the least-squares problem with this penalty."""
    from sklearn.linear_model import Ridge

    ridge = Ridge(alpha=alpha, solver="sparse_cg").fit(one_hot, ratings.values)
    biases = np.split(ridge.coef_, [ratings.n_users])
    form = biases_only(float(ridge.intercept_), *(np.append(b, 0.0).astype(np.float64) for b in biases))
    return FittedModel(form, Normal(ratings.scale), RowPenalty(float(alpha), float(alpha)))


def _one_hot(ratings: Ratings) -> scipy.sparse.csr_array:
    """Return the one-hot encoding of users and items, two ones per row, shape (n, n_users + n_items)."""
    columns = np.stack([ratings.users, ratings.items + np.int32(ratings.n_users)], axis=1).ravel()
    ones, ends = np.ones(len(columns), np.float32), np.arange(0, len(columns) + 1, 2)
    shape = len(ratings), ratings.n_users + ratings.n_items
    return scipy.sparse.csr_array((ones, columns, ends), shape=shape)
