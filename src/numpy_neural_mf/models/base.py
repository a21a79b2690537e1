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
    """What all models share: settings and, once fitted, one frozen F, with the ids and the ratings."""

    _state: F | None = None
    user_ids_ = Forwarded[NDArray[Any]]("fitted_.user_ids")
    item_ids_ = Forwarded[NDArray[Any]]("fitted_.item_ids")
    ratings_ = Forwarded[Ratings]("fitted_.ratings")
    titles_ = Forwarded[NDArray[Any] | None]("fitted_.item_titles")

    @abstractmethod
    def _saved(self) -> Saved:
        """Settings, summary and arrays for a file."""

    @abstractmethod
    def _embeddings(self, side: Side) -> FloatArray | None:
        """One row for each user or item, if the model has such."""

    @property
    def fitted_(self) -> F:
        """What was learned, frozen."""
        if self._state is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted: call fit first")
        return self._state

    def _similar(self, side: Side, raw: Any, n: int, choice: Choice) -> Ranked:
        """Ids and similarities of `similar_items`."""
        return similar(self.fitted_, side, self._embeddings(side), raw, n, choice)

    def similar_items(
        self, item: Any, n: int = 10, min_ratings: int = 0, *,
        candidates: Ids | None = None, exclude: Ids | None = None, as_frame: bool = False,
    ) -> Any:  # fmt: skip
        """The n other items whose embeddings have the highest cosine with that of `item`, best first.

        `min_ratings`, `candidates` and `exclude` are as in `Recommender.recommend`. Returned are ids and
        cosines, arrays of shape (n,), shorter where there are fewer; with `as_frame` a polars data frame:
        item, title (where the model has titles), rank, score. An unknown item, or a model without embeddings,
        is a ValueError.
        """
        ranked = self._similar("item", item, n, Choice(candidates, exclude, min_ratings))
        return similar_frame(self.fitted_, "item", ranked) if as_frame else ranked

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file, safetensors with JSON in its header, for `load_model` to read.

        The path usually ends in ``.safetensors``. The file is replaced when the new one is complete; folders
        are made as needed.
        """
        save(path, type(self).__name__, self.fitted_, self._saved())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The model of this class that `save` wrote: see `load_model`; another is a ModelFileError."""
        from .loading import load_model  # which knows all classes

        return load_model(path, cls)  # type: ignore[no-any-return]


