"""Settings of a model by scikit-learn's contract: read, set, copied by `clone` and shown."""

import inspect
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ..data import Ratings
from ..training.checkpoint import fingerprint


class NotFittedError(RuntimeError, AttributeError):
    """The model is not fitted."""


class Estimator:
    """A model whose settings are the parameters of its constructor, as those of scikit-learn's estimators."""

    _state: Any = None

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        given = inspect.signature(cls).parameters.values()
        return {
            one.name: one.default for one in given if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name; those of a `NeuralMF` have the fields of its architecture, too, if `deep`."""
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self, **params: Any) -> Self:
        """Change settings, with the constructor's checks and errors; after an error all are as they were.

        A fitted model has the settings that it was fitted with: with others, it is not fitted any more.
        """
        changed = type(self)(**self.get_params(deep=False) | params)
        if repr(changed) != repr(self):
            self._state = None
        vars(self).update(vars(changed))
        return self

    def __repr__(self) -> str:
        """The settings that differ from the defaults."""
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
    """Of a training, for its checkpoint: settings, the state of the generator, and all ratings given."""
    settings = {n: v for n, v in vars(model).items() if n[0] != "_" and n not in left_out}
    settings |= {"random_state": rng.bit_generator.state}  # not as given
    columns = [array for part in given for array in part.arrays]
    columns += [part.timestamps for part in given if with_times and part.timestamps is not None]
    return fingerprint(f"{name}{settings}", columns)
