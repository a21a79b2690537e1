"""Ratings to begin with: numpy-neural-mf download, simulate."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ..data import MOVIELENS, download_movielens, simulate_ratings
from ..data.datasets.movielens import CITATION
from ..utils.atomic_io import replacing
from .options import AsJson, Seed
from .output import fail, print_json, remark, show, stderr
from .settings import Settings


class Structure(StrEnum):
    """What there is to learn in simulated ratings."""

    latent = "latent"
    none = "none"


def simulate(
    output: Annotated[Path, typer.Argument(help="The CSV file to write.")] = Path("ratings.csv"),
    users: Annotated[int, typer.Option(help="How many.")] = 5000,
    items: Annotated[int, typer.Option(help="How many.")] = 2000,
    ratings: Annotated[int, typer.Option(help="How many, at most users × items.")] = 200_000,
    structure: Annotated[Structure, typer.Option(help="`none`: only the mean.")] = Structure.latent,
    seed: Seed = 0,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Write simulated ratings, whole numbers from 1 to 5, whose noise floor is known, as a CSV file.

    - `numpy-neural-mf simulate my_ratings.csv --users 1000 --items 500 --ratings 20000`
    """
    simulated = simulate_ratings(users, items, ratings, structure=structure.value, random_state=seed)
    with replacing(output) as temporary:
        simulated.to_frame().write_csv(temporary)
    if as_json:
        print_json({"output": str(output), "ratings": len(simulated), "noise_floor": simulated.noise_floor})
        return
    console = Console()
    console.print(f"{output}: {simulated}", soft_wrap=True, markup=False)
    console.print(f"Noise floor: no model can expect an RMSE below {simulated.noise_floor:.4f}.")


def download(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Of a set; without it the sets are listed.", autocompletion=lambda: list(MOVIELENS)
        ),
    ] = None,
    folder: Annotated[Path, typer.Argument(help="Gets the folder of the set.")] = Path(),
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Bring a MovieLens data set from GroupLens, under its licence.

    A transfer that broke off goes on at the next call, and a set that is there already is not brought again.

    - `numpy-neural-mf download` — which there are, and under which terms
    - `numpy-neural-mf download ml-latest-small`
    """
    if name is None:
        show(_catalogue(), as_json, "licence")
        return
    with warnings.catch_warnings(record=True) as changes:
        warnings.simplefilter("always", UserWarning)
        there = _brought(name, folder)
    for change in changes:
        remark(str(change.message))
    if as_json:
        print_json({"folder": str(there), "licence": MOVIELENS[name].licence, "citation": CITATION})
        return
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(f"{there}: under the licence in its README: {MOVIELENS[name].licence}. Cite {CITATION}")
    console.print(f"Next: numpy-neural-mf compare {there}")


def _brought(name: str, folder: Path) -> Path:
    """The folder of a set, with a bar of bytes and time left on a terminal while it comes."""
    console = stderr()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    try:
        with bar:
            task = bar.add_task(name, total=None)
            return download_movielens(
                name, folder, on_progress=lambda n, total: bar.update(task, completed=n, total=total)
            )
    except KeyboardInterrupt:
        fail("interrupted: the same command goes on where it stopped", code=130)


def _catalogue() -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"name": name, "ratings": one.n_ratings, "MB": one.megabytes, "licence": one.licence}
            for name, one in MOVIELENS.items()
        ]
    )
