"""Neural matrix factorisation as users hold it: settings, `fit`, and what a fit learned."""

import os
from dataclasses import replace
from typing import Any, Self

import numpy as np

from ..data import Ratings
from ..mf.architecture import C_WIDE, Architecture
from ..mf.likelihood import Ordinal
from ..mf.parameters import Parameters
from ..nn import Optimizer
from ..training.checkpoint import Checkpoint
from ..training.engines import communicator_of
from ..training.loop import History, ProgressCallback
from ..utils.arrays import Float32Array
from ..utils.forwarded import Forwarded
from .base import identity, require_ratings
from .files import Contents, Saved
from .fitted import FittedModel
from .fold_in import Located
from .incremental_update import Update, updated
from .neural_mf_file import FittedNeuralMF, TimeBinScores, fitted_of, row_penalty, saved, settings_of
from .neural_mf_settings import ENGINE_SETTINGS, check_settings
from .neural_mf_training import build_engine, finish, prepare, train
from .uncertainty import DistributionRecommender


class NeuralMF(DistributionRecommender):
    """Neural matrix factorisation: μ + b_u + b_i + p_u · q_i + MLP([p_u, q_i]), trained by mini-batches.

    The defaults were chosen inside the training part of MovieLens and on simulated ratings
    (docs/decisions/defaults.md). A setting that is out of range, an unknown name and, in `fit`, a device that
    is not available are a ValueError.

    Parameters
    ----------
    architecture : Architecture, default C_WIDE
    epochs : int, default 30, passes over the ratings
    batch_size : int, default 1024; ratings in a step. 1 is per-sample gradient descent, in an order shuffled
        once (`data.batches.Stretches`): with ``optimizer="sgd"``, ``hidden_layer_sizes=()`` and
        ``engine="numba"``, that is the matrix factorisation of Funk and Koren in one compiled loop, the
        fastest training of this package; otherwise it is slow.
    optimizer : {"sgd", "adagrad", "rmsprop", "adam", "adamw"} or Optimizer, default "adam"
        One of your own is copied, not changed, and has its own learning rate.
    learning_rate : float, default 0.03, the highest of the schedule, for an optimizer given by name
    schedule : {"cosine", "constant"}, default "cosine"; cosine falls to zero over all epochs
    regularization : float, default 0.2
        λ: the mean penalty of a rating on the squares of the rows that it uses (see `frequency_scaled`).
    weight_decay : float, default 0.3, decoupled decay of the MLP's weights
    validation_fraction : float, default 0.05
        Share of the ratings held out of `fit`, unless it is given validation ratings, to find the best epoch,
        whose weights are kept, and to calibrate an ordinal likelihood; 0 trains on all and keeps the last.
    patience : int or None, default 10, epochs without a better validation loss before the end; None: no limit
    engine : {"auto", "numpy", "numba", "torch"}, default "auto"; what computes the steps of training: see
        `choose_engine`. Engines differ by rounding and in the masks of dropout. Prediction always uses NumPy.
    device : {"auto", "cuda", "mps", "cpu"}, default "auto", of the engine "torch"; auto: the first available
    precision : {"float32", "tf32", "bfloat16", "float16"}, default "float32"
        Of the MLP's products in training by the engine "torch"; parameters are float32.
    random_state : int, numpy.random.Generator or None, default 0
        The same seed gives the same model, bit for bit on one machine.
    **fields : fields of `Architecture` to replace: ``NeuralMF(embedding_dim=8, hidden_layer_sizes=(16,))``

    Attributes
    ----------
    parameters_ : dict of str to float32 array; by PyTorch's names, `n_parameters_` numbers; the last row of
        each table stands for an unknown user or item. Features are included in the rows.
    prior_ : dict of str to float32 array
        For models with features, the rows predicted from features only, by the name of the table:
        `partial_fit`, `fold_in` and `fold_in_item` shrink a row with few ratings towards them, not to zero.
    rating_steps_ : float32 array, the distinct training ratings, ascending; empty unless ordinal
    unit_ : float; target scaling: the rating that a score of 1 stands for. 1 for stars, more or less where
        ratings differ more or less, so that the settings mean the same on every scale.
    history_ : History, losses and seconds of each epoch
    engine_ : str, what trained; a file does not keep it

    Examples
    --------
    >>> from numpy_neural_mf import NeuralMF, simulate_ratings
    >>> ratings = simulate_ratings(n_users=300, n_items=100, n_ratings=6_000)
    >>> model = NeuralMF(embedding_dim=4, epochs=3).fit(ratings)
    >>> model.predict(users=[1, 2], items=[10, "never seen"]).shape
    (2,)
    """

    _learned = Forwarded[FittedNeuralMF]("fitted_.model")
    parameters_ = Forwarded[Parameters]("_learned.parameters")
    prior_ = Forwarded[Parameters]("_learned.prior")
    unit_ = Forwarded[float]("_learned.likelihood.unit")
    history_ = Forwarded[History]("_learned.history")
    engine_ = Forwarded[str]("_learned.engine")

    def __init__(
        self,
        architecture: Architecture = C_WIDE,
        *,
        epochs: int = 30,
        batch_size: int = 1024,
        optimizer: str | Optimizer = "adam",
        learning_rate: float = 0.03,
        schedule: str = "cosine",
        regularization: float = 0.2,
        weight_decay: float = 0.3,
        validation_fraction: float = 0.05,
        patience: int | None = 10,
        engine: str = "auto",
        device: str = "auto",
        precision: str = "float32",
        random_state: int | np.random.Generator | None = 0,
        **fields: Any,
    ) -> None:
        self.architecture = replace(architecture, **fields)
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.regularization = regularization
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.engine = engine
        self.device = device
        self.precision = precision
        self.random_state = random_state
        check_settings(self)

    @property
    def n_parameters_(self) -> int:
        return sum(value.size for value in self.parameters_.values())

    @property
    def rating_steps_(self) -> Float32Array:
        likelihood = self._learned.likelihood
        return likelihood.categories if isinstance(likelihood, Ordinal) else np.zeros(0, np.float32)

    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Learn from ratings, from scratch or from where the same training was interrupted.

        With many processes, only the first has a fitted model. A FloatingPointError says that the loss is no
        longer finite, for a learning rate that is too high; a ValueError that the checkpoint is damaged or of
        other ratings or settings, or that the ratings have no timestamps, for an architecture with periods,
        or more than 20 distinct values, for an ordinal likelihood.

        Parameters
        ----------
        ratings : Ratings
        validation : Ratings, optional
            To find the best epoch; by default a random share of `ratings`, held out of training.
        on_progress : callable, optional, called after each batch with a `Progress`
        checkpoint_dir : path, optional
            Folder for the state of the training after each epoch. The same call with the same ratings and
            settings resumes from there, whatever interrupted it, and gives the same model bit for bit.
            Another engine may resume as well: the same training to rounding and the masks of dropout.
        """
        rng, order_rng, dropout_rng = np.random.default_rng(self.random_state).spawn(3)
        given = [ratings] if validation is None else [ratings, validation]
        require_ratings(*given)
        communicator = communicator_of(self.engine, self.device)
        data = prepare(self, ratings, validation, rng, communicator)
        engine = build_engine(self, data, rng, dropout_rng)
        checkpoint = None
        if checkpoint_dir is not None:
            options: Any = {"with_times": bool(self.architecture.periods), "left_out": ENGINE_SETTINGS}
            belongs_to = communicator.broadcast(lambda: identity(self, given, order_rng, **options))
            generators = {"order": order_rng, "dropout": dropout_rng}
            checkpoint = Checkpoint(checkpoint_dir, belongs_to, generators)
        history = train(self, engine, data, order_rng, on_progress, checkpoint)
        self._state = finish(self, engine, data, history, ratings)
        return self

    def _updated(self, update: Update) -> FittedNeuralMF:
        """Fit the rows that new ratings touch, as `fold_in` does; time bins stay as they are."""
        model, timed = self._learned, self._learned.timed
        penalty = row_penalty(self.regularization, model.likelihood, update.interactions)
        form, prior = updated(model, update, penalty)
        if isinstance(timed, TimeBinScores):
            timed = replace(timed, factorization=timed.factorization.with_last_time_bin(form))
            form = timed.factorization.at_last_time_bin()  # as from a file: to the bit
        return replace(model, factorization=form, prior=prior, penalty=penalty, timed=timed)

    def _interval(self, coverage: float, located: Located) -> tuple[Float32Array, Float32Array]:
        return self._ordinal.interval(located.scores(), coverage)

    def _probabilities(self, located: Located) -> Float32Array:
        return self._ordinal.probabilities(located.scores())

    @property
    def _ordinal(self) -> Ordinal:
        likelihood = self._learned.likelihood
        if not isinstance(likelihood, Ordinal):
            raise ValueError('expected a NeuralMF with likelihood="ordinal", found one that predicts means')
        return likelihood

    def _saved(self) -> Saved:
        return saved(self, self._learned)

    @classmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedModel]:
        model = cls(**settings_of(contents))
        return model, fitted_of(contents, model)
