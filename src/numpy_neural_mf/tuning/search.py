"""The search for settings: trials judged on ratings held out of those given, the best of them kept."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ..data import Ratings, random_split
from ..evaluation import rmse
from ..mf.architecture import C_WIDE, Architecture
from ..models import NeuralMF
from ..training.checkpoint import fingerprint
from ..training.loop import Progress, ProgressCallback
from ..utils.atomic_io import replacing
from .study import finished_trials, next_trial, open_study, rmse_of

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

VALIDATION_SIZE = 0.1

# As text, since a study holds plain values.
HIDDEN_LAYER_SIZES = ("[]", "[16]", "[32, 16]", "[64]", "[64, 32]", "[128, 64]")


def search_space(architecture: Architecture | None) -> dict[str, BaseDistribution]:
    """What is searched, by the names of `NeuralMF`; the training alone where the architecture is given."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(0.003, 0.1, log=True),
        "batch_size": IntDistribution(256, 4096, log=True),
        "regularization": FloatDistribution(0.05, 0.8, log=True),
    }
    if architecture is None:
        space |= {
            "embedding_dim": IntDistribution(8, 64, log=True),
            "hidden_layer_sizes": CategoricalDistribution(HIDDEN_LAYER_SIZES),
            "activation": CategoricalDistribution(("relu", "tanh", "gelu")),
        }
    if architecture is None or architecture.hidden_layer_sizes:
        space |= {
            "dropout": FloatDistribution(
                0.0, 0.6 if architecture is None else max(0.6, architecture.dropout)
            ),
            "weight_decay": FloatDistribution(0.03, 3.0, log=True),
        }
    return space


