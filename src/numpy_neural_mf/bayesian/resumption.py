"""Saving and restoring the state of Gibbs sampling, checked because compiled loops trust it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..training.checkpoint import Checkpoint
from ..training.loop import History
from ..utils.arrays import IntArray
from .posterior import Posterior
from .sampler import Sampler

Arrays = Mapping[str, NDArray[Any]]
Parts = tuple[Sampler, Posterior]


class ValidationMonitor:
    """Validation ratings and the sum of samples' predictions for them; the loss clips them to the scale.

    `users` and `items` are rows, -1 for the unknown.
    """

    def __init__(
        self, users: IntArray, items: IntArray, timestamps: NDArray[np.int64] | None,
        values: NDArray[np.float32], scale: tuple[float, float],
    ) -> None:  # fmt: skip
        self._pairs, self._values, self._scale = (users, items, timestamps), values, scale
        self.total = np.zeros(len(values))

    def loss(self, posterior: Posterior) -> float:
        """Add a sample; return the mean squared error of the samples' mean, in the burn-in of the sample."""
        prediction = posterior.predict_sample(*self._pairs)
        if posterior.n_samples:
            self.total += prediction
            prediction = self.total / posterior.n_samples
        return float(np.mean((np.clip(prediction, *self._scale) - self._values) ** 2))


def state_of(parts: Parts, monitor: ValidationMonitor | None) -> dict[str, NDArray[Any]]:
    """Return, by name, all that the next sample and the history depend on besides ratings and generator."""
    sampler, posterior = parts
    state: dict[str, NDArray[Any]] = {} if monitor is None else {"validation": monitor.total}
    state |= {f"sampler/{name}": a for name, a in sampler.state().items()}
    return state | {f"posterior/{name}": a for name, a in posterior.state().items()}


def resumed(
    checkpoint: Checkpoint, parts: Parts, monitor: ValidationMonitor | None, n_sweeps: int, burn_in: int
) -> History | None:
    """Restore the state in a checkpoint; return the history up to it, or None without a checkpoint.

    Raises ValueError if the checkpoint belongs to another training or is damaged.
    """
    own, (sampler, posterior) = state_of(parts, monitor), parts
    forms = {name: (a.dtype, a.shape) for name, a in own.items()}
    for name in own:  # factors of the mean have a varying number of columns
        if name.startswith("posterior/") and name.endswith((".P", ".Q")):
            forms[name] = own[name].dtype, (len(own[name]), None)
    saved = checkpoint.read(forms)
    if saved is None:
        return None
    with checkpoint.refusing():
        arrays, progress = saved
        history = History.checked(progress, n_sweeps)
        _require_sound(arrays, own)
        for prefix, part in (("sampler/", sampler), ("posterior/", posterior)):
            part.restore({n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)})
        if monitor is not None:
            monitor.total[...] = arrays["validation"]
        if posterior.n_samples != (expected := max(0, len(history.train_loss) - burn_in)):
            raise ValueError(f"sums of {posterior.n_samples} samples, not of {expected}")
    return history


def _require_sound(arrays: Arrays, own: Arrays) -> None:
    """Raise ValueError for indices out of range and for variances that are not above 0."""
    for name, found in arrays.items():
        key = name.rpartition(".")[2]
        if key == "members":
            sound = np.array_equal(np.sort(found), np.arange(len(found)))
        elif key == "bounds":
            ends, expected = found[[0, -1]], own[name][[0, -1]]
            sound = np.array_equal(ends, expected) and bool((np.diff(found) >= 0).all())
        elif key in ("precision", "scale", "sampler/relative_precision"):
            sound = bool((found > 0).all())
        elif name == "sampler/numbers":
            sound = bool((found[1:] > 0).all())  # except the intercept
        else:
            continue
        if not sound:
            raise ValueError(f"{name}, whose values are impossible")
