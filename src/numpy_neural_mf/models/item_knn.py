"""Items by their neighbours: a rating is foretold from what the user gave to similar items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from ..data import Ratings
from ..mf.architecture import Architecture, Parameters
from ..mf.forward import Scorer
from ..training.loop import ProgressCallback
from .base import Recommender
from .baselines import biases_alone
from .explain import Explanation, Reason
from .fold_in import NewItem, NewUser
from .incremental_update import Growth
from .interactions import SeenRatings
from .model_file import Tensors
from .neighbours import baselines, similarities, similarity_to, weights
from .recommending import require_count
from .saving import Side

IntArray = NDArray[np.int32]


class ItemKNN(Recommender):
    """Neighbourhood model of items: r̂_ui = b_ui + Σ_j s_ij (r_uj - b_uj) / (δ + Σ_j s_ij).

    The sums run over the k items most similar to i among those that u rated; b_ui = μ + b_u + b_i (see
    `neighbours.baselines`) and s_ij is the shrunk correlation of what that leaves of the ratings (see
    `neighbours.similarity_to`), as in Koren, "Factor in the neighbors" (2010), section 2.2. There δ is 0, and
    a single neighbour, however unlike, says it all; here the baseline counts as δ of similarity. With
    ``damping=0, user_penalty=15, item_penalty=10`` it is Surprise's KNNBaseline (item based,
    pearson_baseline).

    Parameters
    ----------
    k : int, default 40
        Neighbours, at least 1. Where the last of them is as similar as others, these count, too.
    shrinkage : float, default 100
        β: from how many users in common a correlation counts for half; at least 0.
    damping : float, default 0.2
        δ, at least 0.
    user_penalty, item_penalty : float, default 5
        λ_u and λ_i of the biases, above 0.

    Attributes
    ----------
    mean_ : float
        μ.
    user_bias_, item_bias_ : float64 arrays of shape (n_users + 1,), (n_items + 1,)
        b_u and b_i; the last is zero and stands for whoever is unknown.
    similarity_ : scipy.sparse.csr_array of shape (n_items, n_items), float32
        s, where above 0.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Notes
    -----
    Nothing is learned that the ratings do not hold: a saved model has these alone, and `load_model` computes
    the rest anew.

    Examples
    --------
    >>> from numpy_neural_mf import ItemKNN, simulate_ratings
    >>> model = ItemKNN(k=20).fit(simulate_ratings(n_users=300, n_items=100, n_ratings=6_000))
    >>> model.recommend(1, n=3).shape
    (3,)
    """

    def __init__(
        self,
        k: int = 40,
        shrinkage: float = 100.0,
        damping: float = 0.2,
        user_penalty: float = 5.0,
        item_penalty: float = 5.0,
    ) -> None:
        require_count(k, "k")
        if not (0 <= shrinkage < np.inf and 0 <= damping < np.inf):
            raise ValueError(f"shrinkage and damping must be at least 0, not {shrinkage} and {damping}")
        if not (0 < user_penalty < np.inf and 0 < item_penalty < np.inf):
            raise ValueError(f"penalties must be above 0, not {user_penalty} and {item_penalty}")
        self.k = k
        self.shrinkage = shrinkage
        self.damping = damping
        self.user_penalty = user_penalty
        self.item_penalty = item_penalty

    @property
    def n_parameters_(self) -> int:
        """Mean, biases, and the similarity of each pair of items that has one."""
        return 1 + len(self.user_ids_) + len(self.item_ids_) + int(self.similarity_.nnz) // 2

    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Self:
        """Find biases and similarities; validation is not used."""
        self._learn_ids(ratings)
        self._solve(self._seen, len(self.user_ids_), len(self.item_ids_))
        return self

    def similar_items(
        self, item: Any, n: int = 10, min_ratings: int = 0
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The items of highest similarity s to `item`.

        Parameters
        ----------
        item : raw id
        n : int, default 10
        min_ratings : int, default 0
            Leave out items with fewer ratings.

        Returns
        -------
        ids, similarities : arrays of shape (n,)
            Most similar first; shorter where fewer have a similarity above 0.

        Raises
        ------
        ValueError
            The item is unknown.
        """
        self._require_fitted()
        require_count(n)
        row = self.similarity_[[self._known_row("item", item)]]
        order = np.lexsort((row.indices, -row.data))
        counts = self._n_ratings("item")
        order = order[counts[row.indices[order]] >= min_ratings][:n]
        return self.item_ids_[row.indices[order]], row.data[order]

    def explain(self, user: Any, item: Any) -> Explanation:
        """Take a prediction apart: mean, biases, and what each neighbour that the user rated adds.

        Parameters
        ----------
        user, item : raw id, or whoever was folded in

        Returns
        -------
        Explanation
            Its numbers add up to what `predict` says; `rest` is the bias of the user. Without reasons where
            the user or the item is unknown.

        Raises
        ------
        RuntimeError
            The model is not fitted.
        """
        prediction = float(self.predict(user, item))
        new_items = [item] if isinstance(item, NewItem) else []
        i = len(self.item_ids_) if new_items else int(self._rows(self.item_ids_, item))
        rater = user if isinstance(user, NewUser) else int(self._rows(self.user_ids_, user))
        rated, ratings, residuals, user_bias = self._rater(rater)
        if i < 0:
            rated = rated[:0]
        row = self._similarity_with(new_items)[[i]][:, rated]
        added = weights(row, self.k, self.damping).toarray()[0] * residuals[: len(rated)]
        reasons = tuple(
            Reason(self.item_ids_[rated[j]].item(), float(ratings[j]), float(added[j]))
            for j in np.argsort(-np.abs(added), kind="stable")
        )
        item_bias = float(self._item_biases(new_items)[i])
        interaction = float(added.sum())
        total = self.mean_ + user_bias + item_bias + interaction
        clipped = float(np.clip(total, *self.rating_scale_)) - total
        return Explanation(
            prediction, self.mean_, user_bias, item_bias, interaction, clipped, reasons, user_bias
        )

    def _solve(self, seen: SeenRatings, n_users: int, n_items: int) -> None:
        penalties = self.user_penalty, self.item_penalty
        mean, user_bias, item_bias = baselines(
            seen.users, seen.items, seen.ratings, n_users, n_items, penalties
        )
        self.mean_ = mean
        self.user_bias_, self.item_bias_ = np.append(user_bias, 0.0), np.append(item_bias, 0.0)
        self.similarity_ = similarities(self._residuals(seen), self.shrinkage)

    def _residuals(self, seen: SeenRatings) -> csr_array:
        """What the baseline leaves of each rating, shape (n_users, n_items)."""
        left = seen.ratings - (self.mean_ + self.user_bias_[seen.users] + self.item_bias_[seen.items])
        shape = len(self.user_bias_) - 1, len(self.item_bias_) - 1
        return csr_array((left, seen.items, seen.offsets), shape=shape)

    def _rater(self, user: int | NewUser) -> tuple[IntArray, NDArray[np.float32], NDArray[np.float64], float]:
        """What a user rated, how, what the baseline leaves of that, and b_u; -1 rated nothing."""
        if isinstance(user, NewUser):
            rated, ratings = user.seen.of_row(0)
            user_bias = float(self._row_of(user)["user_bias.weight"][0, 0])
        else:
            rated, ratings = self._seen.of_row(user)
            user_bias = float(self.user_bias_[user])
        return rated, ratings, ratings - (self.mean_ + user_bias + self.item_bias_[rated]), user_bias

    def _item_biases(self, new_items: Sequence[NewItem]) -> NDArray[np.float64]:
        """b_i of all items, new ones after the others, last that of the unknown."""
        return self._parameters_with_items(new_items)["item_bias.weight"][:, 0].astype(np.float64)

    def _similarity_with(self, new_items: Sequence[NewItem]) -> csr_array:
        """Similarity of all items, new ones after the others, to those of training."""
        if not new_items:
            return self.similarity_
        n_users = len(self.user_ids_)
        rows = []
        for item in new_items:
            users, ratings = item.seen.items, item.seen.ratings
            own_bias = self._row_of(item)["item_bias.weight"][0, 0]
            left = ratings - (self.mean_ + own_bias + self.user_bias_[users])
            rows.append(csr_array((left, users, item.seen.offsets), shape=(1, n_users)))
        new = similarity_to(vstack(rows, format="csr"), self._residuals(self._seen), self.shrinkage)
        return vstack([self.similarity_, new], format="csr")

    def _predict(self, users: IntArray, items: IntArray) -> NDArray[np.floating[Any]]:
        scores = self.mean_ + self.user_bias_[users] + self.item_bias_[items]
        known = np.flatnonzero((users >= 0) & (items >= 0))
        known = known[np.argsort(users[known], kind="stable")]
        for rows in np.split(known, np.flatnonzero(np.diff(users[known])) + 1):
            if len(rows):
                rated, _, residuals, _ = self._rater(int(users[rows[0]]))
                near = self.similarity_[items[rows]][:, rated]
                scores[rows] += weights(near, self.k, self.damping) @ residuals
        return np.asarray(scores)

    def _scorer(self, items: IntArray, user: NewUser | None, new_items: Sequence[NewItem]) -> Scorer:
        item_bias = self._item_biases(new_items)[items]
        is_known = items >= 0
        to_items = self._similarity_with(new_items)[items[is_known]].T.tocsr()  # (n_items, n_known)

        def score(users: NDArray[np.integer[Any]]) -> NDArray[np.floating[Any]]:
            scores = np.empty((len(users), len(items)))
            for row, one in enumerate(users.tolist()):
                rated, _, residuals, user_bias = self._rater(one if user is None else user)
                scores[row] = self.mean_ + user_bias + item_bias
                near = to_items[rated].T.tocsr()
                scores[row, is_known] += weights(near, self.k, self.damping) @ residuals
            return scores

        return score

    def _form(self) -> tuple[Architecture, Parameters]:
        """Of the baseline alone: what is folded in gets its bias by it."""
        return biases_alone(self.mean_, self.user_bias_, self.item_bias_)

    def _penalty(self, side: Side, n_ratings: int) -> float:
        return self.user_penalty if side == "user" else self.item_penalty

    def _grow(self, growth: Growth) -> None:
        self._solve(growth.seen, len(growth.user_ids), len(growth.item_ids))

    def _settings(self) -> dict[str, Any]:
        return {
            "k": int(self.k),
            "shrinkage": float(self.shrinkage),
            "damping": float(self.damping),
            "user_penalty": float(self.user_penalty),
            "item_penalty": float(self.item_penalty),
        }

    def _restore(self, learned: Tensors, summary: dict[str, Any]) -> None:
        if summary:
            raise ValueError(f"expected none, found {summary}")
        self._solve(self._seen, len(self.user_ids_), len(self.item_ids_))
