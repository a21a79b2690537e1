"""Item columns, which the lists of all users share, computed when a model is loaded."""

from dataclasses import dataclass, replace

import numpy as np

from ..mf.forward import Factorization
from ..models.fitted import Fitted, FittedModel
from ..nn.parameter import Array, IntArray


@dataclass(frozen=True, eq=False)
class PreparedFactorization(Factorization):
    """A factorisation with precomputed columns of all its items; no items can be added."""

    columns: tuple[Array, Array]

    def item_columns(self, items: IntArray) -> tuple[Array, Array]:
        by_item, item_half = self.columns
        if len(items) == by_item.shape[1]:  # all, since items ascend
            return self.columns
        return np.take(by_item, items, axis=1), np.take(item_half, items, axis=1)


def prepared(fitted: Fitted) -> FittedModel:
    """Return the model of `fitted` with precomputed item columns: lists of a single user are much faster."""
    form = fitted.model.factorization
    columns = form.item_columns(np.arange(len(fitted.item_ids), dtype=np.int32))
    form = PreparedFactorization(form.architecture, form.parameters, columns)
    return replace(fitted.model, factorization=form)
