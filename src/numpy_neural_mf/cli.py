"""The command line: numpy-neural-mf, or python -m numpy_neural_mf."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from .cli_models import ColumnName
from .cli_models import app as model_commands
from .data import read_ratings, simulate_ratings
from .engines import ENGINES
from .experiments import run_experiments
from .files import replacing

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Neural matrix factorisation for ratings: train, compare, understand.",
    epilog="Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.",
)


class Structure(StrEnum):
    """What there is to learn in simulated ratings."""

    latent = "latent"
    none = "none"


@app.command()
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
    seeds: Annotated[int, typer.Option(help="Repeats, each with another split and start.")] = 3,
    folds: Annotated[int, typer.Option(help="Cross-validate on so many folds, with each seed.")] = 0,
    engine: Annotated[str, typer.Option(help=f"One of: {', '.join(ENGINES)}.")] = "numpy",
    output_dir: Annotated[Path, typer.Option(help="Where the figure and the tables go.")] = Path(),
    user: ColumnName = None,
    item: ColumnName = None,
    rating: ColumnName = None,
    timestamp: ColumnName = None,
    scale: Annotated[
        tuple[float, float] | None, typer.Option(metavar="LOWEST HIGHEST", help="Found, if not given.")
    ] = None,
) -> None:
    """Train **A_small**, **B_medium**, **C_wide** and the baselines; print the table, draw the figure.

    Writes `comparacion_arquitecturas.png` and `comparison.json`, `.csv` and `.md` into the output folder.
    Ctrl-C keeps the runs that are finished.

    - `numpy-neural-mf compare` — on `ratings.csv`, or on simulated ratings
    - `numpy-neural-mf compare ml-25m/ratings.csv --epochs 5 --seeds 1`
    - `numpy-neural-mf compare books.csv --user reader --item isbn --scale 0 10 --folds 5`
    """
    source = None
    try:
        if ratings is not None:
            columns = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
            source = {ratings.name: read_ratings(ratings, scale=scale, **columns)}
        comparison = run_experiments(
            source, epochs=epochs, seeds=seeds, n_folds=folds, engine=engine, output_dir=output_dir
        )
    except KeyboardInterrupt:
        _fail("interrupted before the first run was finished: nothing was written", code=130)
    if len(comparison.runs) < comparison.n_planned:
        raise typer.Exit(130)


@app.command()
def simulate(
    output: Annotated[Path, typer.Argument(help="The CSV file to write.")] = Path("ratings.csv"),
    users: Annotated[int, typer.Option(help="How many.")] = 5000,
    items: Annotated[int, typer.Option(help="How many.")] = 2000,
    ratings: Annotated[int, typer.Option(help="How many, at most users × items.")] = 200_000,
    structure: Annotated[Structure, typer.Option(help="`none`: only the mean.")] = Structure.latent,
    seed: Annotated[int, typer.Option(help="The same seed, the same ratings.")] = 0,
) -> None:
    """Write simulated ratings, whole numbers from 1 to 5, whose noise floor is known, as a CSV file.

    - `numpy-neural-mf simulate my_ratings.csv --users 1000 --items 500 --ratings 20000`
    """
    simulated = simulate_ratings(users, items, ratings, structure=structure.value, random_state=seed)
    with replacing(output) as temporary:
        simulated.to_frame().write_csv(temporary)
    console = Console()
    console.print(f"{output}: {simulated}", soft_wrap=True, markup=False)
    console.print(f"Noise floor: no model can expect an RMSE below {simulated.noise_floor:.4f}.")


app.add_typer(model_commands)


def main() -> NoReturn:
    """Run the command line; an expected error is one sentence, never a traceback."""
    try:
        app()
    except ValueError as error:
        _fail(str(error), code=2)
    except OSError as error:
        path = error.filename2 or error.filename
        _fail(f"{path}: {error.strerror}" if path else str(error), code=2)
    except FloatingPointError as error:
        _fail(str(error), code=1)
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    Console(stderr=True).print(
        f"numpy-neural-mf: {message}", style="red", highlight=False, soft_wrap=True, markup=False
    )
    sys.exit(code)
