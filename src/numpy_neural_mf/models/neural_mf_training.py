"""The steps of `NeuralMF.fit`: data, objective, parameters, engine, training, and the fitted model."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ..data import Ratings
from ..data.columns import blocks
from ..mf.likelihood import Ordinal
from ..mf.parameters import Parameters, fill_unknown
from ..mf.regularization import frequency_scaled
from ..mf.side_information import (
    collapsed,
    leave_unrated_at_prior,
    no_prior,
    shared_parts,
    side_features_of,
    time_penalties,
)
from ..nn import CumulativeLogit
from ..nn.parameter import IntArray
from ..training import loop
from ..training.checkpoint import Checkpoint
from ..training.distributed import Communicator, all_ratings, own_part
from ..training.engines import ENGINES, Engine, choose_engine
from ..training.loop import History, ProgressCallback
from ..training.objective import Objective
from ..training.statistics import RatingStatistics, in_units, unit_for
from ..utils.threads import one_blas_thread
from .fitted import BLOCK, Fitted, block_scores, interactions_of, rows_of_pairs
from .neural_mf_file import assemble, likelihood_of, row_penalty
from .neural_mf_settings import new_optimizer, new_schedule, scaled_regularization
from .uncertainty import TOO_MANY, few_steps

if TYPE_CHECKING:
    from .neural_mf import NeuralMF

# Up to this width, a second BLAS thread does not pay (docs/decisions/one-blas-thread.md).
SMALL_LAYER = 128

# The expected deviation of a rating from its score, in deviations of all ratings.
DEVIATION = 0.8

# The logarithm of the factor by which calibration may change that.
MAX_LOG_FACTOR = math.log(4)


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
    statistics : RatingStatistics
        Of the ratings of all processes, not in units.
    ordinal : CumulativeLogit or None
        Of the categories in units, before calibration.
    described : Ratings
        Of all processes, where features are of use; otherwise those of this one.
    communicator : Communicator
    """

    ratings: Ratings
    validation: Ratings | None
    scale: tuple[float, float]
    unit: float
    statistics: RatingStatistics
    ordinal: CumulativeLogit | None
    described: Ratings
    communicator: Communicator

    @property
    def time_bins(self) -> NDArray[np.int32] | None:
        """The time bin of each rating."""
        bins, times = self.statistics.time_bins, self.ratings.timestamps
        return None if bins is None or times is None else bins.of(times)


def prepare(
    model: NeuralMF,
    ratings: Ratings,
    validation: Ratings | None,
    rng: np.random.Generator,
    communicator: Communicator,
) -> TrainingData:
    """The share of this process, scaled, with the statistics of all ratings."""
    form = model.architecture
    own, held_out = own_part(
        ratings, validation, model.validation_fraction, rng, communicator, bool(form.periods)
    )
    own = own.compact(form.features, communicator.any)
    is_ordinal = form.likelihood == "ordinal"
    statistics = RatingStatistics.of(own, communicator, form.periods, with_levels=is_ordinal)
    unit = unit_for(statistics.deviation)
    ordinal = None
    if is_ordinal:
        categories = few_steps(statistics.levels / np.float32(unit))
        if not len(categories):
            raise ValueError(TOO_MANY)
        ordinal = CumulativeLogit(categories, DEVIATION * statistics.deviation / unit)
    has_features = form.features or form.implicit
    return TrainingData(
        ratings=in_units(own, unit),
        validation=held_out,
        scale=form.rating_scale or own.scale,
        unit=unit,
        statistics=statistics,
        ordinal=ordinal,
        described=all_ratings(own, communicator) if has_features else own,
        communicator=communicator,
    )


def build_objective(model: NeuralMF, data: TrainingData) -> Objective:
    """What is minimised: the likelihood, the penalties of rows, and the side features with theirs."""
    regularization = scaled_regularization(model.regularization, data.ordinal)
    counts, time_counts = data.statistics.counts, data.statistics.time_counts
    return Objective(
        user_penalty=frequency_scaled(regularization, counts["user"]),
        item_penalty=frequency_scaled(regularization, counts["item"]),
        weight_decay=model.weight_decay,
        side_features=side_features_of(model.architecture, data.described, regularization),
        time_penalty=time_penalties(regularization, counts, time_counts) if len(time_counts) else {},
        ordinal=data.ordinal,
    )


