"""Experiments: several models are compared on the same ratings with several seeds."""

import os
import sys
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ..data import Ratings, RatingsLike, read_ratings, simulate_ratings, summarize
from ..mf.architecture import ARCHITECTURES, Architecture
from ..models import BayesianMF, GlobalMean, ItemKNN, LinearRegression, NeuralMF, Recommender
from ..reporting.console import terminal
from ..training.progress_bar import ProgressBar
from ..utils.atomic_io import require_folder
from ..utils.settings import check_integer
from ..utils.tables import harmless
from .cross_validation import ModelFactory, add_runs, fold_splits, random_splits
from .results import Comparison

FIRST_SEEDS = 3  # with more seeds, a first table is shown after these
DATA_VARIABLE = "NUMPY_NEURAL_MF_DATA"


def run_experiments(
    ratings: RatingsLike = None,
    *,
    epochs: int | None = None,
    seeds: int = 3,
    n_folds: int = 0,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "float32",
    output_dir: str | os.PathLike[str] = ".",
    models: Mapping[str, ModelFactory] | None = None,
    console: Console | None = None,
    log: Console | None = None,
) -> Comparison:
    """Compare A_small, B_medium, C_wide, BayesianMF and baselines; print the table, write figure and files.

    Each seed draws another split (20 % for testing) and other initial weights. With `n_folds`, each seed
    trains on each fold of ``k_fold(ratings, n_folds)`` instead. The test ratings are predicted once, at the
    end. Every model receives the users, items and times of the test ratings; among the default models, only
    BayesianMF uses times.

    Parameters
    ----------
    ratings : Ratings, or what `read_ratings` takes, or mapping of names to these, optional
        By default ``ratings.csv`` in the working directory or in the folder that the environment variable
        NUMPY_NEURAL_MF_DATA names; if there is none, two simulated sets of 200,000 ratings, one with
        structure and one without, whose irreducible error is known.
    epochs : int, optional, for the neural models; by default that of `NeuralMF`
    seeds : int, default 3, the number of seeds: 0, 1, 2, ...
    n_folds : int, at least 2, or 0, the default, for random splits
    engine, device, precision : str, default "auto", "auto", "float32"
        Settings of the neural models (see `NeuralMF`). Like `epochs`, they do not affect your own `models`.
    output_dir : path, default the working directory
        Folder of ``comparacion_arquitecturas.png`` and ``comparison.json``, ``.csv`` and ``.md``.
    models : mapping of name to ``(seed) -> Recommender``, by default `default_models`
    console, log : rich.console.Console, optional; where the table is printed, by default standard output; and
        where the ratings, remarks and progress are shown, by default `console`.

    Returns
    -------
    Comparison : if interrupted (Ctrl-C), with the finished runs, which are written as well; before the first
        was finished, KeyboardInterrupt is raised and nothing is written.

    Raises
    ------
    RatingsError : the ratings cannot be read
    TypeError, ValueError, OSError : a setting has the wrong type or is out of range, or `output_dir` cannot
        be written to; raised before anything is trained.
    FloatingPointError : a training diverged; the runs that were finished before are written

    Examples
    --------
    >>> comparison = run_experiments(seeds=1, epochs=2)  # doctest: +SKIP
    >>> comparison.table()  # doctest: +SKIP
    """
    console = console or terminal()
    log = log or console
    check_integer("seeds", seeds, at_least=1)
    check_integer("n_folds", n_folds, at_least=0)
    if n_folds == 1:
        raise ValueError(f"n_folds must be at least 2, or 0 for random splits, not {n_folds}")
    lacks_numba = models is None and find_spec("numba") is None
    models = default_models(epochs, engine, device, precision) if models is None else models
    require_folder(output_dir)
    data = find_data(ratings)
    if not models or not data:
        raise ValueError(f"there must be data and models to compare, not {len(data)} and {len(models)}")
    comparison = Comparison(
        data={name: summarize(part) for name, part in data.items()},
        n_planned=len(data) * seeds * max(n_folds, 1) * len(models),
    )
    n_first = FIRST_SEEDS * max(n_folds, 1) * len(models)
    _describe(data, lacks_numba, log)
    try:
        with ProgressBar(comparison.n_planned, log) as bar:
            for name, part in data.items():
                splits = fold_splits(part, seeds, n_folds) if n_folds else random_splits(part, seeds)
                for run in add_runs(comparison, name, splits, models, bar.start_run, bar.on_progress):
                    bar.end_run(f"RMSE {run.rmse:.4f} in {run.seconds:.1f} s")
                    of_data = [run for run in comparison.runs if run.data == name]
                    if seeds > FIRST_SEEDS and len(of_data) == n_first:
                        log.print(Comparison(of_data))
    except KeyboardInterrupt:
        if not comparison.runs:
            raise
    finally:
        if comparison.runs:  # after an error, too: the runs may be hours of work
            comparison.save(output_dir)
            if not console.is_jupyter or sys.exception():  # a notebook shows what is returned
                console.print(comparison)
    return comparison


