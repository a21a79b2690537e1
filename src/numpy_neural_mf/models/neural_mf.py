"""Neural matrix factorisation as users hold it: fit, predict, and the history of its training."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.columns import blocks, count
from ..data.ids import index_of
from ..data.time_order import in_time_order
from ..mf.architecture import C_WIDE, Architecture, Parameters, fill_unknown
from ..mf.forward import Scorer
from ..mf.regularization import frequency_scaled, penalty_of_new_row
from ..mf.side_features import Bags, collapsed, moments, shared_parts
from ..mf.side_information import bags_of, leave_unrated_at_prior, no_prior
from ..nn import Optimizer
from ..training.checkpoint import Checkpoint, fingerprint
from ..training.engines import ENGINES, Engine, NumpyEngine, OneProcess, choose_engine, processes_of
from ..training.loop import ProgressCallback, train
from ..training.moments import at_last_period, at_moments, find_periods, period_bags
from ..training.target_scaling import deviation_of, in_units, unit_for
from .fold_in import NewItem, NewUser
from .incremental_update import Growth
from .neural_mf_file import NeuralMFFile
from .neural_mf_settings import ENGINE_SETTINGS
from .refitting import grown
from .saving import Side
from .sequences import STATES, Sequences, start_at_popularity
from .shares import joined, own_part
from .steps import calibrated, find_steps
from .top_n import one_blas_thread

# Up to this width, a second BLAS thread does not pay (docs/decisions/one-blas-thread.md).
SMALL_LAYER = 128


class NeuralMF(NeuralMFFile):
    """Neural matrix factorisation: μ + b_u + b_i + p_u · q_i + MLP([p_u, q_i]), trained by mini-batches.

    The defaults were chosen inside the training part of MovieLens and on simulated ratings
    (docs/decisions/defaults.md).

    Parameters
    ----------
    architecture : Architecture, default C_WIDE
        The form of the model.
    epochs : int, default 30
        Passes over the ratings.
    batch_size : int, default 1024
        Ratings in a step. 1 learns from them one by one, shuffled once (`data.batches.Stretches`): with
        ``optimizer="sgd"``, ``hidden_layer_sizes=()`` and ``engine="numba"``, that is matrix factorisation
        of Funk and Koren in one compiled loop, the fastest training there is here; otherwise it is slow.
    optimizer : str or Optimizer, default "adam"
        "sgd", "adagrad", "rmsprop", "adam", "adamw", or one of your own, which is copied and not changed and
        brings its own learning rate.
    learning_rate : float, default 0.03
        The highest of the schedule, of an optimizer by name.
    schedule : {"cosine", "constant"}, default "cosine"
        Cosine falls to zero over all epochs.
    regularization : float, default 0.2
        λ: the mean penalty of a rating on the squares of the rows that it uses (see `frequency_scaled`).
    weight_decay : float, default 0.3
        Decoupled decay of the MLP's weights.
    validation_fraction : float, default 0.05
        Share of the ratings held out of `fit` to tell the best epoch, whose weights are kept, and of an
        ordinal likelihood how sure it may be; 0 trains on all and keeps the last. Not used where `fit` is
        given validation ratings.
    patience : int or None, default 10
        Stop after so many epochs without a better validation loss; None never stops early.
    engine : {"auto", "numpy", "numba", "torch"}, default "auto"
        Who computes the steps of training: see `choose_engine`. They differ by rounding, and in the masks of
        dropout. Whoever trained, NumPy predicts.
    device : {"auto", "cpu", "cuda", "mps"}, default "auto"
        Of the engine "torch": "auto" is the first there is of CUDA, MPS and the CPU.
    precision : {"float32", "tf32", "bfloat16", "float16"}, default "float32"
        Of the MLP's products in training by the engine "torch"; what is learned is float32.
    random_state : int, numpy.random.Generator or None, default 0
        The same seed gives the same model, bit for bit on one machine.
    **fields
        Fields of `Architecture` to replace: ``NeuralMF(embedding_dim=8, hidden_layer_sizes=(16,))``.

    Attributes
    ----------
    parameters_ : dict of str to float32 array
        By PyTorch's names; the last row of each table stands for the unknown. What features say is in it.
    prior_ : dict of str to float32 array
        Of models with features, what these alone say of each row, by the name of its table: to this, and not
        to zero, `partial_fit`, `fold_in` and `fold_in_item` draw a row with few ratings.
    rating_steps_ : float32 array
        Of an ordinal likelihood the distinct ratings that training saw, ascending; otherwise empty.
    unit_ : float
        What a score of 1, as parameters have it, is worth on the scale of the ratings: 1 for stars, more or
        less where ratings differ more or less, so that the settings mean the same.
    history_ : History
        Losses and seconds of each epoch.
    engine_ : str
        Who trained; a file does not keep it.

    Raises
    ------
    ValueError
        A setting is out of range or a name is unknown; `fit`: the device is not there.

    Examples
    --------
    >>> from numpy_neural_mf import NeuralMF, simulate_ratings
    >>> ratings = simulate_ratings(n_users=300, n_items=100, n_ratings=6_000)
    >>> model = NeuralMF(embedding_dim=4, epochs=3).fit(ratings)
    >>> model.predict(users=[1, 2], items=[10, "never seen"]).shape
    (2,)
    """

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
        self._check()

    @property
    def n_parameters_(self) -> int:
        of_sequences = self._sequences.parameters if self.architecture.sequence else {}
        return sum(value.size for value in (self.parameters_ | of_sequences).values())

    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Learn from ratings, from scratch or from where the same training was cut off.

        Parameters
        ----------
        ratings : Ratings
        validation : Ratings, optional
            To tell the best epoch; by default a random share of `ratings`, held out of training.
        on_progress : callable, optional
            Called after each batch with a `Progress`.
        checkpoint_dir : path, optional
            Folder to keep the state of the training in, after each epoch. The same call with the same ratings
            and settings goes on from there, whatever ended it, and gives the same model bit for bit. Another
            engine may go on, too: to rounding and the masks of dropout, that is the same training.

        Returns
        -------
        self
            Of many processes, the first alone has a fitted model.

        Raises
        ------
        FloatingPointError
            The loss is no longer finite: the learning rate is too high.
        ValueError
            The checkpoint is of other ratings or settings, or damaged; the architecture has a sequence or
            periods, and the ratings have no timestamps; or it is ordinal, and they are in more than 20 steps.
        """
        rng, order_rng, dropout_rng = np.random.default_rng(self.random_state).spawn(3)
        self._require_ratings(ratings)
        if validation is not None:
            self._require_ratings(validation)
        name = "torch" if self.architecture.sequence else self.engine
        processes = processes_of(name, self.device)
        given = ratings, validation
        with_times = bool(self.architecture.sequence or self.architecture.periods)
        ratings, validation = own_part(
            ratings, validation, self.validation_fraction, rng, processes, with_times
        )
        ratings = ratings.compact(self.architecture.features, processes.anywhere)
        self._note_ids(ratings)
        if self.architecture.sequence:
            ratings = in_time_order(ratings)
        self.rating_scale_ = self.architecture.rating_scale or self.rating_scale_
        n_users, n_items = len(self.user_ids_), len(self.item_ids_)
        n_ratings = int(processes.total(np.array(len(ratings))))
        n_rated = {
            "user": processes.total(count(ratings.users, n_users + 1)),
            "item": processes.total(count(ratings.items, n_items + 1)),
        }
        is_described = self.architecture.features or self.architecture.implicit
        known = joined(ratings, processes) if is_described else ratings
        of_periods = None
        if self.architecture.periods:
            self._periods, of_periods = find_periods(ratings, self.architecture.periods, processes)
        deviation = deviation_of(ratings, processes)
        self.unit_ = unit_for(deviation)
        ratings = in_units(ratings, self.unit_)
        is_ordinal = self.architecture.likelihood == "ordinal"
        self._hold_steps(find_steps(ratings, deviation / self.unit_, processes) if is_ordinal else None)
        bags = bags_of(self.architecture, known, self._lambda, of_periods)
        parameters = self._first_parameters(ratings, n_rated, bags, rng, processes)
        optimizer = self._new_optimizer()
        self.engine_ = choose_engine(name, optimizer, self.epochs * n_ratings, self.batch_size)
        engine = self._engine = ENGINES[self.engine_](
            self.architecture,
            parameters,
            optimizer,
            *(frequency_scaled(self._lambda, counts) for counts in n_rated.values()),
            self.weight_decay,
            dropout_rng,
            bags=bags,
            ordinal=self._ordinal,
            **self._engine_settings(ratings),
        )
        # Of many processes none has what it could predict with alone: the engine at work does.
        hold = partial(self._hold, parameters, bags, ratings) if processes.size == 1 else lambda: None
        with one_blas_thread() if self._has_small_layers() else nullcontext():
            self.history_ = train(
                engine,
                at_moments(ratings, self._periods) if self.architecture.periods else ratings,
                self._validation_loss(validation, engine, hold) if validation is not None else None,
                epochs=self.epochs,
                batch_size=self.batch_size,
                schedule=self._schedule(n_ratings),
                patience=self.patience,
                rng=order_rng,
                unit_of_loss=1.0 if is_ordinal else self.unit_**2,
                on_progress=on_progress,
                checkpoint=self._checkpoint(checkpoint_dir, *given, order_rng, dropout_rng, processes),
            )
        parameters = processes.gathered(parameters)
        if not parameters:
            del self.user_ids_, self.item_ids_
            return self
        self._remember(given[0])
        self._hold(parameters, bags, ratings)
        self.prior_ = no_prior(self.architecture, n_users, n_items) | shared_parts(parameters, bags)
        fill_unknown(self.prior_)
        self._use(self.parameters_)
        if self._ordinal is not None and validation is not None and len(validation):
            users, items = self._rows_of_pairs(validation)
            scores = self._predict_blocks(users, items, validation.timestamps)
            cutpoints = self.parameters_["cutpoints"]
            values = in_units(validation, self.unit_).values
            self._hold_steps(calibrated(self._ordinal, scores, values, cutpoints))
        return self

    def _first_parameters(
        self,
        ratings: Ratings,
        n_rated: dict[str, NDArray[np.int64]],
        bags: dict[str, Bags],
        rng: np.random.Generator,
        processes: OneProcess,
    ) -> Parameters:
        """Those of this process: drawn, but where more than chance is known before training."""
        mean = float(processes.total(ratings.values.sum(dtype=np.float64))) / n_rated["user"].sum()
        n_features = {f"n_{side}_features": of_side.matrix.shape[1] for side, of_side in bags.items()}
        parameters = self.architecture.initial_parameters(
            len(self.user_ids_),
            len(self.item_ids_),
            mean,
            rng,
            rows=processes.rows,
            n_steps=len(self.rating_steps_),
            **n_features,
        )
        if self._ordinal is not None:
            parameters["cutpoints"][...] = self._ordinal.first()
        if self.architecture.features:
            for side, n in n_rated.items():
                leave_unrated_at_prior(parameters, side, n[processes.rows] == 0)
        if self.architecture.sequence:
            start_at_popularity(parameters, ratings)
        return parameters

    def _hold(self, parameters: Parameters, bags: dict[str, Bags], ratings: Ratings) -> None:
        """Predict from here on with the parameters of the engine at work, as they are now."""
        parameters = collapsed(parameters, bags)
        fill_unknown(parameters)
        if self.architecture.sequence:
            self._sequences = Sequences.of(self.architecture, parameters, ratings)
            parameters = self._sequences.moved(parameters)
        can_predict = not (bags or self.architecture.sequence)
        self._use(parameters, self._engine if can_predict else None)

    def _use(self, parameters: Parameters, engine: Engine | None = None) -> None:
        self.parameters_ = parameters
        form = replace(self.architecture, sequence="", next_item_weight=0.0)
        if engine is None:
            bags, nobody = period_bags(parameters, form.periods), np.zeros(0)
            engine = NumpyEngine(form, parameters, self._new_optimizer(), nobody, nobody, bags=bags)
        self._engine = engine
        self._form_now = replace(form, periods=0), at_last_period(parameters)

    def fold_in(self, ratings: Mapping[Any, float]) -> NewUser:
        user = super().fold_in(ratings)
        if not self.architecture.next_item_weight:
            return user
        items = index_of(self.item_ids_, list(ratings))
        return replace(user, row=user.row | {STATES: self._sequences.state_after(items[items >= 0])})

    fold_in.__doc__ = NeuralMFFile.fold_in.__doc__

    def _form(self) -> tuple[Architecture, Parameters]:
        return self._form_now

    def _ranks_by(self) -> tuple[str, ...]:
        return ("next_item", "rating") if self.architecture.next_item_weight else ("rating",)

    def _next_item_scorer(
        self, items: NDArray[np.int32], user: NewUser | None, new_items: Sequence[NewItem]
    ) -> Scorer:
        if new_items:
            raise ValueError('new_items: in no sequence yet, they can be ranked by="rating" alone')
        return self._sequences.scorer(items, None if user is None else self._row_of(user)[STATES])

    def _prior(self) -> Parameters:
        return self.prior_

    def _penalty(self, side: Side, n_ratings: int) -> float:
        counts = self._n_ratings(side)
        return penalty_of_new_row(self._lambda, n_ratings, counts)

    def _grow(self, growth: Growth) -> None:
        sequences = self._sequences.grown(growth) if self.architecture.sequence else None
        form, now = self._form()
        parameters, self.prior_ = grown(
            form,
            now,
            growth,
            lambda side, n, counts: penalty_of_new_row(self._lambda, n, counts),
            self.prior_,
            self._likelihood,
        )
        if sequences is not None:
            self._sequences = sequences
        of_periods = {name: self.parameters_[name] for name in self.parameters_.keys() - now.keys()}
        back = {name: -value for name, value in of_periods.items()}
        self._use(at_last_period(parameters | back) | of_periods)

    def _predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        return self._predict_in(self.architecture.periods - 1, users, items)

    def _predict_at(
        self, users: NDArray[np.int32], items: NDArray[np.int32], timestamps: NDArray[np.int64]
    ) -> NDArray[np.floating[Any]]:
        period = self._periods.of(timestamps) if self.architecture.periods else 0
        return self._predict_in(period, users, items)

    def _predict_in(
        self, period: NDArray[np.int32] | int, users: NDArray[np.int32], items: NDArray[np.int32]
    ) -> NDArray[np.floating[Any]]:
        u = np.where(users < 0, len(self.user_ids_), users)
        i = np.where(items < 0, len(self.item_ids_), items)
        if n := self.architecture.periods:
            u, i = moments(u, period, n), moments(i, period, n)
        return self._engine.predict(u, i)

    def _embeddings(self, side: str) -> NDArray[np.floating[Any]] | None:
        table = self.parameters_.get(f"{side}_embedding.weight")
        return None if table is None else table[:-1]

    def _validation_loss(
        self, validation: Ratings, engine: Engine, hold: Callable[[], None]
    ) -> Callable[[], float]:
        """Mean squared error of predictions; of many processes, each has its part of `validation`."""
        users, items = self._rows_of_pairs(validation)
        values, times = validation.values, validation.timestamps
        n_all = engine.total(len(values))

        def loss() -> float:
            hold()
            squares = 0.0
            for block in blocks(len(values)):
                at = None if times is None else times[block]
                scores = self._predict_blocks(users[block], items[block], at)
                error = self._likelihood.rating(scores) - values[block]
                squares += float(np.vdot(error, error))
            return engine.total(squares) / n_all

        return loss

    def _checkpoint(
        self,
        folder: str | os.PathLike[str] | None,
        ratings: Ratings,
        validation: Ratings | None,
        order_rng: np.random.Generator,
        dropout_rng: np.random.Generator,
        processes: OneProcess,
    ) -> Checkpoint | None:
        if folder is None:
            return None
        settings = {name: value for name, value in vars(self).items() if "_" not in (name[0], name[-1])}
        for name in ENGINE_SETTINGS:  # who computes does not change what is computed
            del settings[name]
        settings |= {"random_state": order_rng.bit_generator.state}  # not as given
        given = [part for part in (ratings, validation) if part is not None]
        columns = [array for part in given for array in part.arrays]
        if self.architecture.sequence or self.architecture.periods:
            columns += [part.timestamps for part in given if part.timestamps is not None]
        generators = {"order": order_rng, "dropout": dropout_rng}
        belongs_to = processes.told(lambda: fingerprint(f"{settings}", columns))
        return Checkpoint(folder, belongs_to, generators)

    def _has_small_layers(self) -> bool:
        """More than one thread would gain nothing there, and wait for each other on a busy machine."""
        return max(self.architecture.layer_sizes, default=0) <= SMALL_LAYER
