"""A NeuralMF as a file: its settings, what it has learned, and whether a file can be trusted."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data.time_bins import Periods
from ..mf.architecture import Architecture, Parameters
from ..mf.side_information import no_prior
from ..nn import OPTIMIZERS, CumulativeLogit, Optimizer
from ..training.engines import Engine
from ..training.loop import History
from .model_file import Tensors
from .neural_mf_settings import PLAIN_SETTINGS
from .sequences import Sequences
from .steps import PredictsSteps

# When the first rating was given and when the last, of a model with periods.
BOUNDS = "periods"


class NeuralMFFile(PredictsSteps):
    """What `NeuralMF`, where all of this is documented, keeps in a file."""

    history_: History
    parameters_: Parameters
    prior_: Parameters
    _periods: Periods
    _sequences: Sequences

    def _use(self, parameters: Parameters, engine: Engine | None = None) -> None:
        """Predict with these parameters from here on, by an engine that has them or else by NumPy's."""
        raise NotImplementedError

    def _settings(self) -> dict[str, Any]:
        optimizer: Any = self.optimizer
        if isinstance(optimizer, Optimizer):
            given = {f.name: getattr(optimizer, f.name) for f in fields(optimizer) if f.init}
            optimizer = {"name": type(optimizer).__name__.lower()} | given
            if OPTIMIZERS.get(optimizer["name"]) is not type(self.optimizer):
                raise TypeError(f"{type(self.optimizer).__name__}, an optimizer of your own, cannot be saved")
        plain = {name: getattr(self, name) for name in PLAIN_SETTINGS}
        if isinstance(self.random_state, np.random.Generator):
            plain["random_state"] = None
        told = {"architecture": asdict(self.architecture), "optimizer": optimizer, "unit": self.unit_} | plain
        if self._ordinal is None:
            return told
        steps, deviation = self._ordinal.steps.tolist(), self._ordinal.deviation
        return told | {"ordinal": {"steps": steps, "deviation": deviation}}

    @classmethod
    def _from_settings(cls, **settings: Any) -> Self:
        architecture, optimizer = settings.pop("architecture"), settings.pop("optimizer")
        ordinal, unit = settings.pop("ordinal", None), settings.pop("unit", 1.0)
        if set(settings) != set(PLAIN_SETTINGS):
            raise ValueError(f"expected {sorted(PLAIN_SETTINGS)}, found {sorted(settings)}")
        if architecture["rating_scale"] is not None:
            architecture["rating_scale"] = tuple(architecture["rating_scale"])
        if isinstance(optimizer, dict):
            optimizer = OPTIMIZERS[optimizer.pop("name")](**optimizer)
        model = cls(**settings | {"architecture": Architecture(**architecture), "optimizer": optimizer})
        if (ordinal is not None) != (model.architecture.likelihood == "ordinal"):
            raise ValueError("expected steps of the scale where the likelihood is ordinal, and there alone")
        if not 0 < unit < np.inf:
            raise ValueError(f"unit: expected a number above 0, found {unit}")
        model.unit_ = float(unit)
        model._hold_steps(None if ordinal is None else _checked(**ordinal))
        return model

    def _summary(self) -> dict[str, Any]:
        return asdict(self.history_)

    def _learned(self) -> Tensors:
        learned: dict[str, NDArray[Any]] = {**self.parameters_}
        learned |= {f"prior.{name}": table for name, table in self.prior_.items()}
        if self.architecture.periods:
            learned[BOUNDS] = np.array([self._periods.first, self._periods.last], np.int64)
        return learned | (self._sequences.tensors() if self.architecture.sequence else {})

    def _learned_shapes(self) -> dict[str, tuple[Any, tuple[int, ...]]]:
        n_rows = len(self.user_ids_), len(self.item_ids_)
        shapes = self.architecture.parameter_shapes(*n_rows, n_steps=len(self.rating_steps_))
        shapes |= {
            f"prior.{name}": table.shape for name, table in no_prior(self.architecture, *n_rows).items()
        }
        learned: dict[str, Any] = {name: (np.float32, shape) for name, shape in shapes.items()}
        if self.architecture.periods:
            learned[BOUNDS] = (np.int64, (2,))
        if self.architecture.sequence:
            learned |= Sequences.shapes(self.architecture, n_rows[0])
        return learned

    def _restore(self, learned: Tensors, summary: dict[str, Any]) -> None:
        if self.architecture.periods:
            first, last = learned.pop(BOUNDS).tolist()
            if first > last:
                raise ValueError(f"{BOUNDS}: expected the first time and the last, found {first}, {last}")
            self._periods = Periods(first, last, self.architecture.periods)
        if self.architecture.sequence:
            self._sequences = Sequences.from_tensors(self.architecture, learned)
        prior = {name for name in learned if name.startswith("prior.")}
        self.prior_ = {name.removeprefix("prior."): learned[name] for name in prior}
        self.history_ = History.checked(summary)
        self._use({name: value for name, value in learned.items() if name not in prior})


def _checked(steps: list[float], deviation: float) -> CumulativeLogit:
    """From a file."""
    found = np.array(steps, np.float32)
    if found.ndim != 1 or not (np.isfinite(found).all() and (found[1:] > found[:-1]).all()):
        raise ValueError(f"steps: expected an ascending list, found {steps}")
    if not 0 < deviation < np.inf:
        raise ValueError(f"deviation: expected a number above 0, found {deviation}")
    return CumulativeLogit(found, deviation)
