"""The steps of `NeuralMF.fit`: data, objective, parameters, engine, training, and the fitted model."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ..data import Ratings
from ..data.columns import blocks, count
from ..data.time_bins import Periods
from ..mf.architecture import Architecture, Parameters, fill_unknown
from ..mf.forward import Factorization
from ..mf.likelihood import Likelihood, Normal, Ordinal
from ..mf.regularization import RowPenalty, frequency_scaled
from ..mf.side_features import Bags, collapsed, moments, shared_parts
from ..mf.side_information import bags_of, leave_unrated_at_prior, no_prior
from ..nn import CumulativeLogit
from ..nn.parameter import IntArray
from ..training import loop
from ..training.checkpoint import Checkpoint
from ..training.engines import ENGINES, Engine, OneProcess, choose_engine
from ..training.loop import History, ProgressCallback
from ..training.moments import at_moments, find_periods
from ..training.target_scaling import deviation_of, in_units, unit_for
from ..utils.threads import one_blas_thread
from .fitted import BLOCK, Fitted, FittedModel, block_scores, interactions_of, rows_of_pairs
from .interactions import Interactions
from .neural_mf_settings import new_optimizer, new_schedule, scaled_regularization
from .shares import joined, own_part
from .uncertainty import TOO_MANY, few_steps

if TYPE_CHECKING:
    from .neural_mf import NeuralMF

# Up to this width, a second BLAS thread does not pay (docs/decisions/one-blas-thread.md).
SMALL_LAYER = 128

# The expected deviation of a rating from its score, in deviations of all ratings.
DEVIATION = 0.8

# The logarithm of the factor by which calibration may change that.
MAX_LOG_FACTOR = math.log(4)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedNeuralMF(FittedModel):
    """A fitted `NeuralMF`.

    Attributes
    ----------
    history : History
    engine : str
        The engine that trained; empty for a model from a file.
    """

    history: History = field(default_factory=History)
    engine: str = ""

    @property
    def parameters(self) -> Parameters:
        """All tables, those of time bins among them."""
        timed = self.timed.factorization if isinstance(self.timed, TimeBinScores) else self.factorization
        return timed.parameters


@dataclass(frozen=True, slots=True, eq=False)
class TimeBinScores:
    """A factorisation whose vectors depend on the time bin of the rating."""

    factorization: Factorization
    time_bins: Periods

    def scores(self, users: IntArray, items: IntArray, timestamps: NDArray[np.int64]) -> NDArray[Any]:
        """See `TimedScores`."""
        return self.factorization.scores(users, items, self.time_bins.of(timestamps))


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """What a process trains on, and what all of them know of the ratings.

    Attributes
    ----------
    ratings : Ratings
        Of this process, in units.
    validation : Ratings or None
    scale : (float, float)
        Predictions are clipped to it.
    unit : float
    deviation : float
        Standard deviation of all ratings, in units.
    n_ratings : int
        Of all processes.
    counts : dict of str to int64 array
        By "user" and "item": number of ratings of each row.
    time_bins : Periods or None
    time_counts : int64 array or None
        Number of ratings in each time bin.
    ordinal : CumulativeLogit or None
        Of the categories in units, before calibration.
    joined : Ratings
        Of all processes, where features are of use; otherwise those of this one.
    processes : OneProcess
    """

    ratings: Ratings
    validation: Ratings | None
    scale: tuple[float, float]
    unit: float
    deviation: float
    n_ratings: int
    counts: dict[str, NDArray[np.int64]]
    time_bins: Periods | None
    time_counts: NDArray[np.int64] | None
    ordinal: CumulativeLogit | None
    joined: Ratings
    processes: OneProcess


def prepare(
    model: NeuralMF,
    ratings: Ratings,
    validation: Ratings | None,
    rng: np.random.Generator,
    processes: OneProcess,
) -> TrainingData:
    """The share of this process, scaled, with the statistics of all ratings."""
    form = model.architecture
    own, held_out = own_part(
        ratings, validation, model.validation_fraction, rng, processes, bool(form.periods)
    )
    own = own.compact(form.features, processes.anywhere)
    n_ratings = int(processes.total(np.array(len(own))))
    counts = {
        "user": processes.total(count(own.users, own.n_users + 1)),
        "item": processes.total(count(own.items, own.n_items + 1)),
    }
    time_bins, time_counts = find_periods(own, form.periods, processes) if form.periods else (None, None)
    deviation = deviation_of(own, processes)
    unit = unit_for(deviation)
    scaled = in_units(own, unit)
    ordinal = None
    if form.likelihood == "ordinal":
        categories = few_steps(processes.joined(np.unique(scaled.values)))
        if not len(categories):
            raise ValueError(TOO_MANY)
        ordinal = CumulativeLogit(categories, DEVIATION * deviation / unit)
    has_features = form.features or form.implicit
    return TrainingData(
        ratings=scaled,
        validation=held_out,
        scale=form.rating_scale or own.scale,
        unit=unit,
        deviation=deviation / unit,
        n_ratings=n_ratings,
        counts=counts,
        time_bins=time_bins,
        time_counts=time_counts,
        ordinal=ordinal,
        joined=joined(own, processes) if has_features else own,
        processes=processes,
    )


def build_objective(model: NeuralMF, data: TrainingData) -> dict[str, Bags]:
    """The side features of users and items, with their penalties."""
    regularization = scaled_regularization(model.regularization, data.ordinal)
    return bags_of(model.architecture, data.joined, regularization, data.time_counts)


def build_parameters(
    model: NeuralMF, data: TrainingData, objective: dict[str, Bags], rng: np.random.Generator
) -> Parameters:
    """The first parameters of this process: drawn, except where more is known before training."""
    processes = data.processes
    total = float(processes.total(data.ratings.values.sum(dtype=np.float64)))
    n_features = {f"n_{side}_features": bags.matrix.shape[1] for side, bags in objective.items()}
    parameters = model.architecture.initial_parameters(
        data.ratings.n_users,
        data.ratings.n_items,
        total / data.counts["user"].sum(),
        rng,
        rows=processes.rows,
        n_steps=0 if data.ordinal is None else len(data.ordinal.steps),
        **n_features,
    )
    if data.ordinal is not None:
        parameters["cutpoints"][...] = data.ordinal.first()
    if model.architecture.features:
        for side, counts in data.counts.items():
            leave_unrated_at_prior(parameters, side, counts[processes.rows] == 0)
    return parameters


def build_engine(
    model: NeuralMF,
    data: TrainingData,
    objective: dict[str, Bags],
    parameters: Parameters,
    rng: np.random.Generator,
) -> Engine:
    """The engine that is to train."""
    optimizer = new_optimizer(model)
    name = choose_engine(model.engine, optimizer, model.epochs * data.n_ratings, model.batch_size)
    regularization = scaled_regularization(model.regularization, data.ordinal)
    on_device = {"device": model.device, "precision": model.precision} if model.engine == "torch" else {}
    engine = ENGINES[name](
        model.architecture,
        parameters,
        optimizer,
        *(frequency_scaled(regularization, counts) for counts in data.counts.values()),
        model.weight_decay,
        rng,
        bags=objective,
        ordinal=data.ordinal,
        **on_device,
    )
    engine.name = name
    return engine


def train(
    model: NeuralMF,
    engine: Engine,
    data: TrainingData,
    objective: dict[str, Bags],
    rng: np.random.Generator,
    on_progress: ProgressCallback | None,
    checkpoint: Checkpoint | None,
) -> History:
    """Train the engine's parameters in place."""
    is_small = max(model.architecture.layer_sizes, default=0) <= SMALL_LAYER
    with one_blas_thread() if is_small else nullcontext():
        return loop.train(
            engine,
            at_moments(data.ratings, data.time_bins) if data.time_bins is not None else data.ratings,
            validation_loss(model, engine, data, objective),
            epochs=model.epochs,
            batch_size=model.batch_size,
            schedule=new_schedule(model, data.n_ratings),
            patience=model.patience,
            rng=rng,
            unit_of_loss=1.0 if data.ordinal is not None else data.unit**2,
            on_progress=on_progress,
            checkpoint=checkpoint,
        )


