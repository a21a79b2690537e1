"""A saved model in use again: everything in the file is checked before there is a model."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from .base import Recommender
from .baselines import GlobalMean, LinearRegression
from .bayesian_mf import BayesianMF
from .interactions import SeenRatings
from .item_knn import ItemKNN
from .model_file import Tensors, decoded_ids, read, refuse
from .neural_mf import NeuralMF

MODELS: dict[str, type[Recommender]] = {
    m.__name__: m for m in (GlobalMean, LinearRegression, ItemKNN, BayesianMF, NeuralMF)
}
DESCRIPTION = {"model", "rating_scale", "settings", "summary"}


def load_model(path: str | os.PathLike[str]) -> Recommender:
    """The model that `save` wrote: the same predictions, bit for bit, and what each user has rated.

    Nothing in the file is executed, and nothing of it is used before it is checked.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    GlobalMean, LinearRegression, ItemKNN, BayesianMF or NeuralMF
        Fitted.

    Raises
    ------
    ModelFileError
        A ValueError: the file is no model, not a whole one, or one whose parts do not fit each other.
    OSError
        The file cannot be read.
    """
    description, tensors = read(path)
    if set(description) != DESCRIPTION:
        refuse(path, f"the description should have {sorted(DESCRIPTION)}, found {sorted(description)}")
    name, settings = description["model"], description["settings"]
    if not (isinstance(name, str) and name in MODELS):
        refuse(path, f"model: expected one of {', '.join(MODELS)}, found {name!r}")
    try:
        model = MODELS[name]._from_settings(**settings)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        refuse(path, f"settings of {name}: {error}")
    model.rating_scale_ = _rating_scale(path, description["rating_scale"])
    model.user_ids_, model.item_ids_ = (
        decoded_ids(path, ids, tensors.pop(ids, np.empty(0))) for ids in ("user_ids", "item_ids")
    )
    model._seen = _seen_ratings(path, model, tensors)
    _check_learned(path, model, tensors)
    try:
        model._restore(tensors, description["summary"])
    except (TypeError, ValueError) as error:
        refuse(path, f"summary of the training: {error}")
    return model


def _rating_scale(path: str | os.PathLike[str], scale: Any) -> tuple[float, float]:
    is_pair = isinstance(scale, list) and len(scale) == 2 and all(isinstance(x, int | float) for x in scale)
    if not (is_pair and all(map(math.isfinite, scale)) and scale[0] < scale[1]):
        refuse(path, f"rating_scale: expected [lowest, highest], found {scale}")
    return scale[0], scale[1]


def _seen_ratings(path: str | os.PathLike[str], model: Recommender, tensors: Tensors) -> SeenRatings:
    items, ratings, offsets = (
        tensors.pop(f"seen.{name}", np.empty(0)) for name in ("items", "ratings", "offsets")
    )
    if not (
        items.dtype == np.int32
        and ratings.dtype == np.float32
        and offsets.dtype == np.int64
        and items.ndim == 1
        and ratings.shape == items.shape
        and np.isfinite(ratings).all()
        and offsets.shape == (len(model.user_ids_) + 1,)
        and offsets[0] == 0
        and offsets[-1] == len(items)
        and (offsets[:-1] <= offsets[1:]).all()
        and (items >= 0).all()
        and (items < len(model.item_ids_)).all()
    ):
        refuse(path, "seen.items, seen.ratings, seen.offsets: expected what each user has rated")
    return SeenRatings(items, ratings, offsets)


def _check_learned(path: str | os.PathLike[str], model: Recommender, tensors: Tensors) -> None:
    expected = model._learned_shapes()
    if tensors.keys() != expected.keys():
        missing, unknown = (
            sorted(a - b) for a, b in ((set(expected), set(tensors)), (set(tensors), set(expected)))
        )
        refuse(path, f"arrays: missing {missing}, not expected {unknown}")
    for name, (dtype, shape) in expected.items():
        array = tensors[name]
        if (array.dtype, array.shape) != (dtype, shape):
            expected_form = f"{np.dtype(dtype)} of shape {shape}"
            refuse(path, f"{name}: expected {expected_form}, found {array.dtype} of shape {array.shape}")
        if not np.isfinite(array).all():
            refuse(path, f"{name}: expected finite numbers")
