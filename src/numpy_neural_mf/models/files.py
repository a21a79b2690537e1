"""Fitted models in files: what a model saves, and contents that are checked as they are taken."""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .fitted import FittedData
from .interactions import Interactions
from .model_file import Tensors, decoded_ids, encoded_ids, read, refuse, write

DESCRIPTION = {"model", "rating_scale", "settings", "summary"}


class Saved(NamedTuple):
    """What a model saves besides ids, scale and interactions.

    Attributes
    ----------
    settings : dict
        What the model is made with, as JSON has it.
    summary : dict
        What else is known of the training, as JSON has it.
    arrays : dict of str to array
        What was learned.
    """

    settings: dict[str, Any]
    summary: dict[str, Any]
    arrays: Tensors


def save(path: str | os.PathLike[str], name: str, fitted: FittedData, saved: Saved) -> None:
    """Write a model of this class name: see `Recommender.save`."""
    description = {
        "model": name,
        "rating_scale": [float(bound) for bound in fitted.rating_scale],
        "settings": saved.settings,
        "summary": saved.summary,
    }
    arrays = {
        "user_ids": encoded_ids(fitted.user_ids),
        "item_ids": encoded_ids(fitted.item_ids),
        "seen.items": fitted.interactions.items,
        "seen.ratings": fitted.interactions.ratings,
        "seen.offsets": fitted.interactions.offsets,
    }
    write(path, description, arrays | saved.arrays)


class Contents:
    """The contents of a model file: each array is checked as it is taken, and none may be left.

    Attributes
    ----------
    name : str
        The class of the model.
    settings, summary : dict
    rating_scale : (float, float)
    user_ids, item_ids : arrays, sorted and unique
    interactions : Interactions
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        description, self._arrays = read(path)
        if set(description) != DESCRIPTION:
            self.refuse(f"the description should have {sorted(DESCRIPTION)}, found {sorted(description)}")
        self.name: Any = description["model"]
        self.settings: dict[str, Any] = description["settings"]
        self.summary: dict[str, Any] = description["summary"]
        if not (isinstance(self.settings, dict) and isinstance(self.summary, dict)):
            self.refuse("settings and summary: expected objects")
        scale = description["rating_scale"]
        is_pair = (
            isinstance(scale, list) and len(scale) == 2 and all(isinstance(x, int | float) for x in scale)
        )
        if not (is_pair and all(map(math.isfinite, scale)) and scale[0] < scale[1]):
            self.refuse(f"rating_scale: expected [lowest, highest], found {scale}")
        self.rating_scale: tuple[float, float] = (scale[0], scale[1])
        self.user_ids, self.item_ids = (
            decoded_ids(path, ids, self._arrays.pop(ids, np.empty(0))) for ids in ("user_ids", "item_ids")
        )
        self.interactions = self._interactions()

    def refuse(self, fault: str) -> NoReturn:
        """Raise the ModelFileError of a fault."""
        refuse(self._path, fault)

    def take(
        self, name: str, dtype: DTypeLike, shape: tuple[int, ...], former_name: str | None = None
    ) -> NDArray[Any]:
        """An array of this dtype and shape, all of it finite, perhaps under the name of older versions."""
        if name not in self._arrays and former_name in self._arrays:
            name = former_name
        if name not in self._arrays:
            self.refuse(f"arrays: missing {name}")
        array = self._arrays.pop(name)
        if (array.dtype, array.shape) != (np.dtype(dtype), shape):
            expected = f"{np.dtype(dtype)} of shape {shape}"
            self.refuse(f"{name}: expected {expected}, found {array.dtype} of shape {array.shape}")
        if not np.isfinite(array).all():
            self.refuse(f"{name}: expected finite numbers")
        return array

    def require_empty(self) -> None:
        """Refuse arrays that were not taken."""
        if self._arrays:
            self.refuse(f"arrays: not expected {sorted(self._arrays)}")

    def _interactions(self) -> Interactions:
        items, ratings, offsets = (
            self._arrays.pop(f"seen.{name}", np.empty(0)) for name in ("items", "ratings", "offsets")
        )
        if not (
            items.dtype == np.int32
            and ratings.dtype == np.float32
            and offsets.dtype == np.int64
            and items.ndim == 1
            and ratings.shape == items.shape
            and np.isfinite(ratings).all()
            and offsets.shape == (len(self.user_ids) + 1,)
            and offsets[0] == 0
            and offsets[-1] == len(items)
            and (offsets[:-1] <= offsets[1:]).all()
            and (items >= 0).all()
            and (items < len(self.item_ids)).all()
        ):
            self.refuse("seen.items, seen.ratings, seen.offsets: expected what each user has rated")
        return Interactions(items, ratings, offsets, len(self.item_ids))