@dataclass(frozen=True)
class TuningProgress:
    """How far a search is.

    Attributes
    ----------
    n_finished : int
        Trials finished so far, those of a resumed study among them.
    best_rmse : float
        The lowest validation RMSE of these; infinite before the first.
    training : Progress
        Of the trial at work.
    """

    n_finished: int
    best_rmse: float
    training: Progress


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    Attributes
    ----------
    settings : dict
        Of the best trial, as keyword arguments: ``NeuralMF(**settings)``.
    validation_rmse : float
        Of the best trial. It is optimistic: the lowest of many trials, each at its best epoch, on the same
        ratings. What to expect of new ratings is told by test ratings that the search never saw.
    trials : polars.DataFrame
        A row for each finished trial, in order, the defaults first: `trial` from 0, `state` ("complete",
        "pruned" or "diverged"), `validation_rmse` (null unless complete), `epochs` trained (of all splits),
        `seconds`, and what was searched.
    n_resumed : int
        How many of them were done before this call.
    is_interrupted : bool
        Whether Ctrl-C ended the search.
    """

    settings: dict[str, Any]
    validation_rmse: float
    trials: pl.DataFrame
    n_resumed: int = 0
    is_interrupted: bool = False

    @property
    def default_rmse(self) -> float:
        """The validation RMSE of the defaults; NaN if they diverged."""
        value = self.trials["validation_rmse"][0]
        return math.nan if value is None else float(value)

    def save(self, path: str | os.PathLike[str], data: str) -> None:
        """Write the settings as TOML, with comments on where they come from.

        Parameters
        ----------
        path : path
            The file to write, whole or not at all.
        data : str
            The name of the ratings, for the comment.
        """
        lines = [
            f"# Made by numpy-neural-mf {version('numpy-neural-mf')} from {data!r}: the best of "
            f"{self.trials.height} trials.",
            f"# Validation RMSE {self.validation_rmse:.4f} (defaults {self.default_rmse:.4f}): optimistic, "
            "being the lowest of many on the same ratings.",
            # JSON's numbers, strings and arrays are TOML's.
            *(f"{name} = {json.dumps(value)}" for name, value in self.settings.items()),
        ]
        with replacing(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def tune(
    ratings: Ratings,
    *,
    architecture: Architecture | None = None,
    n_trials: int = 50,
    timeout: float | None = None,
    study: str | os.PathLike[str] | None = None,
    epochs: int = 30,
    n_splits: int = 1,
    random_state: int = 0,
    on_progress: Callable[[TuningProgress], None] | None = None,
) -> Tuning:
    """Search for the settings of `NeuralMF` with the lowest RMSE on ratings held out of those given.

    The first trial has the defaults, so the result is never worse than they are on these validation ratings.
    Ten trials are drawn at random, then by a tree-structured Parzen estimator (Bergstra et al., 2011,
    "Algorithms for hyper-parameter optimization", section 4). A trial whose lowest validation RMSE is above
    the median of the complete ones at the same epoch is cut off (Golovin et al., 2017, "Google Vizier",
    section 3.2.2). One process: trials run one after another.

    Parameters
    ----------
    ratings : Ratings
        For training alone: keep the test part, on which the result is to be judged, out of it.
    architecture : Architecture, optional
        Keeps its form and searches how it is trained; by default both are searched.
    n_trials : int, default 50
        In all: those that `study` holds count.
    timeout : float, optional
        Seconds after which no other trial is begun; the one at work is finished.
    study : path, optional
        File to keep the trials in, Optuna's journal. The same call goes on from there, whatever ended it, and
        tries what an undisturbed search would have tried: what a trial draws depends on its own seed and the
        finished trials alone, and one that was cut off is begun anew. `n_trials` may be another. For one
        process at a time.
    epochs : int, default 30
        Of each trial, as in `NeuralMF`.
    n_splits : int, default 1
        How many times a tenth of `ratings` is held out at random; a trial is judged by the mean of its RMSEs,
        and cut off by the first. Each split costs a training.
    random_state : int, default 0
        Of the splits, the models and the search. The same seed, the same trials.
    on_progress : callable, optional
        Called after each batch with a `TuningProgress`.

    Returns
    -------
    Tuning
        If interrupted (Ctrl-C), of the trials that were finished.

    Raises
    ------
    ImportError
        Optuna is not installed.
    ValueError
        A setting is out of range, or `study` is of other ratings or settings, or is no study.
    OSError
        `study` cannot be written to.
    FloatingPointError
        Every trial diverged.
    KeyboardInterrupt
        Interrupted before any trial was complete.

    Examples
    --------
    >>> from numpy_neural_mf import NeuralMF, random_split, simulate_ratings, tune
    >>> train, test = random_split(simulate_ratings(n_users=300, n_items=100, n_ratings=6_000))
    >>> tuning = tune(train, n_trials=2, epochs=2)  # doctest: +SKIP
    >>> model = NeuralMF(**tuning.settings).fit(train)  # doctest: +SKIP
    """
    if n_trials < 1 or n_splits < 1:
        raise ValueError(f"n_trials and n_splits must be at least 1, not {n_trials} and {n_splits}")
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ImportError('tune needs Optuna: pip install "numpy-neural-mf[tune]"') from error
    start = time.monotonic()
    space, model = search_space(architecture), NeuralMF(architecture or C_WIDE, epochs=epochs)
    values = vars(model) | asdict(model.architecture)
    values["hidden_layer_sizes"] = str(list(values["hidden_layer_sizes"]))
    defaults = {name: values[name] for name in space}
    fixed = {"epochs": epochs} | _form(architecture)
    rng = np.random.default_rng(random_state)
    splits = [random_split(ratings, VALIDATION_SIZE, rng) for _ in range(n_splits)]
    made_of = f"{space} {vars(model)} {n_splits} {random_state}"
    search = open_study(study, fingerprint(made_of, ratings.arrays), n_warmup_steps=epochs // 6)
    finished = finished_trials(search)
    n_resumed, is_interrupted = len(finished), False

    def tell(training: Progress) -> None:
        if on_progress is not None:
            lowest = min(map(rmse_of, finished), default=math.inf)
            on_progress(TuningProgress(len(finished), lowest, training))

    try:
        while len(finished) < n_trials:
            if timeout is not None and finished and time.monotonic() - start >= timeout:
                break
            trial = next_trial(search, space, defaults, random_state)
            model = NeuralMF(**fixed | _settings(trial), random_state=random_state)
            _run(search, trial, model, splits, tell)
            finished = finished_trials(search)
    except KeyboardInterrupt:
        is_interrupted = True
    best = min(finished, key=rmse_of, default=None)
    if best is None or rmse_of(best) == math.inf:
        raise KeyboardInterrupt if is_interrupted else FloatingPointError("every trial diverged")
    rows = [_row(number, trial) for number, trial in enumerate(finished)]
    trials = pl.DataFrame(rows, infer_schema_length=None)
    return Tuning(fixed | _settings(best), rmse_of(best), trials, n_resumed, is_interrupted)


def _run(
    study: Study, trial: Trial, model: NeuralMF, splits: list[tuple[Ratings, Ratings]], tell: ProgressCallback
) -> None:
    """Train and judge a model on each split; the study learns what came of it."""
    from optuna import TrialPruned
    from optuna.trial import TrialState

    errors: list[float] = []
    n_epochs = n_reported = 0

    def on_progress(progress: Progress) -> None:
        nonlocal n_reported
        tell(progress)
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
        study.tell(trial, state=TrialState.PRUNED)
    except FloatingPointError:
        study.tell(trial, math.inf)
    else:
        trial.set_user_attr("epochs", n_epochs)
        study.tell(trial, float(np.mean(errors)))


def _row(number: int, trial: FrozenTrial) -> dict[str, Any]:
    lowest = rmse_of(trial)
    return {
        "trial": number,
        "state": "diverged" if trial.value == math.inf else trial.state.name.lower(),
        "validation_rmse": lowest if lowest < math.inf else None,
        "epochs": trial.user_attrs.get("epochs", trial.last_step or 0),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
    } | trial.params


def _settings(trial: Trial | FrozenTrial) -> dict[str, Any]:
    """What was searched, as `NeuralMF` takes it."""
    settings = dict(trial.params)
    if "hidden_layer_sizes" in settings:
        settings["hidden_layer_sizes"] = json.loads(settings["hidden_layer_sizes"])
    return settings


def _form(architecture: Architecture | None) -> dict[str, Any]:
    """Its fields as plain values, but for what is a matter of training, or of having features at hand."""
    told = asdict(architecture) if architecture else {}
    left_out = {"dropout"} | {name for name in ("features", "implicit") if not told.get(name)}
    return {
        name: np.asarray(value).tolist()
        for name, value in told.items()
        if name not in left_out and value is not None
    }
