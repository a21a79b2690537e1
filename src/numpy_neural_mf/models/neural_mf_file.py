"""A fitted NeuralMF, and how it is saved and loaded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data.timestamps import TimeBins
from ..mf.architecture import Architecture
from ..mf.drift import Timeline, TimeVaryingBias
from ..mf.forward import Factorization
from ..mf.likelihood import Likelihood, Normal, Ordinal
from ..mf.parameters import KINDS, SIDES, Parameters, Side, table_name, variance_name
from ..mf.previous_item import PreviousItemEffect
from ..mf.regularization import RowPenalty
from ..nn import OPTIMIZERS, CumulativeLogit, Optimizer
from ..training.loop import History
from ..utils.arrays import Float32Array, FloatArray, IntArray
from ..utils.settings import check_choice, check_fields, check_number
from .files import HUGE, SMALLEST, TINY, Contents, Saved, Tensors
from .fitted import FittedModel
from .incremental_update import Update
from .neural_mf_settings import PLAIN_SETTINGS
from .uncertainty import checked_steps

if TYPE_CHECKING:
    from .neural_mf import NeuralMF

# Learned values among the settings in a file.
LEARNED = ("fields", "ordinal", "degrees_of_freedom", "unit", "noise", "steps", "timescale")
InTime = tuple[TimeBins | None, TimeVaryingBias | None, PreviousItemEffect | None]
TIME_RANGE = "periods"  # array of the first and the last rating's time, for a model with time bins


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedNeuralMF(FittedModel):
    """A fitted `NeuralMF`, with the name of the training engine, which files do not keep."""

    prior_variances: Parameters  # τ² by table of users and items, shape (d,)
    field_variances: dict[str, Parameters]  # by table and field of features, shape (d,)
    rating_steps: Float32Array  # the distinct training ratings, ascending; empty if there are many
    degrees_of_freedom: float = np.inf  # of Student's t distribution of ratings around r̂
    history: History = field(default_factory=History)
    engine: str = ""

    @property
    def _form(self) -> Factorization:
        """The factorisation, with time bins if it has any."""
        return self.timed.factorization if isinstance(self.timed, ScoresInTime) else self.factorization

    @property
    def parameters(self) -> Parameters:
        """Means of all tables, and the other parameters."""
        return self._form.means

    @property
    def variances(self) -> Parameters:
        """Variances of the rows of users and items, by the names of the means."""
        names = {table_name(side, kind): variance_name(side, kind) for side in SIDES for kind in KINDS}
        tables = self.factorization.parameters
        return {name: tables[of] for name, of in names.items() if of in tables}

    @property
    def deviation(self) -> Float32Array:
        """σ_u of each user, in ratings, then of an unknown user."""
        assert self.user_weight is not None
        variance = self.noise / (self.likelihood.curvature * self.user_weight)
        return np.asarray(self.likelihood.unit * np.sqrt(variance), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ScoresInTime:
    """A factorisation with time bins, time-varying biases of users, and an effect of the previous item."""

    factorization: Factorization
    time_bins: TimeBins | None
    drift: TimeVaryingBias | None
    previous: PreviousItemEffect | None

    def scores(self, users: IntArray, items: IntArray, timestamps: NDArray[np.int64]) -> FloatArray:
        """Return the scores of `TimedScores`."""
        bins = None if self.time_bins is None else self.time_bins.of(timestamps)
        scores = self.factorization.scores(users, items, bins)
        if self.drift is not None:
            scores += self.drift.at(users, items, timestamps).astype(scores.dtype)
        if self.previous is not None:
            q = self.factorization.item_vectors(items, bins)
            scores += self.previous.at(users, timestamps, q).astype(scores.dtype)
        return scores

    def updated(self, now: Factorization, update: Update) -> Self:
        """Return the same with the rows of a factorisation at the last time bin; new users do not drift.

        Items of new ratings do not become previous items of other ratings.
        """
        drift, previous, n_users = self.drift, self.previous, len(update.user_ids)
        if drift is not None:
            drift = replace(drift, timeline=drift.timeline.inserted(update.old_users, n_users))
        if previous is not None:
            previous = previous.inserted(update.old_users, n_users, update.old_items, len(update.item_ids))
        form = self.factorization.with_last_time_bin(now)
        return replace(self, factorization=form, drift=drift, previous=previous)


def saved(model: NeuralMF, fitted: FittedNeuralMF) -> Saved:
    """Return the settings and the learned arrays of a model."""
    optimizer: Any = model.optimizer
    if isinstance(optimizer, Optimizer):
        name = type(optimizer).__name__.lower()
        if OPTIMIZERS.get(name) is not type(optimizer):
            raise TypeError(f"{type(optimizer).__name__}, a custom optimizer, cannot be saved")
        optimizer = {field: getattr(optimizer, field) for field in _settings(optimizer)} | {"name": name}
    likelihood = fitted.likelihood
    settings = {name: getattr(model, name) for name in PLAIN_SETTINGS}
    settings |= {"architecture": asdict(model.architecture), "optimizer": optimizer, "unit": likelihood.unit}
    settings |= {"noise": fitted.noise, "steps": fitted.rating_steps.tolist()}
    settings |= {"ordinal": None, "degrees_of_freedom": fitted.degrees_of_freedom, "timescale": None}
    if isinstance(likelihood, Ordinal):
        ordinal = likelihood.model
        settings["ordinal"] = {"steps": ordinal.steps.tolist(), "deviation": ordinal.deviation}
        settings["degrees_of_freedom"] = None
    arrays: Tensors = {**fitted._form.parameters, "user_weight": np.asarray(fitted.user_weight)}
    arrays |= {f"prior.{name}": table for name, table in fitted.prior.items()}
    arrays |= {f"prior_variance.{name}": tau2 for name, tau2 in fitted.prior_variances.items()}
    settings["fields"] = {name: list(by_field) for name, by_field in fitted.field_variances.items()}
    for name, by_field in fitted.field_variances.items():
        arrays[f"field_variance.{name}"] = np.stack([*by_field.values()])
    if isinstance(fitted.timed, ScoresInTime):
        if (bins := fitted.timed.time_bins) is not None:
            arrays[TIME_RANGE] = np.array([bins.first, bins.last], np.int64)
        if (previous := fitted.timed.previous) is not None:
            arrays |= _of_timeline(previous.timeline)
            arrays |= {"previous_item.items": previous.items, "previous_item.vectors": previous.vectors}
        if (drift := fitted.timed.drift) is not None:
            settings["timescale"] = drift.timescale
            arrays |= _of_timeline(drift.timeline)
            arrays["drift.values"] = np.asarray(drift.values, np.float32)
    return Saved(settings, asdict(fitted.history), arrays)


def settings_of(contents: Contents) -> dict[str, Any]:
    """Return the settings in a file, as `NeuralMF` takes and checks them."""
    given = contents.settings
    check_fields("settings", given, (*PLAIN_SETTINGS, "architecture", "optimizer", *LEARNED))
    optimizer = given["optimizer"]
    if isinstance(optimizer, dict):
        check_choice("name of the optimizer", optimizer.get("name"), OPTIMIZERS)
        made = OPTIMIZERS[optimizer["name"]]
        check_fields("optimizer", optimizer, [*_settings(made), "name"])
        optimizer = made(**{name: optimizer[name] for name in _settings(made)})
    settings = {name: given[name] for name in PLAIN_SETTINGS} | {"optimizer": optimizer}
    return settings | {"architecture": Architecture.from_settings(given["architecture"])}


def _settings(optimizer: Optimizer | type[Optimizer]) -> list[str]:
    """Return the names of an optimiser's settings, without its state."""
    return [field.name for field in fields(optimizer) if field.init]


