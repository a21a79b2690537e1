"""The search in Optuna's terms: its space, and its trials in memory or in a file from which it resumes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..mf.architecture import Architecture
from ..models import NeuralMF
from ..models.neural_mf_settings import batch_size_for, learning_rate_for
from ..utils.atomic_io import replacing, require_file

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# Errors that Optuna may raise for a modified journal.
FAULTS = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RecursionError
)  # fmt: skip
HIDDEN_LAYER_SIZES = ("[]", "[16]", "[32, 16]", "[64]", "[64, 32]", "[128, 64]")  # text: studies are plain


def search_space(architecture: Architecture | None) -> dict[str, BaseDistribution]:
    """Return distributions of the settings of `NeuralMF`, by name; a given architecture is not searched."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(0.002, 0.05, log=True),
        "batch_size": IntDistribution(32, 8192, log=True),
    }
    if architecture is None:
        space |= {
            "embedding_dim": IntDistribution(8, 64, log=True),
            "hidden_layer_sizes": CategoricalDistribution(HIDDEN_LAYER_SIZES),
            "activation": CategoricalDistribution(("relu", "tanh", "gelu")),
        }
    if architecture is None or architecture.hidden_layer_sizes:
        space["weight_decay"] = FloatDistribution(3.0, 300.0, log=True)
    return space


def default_values(model: NeuralMF, space: Mapping[str, BaseDistribution], n_ratings: int) -> dict[str, Any]:
    """Return the settings of a model for `n_ratings` as values of the search space."""
    values = vars(model) | asdict(model.architecture)
    values["batch_size"] = batch_size_for(model, n_ratings)
    values["learning_rate"] = learning_rate_for(model, n_ratings)
    values["hidden_layer_sizes"] = str(list(values["hidden_layer_sizes"]))
    return {name: values[name] for name in space}


def as_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of the search space as settings of `NeuralMF`."""
    return {name: json.loads(v) if name == "hidden_layer_sizes" else v for name, v in values.items()}


def architecture_settings(architecture: Architecture | None) -> dict[str, Any]:
    """Return the fields of a given architecture that are set, as plain values."""
    given = asdict(architecture) if architecture else {}
    return {name: np.asarray(value).tolist() for name, value in given.items() if value is not None}


def open_study(
    path: str | os.PathLike[str] | None,
    belongs_to: str,
    n_warmup_steps: int,
    space: Mapping[str, BaseDistribution],
) -> Study:
    """Open a study in memory or in a file, which is created if needed; mark unfinished trials as failed.

    `belongs_to` is the identity of the search (see `checkpoint.fingerprint`), and `space` its search space. A
    trial may be pruned after `n_warmup_steps` reports, by the median of at least five complete trials. Raises
    ValueError if the file is not a study, is damaged or belongs to another search, and OSError if it cannot
    be read or written to.
    """
    import optuna
    from optuna.distributions import check_distribution_compatibility
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import TrialState

    if path is not None:
        _mend(Path(path))
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = None
        if path is not None:
            # The lock of a killed process is ignored after three seconds; a live process holds it for
            # milliseconds.
            lock = JournalFileOpenLock(str(path), grace_period=3)
            storage = JournalStorage(JournalFileBackend(str(path), lock))
        study = optuna.create_study(
            storage=storage,
            study_name="numpy-neural-mf",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=n_warmup_steps),
        )
        for trial in study.get_trials():
            for name, distribution in trial.distributions.items():
                check_distribution_compatibility(space[name], distribution)
    except FAULTS as error:
        raise ValueError(f"{path}: expected a study, found one that is damaged: {error!r}") from error
    finally:
        optuna.logging.set_verbosity(verbosity)
    if study.user_attrs.get("belongs_to", belongs_to) != belongs_to:
        raise ValueError(
            f"{path}: expected the study of this search, found one of other ratings or settings; "
            "name another file, or delete it to start again"
        )
    study.set_user_attr("belongs_to", belongs_to)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def finished_trials(study: Study) -> list[FrozenTrial]:
    """Return the complete and pruned trials, in order; interrupted trials do not count."""
    from optuna.trial import TrialState

    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def next_trial(
    study: Study, space: dict[str, BaseDistribution], defaults: dict[str, Any], random_state: int
) -> Trial:
    """Return the next trial: the defaults first, then draws of a sampler.

    The sampler is seeded by the number of finished trials, so an interruption does not change the trials.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    n_finished = len(finished_trials(study))
    seed = np.random.SeedSequence([random_state, n_finished]).generate_state(1)[0]
    study.sampler = TPESampler(seed=int(seed))
    if n_finished == 0 and not study.get_trials(states=(TrialState.WAITING,)):
        study.enqueue_trial(defaults)
    return study.ask(space)


def validation_rmse(trial: FrozenTrial) -> float:
    """Return the validation RMSE of a trial; infinite if it was pruned or diverged."""
    return math.inf if trial.state.name == "PRUNED" or trial.value is None else trial.value


def _mend(path: Path) -> None:
    """Remove an incomplete last line: the file could not be read once another line followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        require_file(path)
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if lines and not lines[0].startswith(b'{"op_code":'):
        raise ValueError(f"{path}: expected a study, found another kind of file")
    if lines and not lines[-1].endswith(b"\n"):
        with replacing(path) as temporary:
            temporary.write_bytes(b"".join(lines[:-1]))
