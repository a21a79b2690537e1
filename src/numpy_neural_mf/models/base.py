"""The contract of every recommender: fit on ratings; predict, recommend, fold in and explain by raw ids."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data import Ratings, RatingsLike
from ..data.ids import Ids, as_ids, index_of
from ..mf.parameters import Side
from ..training.loop import ProgressCallback
from ..utils.arrays import Float32Array, FloatArray
from ..utils.forwarded import Forwarded
from ..utils.settings import check_integer, check_number
from .diversity import POOL, cosines, diversified
from .estimator import Estimator, NotFittedError
from .explain import Explanation, explain
from .files import Contents, Saved, save
from .fitted import Fitted, FittedData, FittedModel
from .fold_in import Items, NewItem, NewUser, Users, fold_in_item, fold_in_user, locate, require_in_scale
from .given_ratings import given_ratings
from .incremental_update import Update, require_finite
from .list_frames import recommended_frame, similar_frame
from .recommend import Choice, Ranked, recommend, similar

F = TypeVar("F", bound=FittedData)
Callback = ProgressCallback | None


class LearnedFromRatings(Estimator, ABC, Generic[F]):
    """Base of all models: settings and, once fitted, one frozen F with the ids and the ratings."""

    _state: F | None = None
    user_ids_ = Forwarded[NDArray[Any]]("fitted_.user_ids")
    item_ids_ = Forwarded[NDArray[Any]]("fitted_.item_ids")
    ratings_ = Forwarded[Ratings]("fitted_.ratings")
    titles_ = Forwarded[NDArray[Any] | None]("fitted_.item_titles")

    @abstractmethod
    def _saved(self) -> Saved:
        """Return settings, summary and arrays for a file."""

    @abstractmethod
    def _embeddings(self, side: Side) -> FloatArray | None:
        """Return one row for each user or item; None if the model has no embeddings."""

    @property
    def fitted_(self) -> F:
        """The fitted state, frozen."""
        if self._state is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted: call fit first")
        return self._state

    def _similar(self, side: Side, raw: Any, n: int, choice: Choice) -> Ranked:
        """Return ids and similarities for `similar_items`."""
        return similar(self.fitted_, side, self._embeddings(side), raw, n, choice)

    def similar_items(
        self, item: Any, n: int = 10, min_ratings: int = 0, *,
        candidates: Ids | None = None, exclude: Ids | None = None, as_frame: bool = False,
    ) -> Any:  # fmt: skip
        """Return the n other items whose embeddings have the highest cosine with that of `item`, best first.

        `min_ratings`, `candidates` and `exclude` are as in `Recommender.recommend`. The result is ids and
        cosines, arrays of shape (n,), or shorter if there are fewer items; with `as_frame` a polars data
        frame: item, title (if the model has titles), rank, score. An unknown item, or a model without
        embeddings, is a ValueError.
        """
        ranked = self._similar("item", item, n, Choice(candidates, exclude, min_ratings))
        return similar_frame(self.fitted_, "item", ranked) if as_frame else ranked

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file, safetensors with JSON in its header, for `load_model` to read.

        The path usually ends in ``.safetensors``. The new file replaces an old one when it is complete;
        folders are made as needed.
        """
        save(path, type(self).__name__, self.fitted_, self._saved())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load a model of this class from a file: see `load_model`; another class is a ModelFileError."""
        from .loading import load_model  # it imports all classes

        return load_model(path, cls)  # type: ignore[no-any-return]


class Recommender(LearnedFromRatings[Fitted]):
    """A model of ratings: settings and, once fitted, one frozen `Fitted`, which `fit` assigns last.

    So an interrupted, failed or diverged `fit` leaves the model unchanged. Before the first `fit`, all other
    methods raise a RuntimeError.

    Attributes
    ----------
    user_ids_, item_ids_ : arrays of the raw ids with training ratings or features, sorted and unique
    rating_scale_ : (float, float), lowest and highest rating; predictions are within this scale
    ratings_ : Ratings, the training ratings, by user, without times
    titles_ : array of str or None, the titles of `item_ids_`, "" for items without one: `Ratings.with_titles`
    """

    rating_scale_ = Forwarded[tuple[float, float]]("fitted_.rating_scale")

    @abstractmethod
    def fit(
        self, ratings: RatingsLike, validation: RatingsLike = None, on_progress: Callback = None, *,
        progress: bool = False,
    ) -> Self:  # fmt: skip
        """Train from scratch on ratings: `Ratings`, or what `read_ratings` takes.

        Models that train in epochs evaluate `validation`, call `on_progress` with a `Progress`, and, if
        `progress`, show it: as a bar in a terminal or a notebook, otherwise as lines on standard error.
        """

    @property
    @abstractmethod
    def n_parameters_(self) -> int:
        """Number of learned parameters."""

    @abstractmethod
    def _updated(self, update: Update) -> FittedModel:
        """Return the fitted model after an incremental update."""

    @classmethod
    @abstractmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedModel]:
        """Return model and fitted state from the contents of a file, which are checked as they are taken."""

    def predict(self, users: Users, items: Items, timestamps: ArrayLike | None = None) -> Float32Array:
        """Predict the ratings of pairs: float32, in the shape of the pairs, within the rating scale.

        A ValueError says that the shapes do not match, or that the model was trained further after a user or
        an item was folded in.

        Parameters
        ----------
        users, items : array-likes of raw ids of the same shape, or scalars; or a `NewUser`, a `NewItem`
            For an unknown user or item, the prediction is the best estimate without it.
        timestamps : array-like, optional
            Times of the ratings, for models with time: seconds, milliseconds or finer since 1970, or
            datetimes, as `read_ratings` takes them. The default, and the time for folded-in users and items,
            is that of the last training rating; but a `NeuralMF` with drift then uses the long-term mean of a
            user's time-varying bias.
        """
        return locate(self.fitted_, users, items, timestamps).ratings()

    def known(self, users: Users, items: Items) -> NDArray[np.bool_]:
        """Return whether user and item of each pair, as in `predict`, are known or folded in: bool array."""
        located = locate(self.fitted_, users, items)
        return np.asarray((located.users >= 0) & (located.items >= 0))

    def recommend(
        self,
        users: Users,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Ids | None = None,
        exclude: Ids | None = None,
        min_ratings: int = 0,
        new_items: Sequence[NewItem] = (),
        by: str = "lower_bound",
        diversity: float = 0.0,
        rng: np.random.Generator | None = None,
        with_scores: bool = False,
        as_frame: bool = False,
    ) -> Any:
        """Recommend a top-N list of items, best first, by default by a lower confidence bound.

        An item is ranked by r̂ - 2 s / √(n_i + 1), a lower confidence bound: n_i is its number of ratings, s
        the standard deviation of all ratings. So an unknown user gets popular items with high ratings. r̂ is
        not clipped; ties are in the order of `item_ids_`. An n that is not a positive integer, an unknown
        `by` or a repeated new item is a ValueError; other errors are as in `predict`.

        Parameters
        ----------
        users : scalar or array-like of raw ids, or a `NewUser`
        n : int, default 10
        exclude_seen : bool, default True, leave out items that the user rated
        candidates, exclude : collections of raw ids, optional
            Items to choose from, by default all, and items to leave out, including new items. Unknown ids are
            ignored. For items with a feature, see `Features.ids_with`.
        min_ratings : int, default 0, leave out known items with fewer ratings
        new_items : sequence of NewItem, default (), folded-in items to choose from as well
        by : {"lower_bound", "mean", "upper_bound", "thompson"}, default "lower_bound"
            Ranking criterion: "mean" is r̂; "upper_bound", with + in place of -, prefers items with few
            ratings; "thompson" draws each item's bound from a normal distribution, the same draw for all
            users of a call.
        diversity : float, default 0, up to 1, weight of the penalty for similarity to higher-ranked items
            The 10 n best items are re-ranked by maximal marginal relevance (`diversity.marginal_relevance`)
            with the similarities of `similar_items`. A model without these is a ValueError.
        rng : numpy.random.Generator, required for "thompson"
        with_scores : bool, default False
        as_frame : bool, default False, return a data frame, whose ``.to_dicts()`` is plain Python, for JSON

        Returns
        -------
        items : array of raw ids, shape (*users.shape, n), masked (``.tolist()``: None) where no item is left
        scores : masked float32 array of the same shape, the predictions of `predict`; only if `with_scores`
        frame : polars.DataFrame in place of both, with `as_frame`
            One row for each item of each list: user (not for a `NewUser`), item, title (if the model has
            titles), rank, from 1, score and, for a model with `predict_interval`, low and high.
        """
        users = users if isinstance(users, NewUser) else as_ids(users)
        choice = Choice(candidates, exclude, min_ratings)
        check_integer("n", n, at_least=1)
        check_number("diversity", diversity, at_least=0, at_most=1)
        pool = POOL * n if diversity else n
        items, scores = recommend(self.fitted_, users, pool, exclude_seen, choice, new_items, by, rng)
        if diversity:
            items, scores = diversified(items, scores, n, diversity, self._similarities)
        if as_frame:
            return recommended_frame(self, users, items, scores, new_items)
        return (items, scores) if with_scores else items

    def similar_users(
        self, user: Any, n: int = 10, min_ratings: int = 0, *,
        candidates: Ids | None = None, exclude: Ids | None = None, as_frame: bool = False,
    ) -> Any:  # fmt: skip
        """Return the users with the highest cosine between embeddings with `user`: see `similar_items`."""
        ranked = self._similar("user", user, n, Choice(candidates, exclude, min_ratings))
        return similar_frame(self.fitted_, "user", ranked) if as_frame else ranked

    def explain(self, user: Any, item: Any) -> Explanation:
        """Explain the prediction for a user and an item, raw ids or folded in.

        The numbers of the `Explanation` add up to the prediction. It has no reasons if the user or the item
        is unknown.
        """
        return explain(self.fitted_, user, item)

    def fold_in(self, ratings: Mapping[Any, float]) -> NewUser:
        """Fold in a new user: fit a row to a few ratings, by raw item id, with everything else fixed.

        The row is shrunk towards the same prior as in training. `predict`, `known`, `recommend` and `explain`
        of this model accept the `NewUser`, until the model is trained further; the model does not change.
        Unknown items are left out; if none is left, the user is treated as unknown.

        A TypeError says that `ratings` is not a mapping, a ValueError that a rating is not within the scale.

        Examples
        --------
        >>> from numpy_neural_mf import NeuralMF, simulate_ratings
        >>> model = NeuralMF(epochs=3).fit(simulate_ratings(n_users=300, n_items=100, n_ratings=6_000))
        >>> ann = model.fold_in({12: 5.0, 40: 1.0})
        >>> model.recommend(ann, n=3).shape
        (3,)
        """
        return fold_in_user(self.fitted_, ratings)

    def fold_in_item(self, item_id: int | str, ratings: Mapping[Any, float]) -> NewItem:
        """Fold in a new item, with an unknown id, from the ratings of a few users: see `fold_in`.

        `predict`, `known`, `explain` and `recommend(new_items=[...])` accept the `NewItem`. A ValueError may
        also say that the id is known, or is of another type than the model's ids.
        """
        return fold_in_item(self.fitted_, item_id, ratings)

    def score(self, ratings: RatingsLike) -> float:
        """Return R² of the predictions of ratings, at their times: 1 is perfect, 0 as good as their mean."""
        from sklearn.metrics import r2_score

        ratings, _ = given_ratings(ratings)
        prediction = self.predict(ratings.raw_users, ratings.raw_items, ratings.timestamps)
        return float(r2_score(ratings.values.astype(np.float64), prediction))

    def partial_fit(self, ratings: RatingsLike) -> Self:
        """Update the model with more ratings, of old and new users and items, without forgetting the others.

        If a pair is rated again, the new rating replaces the old one. Linear models are solved again with all
        ratings; other models fit the rows that the new ratings touch. A model that is not fitted is fitted;
        an error leaves the model unchanged. A ValueError says that there is no rating, that one is outside
        the scale, or that ids are of another type than the model's; a FloatingPointError that numbers
        overflow.
        """
        ratings, _ = given_ratings(ratings)
        if self._state is None:
            return self.fit(ratings)
        scale = self._state.rating_scale
        require_in_scale(ratings.values, scale)
        update = Update.of(self._state, ratings.compact())
        model = require_finite(self._updated(update))
        self._state = Fitted(
            update.user_ids, update.item_ids, scale, update.interactions, model, titles=update.titles
        )
        return self

    def _similarities(self, items: NDArray[Any]) -> FloatArray:
        """Return the similarities between m items, shape (m, m); a new item is similar to no other."""
        return cosines(self._embeddings("item"), index_of(self.item_ids_, items))

    def _embeddings(self, side: Side) -> FloatArray | None:
        table = self.fitted_.model.factorization.parameters.get(f"{side}_embedding.weight")
        return None if table is None else table[:-1]
