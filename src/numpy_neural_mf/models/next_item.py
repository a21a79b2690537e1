"""Next-item model: sequential recommendation from a user's last items in time order."""

from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ..data import RatingsLike
from ..data.ids import Ids, as_ids, index_of
from ..data.time_order import in_time_order, next_items
from ..mf.parameters import Parameters, Side
from ..training.loop import MAX_EPOCHS, History
from ..training.progress import showing
from ..utils.arrays import Float32Array, FloatArray, Int32Array
from ..utils.extras import naming_the_extra
from ..utils.forwarded import Forwarded
from ..utils.settings import MAX_SIZE, check_choice, check_fields, check_integer, check_number, known_keywords
from .base import Callback, LearnedFromRatings
from .files import Contents, Saved
from .given_ratings import given_ratings
from .incremental_update import Update
from .interactions import Interactions
from .list_frames import recommended_frame
from .neural_mf_settings import DEVICES
from .recommend import Choice, MaskedArray, best_items
from .sequences import FittedSequences

ENCODERS = ("attention", "gru")


@known_keywords()
@dataclass(eq=False, repr=False)
class NextItemModel(LearnedFromRatings[FittedSequences]):
    """Next-item prediction: P(i) = softmax(h · e + c)_i, where h is the state after the user's last items.

    The model uses the order of a user's ratings, not their values, and predicts no ratings. An encoder, a
    block of self-attention or a GRU, computes h (see `training.sequence_encoder`). PyTorch (extra "torch") is
    needed to train, to update, and for `recommend_after`; the other methods use NumPy. See
    docs/decisions/next-item.md. A setting of the wrong type or out of range is a TypeError or a ValueError.

    Parameters
    ----------
    encoder : {"attention", "gru"}, default "attention"
    embedding_dim : int, default 64, k, the dimension of items and states
    sequence_length : int, default 50, largest number of last items that a state depends on
    negatives : int, default 1024
        Items drawn in a training step to estimate the softmax; 0, or more than all items: the full sum.
    dropout : float, default 0.2
    epochs : int, default 30, passes over the ratings
    batch_size : int, default 1280, ratings in a step, in whole windows of sequences
    learning_rate : float, default 0.003, initial rate of Adam; it falls to zero by a cosine over all epochs
    patience : int or None, default 10
        With validation ratings, epochs without a lower validation loss before training stops; None: never.
    device : {"auto", "cuda", "mps", "cpu"}, default "auto", for training; auto: the first available
    random_state : int, numpy.random.Generator or None, default 0
        On a CPU, the same seed gives the same model, bit for bit on one machine.

    Attributes
    ----------
    user_ids_, item_ids_, ratings_, titles_ : as in `Recommender`
    parameters_ : dict of str to float32 array, the encoder's, by PyTorch's names; `n_parameters_` numbers
    history_ : History, mean of -log P(next item), and seconds, of each epoch

    Examples
    --------
    >>> from numpy_neural_mf import NextItemModel, simulate_ratings
    >>> ratings = simulate_ratings(n_users=50, n_items=30, n_ratings=600, sequence=0.4)
    >>> model = NextItemModel(embedding_dim=8, epochs=2).fit(ratings)
    >>> model.recommend([1, 2], n=3).shape
    (2, 3)
    >>> model.recommend_after([5, 7, 3], n=3).shape
    (3,)
    """

    parameters_ = Forwarded[Parameters]("fitted_.parameters")
    history_ = Forwarded[History]("fitted_.history")

    encoder: str = "attention"
    embedding_dim: int = 64
    _: KW_ONLY
    sequence_length: int = 50
    negatives: int = 1024
    dropout: float = 0.2
    epochs: int = 30
    batch_size: int = 1280
    learning_rate: float = 0.003
    patience: int | None = 10
    device: str = "auto"
    random_state: int | np.random.Generator | None = 0

    def __post_init__(self) -> None:
        check_choice("encoder", self.encoder, ENCODERS)
        check_choice("device", self.device, DEVICES)
        for name in ("embedding_dim", "sequence_length"):
            check_integer(name, getattr(self, name), at_least=1, at_most=MAX_SIZE)
        check_integer("batch_size", self.batch_size, at_least=1)
        check_integer("epochs", self.epochs, at_least=1, at_most=MAX_EPOCHS)
        check_integer("negatives", self.negatives, at_least=0)
        check_integer("patience", self.patience, at_least=1, optional=True)
        check_number("dropout", self.dropout, at_least=0, below=1)
        check_number("learning_rate", self.learning_rate, at_least=0)

    @property
    def n_parameters_(self) -> int:
        return sum(value.size for value in self.parameters_.values())

    def fit(
        self, ratings: RatingsLike, validation: RatingsLike = None, on_progress: Callback = None, *,
        progress: bool = False,
    ) -> Self:  # fmt: skip
        """Train from scratch on ratings with timestamps; an error leaves the model unchanged.

        A ValueError says that there are no ratings, no timestamps, or no such device, a FloatingPointError
        that the training diverged, a ModuleNotFoundError that PyTorch is not installed.

        Parameters
        ----------
        ratings : Ratings, or what `read_ratings` takes
            Of equal timestamps of a user, the row further down counts as later.
        validation : the same, optional
            Later ratings, as from `leave_last_out`. After each epoch, each user's first one is predicted; the
            parameters with the lowest mean of -log P are kept. Without validation, the last epoch's are kept.
        on_progress : callable, optional, called after each batch with a `Progress`
        progress : bool, default False
            Whether to show progress: as a bar in a terminal or a notebook, otherwise as lines on standard
            error.
        """
        ratings, validation = given_ratings(ratings, validation)
        train = in_time_order(ratings.compact())
        held_out = None if validation is None else next_items(train, validation, self.sequence_length)
        settings = {n: v for n, v in self._settings().items() if n not in ("encoder", "random_state")}
        settings |= {"rng": np.random.default_rng(self.random_state)}
        with naming_the_extra("NextItemModel", "torch"):
            from ..training.next_item_training import train_encoder
        with showing(progress, "NextItemModel", on_progress) as on_progress:
            parameters, history = train_encoder(
                self.encoder, train, held_out, **settings, on_progress=on_progress
            )
        self._state = FittedSequences.of(train, parameters, self.sequence_length, history)
        return self

    def partial_fit(self, ratings: RatingsLike) -> Self:
        """Continue the sequences of old and new users, without training; `fit` a model that is not fitted.

        The ratings have timestamps, later than those of the training ratings. A new item is recommended like
        an average item until the next `fit`. An error leaves the model unchanged. A ValueError says that
        there are no ratings or no timestamps, or that ids are of another type than the model's; a
        FloatingPointError that numbers overflow.
        """
        ratings, _ = given_ratings(ratings)
        if self._state is None:
            return self.fit(ratings)
        self._state = self._state.updated(Update.of(self._state, ratings.compact()))
        return self

    def recommend(
        self,
        users: ArrayLike,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Ids | None = None,
        exclude: Ids | None = None,
        min_ratings: int = 0,
        with_scores: bool = False,
        as_frame: bool = False,
    ) -> Any:
        """Recommend the most likely next items, best first; ties are in the order of `item_ids_`.

        An unknown user gets the items of the mean state. Parameters, results and errors are as in
        `Recommender.recommend`, except that the scores are the logits h · e_i + c_i.
        """
        fitted = self.fitted_
        users = as_ids(users)
        rows, seen = index_of(fitted.user_ids, users), fitted.interactions if exclude_seen else None
        items, scores = self._best(fitted.states, rows, n, seen, Choice(candidates, exclude, min_ratings))
        if as_frame:
            return recommended_frame(self, users, items, scores)
        return (items, scores) if with_scores else items

    def recommend_after(
        self,
        items: ArrayLike,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Ids | None = None,
        exclude: Ids | None = None,
        min_ratings: int = 0,
        as_frame: bool = False,
    ) -> Any:
        """Recommend the most likely next items of a new user: a masked array of ids, shape (n,), or a frame.

        `items` are the user's raw item ids, shape (length,), in time order, the latest last; unknown ids are
        left out. Other parameters and errors are as in `recommend`. The model does not change.
        """
        fitted = self.fitted_
        rows = index_of(fitted.item_ids, items)
        if rows.ndim != 1:
            raise ValueError(f"items: expected the ids of one user, found an array of shape {rows.shape}")
        rows = rows[rows >= 0]
        own, user = np.unique(rows), np.zeros((), np.int32)
        ratings = np.ones(len(own), np.float32)
        seen = Interactions.of(np.zeros_like(own), own, ratings, 1, len(fitted.item_ids))
        states = fitted.state_after(rows)
        choice = Choice(candidates, exclude, min_ratings)
        best, logits = self._best(states, user, n, seen if exclude_seen else None, choice)
        return recommended_frame(self, None, best, logits) if as_frame else best

    def _embeddings(self, side: Side) -> FloatArray | None:
        return self.parameters_["embedding.weight"][:-1] if side == "item" else None

    def _saved(self) -> Saved:
        return self.fitted_.saved(self._settings())

    def _settings(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedSequences]:
        """Return model and fitted state from a file, for `load_model`."""
        check_fields("settings", contents.settings, [field.name for field in fields(cls)])
        return cls(**contents.settings), FittedSequences.loaded(contents)

    def _best(
        self,
        states: Float32Array,
        rows: Int32Array,
        n: int,
        seen: Interactions | None,
        choice: Choice,
    ) -> tuple[MaskedArray, MaskedArray]:
        """Return items and logits for rows of states, shape (*rows.shape, n)."""
        check_integer("n", n, at_least=1)
        fitted, shape = self.fitted_, (*rows.shape, int(n))
        items = choice.rows(fitted, "item")
        scorer = fitted.scorer(items, states)
        best, logits = best_items(scorer, rows.ravel(), items, int(n), [] if seen is None else [seen])
        return tuple(  # type: ignore[return-value]
            np.ma.MaskedArray(a, best < 0).reshape(shape) for a in (fitted.item_ids[best], logits)
        )
