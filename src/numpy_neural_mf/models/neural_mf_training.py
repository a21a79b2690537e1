"""The steps of `NeuralMF.fit`: data and inference, engine, training, and the fitted model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..data import Ratings
from ..data.columns import blocks
from ..mf.architecture import Architecture
from ..mf.parameters import SIDES, Parameters, fill_unknown, table_name, variance_name
from ..mf.side_information import side_features_of
from ..nn import CumulativeLogit
from ..training import loop
from ..training.checkpoint import Checkpoint
from ..training.distributed import Communicator, all_ratings, own_part
from ..training.drift import UserDrift
from ..training.engines import ENGINES, Engine, choose_engine
from ..training.inference import LEAST_DEVIATION, Inference, first_objective
from ..training.loop import History, ProgressCallback
from ..training.objective import MOST
from ..training.previous_item import PreviousItems
from ..training.prior_means import PriorMeans
from ..training.statistics import RatingStatistics, in_units, unit_for
from ..utils.arrays import FloatArray, IntArray
from ..utils.threads import one_blas_thread
from .fitted import BLOCK, Fitted, interactions_of, rows_of_pairs
from .neural_mf_file import FittedNeuralMF, assemble, likelihood_of
from .neural_mf_settings import SCHEDULES, batch_size_for, epochs_for, new_optimizer
from .uncertainty import TOO_MANY, degrees_of_freedom, few_steps

if TYPE_CHECKING:
    from .neural_mf import NeuralMF

SMALL_LAYER = 128  # layer width up to which one BLAS thread is fastest (docs/decisions/one-blas-thread.md)
DEVIATION = 0.8  # expected deviation of ratings from scores, in deviations of all ratings


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """The training data of a process, and the statistics that all processes share."""

    ratings: Ratings  # the share of this process, in units, which the engine trains on
    given: Ratings  # the same, as given
    validation: Ratings | None
    scale: tuple[float, float]  # predictions are clipped to it
    unit: float
    statistics: RatingStatistics  # of the ratings of all processes, not in units
    inference: Inference
    communicator: Communicator


def uses_times(architecture: Architecture) -> bool:
    """Return whether a model uses the times of ratings."""
    return bool(architecture.periods) or architecture.drift or architecture.previous_item


def prepare(
    model: NeuralMF, ratings: Ratings, validation: Ratings | None, communicator: Communicator
) -> TrainingData:
    """Return the share of this process, in units, the statistics of all ratings, and the objective."""
    form = model.architecture
    given, held_out = own_part(ratings, validation, communicator, uses_times(form))
    given = given.compact(form.features, communicator.any)
    is_ordinal = form.likelihood == "ordinal"
    statistics = RatingStatistics.of(given, communicator, form.periods, with_levels=True)
    unit, ordinal = unit_for(statistics.deviation), None
    if is_ordinal:
        categories = few_steps(statistics.levels / np.float32(unit))
        if not len(categories):
            raise ValueError(TOO_MANY)
        ordinal = CumulativeLogit(categories, DEVIATION * statistics.deviation / unit)
    # Side features describe the ratings of all processes.
    described = all_ratings(given, communicator) if form.features or form.implicit else given
    counts = statistics.counts
    features = {
        side: PriorMeans(found, counts[side], communicator)
        for side, found in side_features_of(form, described).items()
    }
    own = in_units(given, unit)
    deviation = max(statistics.deviation / unit, LEAST_DEVIATION)
    decay = model.weight_decay * (own.n_users + own.n_items) / (2 * statistics.n)
    if rate := new_optimizer(model, statistics.n).learning_rate:
        decay = min(decay, 1 / rate)  # a step must not change the sign of a weight
    objective = first_objective(form, statistics, own, features, communicator, decay, ordinal, unit)
    drift = UserDrift(own, deviation, communicator) if form.drift else None
    if drift is not None:  # the engine trains on ratings minus the drift
        own = replace(own, values=own.values.copy())
    found, times = statistics.time_bins, own.timestamps
    bins = None if found is None or times is None else found.of(times)
    previous = None
    if form.previous_item:
        variance = float((objective.noise / objective.precision[table_name("user", "embedding")])[0])
        previous = PreviousItems(own, form.embedding_dim, variance, communicator)
    inference = Inference(objective, own, counts, communicator, features, drift, bins, previous)
    scale = form.rating_scale or given.scale
    return TrainingData(own, given, held_out, scale, unit, statistics, inference, communicator)


def build_engine(
    model: NeuralMF, data: TrainingData, rng: np.random.Generator, sign_rng: np.random.Generator
) -> Engine:
    """Return the engine with initial parameters: random, except where a better start is known."""
    form, rows, objective = model.architecture, data.communicator.rows, data.inference.objective
    n_rows, ordinal = (data.ratings.n_users, data.ratings.n_items), objective.ordinal
    n_steps = 0 if ordinal is None else len(ordinal.steps)
    mean = data.statistics.mean / data.unit
    parameters = form.initial_parameters(*n_rows, mean_rating=mean, rng=rng, rows=rows, n_steps=n_steps)
    if ordinal is not None:
        parameters["cutpoints"][...] = ordinal.first()
    for side in SIDES:  # a row without ratings starts at the prediction from its features
        if (name := table_name(side, "embedding")) in parameters:
            parameters[name][data.statistics.counts[side][rows] == 0] = 0
    n = data.statistics.n
    optimizer = new_optimizer(model, n)
    n_trained = epochs_for(model, data.ratings, n) * n
    name = choose_engine(model.engine, optimizer, n_trained, batch_size_for(model, n))
    on_device = {"device": model.device, "precision": model.precision} if name == "torch" else {}
    engine = ENGINES[name](form, parameters, optimizer, objective, sign_rng, **on_device)
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
    batch_size = batch_size_for(model, data.statistics.n)
    epochs = epochs_for(model, data.ratings, data.statistics.n)
    n_steps = epochs * -(-data.statistics.n // batch_size)
    is_small = max(model.architecture.layer_sizes, default=0) <= SMALL_LAYER
    with one_blas_thread() if is_small else nullcontext():
        return loop.train(
            engine,
            data.ratings,
            data.inference,
            validation_loss(engine, data),
            epochs=epochs,
            batch_size=batch_size,
            schedule=SCHEDULES[model.schedule](engine.optimizer.learning_rate, n_steps),
            rng=rng,
            unit_of_loss=1.0 if data.inference.objective.ordinal is not None else data.unit**2,
            time_bins=data.inference.bins,
            previous=None if data.inference.previous is None else data.inference.previous.column,
            on_progress=on_progress,
            checkpoint=checkpoint,
        )


def validation_loss(engine: Engine, data: TrainingData) -> Callable[[], float] | None:
    """Return a function for the mean squared error of validation ratings, over all processes' parts."""
    ratings, validation, bins = data.ratings, data.validation, data.statistics.time_bins
    if validation is None:
        return None
    users, items = rows_of_pairs(validation, ratings.user_ids, ratings.item_ids)
    # The last row of the engine's tables stands for unknown ids.
    columns = [np.where(users < 0, ratings.n_users, users), np.where(items < 0, ratings.n_items, items)]
    times, drift, previous = validation.timestamps, data.inference.drift, data.inference.previous
    context: list[IntArray | None] = [None, None]
    if bins is not None:
        context[0] = np.full(len(users), bins.n - 1, np.int32) if times is None else bins.of(times)
    if previous is not None:
        nothing = np.full(len(users), ratings.n_items, np.int32)
        context[1] = nothing if times is None else previous.before(users, times)
    n_all = engine.all_reduce(len(validation))

    def loss() -> float:
        if data.communicator.size == 1:
            fill_unknown(engine.parameters)
        likelihood = likelihood_of(engine.parameters, data.inference.objective.ordinal, data.scale, data.unit)
        squares = 0.0
        for block in blocks(len(validation), BLOCK):
            in_context = (None if column is None else column[block] for column in context)
            scores = engine.predict(*(column[block] for column in columns), *in_context)
            if drift is not None and times is not None:
                scores += drift.bias.at(users[block], items[block], times[block]).astype(scores.dtype)
            error = likelihood.rating(scores) - validation.values[block]
            squares += float(np.vdot(error, error))
        return engine.all_reduce(squares) / n_all

    return loss


