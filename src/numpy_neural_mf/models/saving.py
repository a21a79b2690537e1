"""What a fitted model is made of, and how it goes to a file; `loading` is the way back."""

from __future__ import annotations

import os
from abc import ABC
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..data.columns import count
from .interactions import SeenRatings
from .model_file import Tensors, encoded_ids, write

Side = Literal["user", "item"]


class Saveable(ABC):
    """A fitted model as settings, a summary and arrays: a subclass says which."""

    user_ids_: NDArray[Any]
    item_ids_: NDArray[Any]
    rating_scale_: tuple[float, float]
    _seen: SeenRatings

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file, safetensors with JSON in its header, for `load_model` to read.

        The file is replaced when the new one is whole; folders are made as needed.

        Parameters
        ----------
        path : str or path-like
            By custom it ends in ``.safetensors``.

        Raises
        ------
        RuntimeError
            The model is not fitted.
        """
        self._require_fitted()
        description = {
            "model": type(self).__name__,
            "rating_scale": [float(bound) for bound in self.rating_scale_],
            "settings": self._settings(),
            "summary": self._summary(),
        }
        tensors = {
            "user_ids": encoded_ids(self.user_ids_),
            "item_ids": encoded_ids(self.item_ids_),
            "seen.items": self._seen.items,
            "seen.ratings": self._seen.ratings,
            "seen.offsets": self._seen.offsets,
        }
        write(path, description, tensors | self._learned())

    def _require_fitted(self) -> None:
        if not hasattr(self, "user_ids_"):
            raise RuntimeError(f"this {type(self).__name__} is not fitted: call fit first")

    def _n_ratings(self, side: Side) -> NDArray[np.int64]:
        """How many ratings each user has, or each item."""
        return np.diff(self._seen.offsets) if side == "user" else count(self._seen.items, len(self.item_ids_))

    def _settings(self) -> dict[str, Any]:
        """What `_from_settings` makes the model anew from, as JSON has it."""
        raise TypeError(f"{type(self).__name__} has no way to be saved")

    @classmethod
    def _from_settings(cls, **settings: Any) -> Self:
        """The model before `fit`."""
        return cls(**settings)

    def _summary(self) -> dict[str, Any]:
        """What else there is to know of the training, as JSON has it."""
        return {}

    def _learned(self) -> Tensors:
        """What was learned, by name."""
        return {}

    def _learned_shapes(self) -> dict[str, tuple[Any, tuple[int, ...]]]:
        """Dtype and shape of what is learned, given settings and ids."""
        return {}

    def _restore(self, learned: Tensors, summary: dict[str, Any]) -> None:
        """Take up what `_learned`, whose names, dtypes and shapes have been checked, and `_summary` said."""
        raise NotImplementedError
