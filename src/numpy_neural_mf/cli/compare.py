"""Compare several models on the same ratings: numpy-neural-mf compare."""

from pathlib import Path
from typing import Annotated

import typer

from ..comparison.experiments import run_experiments
from ..comparison.page import comparison_report
from ..reporting.page import save_report
from ..utils.atomic_io import require_output
from .options import TRAINING, Cache, ColumnName, Device, Engine, Precision, Report, Scale, Settings, option
from .output import command_line, fail, log, read, stderr

RATINGS = "As for train. By default ratings.csv here or in $NUMPY_NEURAL_MF_DATA, or else simulated."


def compare(
    context: typer.Context, ratings: Annotated[Path | None, typer.Argument(help=RATINGS)] = None,
    epochs: Annotated[int | None, option(TRAINING, "Passes over the ratings.")] = None,
    seeds: Annotated[int, option(TRAINING, "Number of random splits and initialisations.")] = 3,
    folds: Annotated[int, option(TRAINING, "Folds of cross-validation per seed; 0 for one split.")] = 0,
    engine: Engine = "auto", device: Device = "auto", precision: Precision = "float32",
    output_dir: Annotated[Path, option(None, "Folder for the figure and the tables.")] = Path(),
    report: Report = None,
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    scale: Scale = None, cache: Cache = True, settings: Settings = None,
) -> None:  # fmt: skip
    """Compare A_small, B_medium, C_wide, BayesianMF and the baselines.

    Prints a table and writes comparacion_arquitecturas.png and comparison.json,
    .csv and .md. Ctrl-C keeps the runs that are finished.

    numpy-neural-mf compare ratings.csv --epochs 5 --seeds 1 --report report.html
    numpy-neural-mf compare books.csv --user reader --item isbn --scale 0 10 --folds 5
    """
    source = None
    if report is not None:
        require_output(report, ratings)
    try:
        if ratings is not None:
            source = {ratings.name: read(context)}
        comparison = run_experiments(
            source, epochs=epochs, seeds=seeds, n_folds=folds, output_dir=output_dir,
            engine=engine, device=device, precision=precision, log=stderr(),
        )  # fmt: skip
    except KeyboardInterrupt:
        fail("interrupted before the first run was finished: nothing was written", code=130)
    if report is not None:
        save_report(comparison_report(comparison, command=command_line()), report)
        log(f"Wrote {report}")
    if len(comparison.runs) < comparison.n_planned:
        raise typer.Exit(130)
