"""Hyper-parameter search: trials of `NeuralMF` are compared on a validation part of the given ratings."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Ratings, RatingsLike, random_split, read_ratings
from ..evaluation import rmse
from ..mf.architecture import C_WIDE, Architecture
from ..models import NeuralMF
from ..training.checkpoint import fingerprint
from ..training.loop import Progress, ProgressCallback
from ..utils.atomic_io import replacing
from ..utils.settings import check_integer, check_number
from ..utils.tables import Table, Tabular
from . import study as studies

if TYPE_CHECKING:
    import polars as pl
    from optuna import Trial
    from optuna.trial import FrozenTrial

VALIDATION_SIZE = 0.1
Splits = list[tuple[Ratings, Ratings]]


@dataclass(frozen=True)
class TuningProgress:
    """Progress of a search, and `training`, the progress of its current trial.

    `n_finished` counts the trials of a resumed study, too. `best_rmse` is their lowest validation RMSE, and
    infinite before the first trial is finished.
    """

    n_finished: int
    best_rmse: float
    training: Progress


@dataclass(frozen=True, repr=False)
class Tuning(Tabular):
    """The result of a search.

    Attributes
    ----------
    settings : dict, settings of the best trial, as keyword arguments: ``NeuralMF(**settings)``
    validation_rmse : float
        The RMSE of the best trial. It is optimistic, since it is the lowest of many trials on the same
        ratings. Estimate the error on new ratings with a test part that the search did not use.
    trials : polars.DataFrame; a row for each finished trial, in order, the defaults first: `trial` from 0,
        `state` ("complete", "pruned" or "diverged"), `validation_rmse` (null unless complete), `epochs`
        trained (over all splits), `seconds`, and the searched settings
    n_resumed : int, number of trials that were finished before this call
    is_interrupted : bool, whether Ctrl-C ended the search
    """

    settings: dict[str, Any]
    validation_rmse: float
    trials: pl.DataFrame
    n_resumed: int = 0
    is_interrupted: bool = False

    @property
    def default_rmse(self) -> float:
        """Validation RMSE of the default settings; NaN if they diverged."""
        value = self.trials["validation_rmse"][0]
        return math.nan if value is None else float(value)

    def tables(self) -> Iterator[Table]:
        rmse = f"validation RMSE {self.validation_rmse:.4f} (defaults {self.default_rmse:.4f})"
        rows = [*self.settings.items()]
        yield Table(f"The best of {self.trials.height} trials: {rmse}", ["setting", "value"], rows)

    def save(self, path: str | os.PathLike[str], data: str) -> None:
        """Write the settings as TOML, whole or not at all; a comment names the ratings, `data`."""
        text = (
            f"# Made by numpy-neural-mf {version('numpy-neural-mf')} from {data!r}: the best of "
            f"{self.trials.height} trials.\n"
            f"# Validation RMSE {self.validation_rmse:.4f} (defaults {self.default_rmse:.4f}): optimistic, "
            "since it is the lowest of many on the same ratings.\n"
        )
        # Numbers, strings and arrays have the same syntax in JSON and TOML.
        text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in self.settings.items())
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def tune(
    ratings: RatingsLike,
    *,
    architecture: Architecture | None = None,
    n_trials: int = 50,
    timeout: float | None = None,
    study: str | os.PathLike[str] | None = None,
    epochs: int = 60,
    n_splits: int = 1,
    random_state: int = 0,
    on_progress: Callable[[TuningProgress], None] | None = None,
) -> Tuning:
    """Search for the settings of `NeuralMF` with the lowest RMSE on a validation part of the ratings.

    The first trial has the default settings, so on this validation part the result is never worse than they
    are. Ten trials are drawn at random, the others by a tree-structured Parzen estimator (Bergstra et al.,
    2011, "Algorithms for hyper-parameter optimization", section 4). A trial is pruned if its lowest
    validation RMSE is above the median of the complete trials at the same epoch (Golovin et al., 2017,
    "Google Vizier", section 3.2.2). Trials run one after another in one process.

    Parameters
    ----------
    ratings : Ratings, or what `read_ratings` takes
        The training ratings only: leave out the test part on which the result is to be evaluated.
    architecture : Architecture, optional
        If given, only the settings of its training are searched; by default the architecture is searched too.
    n_trials : int, default 50, total number of trials, including those in `study`
    timeout : float, optional, seconds after which no other trial is started; the current trial is finished
    study : path, optional
        File of the trials, Optuna's journal, for one process at a time. The same call resumes an interrupted
        search, also with other `n_trials`, and makes the same trials as an uninterrupted search: a trial
        depends only on its seed and the finished trials, and an interrupted trial is started again.
    epochs : int, default 60
    n_splits : int, default 1, the number of random splits, each of which holds out a tenth of `ratings` for
        one training. A trial is evaluated by its mean RMSE over the splits and pruned by the first split.
    random_state : int, default 0, seed of splits, models and search: the same seed gives the same trials
    on_progress : callable, optional, called after each batch with a `TuningProgress`

    Returns
    -------
    Tuning; if interrupted (Ctrl-C), of the finished trials, or KeyboardInterrupt if no trial was complete

    Raises
    ------
    ImportError : Optuna is not installed
    TypeError, ValueError : a setting has the wrong type or is out of range, or `study` has other ratings or
        settings, or is not a study
    OSError : `study` cannot be written to
    FloatingPointError : every trial diverged

    Examples
    --------
    >>> from numpy_neural_mf import NeuralMF, random_split, simulate_ratings, tune
    >>> train, test = random_split(simulate_ratings(n_users=300, n_items=100, n_ratings=6_000))
    >>> tuning = tune(train, n_trials=2, epochs=2)  # doctest: +SKIP
    >>> model = NeuralMF(**tuning.settings).fit(train)  # doctest: +SKIP
    """
    check_integer("n_trials", n_trials, at_least=1)
    check_integer("n_splits", n_splits, at_least=1)
    check_number("timeout", timeout, at_least=0, optional=True)
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ImportError('tune needs Optuna: pip install "numpy-neural-mf[tune]"') from error
    ratings, start = read_ratings(ratings), time.monotonic()
    space, model = studies.search_space(architecture), NeuralMF(architecture or C_WIDE, epochs=epochs)
    fixed = {"epochs": epochs} | studies.architecture_settings(architecture)
    rng = np.random.default_rng(random_state)
    splits = [random_split(ratings, VALIDATION_SIZE, rng) for _ in range(n_splits)]
    defaults = studies.default_values(model, space, len(splits[0][0]))
    identity = fingerprint(f"{space} {vars(model)} {n_splits} {random_state}", ratings.arrays)
    search = studies.open_study(study, identity, epochs // 6, space)
    finished = studies.finished_trials(search)
    n_resumed, is_interrupted = len(finished), False

    def report(training: Progress) -> None:
        if on_progress is not None:
            lowest = min(map(studies.validation_rmse, finished), default=math.inf)
            on_progress(TuningProgress(len(finished), lowest, training))

    try:
        while len(finished) < n_trials:
            if timeout is not None and finished and time.monotonic() - start >= timeout:
                break
            trial = studies.next_trial(search, space, defaults, random_state)
            candidate = NeuralMF(**fixed | studies.as_settings(trial.params), random_state=random_state)
            _run(trial, candidate, splits, report)
            finished = studies.finished_trials(search)
    except KeyboardInterrupt:
        is_interrupted = True
    best = min(finished, key=studies.validation_rmse, default=None)
    if best is None or studies.validation_rmse(best) == math.inf:
        raise KeyboardInterrupt if is_interrupted else FloatingPointError("every trial diverged")
    settings = fixed | studies.as_settings(best.params)
    return Tuning(settings, studies.validation_rmse(best), _frame_of(finished), n_resumed, is_interrupted)


def _frame_of(trials: list[FrozenTrial]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame([_row(*numbered) for numbered in enumerate(trials)], infer_schema_length=None)


def _run(trial: Trial, model: NeuralMF, splits: Splits, report: ProgressCallback) -> None:
    """Train and evaluate a model on each split, and add the result to the study."""
    from optuna import TrialPruned
    from optuna.trial import TrialState

    errors: list[float] = []
    n_epochs = n_reported = 0

    def on_progress(progress: Progress) -> None:
        nonlocal n_reported
        report(progress)
        if not errors and progress.epoch - 1 > n_reported:
            n_reported = progress.epoch - 1
            trial.report(math.sqrt(progress.validation_loss), n_reported)
            if trial.should_prune():
                raise TrialPruned

    try:
        for train, validation in splits:
            model.fit(train, validation, on_progress)
            prediction = model.predict(validation.raw_users, validation.raw_items, validation.timestamps)
            errors.append(rmse(prediction, validation.values))
            n_epochs += len(model.history_.train_loss)
    except TrialPruned:
        trial.study.tell(trial, state=TrialState.PRUNED)
    except FloatingPointError:
        trial.study.tell(trial, math.inf)
    else:
        trial.set_user_attr("epochs", n_epochs)
        trial.study.tell(trial, float(np.mean(errors)))


def _row(number: int, trial: FrozenTrial) -> dict[str, Any]:
    lowest = studies.validation_rmse(trial)
    return {
        "trial": number,
        "state": "diverged" if trial.value == math.inf else trial.state.name.lower(),
        "validation_rmse": lowest if lowest < math.inf else None,
        "epochs": trial.user_attrs.get("epochs", trial.last_step or 0),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
    } | trial.params