def fitted_of(contents: Contents, model: NeuralMF) -> FittedNeuralMF:
    """Return the fitted state in a file, for a model with these settings."""
    form, given = model.architecture, contents.settings
    n_rows = len(contents.user_ids), len(contents.item_ids)
    ordinal, unit, noise = given["ordinal"], given["unit"], given["noise"]
    if (ordinal is not None) != (form.likelihood == "ordinal"):
        raise ValueError("expected categories if the likelihood is ordinal, and only then")
    for name, number in (("unit", unit), ("noise", noise)):
        check_number(name, number, at_least=TINY, at_most=HUGE)
    freedom = given["degrees_of_freedom"] if ordinal is None else np.inf
    if ordinal is None:  # above 2, Student's t has a variance
        check_number("degrees_of_freedom", freedom, above=2, at_most=HUGE)
    categories = _categories(ordinal)
    n_steps = 0 if categories is None else len(categories.steps)
    shapes = form.parameter_shapes(*n_rows, n_steps=n_steps)
    parameters = {name: contents.take(name, np.float32, shape) for name, shape in shapes.items()}
    with np.errstate(over="ignore"):
        if categories and not np.isfinite(categories.cutpoints(parameters["cutpoints"])).all():
            raise ValueError("cutpoints: expected finite numbers when added up")
    prior, prior_variances = {}, {}
    for side in SIDES:
        for kind in KINDS:
            if (name := table_name(side, kind)) in shapes:
                n, d = shapes[name]
                of_rows, of_prior = variance_name(side, kind), f"prior.{name}"
                parameters[of_rows] = contents.take(of_rows, np.float32, (n, d), 0.0)
                prior[name] = contents.take(of_prior, np.float32, (contents.length(of_prior), d))
                if len(prior[name]) not in (1, n):
                    raise ValueError(f"{of_prior}: expected 1 row or {n}, found {len(prior[name])}")
                prior_variances[name] = contents.take(f"prior_variance.{name}", np.float32, (d,), SMALLEST)
    field_variances: dict[str, Parameters] = {}
    for name, names in _fields(given["fields"], prior).items():
        shape = len(names), shapes[name][1]
        by_field = contents.take(f"field_variance.{name}", np.float32, shape)
        field_variances[name] = dict(zip(names, by_field, strict=True))
    return assemble(
        form,
        parameters,
        likelihood_of(parameters, categories, contents.rating_scale, float(unit)),
        _in_time(contents, form),
        noise=float(noise),
        degrees_of_freedom=float(freedom),
        user_weight=contents.take("user_weight", np.float32, (n_rows[0] + 1,), TINY),
        prior=prior,
        prior_variances=prior_variances,
        field_variances=field_variances,
        rating_steps=checked_steps(given["steps"]),
        history=History.checked(contents.summary),
    )


