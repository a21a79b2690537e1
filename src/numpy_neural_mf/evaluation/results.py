"""The results of an evaluation, shown as tables."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.tables import Table, Tabular
from .ranking_metrics import mean_over_users
from .rating_metrics import Calibration


@dataclass(frozen=True)
class Errors:
    """RMSE, MAE, R² and FCP over n ratings, NaN without ratings (see the functions of these names)."""

    n: int
    rmse: float
    mae: float
    r2: float
    fcp: float


@dataclass(frozen=True, eq=False, repr=False)
class RatingErrors(Tabular):
    """Errors of the predictions of held-out ratings.

    `overall` is over all ratings, `warm` over those of a known user and a known item, `cold` over the others.
    `n_cold_users` and `n_cold_items` count the users and items of the test part without a rating in training.
    `user_ids` are the raw ids of the users of the test part, sorted; `user_rmse` and `user_mae`, float64, are
    the errors of each user. `mean_user_rmse` and `mean_user_mae` give each user the same weight.
    """

    overall: Errors
    warm: Errors
    cold: Errors
    n_cold_users: int
    n_cold_items: int
    user_ids: NDArray[Any]
    user_rmse: NDArray[np.float64]
    user_mae: NDArray[np.float64]
    calibration: Calibration

    @property
    def mean_user_rmse(self) -> float:
        return float(self.user_rmse.mean())

    @property
    def mean_user_mae(self) -> float:
        return float(self.user_mae.mean())

    def tables(self) -> Iterator[Table]:
        head = ["ratings", "n", "RMSE", "MAE", "R²", "FCP"]
        yield Table(f"Errors of {self.overall.n:,} predictions", head, error_rows(self))


@dataclass(frozen=True, eq=False, repr=False)
class RankingQuality(Tabular):
    """Quality of the lists of k items, for the users with a relevant item in the test part.

    Attributes
    ----------
    relevant : float, the lowest rating of a relevant item
    user_ids : array of shape (n_users,), raw ids of these users, sorted; empty if no rating is high enough
    is_warm : bool array of shape (n_users,), whether the user has a rating in training
    per_user : dict of str to float64 array of shape (n_users,), by `RANKING_METRICS` and "novelty"
    coverage, gini : float, of all lists together, over the items with a rating in training; NaN without users
    overall, warm, cold : dict of str to float
        Means over all users, and over users with and without a rating in training; NaN without such users.
    """

    k: int
    relevant: float
    user_ids: NDArray[Any]
    is_warm: NDArray[np.bool_]
    per_user: dict[str, NDArray[np.float64]]
    coverage: float
    gini: float

    @property
    def overall(self) -> dict[str, float]:
        return self._means(np.ones(len(self.is_warm), bool))

    @property
    def warm(self) -> dict[str, float]:
        return self._means(self.is_warm)

    @property
    def cold(self) -> dict[str, float]:
        return self._means(~self.is_warm)

    def _means(self, chosen: NDArray[np.bool_]) -> dict[str, float]:
        return {name: mean_over_users(scores[chosen]) for name, scores in self.per_user.items()}

    def tables(self) -> Iterator[Table]:
        users = f"{len(self.user_ids):,} users, {self.is_warm.sum():,} of them warm"
        relevant = f"a rating of {self.relevant:g} or more is relevant"
        groups = (self.overall, self.warm, self.cold)
        rows = [[f"{name}@{self.k}", *(decimal(group[name]) for group in groups)] for name in self.per_user]
        rows += [[name, decimal(getattr(self, name)), "", ""] for name in ("coverage", "gini")]
        head = ["lists", "all users", "warm", "cold"]
        yield Table(f"Lists of {self.k} for {users}; {relevant}", head, rows)


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Tabular):
    """The errors of a model's predictions and, if it recommends, the quality of its lists."""

    ratings: RatingErrors
    ranking: RankingQuality | None

    def tables(self) -> Iterator[Table]:
        yield from self.ratings.tables()
        if self.ranking is not None:
            yield from self.ranking.tables()


def decimal(value: float) -> str:
    """Format a metric with four decimals; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.4f}"


def error_rows(errors: RatingErrors) -> list[list[str]]:
    """Return name, number, RMSE, MAE, R² and FCP of all, warm and cold ratings, where there are any."""
    parts = {"overall": errors.overall, "warm": errors.warm, "cold": errors.cold}
    return [
        [name, f"{part.n:,}", *map(decimal, (part.rmse, part.mae, part.r2, part.fcp))]
        for name, part in parts.items()
        if part.n
    ]
