"""Download or simulate ratings: numpy-neural-mf download, simulate."""

import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from typer import Argument

from ..data import DATASETS, download_dataset, simulate_ratings
from ..utils.atomic_io import replacing
from .options import AsJson, Settings, option
from .output import fail, remark, report, show, stderr

SET = Argument(help="Name of a data set; by default, list all.", autocompletion=lambda: list(DATASETS))
Structure = StrEnum("Structure", ["latent", "none"])
STRUCTURE = option(None, "With none, models can learn only the mean.")

SEED = option(None, "The same seed gives the same file.", "--seed", "--random-state", min=0)


def simulate(
    output: Annotated[Path, Argument(help="The CSV file to write.")] = Path("ratings.csv"),
    users: Annotated[int, option(None, "Number of users.")] = 5000,
    items: Annotated[int, option(None, "Number of items.")] = 2000,
    ratings: Annotated[int, option(None, "Number of ratings, at most users × items.")] = 200_000,
    structure: Annotated[Structure, STRUCTURE] = Structure.latent,
    seed: Annotated[int, SEED] = 0,
    as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Write simulated ratings from 1 to 5 with a known noise floor to a CSV file.

    numpy-neural-mf simulate my_ratings.csv --users 1000 --items 500 --ratings 20000
    """
    simulated = simulate_ratings(users, items, ratings, structure=structure.value, random_state=seed)
    with replacing(output) as temporary:
        simulated.to_polars().write_csv(temporary)
    floor = simulated.noise_floor
    text = f"{output}: {simulated}\nNoise floor: no model can expect an RMSE below {floor:.4f}."
    report(text, {"output": str(output), "ratings": len(simulated), "noise_floor": floor}, as_json)


def download(
    name: Annotated[str | None, SET] = None,
    folder: Annotated[Path, Argument(help="Parent of the data set's folder.")] = Path(),
    as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Download a data set from its public address, under its licence.

    An interrupted download resumes when the command is run again.

    numpy-neural-mf download
    numpy-neural-mf download ml-latest-small
    numpy-neural-mf download goodbooks-10k
    """
    if name is None:
        import polars as pl

        sets = [(name, one.n_ratings, one.megabytes, one.licence) for name, one in DATASETS.items()]
        show(pl.DataFrame(sets, ["name", "ratings", "MB", "licence"], orient="row"), as_json, "licence")
        return
    path = downloaded(name, folder)
    dataset = DATASETS[name]
    text = f"{path}: licence: {dataset.licence}. Citation: {dataset.citation}\n"
    facts = {"folder": str(path), "licence": dataset.licence, "citation": dataset.citation}
    report(f"{text}Next: numpy-neural-mf compare {path}", facts, as_json)


def downloaded(name: str, folder: Path) -> Path:
    """Download a data set with a progress bar; return its folder. Errors are those of `download_dataset`."""
    console = stderr()
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(name, total=None)
    try:
        with warnings.catch_warnings(record=True) as notes, bar:
            warnings.simplefilter("always", UserWarning)
            path = download_dataset(
                name, folder, on_progress=lambda n, total: bar.update(task, completed=n, total=total)
            )
    except KeyboardInterrupt:
        fail("interrupted: the same command resumes where it stopped", code=130)
    for note in notes:
        remark(str(note.message))
    return path