def finish(model: NeuralMF, engine: Engine, data: TrainingData, history: History) -> Fitted | None:
    """Return the fitted model in the first process, None in the others."""
    parameters = data.communicator.gathered(engine.parameters)
    inference, objective = data.inference, data.inference.objective
    variance = data.communicator.gathered(objective.variance)
    by_row = data.communicator.gathered({n: p for n, p in objective.prior.items() if len(p) > 1})
    field_variances = {
        name: means.explained(name) for means in inference.features.values() for name in means.variances
    }
    given = all_ratings(data.given, data.communicator)
    if not parameters:
        return None
    ids = data.ratings.user_ids, data.ratings.item_ids
    prior: Parameters = {}
    prior_variances: Parameters = {}
    noise = float(objective.noise[0])
    for side in SIDES:
        for kind in ("embedding", "bias"):
            if (name := table_name(side, kind)) in parameters:
                parameters[variance_name(side, kind)] = variance[name]
                prior[name] = by_row.get(name, objective.prior[name])
                prior_variances[name] = np.asarray(noise / objective.precision[name], np.float32)
    fill_unknown({name: table for name, table in prior.items() if len(table) > 1})
    fill_unknown(parameters)
    fitted = assemble(
        model.architecture,
        parameters,
        likelihood_of(parameters, objective.ordinal, data.scale, data.unit),
        (
            data.statistics.time_bins,
            None if inference.drift is None else inference.drift.bias,
            None if inference.previous is None else inference.previous.effect(objective),
        ),
        noise=noise,
        user_weight=objective.weight,
        prior=prior,
        prior_variances=prior_variances,
        field_variances=field_variances,
        rating_steps=few_steps(data.statistics.levels),
        history=history,
        engine=engine.name,
    )
    if objective.ordinal is None:
        fitted = replace(fitted, degrees_of_freedom=degrees_of_freedom(_studentised_errors(fitted, given)))
    return Fitted(*ids, data.scale, interactions_of(given, *ids), fitted, titles=given.titles)


def _studentised_errors(fitted: FittedNeuralMF, given: Ratings) -> FloatArray:
    """Return e / √(σ_u² (1 - h)) of some training ratings; h is a rating's share in its own prediction."""
    some = slice(None, None, -(-len(given) // BLOCK))
    users, items = given.users[some], given.items[some]
    times = None if given.timestamps is None else given.timestamps[some]
    error = given.values[some] / fitted.likelihood.unit - fitted.scores(users, items, times)
    noise = (fitted.deviation[users] / fitted.likelihood.unit) ** 2
    share = np.minimum(fitted.factorization.variance(users, items) / noise, MOST)
    return np.asarray(error / np.sqrt(noise * (1 - share)))
