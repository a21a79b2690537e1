"""A model trained and tested once, and what several such runs say together: the split is what counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..training.loop import History
from . import Estimate, PairedDifference, mean_over_splits, paired_difference


@dataclass(frozen=True)
class Run:
    """One model trained and tested once.

    Attributes
    ----------
    data, model : str
    seed : int
        Of the model.
    split : int
        Runs of the same split have the same training part and the same test part.
    n_train, n_test : int
        Ratings in them.
    rmse, mae : float
        On the test ratings, all together, unknown users and items included.
    noise_floor : float or None
        RMSE of the best possible predictor on the same test ratings, where it is known.
    n_parameters : int
    seconds : float
        Wall time of `fit`.
    history : History or None
        Losses per epoch, of models that learn in epochs.
    ranking : dict of str to float, or None
        Means over users of the ranking metrics at 10, by name (see `RankingQuality`), where they were asked
        for and a test rating is high enough to be relevant.
    """

    data: str
    model: str
    seed: int
    split: int
    n_train: int
    n_test: int
    rmse: float
    mae: float
    noise_floor: float | None
    n_parameters: int
    seconds: float
    history: History | None = None
    ranking: dict[str, float] | None = None


def rmse_of(runs: Sequence[Run]) -> Estimate:
    """The mean RMSE of a model over the splits, runs of several seeds on one split averaged first.

    Parameters
    ----------
    runs : sequence of Run
        Of one model on one data set.

    Returns
    -------
    Estimate
        With its 95 % confidence interval, see `mean_over_splits`.
    """
    return mean_over_splits(_by_split(runs), _test_to_train(runs))


def rmse_difference(runs: Sequence[Run], others: Sequence[Run]) -> PairedDifference:
    """RMSE of a model minus that of another over the splits, runs on one split averaged first.

    Parameters
    ----------
    runs, others : sequences of Run
        Of two models on one data set, with the same splits and seeds: see `in_all`.

    Returns
    -------
    PairedDifference
        With its 95 % confidence interval, see `paired_difference`.
    """
    return paired_difference(_by_split(runs), _by_split(others), _test_to_train(runs))


def in_all(models: Sequence[Sequence[Run]]) -> list[list[Run]]:
    """Runs of several models on one data set, without those that not every model has: all, but for one round
    of a comparison that was interrupted."""
    rounds = [{(run.split, run.seed): run for run in runs} for runs in models]
    common = sorted(set[tuple[int, int]].intersection(*map(set, rounds)))
    return [[by_round[key] for key in common] for by_round in rounds]


def _by_split(runs: Sequence[Run]) -> list[float]:
    """Mean RMSE of each split."""
    splits: dict[int, list[float]] = {}
    for run in runs:
        splits.setdefault(run.split, []).append(run.rmse)
    return [float(np.mean(errors)) for errors in splits.values()]


def _test_to_train(runs: Sequence[Run]) -> float:
    return sum(run.n_test for run in runs) / max(sum(run.n_train for run in runs), 1)
