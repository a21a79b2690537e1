"""The model NeuralMF: settings, `fit`, and fitted attributes."""

import os
from dataclasses import fields, replace
from typing import Any, Self

import numpy as np

from ..data import RatingsLike
from ..mf.architecture import C_WIDE, Architecture
from ..mf.likelihood import Ordinal
from ..mf.parameters import Parameters
from ..nn import Optimizer
from ..training.checkpoint import Checkpoint
from ..training.engines import communicator_of
from ..training.loop import History, ProgressCallback
from ..training.progress import showing
from ..utils.arrays import Float32Array
from ..utils.forwarded import Forwarded
from ..utils.settings import known_keywords
from .estimator import identity
from .files import Contents, Saved
from .fitted import FittedModel
from .fold_in import Located
from .given_ratings import given_ratings, warn_if_constant
from .incremental_update import Update, updated
from .neural_mf_file import FittedNeuralMF, ScoresInTime, fitted_of, saved, settings_of
from .neural_mf_settings import ENGINE_SETTINGS, check_settings
from .neural_mf_training import build_engine, finish, prepare, train, uses_times
from .uncertainty import DistributionRecommender, interval, probabilities


@known_keywords(*(field.name for field in fields(Architecture)))
class NeuralMF(DistributionRecommender):
    """Neural matrix factorisation: μ + b_u + b_i + p_u · q_i + MLP([p_u, q_i]), trained by mini-batches.

    The regularisation of rows is not a setting: each row is a normal distribution, whose mean is learned by
    gradient descent, and the variances of rows, of their priors and of the noise are inferred after each
    epoch (`training.inference`; docs/decisions/inference.md). So predictions have intervals. A setting out of
    range or, in `fit`, a device that is not available is a ValueError.

    Parameters
    ----------
    architecture : Architecture, default C_WIDE
    epochs : int or None, default None
        Passes over the ratings, by default from 15 to 60: enough to process three million ratings in all, and
        900 for the mean user or item, counting repetitions.
    batch_size : int or None, default None
        Largest number of ratings in a step, by default a 64th of all, from 32 to 8,192. Batches have about
        equal size. 1 is per-sample SGD, in an order shuffled once (`data.batches.Stretches`): with
        ``optimizer="sgd"``, ``hidden_layer_sizes=()`` and ``engine="numba"``, that is the matrix
        factorisation of Funk and Koren in one compiled loop, the fastest training of this package; otherwise
        it is slow.
    optimizer : {"sgd", "adagrad", "rmsprop", "adam", "adamw"} or Optimizer, default "adam"
        An `Optimizer` is copied, not changed, and has its own learning rate.
    learning_rate : float or None, default None
        Maximum of the schedule, for an optimizer given by name, by default 0.01 for batches of up to 1,600
        ratings, 0.02 for 3,200 or more, and between these in proportion.
    schedule : {"cosine", "constant"}, default "cosine"; cosine falls to zero over all epochs
    weight_decay : float, default 32.0
        Decoupled weight decay of the MLP, divided by the mean number of ratings of a user or an item: with
        more ratings, the MLP overfits less.
    engine : {"auto", "numpy", "numba", "torch"}, default "auto"; computes the training steps: see
        `choose_engine`. Engines differ by rounding and in random signs (see `training.objective`). Prediction
        always uses NumPy.
    device : {"auto", "cuda", "mps", "cpu"}, default "auto", for the engine "torch"; auto: the first available
    precision : {"float32", "tf32", "bfloat16", "float16"}, default "float32"
        Precision of the MLP's products in training by the engine "torch"; parameters are float32.
    random_state : int, numpy.random.Generator or None, default 0
        The same seed gives the same model, bit for bit on one machine.
    **fields : fields of `Architecture` to replace: ``NeuralMF(embedding_dim=8, hidden_layer_sizes=(16,))``

    Attributes
    ----------
    parameters_ : dict of str to float32 array, by PyTorch's names, `n_parameters_` numbers in all
        The last row of each table stands for an unknown user or item. Rows include features.
    variances_ : dict of str to float32 array; variances of the rows of users and items, by the same names
        Like `prior_variances_`, they are in squared units of the rows; scores are in `unit_`. Variances of
        embeddings without a product are 0: the MLP takes embeddings as points.
    prior_ : dict of str to float32 array, by the same names
        What rows are shrunk to: one row for all, or a row for each, predicted from its features.
    prior_variances_ : dict of str to float32 array of shape (d,), by the same names
        Variance of rows around their prior. In an embedding, half of it is a constant, which an unsupported
        factor keeps as well; the rows of that factor are near zero.
    field_variances_ : dict of str to dict of str to float32 array of shape (d,)
        Variance over rows of the contribution of each field of features, by the same names and by field, such
        as "genres", or "rated" for the implicit feedback of ``implicit=True``; near zero for an uninformative
        field. Empty without features.
    deviation_ : float32 array of shape (n_users + 1,)
        Standard deviation of the noise, in ratings, of each user, then of an unknown user; it excludes the
        uncertainty of rows. For an ordinal likelihood, it is the same for all.
    rating_steps_ : float32 array, the distinct training ratings, ascending; empty for more than 20
    unit_ : float; target scaling: the rating that a score of 1 stands for
        It is 1 for stars, and larger (smaller) for ratings with more (less) spread, so that settings mean the
        same on every scale.
    history_ : History, losses and seconds of each epoch
    engine_ : str, the engine of the training; not kept in files

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
    variances_ = Forwarded[Parameters]("_learned.variances")
    prior_variances_ = Forwarded[Parameters]("_learned.prior_variances")
    field_variances_ = Forwarded[dict[str, Parameters]]("_learned.field_variances")
    deviation_ = Forwarded[Float32Array]("_learned.deviation")
    rating_steps_ = Forwarded[Float32Array]("_learned.rating_steps")
    unit_ = Forwarded[float]("_learned.likelihood.unit")
    history_ = Forwarded[History]("_learned.history")
    engine_ = Forwarded[str]("_learned.engine")

    def __init__(
        self,
        architecture: Architecture = C_WIDE,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        optimizer: str | Optimizer = "adam",
        learning_rate: float | None = None,
        schedule: str = "cosine",
        weight_decay: float = 32.0,
        engine: str = "auto",
        device: str = "auto",
        precision: str = "float32",
        random_state: int | np.random.Generator | None = 0,
        **fields: Any,
    ) -> None:
        self.architecture = replace(architecture, **fields) if fields else architecture
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.engine = engine
        self.device = device
        self.precision = precision
        self.random_state = random_state
        check_settings(self)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return super().get_params(deep) | (vars(self.architecture) if deep else {})

    @property
    def n_parameters_(self) -> int:
        return sum(value.size for value in self.parameters_.values())

    def fit(
        self,
        ratings: RatingsLike,
        validation: RatingsLike = None,
        on_progress: ProgressCallback | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        *,
        progress: bool = False,
    ) -> Self:
        """Train on ratings, from scratch or from a checkpoint of the same training.

        With several processes, only the first has a fitted model. A FloatingPointError says that the loss is
        not finite, as the learning rate is too high; a ValueError that the checkpoint is damaged or belongs
        to other ratings or settings, or that the ratings have no timestamps, for an architecture with
        periods, or more than 20 distinct values, for an ordinal likelihood.

        Parameters
        ----------
        ratings : Ratings, or what `read_ratings` takes
        validation : the same, optional; its loss is in `history_`; it has no other effect
        on_progress : callable, optional, called after each batch with a `Progress`
        checkpoint_dir : path, optional
            Folder for the state of the training after each epoch. The same call with the same ratings and
            settings resumes an interrupted training and gives the same model bit for bit. Another engine may
            resume as well: the result then differs by rounding and random signs.
        progress : bool, default False
            Whether to show progress: as a bar in a terminal or a notebook, otherwise as lines on standard
            error.
        """
        rng, order_rng, sign_rng = np.random.default_rng(self.random_state).spawn(3)
        ratings, validation = given_ratings(ratings, validation)
        given = [ratings] if validation is None else [ratings, validation]
        communicator = communicator_of(self.engine, self.device)
        data = prepare(self, ratings, validation, communicator)
        warn_if_constant(ratings)  # an ordinal likelihood has refused constant ratings before
        engine = build_engine(self, data, rng, sign_rng)
        checkpoint = None
        if checkpoint_dir is not None:
            options: Any = {"with_times": uses_times(self.architecture), "left_out": ENGINE_SETTINGS}
            belongs_to = communicator.broadcast(lambda: identity(self, given, order_rng, **options))
            generators = {"order": order_rng, "signs": sign_rng}
            checkpoint = Checkpoint(checkpoint_dir, belongs_to, generators)
        with showing(progress, "NeuralMF", on_progress) as on_progress:
            history = train(self, engine, data, order_rng, on_progress, checkpoint)
        self._state = finish(self, engine, data, history)
        return self

    def _updated(self, update: Update) -> FittedNeuralMF:
        """Fit the rows that new ratings touch, as `fold_in` does; time-dependent parts do not change."""
        model, timed = self._learned, self._learned.timed
        new = updated(model, update)
        form = new.factorization
        if isinstance(timed, ScoresInTime):
            timed = timed.updated(form, update)
            form = timed.factorization.at_last_time_bin()  # the same bits as after loading a file
        return replace(model, factorization=form, prior=new.prior, timed=timed, user_weight=new.user_weight)

    def _interval(self, coverage: float, located: Located) -> tuple[Float32Array, Float32Array]:
        scores, likelihood = located.scores(), self._learned.likelihood
        if isinstance(likelihood, Ordinal):
            return likelihood.interval(scores, located.variance(), coverage)
        ratings, freedom = likelihood.unit * scores, self._learned.degrees_of_freedom
        return interval(ratings, self._deviation(located), coverage, likelihood.scale, freedom)

    def _probabilities(self, located: Located) -> Float32Array:
        scores, likelihood = located.scores(), self._learned.likelihood
        if isinstance(likelihood, Ordinal):
            return likelihood.probabilities(scores, located.variance())
        ratings, freedom = likelihood.unit * scores, self._learned.degrees_of_freedom
        return probabilities(ratings, self._deviation(located), self.rating_steps_, freedom)

    def _deviation(self, located: Located) -> Float32Array:
        """Return the standard deviation of ratings around predictions, from the user's noise and the rows."""
        return np.asarray(self._learned.likelihood.unit * np.sqrt(located.variance() + located.noise()))

    def _saved(self) -> Saved:
        return saved(self, self._learned)

    @classmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedModel]:
        model = cls(**settings_of(contents))
        return model, fitted_of(contents, model)
