"""Settings of a model by scikit-learn's conventions: read, set, copied by `clone` and shown."""

import inspect
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ..data import Ratings
from ..training.checkpoint import fingerprint


class NotFittedError(RuntimeError, AttributeError):
    """The model is not fitted."""


class Estimator:
    """A model whose settings are its constructor's parameters, as for scikit-learn's estimators."""

    _state: Any = None

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        given = inspect.signature(cls).parameters.values()
        return {
            one.name: one.default for one in given if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings by name; if `deep`, for a `NeuralMF` also the fields of its architecture."""
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self, **params: Any) -> Self:
        """Change settings, with the constructor's checks; an error leaves all settings unchanged.

        A model whose settings change is no longer fitted.
        """
        changed = type(self)(**self.get_params(deep=False) | params)
        if repr(changed) != repr(self):
            self._state = None
        vars(self).update(vars(changed))
        return self

    def __repr__(self) -> str:
        """Return the class and the settings that differ from the defaults."""
        given, defaults = self.get_params(), self._defaults()
        if "architecture" in defaults:  # its fields are settings, too
            defaults |= vars(defaults.pop("architecture"))
        changed = [
            f"{name}={given[name]!r}" for name in defaults if repr(given[name]) != repr(defaults[name])
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


def identity(
    model: Estimator,
    given: Sequence[Ratings],
    rng: np.random.Generator,
    *,
    with_times: bool = True,
    name: str = "",
    left_out: Sequence[str] = (),
) -> str:
    """Return a fingerprint of a training for its checkpoint: settings, generator state and all ratings."""
    settings = {n: v for n, v in vars(model).items() if n[0] != "_" and n not in left_out}
    settings |= {"random_state": rng.bit_generator.state}  # in place of the setting
    columns = [array for part in given for array in part.arrays]
    columns += [part.timestamps for part in given if with_times and part.timestamps is not None]
    return fingerprint(f"{name}{settings}", columns)
