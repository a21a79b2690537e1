"""Ratings to begin with: numpy-neural-mf simulate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..data import simulate_ratings
from ..files import replacing
from .options import Seed
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
    settings: Settings = None,
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
