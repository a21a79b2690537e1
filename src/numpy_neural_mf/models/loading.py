"""Loading of saved models: everything in the file is checked before a model is made."""

import os
from typing import Any

from .baselines import GlobalMean, LinearRegression
from .bayesian_mf import BayesianMF
from .files import Contents, ModelFileError
from .fitted import Fitted, FittedModel
from .item_knn import ItemKNN
from .neural_mf import NeuralMF
from .next_item import NextItemModel

CLASSES: tuple[Any, ...] = (GlobalMean, LinearRegression, ItemKNN, BayesianMF, NeuralMF, NextItemModel)
MODELS = {model.__name__: model for model in CLASSES}


def load_model(path: str | os.PathLike[str], expected: type = object, *, mapped: bool = False) -> Any:
    """Load a fitted model that `save` wrote, with the same predictions, bit for bit, and each user's ratings.

    It is a GlobalMean, LinearRegression, ItemKNN, BayesianMF, NeuralMF or NextItemModel. Nothing in the file
    is executed or used before it is checked: a ModelFileError, which is a ValueError, says that the file is
    not a model, not of the `expected` class, incomplete, or inconsistent.

    With `mapped`, arrays stay in the file: they are read-only, and processes that load the file share the
    memory. A mapped file may be replaced, as `save` does, but not modified.
    """
    contents = Contents(path, mapped)
    if not (isinstance(contents.name, str) and contents.name in MODELS):
        contents.refuse(f"model: expected one of {', '.join(MODELS)}, found {contents.name!r}")
    if not issubclass(MODELS[contents.name], expected):
        contents.refuse(f"expected a {expected.__name__}, found a {contents.name}")
    try:
        model, learned = MODELS[contents.name]._loaded(contents)
    except ModelFileError:
        raise
    except LookupError as error:
        contents.refuse(f"{contents.name}: missing {error}")
    except (TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        contents.refuse(f"{contents.name}: {error}")
    contents.require_empty()
    if isinstance(learned, FittedModel):
        ids = contents.user_ids, contents.item_ids
        learned = Fitted(*ids, contents.rating_scale, contents.interactions, learned, titles=contents.titles)
    model._state = learned
    return model