class Recommender(LearnedFromRatings[Fitted]):
    """A model of ratings: settings and, once fitted, one frozen `Fitted`, which `fit` assigns last.

    So an interrupted, failed or diverged `fit` leaves the model exactly as it was. Before the first `fit`,
    all other methods raise a RuntimeError.

    Attributes
    ----------
    user_ids_, item_ids_ : arrays of raw ids in the training ratings or with features, sorted and unique
    rating_scale_ : (float, float), lowest and highest rating; predictions lie within
    ratings_ : Ratings, the ratings that it learned from, by user, without times
    titles_ : array of str, the titles of `item_ids_`, "" where there is none, or None: `Ratings.with_titles`
    """

    rating_scale_ = Forwarded[tuple[float, float]]("fitted_.rating_scale")

    @abstractmethod
    def fit(
        self, ratings: RatingsLike, validation: RatingsLike = None, on_progress: Callback = None, *,
        progress: bool = False,
    ) -> Self:  # fmt: skip
        """Learn from ratings, from scratch: `Ratings`, or what `read_ratings` takes.

        Models that learn in epochs evaluate `validation`, call `on_progress` with a `Progress`, and show it
        if `progress`: as a bar in a terminal or a notebook, otherwise as lines on standard error.
        """

    @property
    @abstractmethod
    def n_parameters_(self) -> int:
        """Number of learned parameters."""

    @abstractmethod
    def _updated(self, update: Update) -> FittedModel:
        """The fitted model after an incremental update."""

    @classmethod
    @abstractmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedModel]:
        """The way back, from contents that are checked as they are taken."""

    def predict(self, users: Users, items: Items, timestamps: ArrayLike | None = None) -> Float32Array:
        """Predict the ratings of pairs: float32, of their shape, within the rating scale.

        A ValueError says that the shapes do not match, or that the model has learned more since a user or an
        item was folded in.

        Parameters
        ----------
        users, items : array-likes of raw ids of one shape, or one a scalar; or what was folded in
            An unknown user or item gets the best estimate that the rest allows.
        timestamps : array-like, optional
            When each rating is given, for models with time: seconds, milliseconds or finer since 1970, or
            datetimes, as `read_ratings` takes them. By default, and for what was folded in, the last training
            rating's; but the level of a user of a `NeuralMF` with drift is then the one it returns to.
        """
        return locate(self.fitted_, users, items, timestamps).ratings()

    def known(self, users: Users, items: Items) -> NDArray[np.bool_]:
        """Whether user and item of each pair, as `predict` takes them, are known or folded in: bool array."""
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
        """The items that a user will like, best first: by default those that are surely good.

        An item is ranked by r̂ - 2 s / √(n_i + 1), a lower confidence bound: n_i is its number of ratings, s
        the standard deviation of all. So an unknown user gets what is liked and known. r̂ is not clipped;
        equal items have the order of `item_ids_`. An n that is not a positive integer, an unknown `by` or a
        new item given twice is a ValueError; others as in `predict`.

        Parameters
        ----------
        users : scalar or array-like of raw ids, or a user that was folded in
        n : int, default 10
        exclude_seen : bool, default True, leave out the items that the user rated
        candidates, exclude : collections of raw ids, optional
            Items to choose from, by default all, and items to leave out, new ones among them. Unknown ids
            change nothing. For items with a feature, see `Features.ids_with`.
        min_ratings : int, default 0, leave out known items with fewer ratings
        new_items : sequence of NewItem, default (), items that were folded in, to choose from as well
        by : {"lower_bound", "mean", "upper_bound", "thompson"}, default "lower_bound"
            What to rank by: "mean" is r̂; "upper_bound", with + for -, prefers items with few ratings;
            "thompson" draws each item's bound from a normal distribution, the same for all users of a call.
        diversity : float, default 0, up to 1, how much the similarity to the items above counts against one
            The 10 n best are ranked again by maximal marginal relevance (`diversity.marginal_relevance`), by
            the similarities of `similar_items`. A model without such is a ValueError.
        rng : numpy.random.Generator, for "thompson", which needs it
        with_scores : bool, default False
        as_frame : bool, default False, return a data frame, whose ``.to_dicts()`` is plain Python, for JSON

        Returns
        -------
        items : array of raw ids, of shape (*users.shape, n), masked (``.tolist()``: None) where none is left
        scores : masked float32 array of that shape, what `predict` says; only with `with_scores`
        frame : polars.DataFrame in place of both, with `as_frame`
            One row for each item of each list: user (not of one who was folded in), item, title (where the
            model has titles), rank, from 1, score and, of a model with `predict_interval`, low and high.
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
        """The users whose embeddings have the highest cosine with that of `user`: see `similar_items`."""
        ranked = self._similar("user", user, n, Choice(candidates, exclude, min_ratings))
        return similar_frame(self.fitted_, "user", ranked) if as_frame else ranked

    def explain(self, user: Any, item: Any) -> Explanation:
        """Take the prediction for a user and an item, raw ids or folded in, apart.

        The numbers of the `Explanation` add up to the prediction. It has no reasons where the user or the
        item is unknown.
        """
        return explain(self.fitted_, user, item)

    def fold_in(self, ratings: Mapping[Any, float]) -> NewUser:
        """A new user with a few ratings, by raw item id, whose row is fitted to them; all else stays.

        The row is shrunk as training shrinks rows, towards the same prior. It is for `predict`, `known`,
        `recommend` and `explain` of this model, which does not change, until it learns more. Unknown items
        are left out; without any other, the user is an unknown one.

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
        """A new item, whose id the model does not know, with the ratings of a few users: see `fold_in`.

        The `NewItem` is for `predict`, `known`, `explain` and `recommend(new_items=[...])`. A ValueError says
        as well that the id is known, or of another kind than the model's.
        """
        return fold_in_item(self.fitted_, item_id, ratings)

    def score(self, ratings: RatingsLike) -> float:
        """R² of the predictions of ratings, at their times: 1 is perfect, 0 as good as their mean."""
        from sklearn.metrics import r2_score

        ratings, _ = given_ratings(ratings)
        prediction = self.predict(ratings.raw_users, ratings.raw_items, ratings.timestamps)
        return float(r2_score(ratings.values.astype(np.float64), prediction))

    def partial_fit(self, ratings: RatingsLike) -> Self:
        """Learn from more ratings, of old and new users and items, without forgetting the others.

        Where a pair is rated again, the new rating replaces the old one. Linear models are solved again with
        all ratings; the others fit the rows that the new ratings touch. A model that is not fitted is fitted;
        after an error it is as it was. A ValueError says that there is no rating, that one is outside the
        scale, or that ids are of another kind than the model's; a FloatingPointError that numbers overflow.
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
        """Similarity of each of m items with each, shape (m, m); a new item is like no other."""
        return cosines(self._embeddings("item"), index_of(self.item_ids_, items))

    def _embeddings(self, side: Side) -> FloatArray | None:
        table = self.fitted_.model.factorization.parameters.get(f"{side}_embedding.weight")
        return None if table is None else table[:-1]
