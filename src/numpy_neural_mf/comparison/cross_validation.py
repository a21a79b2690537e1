"""Cross-validation: every model trained and tested on the same splits, one loop for all comparisons."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..data import Ratings, k_fold, read_ratings, summarize
from ..evaluation import evaluate_ranking, mae, relevance_threshold, require_held_out, rmse
from ..evaluation.runs import Run
from ..models import BayesianMF, Recommender
from ..reporting.provenance import settings_of
from ..training.loop import ProgressCallback
from .results import Comparison

# A seed -> a model that is not fitted.
ModelFactory = Callable[[int], Recommender]


class Round(NamedTuple):
    """What every model is trained and tested on once."""

    label: str
    seed: int
    split: int
    train: Ratings
    test: Ratings


def cross_validate(
    models: ModelFactory | Mapping[str, ModelFactory],
    ratings: Any = None,
    *,
    n_folds: int = 5,
    splits: Iterable[tuple[Ratings, Ratings]] | None = None,
    seeds: int = 1,
    ranking: bool = False,
    on_run: Callable[[Run], None] | None = None,
    on_progress: ProgressCallback | None = None,
) -> Comparison:
    """Train and test models on each fold; print nothing, write nothing.

    Parameters
    ----------
    models : callable ``(seed) -> Recommender``, or mapping of str to such
        They make models that are not fitted.
    ratings : Ratings, path or data frame, optional
        Divided by ``k_fold(ratings, n_folds)``.
    n_folds : int, default 5
    splits : iterable of (train, test), optional
        Splits of your own in place of `ratings`: ``[time_split(ratings)]``, ``[leave_last_out(ratings)]``.
        Whether differences are real can be told from two splits on.
    seeds : int, default 1
        Each model is trained with the seeds 0, 1, 2, ... on each split.
    ranking : bool, default False
        Judge the lists of ten items that the models recommend, too: see `evaluate_ranking`. The time grows
        with users times items.
    on_run : callable, optional
        Told of each `Run` when it is finished.
    on_progress : callable, optional
        Handed to each model's `fit`.

    Returns
    -------
    Comparison
        Its data set is called "ratings", and a single model "model".

    Raises
    ------
    RatingsError
        The ratings cannot be read.
    ValueError
        A setting is out of range, `ratings` and `splits` are both given or both missing, there is no split,
        or one has a pair of user and item in both parts or a part without ratings.

    Examples
    --------
    >>> from numpy_neural_mf import GlobalMean, LinearRegression, cross_validate, simulate_ratings
    >>> ratings = simulate_ratings(n_users=60, n_items=40, n_ratings=900)
    >>> models = {"mean": lambda seed: GlobalMean(), "linear": lambda seed: LinearRegression()}
    >>> cross_validate(models, ratings).verdict()  # doctest: +ELLIPSIS
    ['linear is better than mean (RMSE lower by 0.0...; p < 0.0...).']
    """
    require_seeds(seeds)
    models = dict(models) if isinstance(models, Mapping) else {"model": models}
    if not models:
        raise ValueError("models: expected at least one to cross-validate, found none")
    if (ratings is None) == (splits is None):
        raise ValueError("expected either ratings or splits of them")
    comparison = Comparison()
    if splits is None:
        ratings = as_ratings(ratings)
        comparison.data["ratings"] = summarize(ratings)
        rounds = fold_rounds(ratings, seeds, n_folds)
    else:
        rounds = _own_rounds(splits, seeds)
    for run in add_runs(comparison, "ratings", rounds, models, None, on_progress, ranking):
        if on_run:
            on_run(run)
    if not comparison.runs:
        raise ValueError("splits: expected at least one, found none")
    comparison.n_planned = len(comparison.runs)
    return comparison


def as_ratings(source: Any) -> Ratings:
    """Ratings as they are, or read from a path or a data frame."""
    return source if isinstance(source, Ratings) else read_ratings(source)


def require_seeds(seeds: int) -> None:
    """Raise ValueError unless there is at least one seed."""
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, not {seeds}")


def fold_rounds(ratings: Ratings, seeds: int, n_folds: int) -> Iterator[Round]:
    """The same folds for each seed."""
    for seed in range(seeds):
        for fold, (train, test) in enumerate(k_fold(ratings, n_folds)):
            yield Round(f"seed {seed}, fold {fold}", seed, fold, train, test)


def _own_rounds(splits: Iterable[tuple[Ratings, Ratings]], seeds: int) -> Iterator[Round]:
    """The caller's splits, each with every seed, since they may come but once."""
    for split, (train, test) in enumerate(splits):
        require_held_out(train, test)
        for seed in range(seeds):
            yield Round(f"split {split}, seed {seed}", seed, split, train, test)


def add_runs(
    comparison: Comparison,
    data: str,
    rounds: Iterable[Round],
    models: Mapping[str, ModelFactory],
    on_start: Callable[[str], None] | None,
    on_progress: ProgressCallback | None,
    ranking: bool = False,
) -> Iterator[Run]:
    """Train and test every model in each round; what is finished is in the comparison, and yielded."""
    for label, seed, split, train, test in rounds:
        for name, new_model in models.items():
            if on_start:
                on_start(f"{data}, {name}, {label}")
            model = new_model(seed)
            comparison.settings.setdefault(name, settings_of(model))
            start = time.perf_counter()
            model.fit(train, on_progress=on_progress)
            seconds = time.perf_counter() - start
            prediction = model.predict(test.raw_users, test.raw_items, test.timestamps)
            run = Run(
                data,
                name,
                seed,
                split,
                n_train=len(train),
                n_test=len(test),
                rmse=rmse(prediction, test.values),
                mae=mae(prediction, test.values),
                noise_floor=_lowest_rmse(test),
                n_parameters=model.n_parameters_,
                seconds=seconds,
                # A sample is no epoch: what it errs is not what their mean errs.
                history=None if isinstance(model, BayesianMF) else getattr(model, "history_", None),
                ranking=_ranking(model, train, test) if ranking else None,
            )
            comparison.runs.append(run)
            yield run


def _lowest_rmse(test: Ratings) -> float | None:
    """That of the best prediction on these ratings, if known: as lucky with their noise as a model is."""
    return test.noise_floor if test.expected is None else rmse(test.expected, test.values)


def _ranking(model: Recommender, train: Ratings, test: Ratings) -> dict[str, float] | None:
    """Means over users of the ranking metrics, if the test part has anything relevant."""
    relevant = relevance_threshold(test.scale)
    if not (test.values >= np.float32(relevant)).any():
        return None
    return evaluate_ranking(model, train, test, relevant=relevant).overall