def validation_loss(
    model: NeuralMF, engine: Engine, data: TrainingData, objective: dict[str, Bags]
) -> Callable[[], float] | None:
    """Mean squared error of the validation ratings; with many processes, each has its part of them."""
    validation, bins = data.validation, data.time_bins
    if validation is None:
        return None
    users, items = known_rows(validation, data.ratings)
    if bins is not None and validation.timestamps is not None:
        period = bins.of(validation.timestamps)
        users, items = moments(users, period, bins.n), moments(items, period, bins.n)
    elif bins is not None:
        users, items = moments(users, bins.n - 1, bins.n), moments(items, bins.n - 1, bins.n)
    n_all = engine.total(len(validation))

    def loss() -> float:
        if data.processes.size == 1:
            fill_unknown_rows(engine.parameters, objective)
        likelihood = likelihood_of(engine.parameters, data.ordinal, data.scale, data.unit)
        squares = 0.0
        for block in blocks(len(users), BLOCK):
            scores = engine.predict(users[block], items[block])
            error = likelihood.rating(scores) - validation.values[block]
            squares += float(np.vdot(error, error))
        return engine.total(squares) / n_all

    return loss


def finish(
    model: NeuralMF,
    engine: Engine,
    data: TrainingData,
    objective: dict[str, Bags],
    history: History,
    ratings: Ratings,
) -> Fitted | None:
    """The fitted model, in the first process; None in the others."""
    parameters = data.processes.gathered(engine.parameters)
    if not parameters:
        return None
    ids = data.ratings.user_ids, data.ratings.item_ids
    interactions = interactions_of(ratings, *ids)
    prior = no_prior(model.architecture, *map(len, ids)) | shared_parts(parameters, objective)
    fill_unknown(prior)
    parameters = collapsed(parameters, objective)
    fill_unknown(parameters)
    likelihood = likelihood_of(parameters, data.ordinal, data.scale, data.unit)
    penalty = row_penalty(model.regularization, likelihood, interactions)
    parts = prior, data.time_bins, history, engine.name
    fitted = assemble(model.architecture, parameters, likelihood, penalty, *parts)
    validation = data.validation
    if isinstance(likelihood, Ordinal) and validation is not None and len(validation):
        rows = rows_of_pairs(validation, *ids)
        scores = block_scores(fitted, *rows, validation.timestamps)
        values = in_units(validation, data.unit).values
        ordinal = calibrated(likelihood.model, scores, values, likelihood.cutpoints)
        likelihood = replace(likelihood, model=ordinal)
        penalty = row_penalty(model.regularization, likelihood, interactions)
        fitted = replace(fitted, likelihood=likelihood, penalty=penalty)
    return Fitted(*ids, data.scale, interactions, fitted)


