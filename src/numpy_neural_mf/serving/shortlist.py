"""The best items of one user without scoring all of them: what a bound rules out is not scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..models.fitted import Fitted, FittedModel
from ..models.fold_in import NewUser, model_with, rows_of
from ..models.recommend import BOUNDS, top_n
from ..utils.arrays import Float32Array, Float64Array, FloatArray, Int32Array

FIRST = 2_048  # items scored first; each next block has twice as many
TYPICAL = 0.75  # of the lengths of users' vectors, the quantile by which items are ordered


@dataclass(frozen=True, eq=False)
class Shortlist:
    """Items of a biased matrix factorisation, in descending order of a bound of their scores.

    By Cauchy and Schwarz, p · q_i + c_i ≤ ‖p‖ ‖q_i‖ + c_i. Blocks of items are scored in the order of this
    bound for users of a typical length g of p, until the n-th best score is above the bound of all that
    remain (as LEMP; Teflioudi, Gemulla and Mykytiuk, 2015). c_i is the bias of the item, less the multiple of
    its standard error by which lists are ranked.
    """

    items: Int32Array  # rows
    places: Int32Array  # of each row in `items`
    vectors: Float32Array  # q, in the order of `items`, shape (n, k)
    constants: FloatArray  # c
    added: Float32Array  # what c has besides the score
    ends: tuple[int, ...]  # of the blocks
    highest: Float64Array  # c_i + g ‖q_i‖ of the items after each block
    longest: Float64Array  # ‖q_i‖ of the items after each block
    typical: float  # g

    @classmethod
    def of(cls, fitted: Fitted) -> Shortlist | None:
        """That of a fitted model; None for one that is no biased matrix factorisation."""
        model = fitted.model
        form, tables = model.factorization.architecture, model.factorization.parameters
        is_plain = type(model).scorer is FittedModel.scorer and not form.hidden_layer_sizes
        if not (is_plain and form.product and form.biases):
            return None
        n = len(fitted.item_ids)
        q, b = tables["item_embedding.weight"][:n], tables["item_bias.weight"][:n, 0]
        added = (BOUNDS["lower_bound"] / model.likelihood.unit * fitted.item_errors).astype(np.float32)
        constants = tables["intercept"] + b + added
        lengths = np.linalg.norm(q, axis=1)
        typical = float(np.quantile(np.linalg.norm(tables["user_embedding.weight"], axis=1), TYPICAL))
        bound = constants + np.float32(typical) * lengths
        order = np.argsort(-bound, kind="stable").astype(np.int32)
        places = np.empty_like(order)
        places[order] = np.arange(n, dtype=np.int32)
        ends = [min(n, FIRST)]
        while ends[-1] < n:
            ends.append(min(n, 3 * ends[-1]))
        highest = np.array([bound[order[end:]].max(initial=-np.inf) for end in ends])
        longest = np.array([lengths[order[end:]].max(initial=0) for end in ends])
        vectors = np.ascontiguousarray(q[order])
        return cls(
            order, places, vectors, constants[order], added[order], tuple(ends), highest, longest, typical
        )

    def best(self, fitted: Fitted, user: NewUser | int | str, n: int) -> tuple[Int32Array, Float32Array]:
        """Rows of the n best items that a user has not rated, best first, and their predicted ratings.

        They are those of `Recommender.recommend`, to rounding.
        """
        model, row = model_with(fitted, user, ()), int(rows_of(fitted.user_ids, user))
        tables = model.factorization.parameters
        p, b = tables["user_embedding.weight"][row], tables["user_bias.weight"][row, 0]
        interactions = user.interactions if isinstance(user, NewUser) else fitted.interactions
        seen = self.places[interactions.pairs(np.array([row], np.int32))[1]]
        above = max(0.0, float(np.linalg.norm(p)) - self.typical)
        places, ranks, start = np.empty(0, np.intp), np.empty(0, np.float32), 0
        for end, highest, longest in zip(self.ends, self.highest, self.longest, strict=True):
            block = self.vectors[start:end] @ p
            block += self.constants[start:end]
            block[seen[(seen >= start) & (seen < end)] - start] = -np.inf
            columns = top_n(block[None], n)[0]
            columns = columns[columns >= 0]
            places, ranks = np.append(places, start + columns), np.append(ranks, block[columns])
            order = np.lexsort((self.items[places], -ranks))[:n]
            places, ranks, start = places[order], ranks[order], end
            if len(ranks) == n and ranks[-1] > highest + above * longest:
                break
        return self.items[places], model.likelihood.rating(ranks - self.added[places] + b)
