"""Arguments and options that several commands share, each declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..mf.architecture import ARCHITECTURES, Architecture

# Panels of the help.
MODEL, TRAINING, HARDWARE, INPUT = "Model", "Training", "Hardware", "Columns of the ratings"


def option(panel: str | None, help: str, *flags: str, **more: Any) -> Any:
    """An option in a panel of the help; None for the first panel."""
    return typer.Option(*flags, help=help, rich_help_panel=panel, **more)


def switch(panel: str | None, help: str, *flags: str) -> Any:
    """An option that is on or off."""
    return option(panel, help, *flags, metavar="")


def one_of(panel: str | None, names: Iterable[str], help: str) -> Any:
    """An option that is one of some names, which the help lists and the shell completes."""
    known = list(names)
    text = f"{help}: {', '.join(known)}."
    return option(panel, text, metavar="NAME", autocompletion=lambda: known)


def defaults_of(model: Callable[..., Any]) -> dict[str, Any]:
    """The settings of a model with their defaults, so that the command line has no defaults of its own."""
    parameters = inspect.signature(model).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is not one.VAR_KEYWORD}


def architecture_named(name: str) -> Architecture:
    """One of `ARCHITECTURES`, or a ValueError that lists them."""
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, not {name!r}")
    return ARCHITECTURES[name]


RatingsFile = Annotated[Path, typer.Argument(help="CSV, TSV, ratings.dat, u.data or Parquet.")]
ModelFile = Annotated[Path, typer.Argument(help="A model that train wrote.")]
NewModelFile = Annotated[Path, typer.Argument(help="The file to write.", dir_okay=False)]
ColumnName = Annotated[str | None, option(INPUT, "Name of this column, if unusual.", metavar="NAME")]
Scale = Annotated[
    tuple[float, float] | None,
    option(INPUT, "Rating scale; by default found.", "--scale", "--rating-scale", metavar="LOW HIGH"),
]
Cache = Annotated[bool, switch(INPUT, "Keep parsed columns next to a file above 100 MB.")]
FeaturesFile = Annotated[
    Path | None, option(INPUT, "CSV or Parquet with an id first, as movies.csv.", metavar="FILE")
]
Number = Annotated[int, option(None, "Length of the list.", "--number", "-n")]
Titles = Annotated[
    Path | None, option(None, "CSV with an id first and a column title, as movies.csv.", metavar="FILE")
]
MinRatings = Annotated[int, option(None, "Leave out items with fewer ratings.", min=0)]
Seed = Annotated[int, option(TRAINING, "The same seed gives the same result.", "--seed", "--random-state")]
Report = Annotated[
    Path | None, option(None, "Write the results as one HTML page.", metavar="FILE", dir_okay=False)
]
AsJson = Annotated[bool, switch(None, "Print JSON.", "--json")]