def _fields(given: Any, tables: Collection[str]) -> dict[str, list[str]]:
    """Return the names of the fields of features, by table."""
    if not isinstance(given, dict) or given.keys() - tables:
        raise ValueError(f"fields: expected names by table, of {', '.join(tables) or 'no'}, found {given!r}")
    for name, names in given.items():
        is_typed = isinstance(names, list) and all(isinstance(one, str) for one in names)
        if not is_typed or len(set(names)) < len(names):
            raise ValueError(f"fields of {name}: expected different names, found {names!r}")
    return given


def _of_timeline(timeline: Timeline) -> Tensors:
    return {"drift.starts": timeline.starts, "drift.times": timeline.times}


def _in_time(contents: Contents, form: Architecture) -> InTime:
    bins, drift, previous = None, None, None
    if form.periods:
        first, last = contents.take(TIME_RANGE, np.int64, (2,)).tolist()
        if first > last:
            raise ValueError(f"{TIME_RANGE}: expected the first time and the last, found {first}, {last}")
        bins = TimeBins(first, last, form.periods)
    if form.drift or form.previous_item:
        n = contents.length("drift.times")
        starts = contents.take("drift.starts", np.int64, (len(contents.user_ids) + 1,))
        timeline = Timeline.checked(starts, contents.take("drift.times", np.int64, (n,)))
    if form.drift:
        timescale = contents.settings["timescale"]
        check_number("timescale", timescale, at_least=TINY, at_most=HUGE)
        values = contents.take("drift.values", np.float32, (n,))
        drift = TimeVaryingBias("user", timeline, values, float(timescale))
    if form.previous_item:
        n_items = len(contents.item_ids)
        items = contents.take("previous_item.items", np.int32, (n,))
        if not (n and items.min() >= 0 and items.max() < n_items):
            raise ValueError("previous_item.items: expected rows of items")
        vectors = contents.take("previous_item.vectors", np.float32, (n_items + 1, form.embedding_dim + 1))
        previous = PreviousItemEffect(timeline, items, vectors)
    return bins, drift, previous


def _categories(ordinal: Any) -> CumulativeLogit | None:
    """Return the model of ordinal categories, if there is one."""
    if ordinal is None:
        return None
    check_fields("ordinal", ordinal, ["steps", "deviation"])
    check_number("deviation", ordinal["deviation"], at_least=TINY, at_most=HUGE)
    return CumulativeLogit(checked_steps(ordinal["steps"]), ordinal["deviation"])


def assemble(
    architecture: Architecture,
    parameters: Parameters,
    likelihood: Likelihood,
    in_time: InTime,
    *,
    noise: float,
    prior_variances: Parameters,
    **parts: Any,
) -> FittedNeuralMF:
    """Assemble a fitted model from its parts."""

    def penalty(side: Side) -> FloatArray:
        names = [table_name(side, kind) for kind in KINDS]
        tables = [prior_variances[name] for name in names if name in prior_variances]
        return noise / np.concatenate([np.zeros(0), *tables])

    form = Factorization(architecture, parameters)
    timed = None if in_time == (None, None, None) else ScoresInTime(form, *in_time)
    return FittedNeuralMF(
        form.at_last_time_bin(),
        likelihood,
        RowPenalty(penalty("user"), penalty("item")),
        timed=timed,
        noise=noise,
        prior_variances=prior_variances,
        **parts,
    )


def likelihood_of(
    parameters: Parameters, ordinal: CumulativeLogit | None, scale: tuple[float, float], unit: float
) -> Likelihood:
    """Return the likelihood of ratings given scores."""
    return Normal(scale, unit) if ordinal is None else Ordinal(ordinal, parameters["cutpoints"], scale, unit)
