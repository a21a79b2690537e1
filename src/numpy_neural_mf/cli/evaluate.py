"""How good a model is on ratings that it has not seen: numpy-neural-mf evaluate."""

from __future__ import annotations

import numpy as np
import polars as pl

from ..data import read_ratings
from ..evaluation import mae, r2, rmse
from ..models import load_model
from .options import AsJson, ColumnName, ModelFile, RatingsFile
from .output import show


def evaluate(
    model: ModelFile,
    ratings: RatingsFile,
    user: ColumnName = None,
    item: ColumnName = None,
    rating: ColumnName = None,
    as_json: AsJson = False,
) -> None:
    """Errors of a model on ratings that it was not trained on, known and unknown ids apart.

    - `numpy-neural-mf evaluate films.safetensors test.csv`
    """
    loaded, test = load_model(model), read_ratings(ratings, user=user, item=item, rating=rating)
    users, items = test.raw_users, test.raw_items
    prediction, is_known = loaded.predict(users, items), loaded.known(users, items)
    rows = [
        {"ratings": name, "n": int(part.sum())}
        | {f.__name__.upper(): round(f(prediction[part], test.values[part]), 4) for f in (rmse, mae, r2)}
        for name, part in (
            ("all", np.ones(len(test), bool)),
            ("user and item known", is_known),
            ("user or item unknown", ~is_known),
        )
        if part.any()
    ]
    show(pl.DataFrame(rows), as_json, "title")