def _describe(data: Mapping[str, Ratings], lacks_numba: bool, log: Console) -> None:
    """Print the data sets, the number of dropped ratings and the models that are left out."""
    for name, part in data.items():
        log.print(Text(harmless(f"{name}: {part}")), soft_wrap=True)
        if part.n_dropped:
            dropped = f"  {part.n_dropped:,} ratings were dropped: the same user rated the item again later"
            log.print(dropped, soft_wrap=True)
    if lacks_numba:
        left_out = 'Bayesian MF is left out, since it needs numba: pip install "numpy-neural-mf[fast]"'
        log.print(Text(left_out), soft_wrap=True)


def default_models(
    epochs: int | None = None, engine: str = "auto", device: str = "auto", precision: str = "float32"
) -> dict[str, ModelFactory]:
    """Return the default models by name: the baselines, A_small, B_medium, C_wide and Bayesian MF.

    Bayesian MF draws few samples, so that the comparison takes minutes, and is left out without Numba.
    """
    settings: dict[str, Any] = {"engine": engine, "device": device, "precision": precision}
    settings |= {} if epochs is None else {"epochs": epochs}
    NeuralMF(**settings)  # checks the settings before the baselines are trained
    models: dict[str, ModelFactory] = {
        "global mean": lambda seed: GlobalMean(),
        "linear regression": lambda seed: LinearRegression(),
        "item kNN": lambda seed: ItemKNN(),
    }
    for name, architecture in ARCHITECTURES.items():
        models[name] = partial(_neural_mf, architecture, settings)
    if find_spec("numba"):
        models["Bayesian MF"] = lambda seed: BayesianMF(n_samples=30, burn_in=10, random_state=seed)
    return models


def find_data(ratings: Any = None) -> dict[str, Ratings]:
    """Return the data sets to compare on, by name: those given, the one found, or simulated ones."""
    if isinstance(ratings, Mapping) and not _is_table(ratings):
        return {str(name): read_ratings(source) for name, source in ratings.items()}
    if ratings is not None:
        name = Path(ratings).name if isinstance(ratings, str | os.PathLike) else "ratings"
        return {name: read_ratings(ratings)}
    if found := ratings_here():
        return {found.name: read_ratings(found)}
    return {
        "simulated, latent structure": simulate_ratings(structure="latent"),
        "simulated, no structure": simulate_ratings(structure="none"),
    }


def _is_table(given: Mapping[Any, Any]) -> bool:
    """Return whether a mapping has columns of ratings, rather than names of data sets."""
    from ..data.tables import NAMES, named_as

    return all(named_as(map(str, given), NAMES[role]) for role in ("user", "item", "rating"))


def ratings_here() -> Path | None:
    """Find ratings.csv in the working directory or in the folder that NUMPY_NEURAL_MF_DATA names."""
    folders = [".", *filter(None, [os.environ.get(DATA_VARIABLE)])]
    return next((path for path in (Path(one, "ratings.csv") for one in folders) if path.is_file()), None)


def _neural_mf(architecture: Architecture, settings: dict[str, Any], seed: int) -> Recommender:
    return NeuralMF(architecture, random_state=seed, **settings)
