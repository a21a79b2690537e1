"""The steps of `NeuralMF.fit`: data and objective, engine, training, and the fitted model."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar

from ..data import Ratings
from ..data.columns import blocks
from ..mf import side_information as side_info
from ..mf.likelihood import Ordinal
from ..mf.parameters import Parameters, fill_unknown
from ..mf.regularization import frequency_scaled
from ..nn import CumulativeLogit
from ..training import loop
from ..training.checkpoint import Checkpoint
from ..training.distributed import Communicator, all_ratings, own_part
from ..training.engines import ENGINES, Engine, choose_engine
from ..training.loop import History, ProgressCallback
from ..training.objective import Objective
from ..training.statistics import RatingStatistics, in_units, unit_for
from ..utils.arrays import FloatArray
from ..utils.threads import one_blas_thread
from .fitted import BLOCK, Fitted, block_scores, interactions_of, rows_of_pairs
from .neural_mf_file import assemble, likelihood_of, row_penalty
from .neural_mf_settings import SCHEDULES, new_optimizer, scaled_regularization
from .uncertainty import TOO_MANY, few_steps

if TYPE_CHECKING:
    from .neural_mf import NeuralMF

SMALL_LAYER = 128  # width up to which a second BLAS thread does not pay (docs/decisions/one-blas-thread.md)
DEVIATION = 0.8  # expected, of a rating from its score, in deviations of all ratings
MAX_LOG_FACTOR = math.log(4)  # the logarithm of the factor by which calibration may change that


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """What a process trains on, and what all of them know of the ratings."""

    ratings: Ratings  # of this process, in units
    validation: Ratings | None
    scale: tuple[float, float]  # predictions are clipped to it
    unit: float
    statistics: RatingStatistics  # of the ratings of all processes, not in units
    objective: Objective
    communicator: Communicator


def prepare(
    model: NeuralMF,
    ratings: Ratings,
    validation: Ratings | None,
    rng: np.random.Generator,
    communicator: Communicator,
) -> TrainingData:
    """The share of this process, scaled, the statistics of all ratings, and what is to be minimised."""
    form, fraction = model.architecture, model.validation_fraction
    own, held_out = own_part(ratings, validation, fraction, rng, communicator, bool(form.periods))
    own = own.compact(form.features, communicator.any)
    is_ordinal = form.likelihood == "ordinal"
    statistics = RatingStatistics.of(own, communicator, form.periods, with_levels=is_ordinal)
    unit, ordinal = unit_for(statistics.deviation), None
    if is_ordinal:
        categories = few_steps(statistics.levels / np.float32(unit))
        if not len(categories):
            raise ValueError(TOO_MANY)
        ordinal = CumulativeLogit(categories, DEVIATION * statistics.deviation / unit)
    # Side features describe the ratings of all processes.
    described = all_ratings(own, communicator) if form.features or form.implicit else own
    regularization = scaled_regularization(model.regularization, ordinal)
    counts, in_time = statistics.counts, statistics.time_counts
    time_penalty = side_info.time_penalties(regularization, counts, in_time) if len(in_time) else {}
    objective = Objective(
        user_penalty=frequency_scaled(regularization, counts["user"]),
        item_penalty=frequency_scaled(regularization, counts["item"]),
        weight_decay=model.weight_decay,
        side_features=side_info.side_features_of(form, described, regularization),
        time_penalty=time_penalty,
        ordinal=ordinal,
    )
    scale, in_unit = form.rating_scale or own.scale, in_units(own, unit)
    return TrainingData(in_unit, held_out, scale, unit, statistics, objective, communicator)


def build_engine(
    model: NeuralMF, data: TrainingData, rng: np.random.Generator, dropout_rng: np.random.Generator
) -> Engine:
    """The engine with the first parameters: drawn, except where more is known before training."""
    statistics, objective, rows = data.statistics, data.objective, data.communicator.rows
    ordinal, mean = objective.ordinal, statistics.mean / data.unit
    sizes = {f"n_{side}_features": f.matrix.shape[1] for side, f in objective.side_features.items()}
    sizes |= {"n_users": data.ratings.n_users, "n_items": data.ratings.n_items}
    sizes |= {"n_steps": 0 if ordinal is None else len(ordinal.steps)}
    parameters = model.architecture.initial_parameters(mean_rating=mean, rng=rng, rows=rows, **sizes)
    if ordinal is not None:
        parameters["cutpoints"][...] = ordinal.first()
    if model.architecture.features:
        for side, counts in statistics.counts.items():
            side_info.leave_unrated_at_prior(parameters, side, counts[rows] == 0)
    optimizer = new_optimizer(model)
    name = choose_engine(model.engine, optimizer, model.epochs * statistics.n, model.batch_size)
    on_device = {"device": model.device, "precision": model.precision} if name == "torch" else {}
    engine = ENGINES[name](model.architecture, parameters, optimizer, objective, dropout_rng, **on_device)
    engine.name = name
    return engine


def train(
    model: NeuralMF,
    engine: Engine,
    data: TrainingData,
    rng: np.random.Generator,
    on_progress: ProgressCallback | None,
    checkpoint: Checkpoint | None,
) -> History:
    """Train the engine's parameters in place."""
    bins, times = data.statistics.time_bins, data.ratings.timestamps
    n_steps = model.epochs * -(-data.statistics.n // model.batch_size)
    is_small = max(model.architecture.layer_sizes, default=0) <= SMALL_LAYER
    with one_blas_thread() if is_small else nullcontext():
        return loop.train(
            engine,
            data.ratings,
            validation_loss(engine, data),
            epochs=model.epochs,
            batch_size=model.batch_size,
            schedule=SCHEDULES[model.schedule](engine.optimizer.learning_rate, n_steps),
            patience=model.patience,
            rng=rng,
            unit_of_loss=1.0 if data.objective.ordinal is not None else data.unit**2,
            time_bins=None if bins is None or times is None else bins.of(times),
            on_progress=on_progress,
            checkpoint=checkpoint,
        )


def validation_loss(engine: Engine, data: TrainingData) -> Callable[[], float] | None:
    """Mean squared error of the validation ratings; with many processes, each has its part of them."""
    ratings, validation, bins = data.ratings, data.validation, data.statistics.time_bins
    if validation is None:
        return None
    users, items = rows_of_pairs(validation, ratings.user_ids, ratings.item_ids)
    # The last row of the engine's tables is that of the unknown.
    columns = [np.where(users < 0, ratings.n_users, users), np.where(items < 0, ratings.n_items, items)]
    if bins is not None:
        times = validation.timestamps
        columns.append(np.full(len(users), bins.n - 1, np.int32) if times is None else bins.of(times))
    n_all = engine.all_reduce(len(validation))

    def loss() -> float:
        if data.communicator.size == 1:
            fill_unknown_rows(engine.parameters, data.objective)
        likelihood = likelihood_of(engine.parameters, data.objective.ordinal, data.scale, data.unit)
        squares = 0.0
        for block in blocks(len(validation), BLOCK):
            scores = engine.predict(*(column[block] for column in columns))
            error = likelihood.rating(scores) - validation.values[block]
            squares += float(np.vdot(error, error))
        return engine.all_reduce(squares) / n_all

    return loss


def finish(
    model: NeuralMF, engine: Engine, data: TrainingData, history: History, ratings: Ratings
) -> Fitted | None:
    """The fitted model, in the first process; None in the others."""
    parameters = data.communicator.gathered(engine.parameters)
    if not parameters:
        return None
    ids = data.ratings.user_ids, data.ratings.item_ids
    interactions = interactions_of(ratings, *ids)
    form, features = model.architecture, data.objective.side_features
    prior = side_info.no_prior(form, *map(len, ids)) | side_info.shared_parts(parameters, features)
    fill_unknown(prior)
    parameters = side_info.collapsed(parameters, features)
    fill_unknown(parameters)
    likelihood = likelihood_of(parameters, data.objective.ordinal, data.scale, data.unit)
    penalty = row_penalty(model.regularization, likelihood, interactions)
    parts = prior, data.statistics.time_bins, history, engine.name
    fitted = assemble(form, parameters, likelihood, penalty, *parts)
    validation = data.validation
    if isinstance(likelihood, Ordinal) and validation is not None and len(validation):
        scores = block_scores(fitted, *rows_of_pairs(validation, *ids), validation.timestamps)
        values = in_units(validation, data.unit).values
        ordinal = calibrated(likelihood.model, scores, values, likelihood.cutpoints)
        likelihood = replace(likelihood, model=ordinal)
        penalty = row_penalty(model.regularization, likelihood, interactions)
        fitted = replace(fitted, likelihood=likelihood, penalty=penalty)
    return Fitted(*ids, data.scale, interactions, fitted)


def fill_unknown_rows(parameters: Parameters, objective: Objective) -> None:
    """Let the last row of each table be the mean of the others, features included."""
    shared = side_info.shared_parts(parameters, objective.side_features)
    for name, table in parameters.items():
        if name in shared:
            table[-1] = (table + shared[name])[:-1].mean(axis=0)
    fill_unknown({name: table for name, table in parameters.items() if name not in shared})


def calibrated(
    ordinal: CumulativeLogit, scores: FloatArray, ratings: FloatArray, cutpoints: FloatArray
) -> CumulativeLogit:
    """The same model with the deviation at which held-out ratings, shape (n,), are most probable.

    Training fits its own ratings too well, so that scores differ more than other ratings do. One number
    makes up for that: temperature scaling (Guo et al., 2017, "On calibration of modern neural networks").
    """
    y, raw = scores.astype(np.float64), cutpoints.astype(np.float64)

    def scaled(log_factor: float) -> CumulativeLogit:
        return replace(ordinal, deviation=ordinal.deviation * math.exp(log_factor))

    bounds = -MAX_LOG_FACTOR, MAX_LOG_FACTOR
    found = minimize_scalar(lambda x: scaled(x).loss(y, ratings, raw)[0], bounds=bounds, method="bounded")
    return scaled(found.x)
