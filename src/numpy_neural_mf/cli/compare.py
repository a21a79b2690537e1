"""Several models on the same ratings: numpy-neural-mf compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..comparison.experiments import run_experiments
from ..comparison.page import comparison_report
from ..models.neural_mf_settings import DEVICES, PRECISIONS
from ..training.engines import ENGINE_NAMES
from ..utils.atomic_io import require_folder
from .options import Cache, ColumnName, Report, Scale, one_of
from .output import command_line, fail, read, write_report
from .settings import Settings


def compare(
    ratings: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RATINGS]",
            help="CSV, TSV, `ratings.dat`, `u.data` or Parquet. Without it: `ratings.csv` here, then in "
            "$NUMPY_NEURAL_MF_DATA, otherwise simulated ratings.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the ratings.")] = None,
    seeds: Annotated[int, typer.Option(help="Repeats, each with another split and start.")] = 5,
    folds: Annotated[int, typer.Option(help="Cross-validate on so many folds, with each seed.")] = 0,
    engine: Annotated[str, one_of(ENGINE_NAMES, "Who computes the steps")] = "auto",
    device: Annotated[str, one_of(DEVICES, "Where the engine torch computes")] = "auto",
    precision: Annotated[str, one_of(PRECISIONS, "Of the engine torch")] = "float32",
    output_dir: Annotated[Path, typer.Option(help="Where the figure and the tables go.")] = Path(),
    report: Report = None,
    user: ColumnName = None,
    item: ColumnName = None,
    rating: ColumnName = None,
    timestamp: ColumnName = None,
    scale: Scale = None,
    cache: Cache = True,
    settings: Settings = None,
) -> None:
    """Train **A_small**, **B_medium**, **C_wide** and the baselines; print the table, draw the figure.

    Writes `comparacion_arquitecturas.png` and `comparison.json`, `.csv` and `.md` into the output folder.
    Ctrl-C keeps the runs that are finished.

    - `numpy-neural-mf compare` — on `ratings.csv`, or on simulated ratings
    - `numpy-neural-mf compare ml-25m/ratings.csv --epochs 5 --seeds 1`
    - `numpy-neural-mf compare ratings.csv --report report.html`
    - `numpy-neural-mf compare books.csv --user reader --item isbn --scale 0 10 --folds 5`
    """
    source = None
    if report is not None:
        require_folder(report.parent)
    try:
        if ratings is not None:
            columns = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
            source = {ratings.name: read(ratings, cache, scale=scale, **columns)}
        comparison = run_experiments(
            source,
            epochs=epochs,
            seeds=seeds,
            n_folds=folds,
            engine=engine,
            device=device,
            precision=precision,
            output_dir=output_dir,
        )
    except KeyboardInterrupt:
        fail("interrupted before the first run was finished: nothing was written", code=130)
    if report is not None:
        write_report(comparison_report(comparison, command=command_line()), report)
    if len(comparison.runs) < comparison.n_planned:
        raise typer.Exit(130)
