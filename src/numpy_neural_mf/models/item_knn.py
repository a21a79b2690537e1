"""ItemKNN: prediction of a rating from the user's ratings of the most similar items."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from ..data import RatingsLike
from ..data.ids import index_of
from ..mf.likelihood import Normal
from ..mf.parameters import Side
from ..mf.regularization import RowPenalty
from ..utils.arrays import FloatArray
from ..utils.forwarded import Forwarded
from ..utils.settings import check_fields, check_integer, check_number, known_keywords
from .base import Callback
from .baselines import BiasRecommender, biases_only
from .explain import Explanation, one_pair, sorted_reasons
from .files import Contents, Saved
from .fitted import Fitted, FittedModel, interactions_of
from .fold_in import locate
from .given_ratings import given_ratings, warn_if_constant
from .incremental_update import Update
from .interactions import Interactions
from .neighbours import FittedNeighbours, baselines, similarities
from .recommend import Choice, Ranked, known_row


@known_keywords()
@dataclass(eq=False, repr=False)
class ItemKNN(BiasRecommender):
    """Neighbourhood model of items: r̂_ui = b_ui + Σ_j s_ij (r_uj - b_uj) / (δ + Σ_j s_ij).

    The sums run over the k items most similar to i among those that u rated. b_ui = μ + b_u + b_i is the
    baseline (see `neighbours.baselines`), and s_ij is the shrunk correlation of the residuals of the baseline
    (see `neighbours.similarity_to`), as in Koren, "Factor in the neighbors", 2010, section 2.2. There δ is 0,
    so a single neighbour of low similarity has the full weight; with δ above 0 the baseline has the weight of
    a neighbour of similarity δ. With ``damping=0, user_penalty=15, item_penalty=10`` the model is Surprise's
    KNNBaseline (item based, pearson_baseline). A file has only the ratings; `load_model` computes the rest.
    A parameter that is not a number (`k`: an integer) or is out of range raises a TypeError or ValueError.

    Parameters
    ----------
    k : int, default 40
        Number of neighbours, at least 1. Items as similar as the last neighbour are neighbours, too.
    shrinkage : float, default 100
        β, at least 0: with β + 1 users in common, a correlation is multiplied by 1/2.
    damping, user_penalty, item_penalty : float, default 0.2, 5, 5
        δ, at least 0; λ_u and λ_i, the regularisation of the biases, above 0.

    Attributes
    ----------
    mean_, user_bias_, item_bias_ : float and float64 arrays of shape (n_users + 1,), (n_items + 1,)
        μ, b_u and b_i; the last element is zero and stands for unknown ids.
    similarity_ : scipy.sparse.csr_array of shape (n_items, n_items), float32: s where it is above 0

    Examples
    --------
    >>> from numpy_neural_mf import ItemKNN, simulate_ratings
    >>> model = ItemKNN(k=20).fit(simulate_ratings(n_users=300, n_items=100, n_ratings=6_000))
    >>> model.recommend(1, n=3).shape
    (3,)
    """

    k: int = 40
    shrinkage: float = 100.0
    damping: float = 0.2
    user_penalty: float = 5.0
    item_penalty: float = 5.0

    mean_ = Forwarded[float]("fitted_.model.intercept")
    similarity_ = Forwarded[Any]("fitted_.model.similarity")

    def __post_init__(self) -> None:
        check_integer("k", self.k, at_least=1)
        for name in ("shrinkage", "damping"):
            check_number(name, getattr(self, name), at_least=0)
        for name in ("user_penalty", "item_penalty"):
            check_number(name, getattr(self, name), above=0)

    @property
    def n_parameters_(self) -> int:
        """The mean, the biases, and one similarity for each pair of items with a similarity above 0."""
        return 1 + len(self.user_ids_) + len(self.item_ids_) + int(self.similarity_.nnz) // 2

    def fit(
        self, ratings: RatingsLike, validation: RatingsLike = None, on_progress: Callback = None, *,
        progress: bool = False,
    ) -> Self:  # fmt: skip
        """Compute biases and similarities; `validation` and `on_progress` are not used."""
        ratings, validation = given_ratings(ratings, validation)
        warn_if_constant(ratings)
        ratings = ratings.compact()
        ids = ratings.user_ids, ratings.item_ids
        interactions = interactions_of(ratings, *ids)
        model = self._model(interactions, ratings.scale)
        self._state = Fitted(*ids, ratings.scale, interactions, model, titles=ratings.titles)
        return self

    def _similar(self, side: Side, raw: Any, n: int, choice: Choice) -> Ranked:
        """Return up to n items with the highest similarity s to an item, all above 0."""
        if side == "user":
            return super()._similar(side, raw, n, choice)
        fitted = self.fitted_
        check_integer("n", n, at_least=1)
        row = self.similarity_[[known_row(fitted, "item", raw)]]
        order = np.lexsort((row.indices, -row.data))
        order = order[choice.allowed(fitted, "item")[row.indices[order]]][:n]
        return fitted.item_ids[row.indices[order]], row.data[order]

    def _similarities(self, items: NDArray[Any]) -> FloatArray:
        """Return the similarities s between items; 0 for a new item."""
        rows = index_of(self.item_ids_, items)
        found = self.similarity_[np.maximum(rows, 0)][:, np.maximum(rows, 0)].toarray()
        return np.asarray(np.where((rows >= 0) & (rows[:, None] >= 0), found, 0))

    def explain(self, user: Any, item: Any) -> Explanation:
        """Return mean, biases and the contribution of each neighbour; `rest` is the bias of the user."""
        located = one_pair(locate(self.fitted_, user, item))
        model, u, i = cast("FittedNeighbours", located.model), int(located.users), int(located.items)
        rated, ratings, residuals = model.rated_by(u if i >= 0 else -1)
        contributions = model.neighbour_weights(np.array([i]), rated).toarray()[0] * residuals
        interaction = contributions.sum()
        mean, user_bias, item_bias = model.intercept, model.bias("user")[u], model.bias("item")[i]
        total = float(mean + user_bias + item_bias + interaction)
        return Explanation(
            float(located.ratings()),
            mean,
            float(user_bias),
            float(item_bias),
            float(interaction),
            float(np.clip(total, *self.rating_scale_)) - total,
            sorted_reasons(self.fitted_, rated, ratings, contributions),
            float(user_bias),
        )

    def _model(self, seen: Interactions, scale: tuple[float, float]) -> FittedNeighbours:
        """Compute the biases and the similarities of the baseline's residuals."""
        penalties = self.user_penalty, self.item_penalty
        mean, user_bias, item_bias, residuals = baselines(seen, penalties)
        return FittedNeighbours(
            biases_only(mean, np.append(user_bias, 0.0), np.append(item_bias, 0.0)),
            Normal(scale),
            RowPenalty(*penalties),
            interactions=seen,
            residuals=residuals,
            similarity=similarities(residuals, self.shrinkage),
            settings=(self.k, self.shrinkage, self.damping),
        )

    def _updated(self, update: Update) -> FittedModel:
        return self._model(update.interactions, self.rating_scale_)

    def _saved(self) -> Saved:
        names = ("shrinkage", "damping", "user_penalty", "item_penalty")
        return Saved({"k": int(self.k)} | {name: float(getattr(self, name)) for name in names}, {}, {})

    @classmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedModel]:
        check_fields("settings", contents.settings, [field.name for field in fields(cls)])
        check_fields("summary", contents.summary, ())
        model = cls(**contents.settings)
        return model, model._model(contents.interactions, contents.rating_scale)
