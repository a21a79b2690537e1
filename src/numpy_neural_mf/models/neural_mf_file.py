"""A fitted NeuralMF, and its way to a file and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.timestamps import TimeBins
from ..mf.architecture import Architecture
from ..mf.forward import Factorization
from ..mf.likelihood import Likelihood, Normal, Ordinal
from ..mf.parameters import FEATURES, KINDS, SIDES, TIME_BINS, Parameters, table_name
from ..mf.regularization import RowPenalty
from ..mf.side_information import no_prior
from ..nn import OPTIMIZERS, CumulativeLogit, Optimizer
from ..training.loop import History
from ..utils.arrays import FloatArray, IntArray
from .files import Contents, Saved, Tensors
from .fitted import FittedModel
from .interactions import Interactions
from .neural_mf_settings import PLAIN_SETTINGS, scaled_regularization

if TYPE_CHECKING:
    from .neural_mf import NeuralMF

TIME_RANGE = "periods"  # array of the times of the first and the last rating, for a model with time bins
# Names of the tables of time bins in files of older versions.
FORMER_NAMES = {
    table_name(TIME_BINS[side], kind): table_name(FEATURES[side], kind) for side in SIDES for kind in KINDS
}


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedNeuralMF(FittedModel):
    """A fitted `NeuralMF`, with the name of the engine that trained; a file does not keep that."""

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
    time_bins: TimeBins

    def scores(self, users: IntArray, items: IntArray, timestamps: NDArray[np.int64]) -> FloatArray:
        """See `TimedScores`."""
        return self.factorization.scores(users, items, self.time_bins.of(timestamps))


def saved(model: NeuralMF, fitted: FittedNeuralMF) -> Saved:
    """The settings of a model and what it learned."""
    optimizer: Any = model.optimizer
    if isinstance(optimizer, Optimizer):
        name = type(optimizer).__name__.lower()
        if OPTIMIZERS.get(name) is not type(optimizer):
            raise TypeError(f"{type(optimizer).__name__}, an optimizer of your own, cannot be saved")
        optimizer = {f.name: getattr(optimizer, f.name) for f in fields(optimizer) if f.init} | {"name": name}
    likelihood = fitted.likelihood
    settings = {name: getattr(model, name) for name in PLAIN_SETTINGS}
    settings |= {"architecture": asdict(model.architecture), "optimizer": optimizer, "unit": likelihood.unit}
    if isinstance(likelihood, Ordinal):
        ordinal = likelihood.model
        settings["ordinal"] = {"steps": ordinal.steps.tolist(), "deviation": ordinal.deviation}
    arrays: Tensors = {**fitted.parameters}
    arrays |= {f"prior.{name}": table for name, table in fitted.prior.items()}
    if isinstance(fitted.timed, TimeBinScores):
        bins = fitted.timed.time_bins
        arrays[TIME_RANGE] = np.array([bins.first, bins.last], np.int64)
    return Saved(settings, asdict(fitted.history), arrays)


def settings_of(contents: Contents) -> dict[str, Any]:
    """The way back to the settings, as `NeuralMF` takes and checks them."""
    settings = {name: value for name, value in contents.settings.items() if name not in ("ordinal", "unit")}
    architecture = Architecture.from_settings(settings.pop("architecture"))
    optimizer = settings.pop("optimizer")
    if set(settings) != set(PLAIN_SETTINGS):
        raise ValueError(f"expected {sorted(PLAIN_SETTINGS)}, found {sorted(settings)}")
    if isinstance(optimizer, dict):
        optimizer = OPTIMIZERS[optimizer["name"]](**{k: v for k, v in optimizer.items() if k != "name"})
    return settings | {"architecture": architecture, "optimizer": optimizer}


def fitted_of(contents: Contents, model: NeuralMF) -> FittedNeuralMF:
    """The way back to what a model with these settings learned."""
    form, n_rows = model.architecture, (len(contents.user_ids), len(contents.item_ids))
    ordinal, unit = contents.settings.get("ordinal"), contents.settings.get("unit", 1.0)
    if (ordinal is not None) != (form.likelihood == "ordinal"):
        raise ValueError("expected categories if the likelihood is ordinal, and only then")
    if not 0 < unit < np.inf:
        raise ValueError(f"unit: expected a number above 0, found {unit}")
    categories = None if ordinal is None else _categories(**ordinal)
    n_steps = 0 if categories is None else len(categories.steps)
    parameters = {
        name: contents.take(name, np.float32, shape, FORMER_NAMES.get(name))
        for name, shape in form.parameter_shapes(*n_rows, n_steps=n_steps).items()
    }
    prior = {
        name: contents.take(f"prior.{name}", np.float32, table.shape)
        for name, table in no_prior(form, *n_rows).items()
    }
    bins = None
    if form.periods:
        first, last = contents.take(TIME_RANGE, np.int64, (2,)).tolist()
        if first > last:
            raise ValueError(f"{TIME_RANGE}: expected the first time and the last, found {first}, {last}")
        bins = TimeBins(first, last, form.periods)
    likelihood = likelihood_of(parameters, categories, contents.rating_scale, float(unit))
    penalty = row_penalty(model.regularization, likelihood, contents.interactions)
    return assemble(form, parameters, likelihood, penalty, prior, bins, History.checked(contents.summary))


def _categories(steps: list[float], deviation: float) -> CumulativeLogit:
    found = np.array(steps, np.float32)
    if found.ndim != 1 or not (np.isfinite(found).all() and (found[1:] > found[:-1]).all()):
        raise ValueError(f"steps: expected an ascending list, found {steps}")
    if not 0 < deviation < np.inf:
        raise ValueError(f"deviation: expected a number above 0, found {deviation}")
    return CumulativeLogit(found, deviation)


def assemble(
    architecture: Architecture,
    parameters: Parameters,
    likelihood: Likelihood,
    penalty: RowPenalty,
    prior: Parameters,
    time_bins: TimeBins | None,
    history: History,
    engine: str = "",
) -> FittedNeuralMF:
    """A fitted model of its parts."""
    form = Factorization(architecture, parameters)
    timed = None if time_bins is None else TimeBinScores(form, time_bins)
    now = form.at_last_time_bin()
    return FittedNeuralMF(now, likelihood, penalty, prior, timed, history=history, engine=engine)


def likelihood_of(
    parameters: Parameters, ordinal: CumulativeLogit | None, scale: tuple[float, float], unit: float
) -> Likelihood:
    """What scores mean."""
    return Normal(scale, unit) if ordinal is None else Ordinal(ordinal, parameters["cutpoints"], scale, unit)


def row_penalty(regularization: float, likelihood: Likelihood, interactions: Interactions) -> RowPenalty:
    """The penalty of training, of a row next to these interactions."""
    ordinal = likelihood.model if isinstance(likelihood, Ordinal) else None
    scaled = scaled_regularization(regularization, ordinal)
    return RowPenalty.frequency_scaled(scaled, interactions.user_counts, interactions.item_counts)