def build_parameters(
    model: NeuralMF, data: TrainingData, objective: Objective, rng: np.random.Generator
) -> Parameters:
    """The first parameters of this process: drawn, except where more is known before training."""
    rows = data.communicator.rows
    n_features = {f"n_{side}_features": f.matrix.shape[1] for side, f in objective.side_features.items()}
    parameters = model.architecture.initial_parameters(
        data.ratings.n_users,
        data.ratings.n_items,
        data.statistics.mean / data.unit,
        rng,
        rows=rows,
        n_steps=0 if data.ordinal is None else len(data.ordinal.steps),
        **n_features,
    )
    if data.ordinal is not None:
        parameters["cutpoints"][...] = data.ordinal.first()
    if model.architecture.features:
        for side, counts in data.statistics.counts.items():
            leave_unrated_at_prior(parameters, side, counts[rows] == 0)
    return parameters


def build_engine(
    model: NeuralMF,
    data: TrainingData,
    objective: Objective,
    parameters: Parameters,
    rng: np.random.Generator,
) -> Engine:
    """The engine that is to train."""
    optimizer = new_optimizer(model)
    name = choose_engine(model.engine, optimizer, model.epochs * data.statistics.n, model.batch_size)
    on_device = {"device": model.device, "precision": model.precision} if name == "torch" else {}
    engine = ENGINES[name](model.architecture, parameters, optimizer, objective, rng, **on_device)
    engine.name = name
    return engine


def train(
    model: NeuralMF,
    engine: Engine,
    data: TrainingData,
    objective: Objective,
    rng: np.random.Generator,
    on_progress: ProgressCallback | None,
    checkpoint: Checkpoint | None,
) -> History:
    """Train the engine's parameters in place."""
    is_small = max(model.architecture.layer_sizes, default=0) <= SMALL_LAYER
    with one_blas_thread() if is_small else nullcontext():
        return loop.train(
            engine,
            data.ratings,
            validation_loss(model, engine, data, objective),
            epochs=model.epochs,
            batch_size=model.batch_size,
            schedule=new_schedule(model, data.statistics.n),
            patience=model.patience,
            rng=rng,
            unit_of_loss=1.0 if data.ordinal is not None else data.unit**2,
            time_bins=data.time_bins,
            on_progress=on_progress,
            checkpoint=checkpoint,
        )


def validation_loss(
    model: NeuralMF, engine: Engine, data: TrainingData, objective: Objective
) -> Callable[[], float] | None:
    """Mean squared error of the validation ratings; with many processes, each has its part of them."""
    validation, bins = data.validation, data.statistics.time_bins
    if validation is None:
        return None
    columns = [*known_rows(validation, data.ratings)]
    if bins is not None and validation.timestamps is not None:
        columns.append(bins.of(validation.timestamps))
    elif bins is not None:
        columns.append(np.full(len(validation), bins.n - 1, np.int32))
    n_all = engine.all_reduce(len(validation))

    def loss() -> float:
        if data.communicator.size == 1:
            fill_unknown_rows(engine.parameters, objective)
        likelihood = likelihood_of(engine.parameters, data.ordinal, data.scale, data.unit)
        squares = 0.0
        for block in blocks(len(validation), BLOCK):
            scores = engine.predict(*(column[block] for column in columns))
            error = likelihood.rating(scores) - validation.values[block]
            squares += float(np.vdot(error, error))
        return engine.all_reduce(squares) / n_all

    return loss


def finish(
    model: NeuralMF,
    engine: Engine,
    data: TrainingData,
    objective: Objective,
    history: History,
    ratings: Ratings,
) -> Fitted | None:
    """The fitted model, in the first process; None in the others."""
    parameters = data.communicator.gathered(engine.parameters)
    if not parameters:
        return None
    ids = data.ratings.user_ids, data.ratings.item_ids
    interactions = interactions_of(ratings, *ids)
    prior = no_prior(model.architecture, *map(len, ids)) | shared_parts(parameters, objective.side_features)
    fill_unknown(prior)
    parameters = collapsed(parameters, objective.side_features)
    fill_unknown(parameters)
    likelihood = likelihood_of(parameters, data.ordinal, data.scale, data.unit)
    penalty = row_penalty(model.regularization, likelihood, interactions)
    parts = prior, data.statistics.time_bins, history, engine.name
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


def fill_unknown_rows(parameters: Parameters, objective: Objective) -> None:
    """Let the last row of each table be the mean of the others, features included."""
    shared = shared_parts(parameters, objective.side_features)
    for name, table in parameters.items():
        if name in shared:
            table[-1] = (table + shared[name])[:-1].mean(axis=0)
    fill_unknown({name: table for name, table in parameters.items() if name not in shared})


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