def known_rows(validation: Ratings, ratings: Ratings) -> tuple[IntArray, IntArray]:
    """Rows of validation ratings in the tables of an engine, the last one for the unknown."""
    users, items = rows_of_pairs(validation, ratings.user_ids, ratings.item_ids)
    return np.where(users < 0, ratings.n_users, users), np.where(items < 0, ratings.n_items, items)


def fill_unknown_rows(parameters: Parameters, objective: dict[str, Bags]) -> None:
    """Let the last row of each table be the mean of the others, features included."""
    shared = shared_parts(parameters, objective)
    for name, table in parameters.items():
        if name in shared:
            table[-1] = (table + shared[name])[:-1].mean(axis=0)
    fill_unknown({name: table for name, table in parameters.items() if name not in shared})


def likelihood_of(
    parameters: Parameters, ordinal: CumulativeLogit | None, scale: tuple[float, float], unit: float
) -> Likelihood:
    """What scores mean."""
    return Normal(scale, unit) if ordinal is None else Ordinal(ordinal, parameters["cutpoints"], scale, unit)


def assemble(
    architecture: Architecture,
    parameters: Parameters,
    likelihood: Likelihood,
    penalty: RowPenalty,
    prior: Parameters,
    time_bins: Periods | None,
    history: History,
    engine: str = "",
) -> FittedNeuralMF:
    """A fitted model of its parts."""
    form = Factorization(architecture, parameters)
    timed = None if time_bins is None else TimeBinScores(form, time_bins)
    now = form.at_last_time_bin()
    return FittedNeuralMF(now, likelihood, penalty, prior, timed, history=history, engine=engine)


def row_penalty(regularization: float, likelihood: Likelihood, interactions: Interactions) -> RowPenalty:
    """The penalty of training, of a row next to these interactions."""
    ordinal = likelihood.model if isinstance(likelihood, Ordinal) else None
    scaled = scaled_regularization(regularization, ordinal)
    return RowPenalty.frequency_scaled(scaled, interactions.user_counts, interactions.item_counts)


def calibrated(
    ordinal: CumulativeLogit, scores: NDArray[Any], ratings: NDArray[Any], cutpoints: NDArray[Any]
) -> CumulativeLogit:
    """The same model with the deviation at which held-out ratings, shape (n,), are most probable.

    Training fits its own ratings too well, so that scores differ more than other ratings do. One number
    makes up for that (Guo, Pleiss, Sun and Weinberger, 2017, "On calibration of modern neural networks",
    temperature scaling).
    """
    y, raw = scores.astype(np.float64), cutpoints.astype(np.float64)

    def loss(log_factor: float) -> float:
        return replace(ordinal, deviation=ordinal.deviation * math.exp(log_factor)).loss(y, ratings, raw)[0]

    found = minimize_scalar(loss, bounds=(-MAX_LOG_FACTOR, MAX_LOG_FACTOR), method="bounded")
    return replace(ordinal, deviation=ordinal.deviation * math.exp(found.x))
