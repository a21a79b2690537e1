"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..mf.architecture import ARCHITECTURES, Architecture


def one_of(names: Iterable[str], help: str, *flags: str) -> Any:
    """An option that is one of some names, which are told and completed."""
    known = list(names)
    return typer.Option(
        *flags, metavar="NAME", help=f"{help}: {', '.join(known)}.", autocompletion=lambda: known
    )


def architecture_named(name: str) -> Architecture:
    """One of `ARCHITECTURES`; a ValueError that tells all of them otherwise."""
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, not {name!r}")
    return ARCHITECTURES[name]


RatingsFile = Annotated[Path, typer.Argument(help="CSV, TSV, `ratings.dat`, `u.data` or Parquet.")]
ModelFile = Annotated[Path, typer.Argument(help="A model that `train` wrote.")]
ColumnName = Annotated[str | None, typer.Option(metavar="NAME", help="Its column, if not a usual name.")]
Scale = Annotated[
    tuple[float, float] | None,
    typer.Option("--scale", "--rating-scale", metavar="LOWEST HIGHEST", help="Found, if not given."),
]
Number = Annotated[int, typer.Option("--number", "-n", help="How many.")]
Titles = Annotated[
    Path | None, typer.Option(help="CSV with an id first and a column `title`, as `movies.csv`.")
]
MinRatings = Annotated[int, typer.Option(min=0, help="Leave out items with fewer ratings.")]
Seed = Annotated[int, typer.Option("--seed", "--random-state", help="The same seed, the same result.")]
Report = Annotated[
    Path | None,
    typer.Option(metavar="FILE", dir_okay=False, help="Write a page that one can send, as HTML."),
]
FeaturesFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="CSV or Parquet with an id first, as `movies.csv`.")
]
Cache = Annotated[
    bool, typer.Option(help="Keep columns beside a file above 100 MB, to read it at once again.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
