"""Runs of models, each trained and tested once, and their statistics over the splits of the ratings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..training.loop import History
from .significance import Estimate, PairedDifference, mean_over_splits, paired_difference


@dataclass(frozen=True)
class Run:
    """One model trained and tested once.

    Runs of the same `split` have the same training part and the same test part. `seed` is the model's random
    state, `seconds` the wall time of `fit`. `rmse` and `mae` are over all test ratings, including those of
    unknown users and items; `noise_floor` is the RMSE of the Bayes-optimal predictor on the same ratings, if
    it is known. `history` has the losses per epoch of a model that is trained in epochs. `ranking` has the
    means over users of the ranking metrics at 10, by name (see `RankingQuality`), if they were requested and
    a test rating is high enough to be relevant.
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


def mean_rmse(runs: Sequence[Run]) -> Estimate:
    """Return the mean RMSE of one model on one data set, runs on one split averaged first.

    See `mean_over_splits`.
    """
    return mean_over_splits(_rmse_by_split(runs), _test_to_train(runs))


def rmse_difference(runs: Sequence[Run], others: Sequence[Run]) -> PairedDifference:
    """Return the RMSE of one model minus that of another on one data set, runs on one split averaged first.

    Both models have runs on the same splits with the same seeds (see `common_runs` and `paired_difference`).
    """
    return paired_difference(_rmse_by_split(runs), _rmse_by_split(others), _test_to_train(runs))


def common_runs(models: Sequence[Sequence[Run]]) -> list[list[Run]]:
    """Restrict the runs of several models on one data set to the splits and seeds that every model has."""
    by_key = [{(run.split, run.seed): run for run in runs} for runs in models]
    common = sorted(set[tuple[int, int]].intersection(*map(set, by_key)))
    return [[runs[key] for key in common] for runs in by_key]


def mean_noise_floor(runs: Sequence[Run]) -> float | None:
    """Return the mean over the runs of the RMSE of the Bayes-optimal predictor; None if it is not known."""
    floors = [run.noise_floor for run in runs if run.noise_floor]
    return float(np.mean(floors)) if floors else None


def _rmse_by_split(runs: Sequence[Run]) -> list[float]:
    splits: dict[int, list[float]] = {}
    for run in runs:
        splits.setdefault(run.split, []).append(run.rmse)
    return [float(np.mean(errors)) for errors in splits.values()]


def _test_to_train(runs: Sequence[Run]) -> float:
    return sum(run.n_test for run in runs) / max(sum(run.n_train for run in runs), 1)
