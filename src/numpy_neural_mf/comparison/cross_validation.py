"""Cross-validation: every model is trained and tested on the same splits, in one loop for all comparisons."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from ..data import Ratings, RatingsLike, k_fold, random_split, read_ratings, summarize
from ..evaluation import evaluate_ranking, mae, require_held_out, rmse
from ..evaluation.runs import Run
from ..models import BayesianMF, Recommender
from ..reporting.provenance import settings_of
from ..training.loop import ProgressCallback
from ..utils.settings import check_integer
from ..utils.shortened import quoted
from .results import Comparison

# An unfitted model, its class, or a function of a seed that returns an unfitted model.
ModelFactory = Recommender | Callable[..., Recommender]


class Split(NamedTuple):
    """A training part and a test part, and the seed of the models that are trained on it."""

    label: str
    seed: int
    number: int
    train: Ratings
    test: Ratings


def cross_validate(
    models: ModelFactory | Mapping[str, ModelFactory],
    ratings: RatingsLike = None,
    *,
    n_folds: int = 5,
    splits: Iterable[tuple[RatingsLike, RatingsLike]] | None = None,
    seeds: int = 1,
    ranking: bool = False,
    on_run: Callable[[Run], None] | None = None,
    on_progress: ProgressCallback | None = None,
) -> Comparison:
    """Train and test models on each fold; nothing is printed or written.

    Parameters
    ----------
    models : callable ``(seed) -> Recommender``, which returns an unfitted model, or mapping of str to these
        A model or its class may replace a callable: each seed is then its `random_state`.
    ratings : Ratings, or what `read_ratings` takes, optional, divided by ``k_fold(ratings, n_folds)``
    n_folds : int, default 5
    splits : iterable of (train, test), optional
        Your own splits instead of `ratings`: ``[time_split(ratings)]``, ``[leave_last_out(ratings)]``. With
        one split, significance cannot be tested.
    seeds : int, default 1; each model is trained with the seeds 0, 1, ..., `seeds` - 1 on each split
    ranking : bool, default False; whether to evaluate lists of ten recommended items too (see
        `evaluate_ranking`). The time grows with the number of users times the number of items.
    on_run, on_progress : callable, optional
        `on_run` is called with each finished `Run`; `on_progress` is passed to each model's `fit`.

    Returns
    -------
    Comparison; it names the data set "ratings", and a single model "model"

    Raises
    ------
    RatingsError : the ratings cannot be read
    TypeError, ValueError
        A setting has the wrong type or is out of range, `ratings` and `splits` are both given or both
        missing, there is no split, or a split has an empty part or a pair of user and item in both parts.

    Examples
    --------
    >>> from numpy_neural_mf import GlobalMean, LinearRegression, cross_validate, simulate_ratings
    >>> ratings = simulate_ratings(n_users=100, n_items=50, n_ratings=3_000)
    >>> models = {"mean": lambda seed: GlobalMean(), "linear": lambda seed: LinearRegression()}
    >>> cross_validate(models, ratings).conclusions()  # doctest: +ELLIPSIS
    ['linear is significantly better than mean (RMSE lower by 0.0...; p < 0.0...).']
    """
    check_integer("seeds", seeds, at_least=1)
    models = dict(models) if isinstance(models, Mapping) else {"model": models}
    for model in models.values():
        if not (callable(model) or isinstance(model, Recommender)):
            found = f"found {quoted(model)}; several models are a mapping of name to model"
            raise TypeError(f"models: expected a model, its class or a function (seed) -> model, {found}")
    if not models:
        raise ValueError("models: expected at least one to cross-validate, found none")
    if (ratings is None) == (splits is None):
        raise ValueError("expected either ratings or splits of them")
    comparison = Comparison()
    if splits is None:
        ratings = read_ratings(ratings)
        comparison.data["ratings"] = summarize(ratings)
        seeded = fold_splits(ratings, seeds, n_folds)
    else:
        seeded = _own_splits(splits, seeds)
    for run in add_runs(comparison, "ratings", seeded, models, None, on_progress, ranking):
        if on_run:
            on_run(run)
    if not comparison.runs:
        raise ValueError("splits: expected at least one, found none")
    comparison.n_planned = len(comparison.runs)
    return comparison


def fold_splits(ratings: Ratings, seeds: int, n_folds: int) -> Iterator[Split]:
    """Yield the same folds for each seed."""
    for seed in range(seeds):
        for fold, (train, test) in enumerate(k_fold(ratings, n_folds)):
            yield Split(f"seed {seed}, fold {fold}", seed, fold, train, test)


def random_splits(ratings: Ratings, seeds: int) -> Iterator[Split]:
    """Yield another split for each seed."""
    return (Split(f"seed {s}", s, s, *random_split(ratings, random_state=s)) for s in range(seeds))


def _own_splits(splits: Iterable[tuple[RatingsLike, RatingsLike]], seeds: int) -> Iterator[Split]:
    """Yield each of the caller's splits with every seed, since the iterable may be consumed only once."""
    for number, (train, test) in enumerate(splits):
        train, test = require_held_out(train, test)
        for seed in range(seeds):
            yield Split(f"split {number}, seed {seed}", seed, number, train, test)


def _seeded(new_model: ModelFactory, seed: int) -> Recommender:
    is_class = isinstance(new_model, type) and issubclass(new_model, Recommender)
    if not (is_class or isinstance(new_model, Recommender)):
        return new_model(seed)
    model = copy.copy(new_model) if isinstance(new_model, Recommender) else new_model()
    if hasattr(model, "random_state"):
        model.random_state = seed
    return model


def add_runs(
    comparison: Comparison,
    data: str,
    splits: Iterable[Split],
    models: Mapping[str, ModelFactory],
    on_start: Callable[[str], None] | None,
    on_progress: ProgressCallback | None,
    ranking: bool = False,
) -> Iterator[Run]:
    """Train and test every model on each split; add each finished run to the comparison and yield it."""
    import sklearn.linear_model  # noqa: F401 - here, so that the import does not count as training time

    for label, seed, number, train, test in splits:
        for name, new_model in models.items():
            if on_start:
                on_start(f"{data}, {name}, {label}")
            model = _seeded(new_model, seed)
            comparison.settings.setdefault(name, settings_of(model))
            start = time.perf_counter()
            model.fit(train, on_progress=on_progress)
            seconds = time.perf_counter() - start
            prediction = model.predict(test.raw_users, test.raw_items, test.timestamps)
            quality = evaluate_ranking(model, train, test) if ranking else None
            # Where the expected ratings are known, the floor is that of these test ratings and their noise.
            floor = test.noise_floor if test.expected is None else rmse(test.expected, test.values)
            # The error of one posterior sample is not that of the posterior mean, so no curve is shown.
            history = None if isinstance(model, BayesianMF) else getattr(model, "history_", None)
            means = quality.overall if quality is not None and len(quality.user_ids) else None
            errors = rmse(prediction, test.values), mae(prediction, test.values)
            run = Run(
                data,
                name,
                seed,
                number,
                len(train),
                len(test),
                *errors,
                floor,
                model.n_parameters_,
                seconds,
                history,
                means,
            )
            comparison.runs.append(run)
            yield run
