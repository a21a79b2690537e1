"""A saved model in use again: everything in the file is checked before there is a model."""

from __future__ import annotations

import os
from typing import Any

from .base import Recommender
from .baselines import GlobalMean, LinearRegression
from .bayesian_mf import BayesianMF
from .files import Contents
from .fitted import Fitted
from .item_knn import ItemKNN
from .model_file import ModelFileError
from .neural_mf import NeuralMF
from .next_item import NextItemModel

MODELS: dict[str, type[Recommender]] = {
    m.__name__: m for m in (GlobalMean, LinearRegression, ItemKNN, BayesianMF, NeuralMF)
}


def load_model(path: str | os.PathLike[str]) -> Any:
    """The model that `save` wrote: the same predictions, bit for bit, and the ratings of each user.

    Nothing in the file is executed, and nothing of it is used before it is checked.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    GlobalMean, LinearRegression, ItemKNN, BayesianMF, NeuralMF or NextItemModel
        Fitted.

    Raises
    ------
    ModelFileError
        A ValueError: the file is not a model, not complete, or its parts do not fit each other.
    OSError
        The file cannot be read.
    """
    contents = Contents(path)
    names = [*MODELS, NextItemModel.__name__]
    if not (isinstance(contents.name, str) and contents.name in names):
        contents.refuse(f"model: expected one of {', '.join(names)}, found {contents.name!r}")
    try:
        if contents.name == NextItemModel.__name__:
            return NextItemModel._loaded(contents)
        model, learned = MODELS[contents.name]._loaded(contents)
    except ModelFileError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        contents.refuse(f"{contents.name}: {error}")
    contents.require_empty()
    model._state = Fitted(
        contents.user_ids, contents.item_ids, contents.rating_scale, contents.interactions, learned
    )
    return model
