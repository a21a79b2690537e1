"""Get ratings: numpy-neural-mf download, simulate."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ..data import MOVIELENS, download_movielens, simulate_ratings
from ..data.datasets.movielens import CITATION
from ..utils.atomic_io import replacing
from .options import AsJson, option
from .output import fail, remark, report, show, stderr
from .settings import Settings


class Structure(StrEnum):
    """What there is to learn in simulated ratings."""

    latent = "latent"
    none = "none"


def simulate(
    output: Annotated[Path, typer.Argument(help="The CSV file to write.")] = Path("ratings.csv"),
    users: Annotated[int, option(None, "Number of users.")] = 5000,
    items: Annotated[int, option(None, "Number of items.")] = 2000,
    ratings: Annotated[int, option(None, "Number of ratings, at most users × items.")] = 200_000,
    structure: Annotated[
        Structure, option(None, "With none, only the mean can be learned.")
    ] = Structure.latent,
    seed: Annotated[int, option(None, "The same seed gives the same file.", "--seed", "--random-state")] = 0,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Write simulated ratings from 1 to 5 with a known noise floor to a CSV file.

    numpy-neural-mf simulate my_ratings.csv --users 1000 --items 500 --ratings 20000
    """
    simulated = simulate_ratings(users, items, ratings, structure=structure.value, random_state=seed)
    with replacing(output) as temporary:
        simulated.to_frame().write_csv(temporary)
    floor = simulated.noise_floor
    report(
        f"{output}: {simulated}\nNoise floor: no model can expect an RMSE below {floor:.4f}.",
        {"output": str(output), "ratings": len(simulated), "noise_floor": floor},
        as_json,
    )


def download(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Name of a set; without it, the sets are listed.", autocompletion=lambda: list(MOVIELENS)
        ),
    ] = None,
    folder: Annotated[Path, typer.Argument(help="Where to put the folder of the set.")] = Path(),
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Download a MovieLens data set from GroupLens, under its licence.

    An interrupted download resumes when the command is run again.

    numpy-neural-mf download
    numpy-neural-mf download ml-latest-small
    """
    if name is None:
        sets = [
            {"name": name, "ratings": one.n_ratings, "MB": one.megabytes, "licence": one.licence}
            for name, one in MOVIELENS.items()
        ]
        show(pl.DataFrame(sets), as_json, "licence")
        return
    with warnings.catch_warnings(record=True) as changes:
        warnings.simplefilter("always", UserWarning)
        path = _downloaded(name, folder)
    for change in changes:
        remark(str(change.message))
    licence = MOVIELENS[name].licence
    report(
        f"{path}: under the licence in its README: {licence}. Cite {CITATION}\n"
        f"Next: numpy-neural-mf compare {path}",
        {"folder": str(path), "licence": licence, "citation": CITATION},
        as_json,
    )


def _downloaded(name: str, folder: Path) -> Path:
    """The folder of a set, downloaded with a progress bar on a terminal."""
    console = stderr()
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(name, total=None)
            return download_movielens(
                name, folder, on_progress=lambda n, total: bar.update(task, completed=n, total=total)
            )
    except KeyboardInterrupt:
        fail("interrupted: the same command resumes where it stopped", code=130)
