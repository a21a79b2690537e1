"""The comparison: several models on the same ratings over several seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ..data import Ratings, random_split, read_ratings, simulate_ratings, summarize
from ..mf.architecture import ARCHITECTURES, Architecture
from ..models import BayesianMF, GlobalMean, ItemKNN, LinearRegression, NeuralMF, Recommender
from ..reporting.console import ProgressBar
from ..utils.atomic_io import require_folder
from .cross_validation import ModelFactory, Round, add_runs, as_ratings, fold_rounds, require_seeds
from .results import Comparison

DATA_VARIABLE = "NUMPY_NEURAL_MF_DATA"


def run_experiments(
    ratings: Any = None,
    *,
    epochs: int | None = None,
    seeds: int = 5,
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

    Every seed draws another split (20 % for testing) and other first weights. With `n_folds`, each seed
    trains on each fold instead, `k_fold(ratings, n_folds)`. Test ratings are predicted once, at the end; what
    tells the best epoch is held out of the training part. Every model is told users, items and times of the
    test ratings; of these models, BayesianMF alone makes use of times.

    Parameters
    ----------
    ratings : Ratings, path or data frame, or mapping of names to these, optional
        By default ``ratings.csv`` in the working directory or in the folder that the environment variable
        NUMPY_NEURAL_MF_DATA names; if there is none, two simulated sets of 200,000 ratings, one with
        structure and one without, whose noise floor is known.
    epochs : int, optional
        Of the neural models; by default that of `NeuralMF`.
    seeds : int, default 5
        How many: 0, 1, 2, ...
    n_folds : int, default 0
        At least 2, or 0 for random splits.
    engine, device, precision : str, default "auto", "auto", "float32"
        Of the neural models, as `NeuralMF` takes them. They and `epochs` have no say in `models` of your own.
    output_dir : path, default the working directory
        Gets ``comparacion_arquitecturas.png`` and ``comparison.json``, ``.csv`` and ``.md``.
    models : mapping of str to callable, optional
        Name to ``(seed) -> Recommender``; by default `default_models`.
    console : rich.console.Console, optional
        Where the table is printed; by default the terminal.
    log : rich.console.Console, optional
        Where the ratings, remarks and progress are shown; by default `console`.

    Returns
    -------
    Comparison
        If interrupted (Ctrl-C), with the runs that were finished, which are written as well.

    Raises
    ------
    RatingsError
        The ratings cannot be read.
    ValueError
        A setting is out of range; said before anything is trained.
    OSError
        `output_dir` cannot be written to; said before anything is trained.
    KeyboardInterrupt
        Interrupted before the first run was finished; nothing is written.
    FloatingPointError
        A training diverged; the runs that were finished before are written.

    Examples
    --------
    >>> comparison = run_experiments(seeds=1, epochs=2)  # doctest: +SKIP
    >>> comparison.table()  # doctest: +SKIP
    """
    console = console or Console()
    log = log or console
    require_seeds(seeds)
    if n_folds != 0 and n_folds < 2:
        raise ValueError(f"n_folds must be at least 2, or 0 for random splits, not {n_folds}")
    lacks_numba = models is None and find_spec("numba") is None
    if models is None:
        models = default_models(epochs, engine, device, precision)
    require_folder(output_dir)
    data = find_data(ratings)
    if not models or not data:
        raise ValueError(f"there must be data and models to compare, not {len(data)} and {len(models)}")
    comparison = Comparison(
        data={name: summarize(part) for name, part in data.items()},
        n_planned=len(data) * seeds * max(n_folds, 1) * len(models),
    )
    for name, part in data.items():
        log.print(Text(f"{name}: {part}"), soft_wrap=True)
        if part.n_dropped:
            log.print(
                f"  {part.n_dropped:,} ratings were dropped: the same user rated the item again later",
                soft_wrap=True,
            )
    if lacks_numba:
        left_out = 'Bayesian MF is left out, since it needs numba: pip install "numpy-neural-mf[fast]"'
        log.print(Text(left_out), soft_wrap=True)
    try:
        with ProgressBar(comparison.n_planned, log) as bar:
            for name, part in data.items():
                rounds = fold_rounds(part, seeds, n_folds) if n_folds else _random_rounds(part, seeds)
                for _ in add_runs(comparison, name, rounds, models, bar.start_run, bar.on_progress):
                    bar.end_run()
    except KeyboardInterrupt:
        if not comparison.runs:
            raise
    except Exception:  # of hours of work, what is done is kept
        if comparison.runs:
            comparison.save(output_dir)
            console.print(comparison)
        raise
    comparison.save(output_dir)
    console.print(comparison)
    return comparison


def default_models(
    epochs: int | None = None, engine: str = "auto", device: str = "auto", precision: str = "float32"
) -> dict[str, ModelFactory]:
    """The models of the comparison, by name: the baselines, A_small, B_medium, C_wide and Bayesian MF.

    The last draws few samples, so that the comparison takes minutes; it is left out where Numba is not
    installed.
    """
    settings: dict[str, Any] = {"engine": engine, "device": device, "precision": precision}
    settings |= {} if epochs is None else {"epochs": epochs}
    NeuralMF(**settings)  # checks them now, not when the baselines have been trained
    baselines: dict[str, ModelFactory] = {
        "global mean": lambda seed: GlobalMean(),
        "linear regression": lambda seed: LinearRegression(),
        "item kNN": lambda seed: ItemKNN(),
    }
    neural: dict[str, ModelFactory] = {
        name: partial(_neural_mf, architecture, settings) for name, architecture in ARCHITECTURES.items()
    }
    return baselines | neural | ({"Bayesian MF": _bayesian_mf} if find_spec("numba") else {})


def find_data(ratings: Any = None) -> dict[str, Ratings]:
    """The data sets to compare on, by name: those given, the one found, or simulated ones."""
    if isinstance(ratings, Mapping):
        return {str(name): as_ratings(source) for name, source in ratings.items()}
    if ratings is not None:
        name = Path(ratings).name if isinstance(ratings, str | os.PathLike) else "ratings"
        return {name: as_ratings(ratings)}
    for folder in (".", os.environ.get(DATA_VARIABLE)):
        if folder and Path(folder, "ratings.csv").is_file():
            return {"ratings.csv": read_ratings(Path(folder, "ratings.csv"))}
    return {
        "simulated, latent structure": simulate_ratings(structure="latent"),
        "simulated, no structure": simulate_ratings(structure="none"),
    }


def _neural_mf(architecture: Architecture, settings: dict[str, Any], seed: int) -> Recommender:
    return NeuralMF(architecture, random_state=seed, **settings)


def _bayesian_mf(seed: int) -> Recommender:
    return BayesianMF(n_samples=30, burn_in=10, random_state=seed)


def _random_rounds(ratings: Ratings, seeds: int) -> Iterator[Round]:
    """Another split for each seed."""
    for seed in range(seeds):
        yield Round(f"seed {seed}", seed, seed, *random_split(ratings, random_state=seed))
