"""Arguments and options that several commands share, and options from a TOML file."""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument

from ..models.neural_mf_settings import DEVICES, PRECISIONS
from ..models.recommend import BOUNDS
from ..training.engines import ENGINE_NAMES
from ..utils.settings import MAX_SIZE

# Panels of the help.
MODEL, TRAINING, HARDWARE, INPUT = "Model", "Training", "Hardware", "Columns of the ratings"


def option(panel: str | None, help: str, *flags: str, **more: Any) -> Any:
    """Declare an option in a panel of the help; None is the first panel."""
    return typer.Option(*flags, help=help, rich_help_panel=panel, **more)


def switch(panel: str | None, help: str, *flags: str) -> Any:
    """Declare an option that is on or off."""
    return option(panel, help, *flags, metavar="")


def one_of(panel: str | None, names: Iterable[str], help: str) -> Any:
    """Declare an option whose value is one of some names; the help lists and the shell completes them."""
    known = list(names)
    return option(panel, f"{help}: {', '.join(known)}.", metavar="NAME", autocompletion=lambda: known)


def defaults_of(model: Callable[..., Any]) -> dict[str, Any]:
    """Return the defaults of a model's settings, so that the command line has no defaults of its own."""
    parameters = inspect.signature(model).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is not one.VAR_KEYWORD}


def _from_file(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of the file the defaults of the command's options; check each as if it were typed."""
    if path is None:
        return None
    import tomllib

    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected TOML, found: {error}") from error
    known = [one for one in context.command.params if one.name not in ("settings", "help")]
    flags = {flag: one for one in known for flag in one.opts if flag.startswith("--")}
    options = {flag.removeprefix("--").replace("-", "_"): one for flag, one in flags.items()}
    context.default_map = {}
    for key, value in given.items():
        one = options.get(key.replace("-", "_"))
        if one is None:
            names = sorted(name for name, other in options.items() if not getattr(other, "hidden", False))
            raise ValueError(f"{path}: unknown setting {key!r}; this command has {', '.join(names)}")
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(part, str | int | float) for part in values):
            raise ValueError(f"{path}: {key}: expected text, numbers or true or false, found {value!r}")
        texts = [str(part) for part in values]
        as_typed = texts if one.multiple or one.nargs == 2 else ",".join(texts)
        try:
            one.process_value(context, as_typed)
        except typer.BadParameter as error:
            raise ValueError(f"{path}: {key}: {error.message.rstrip('.')}, found {value!r}") from error
        context.default_map[str(one.name)] = as_typed
    return path


FILE: dict[str, Any] = {"metavar": "FILE"}
TOML = option(None, "TOML file of options; typed options win.", is_eager=True, callback=_from_file, **FILE)
SCALE = option(INPUT, "Rating scale; by default found.", "--scale", "--rating-scale", metavar="LOW HIGH")

# Files that a command reads and writes.
RatingsFile = Annotated[Path, Argument(help="CSV, TSV, ratings.dat, u.data or Parquet.")]
ModelFile = Annotated[Path, Argument(help="A model that train wrote.")]
NewModelFile = Annotated[Path, Argument(help="The file to write.", dir_okay=False)]
Report = Annotated[Path | None, option(None, "Write the results as one HTML page.", dir_okay=False, **FILE)]
AsJson = Annotated[bool, switch(None, "Print JSON.", "--json")]
Settings = Annotated[Path | None, TOML]

# Reading of the ratings.
ColumnName = Annotated[str | None, option(INPUT, "Name of this column, if unusual.", metavar="NAME")]
Scale = Annotated[tuple[float, float] | None, SCALE]
Cache = Annotated[bool, switch(INPUT, "Keep parsed columns next to a file above 100 MB.")]
FEATURES = option(INPUT, "CSV or Parquet with an id first, as movies.csv.", **FILE)
FeaturesFile = Annotated[Path | None, FEATURES]

# Lists.
Number = Annotated[int, option(None, "Length of the list.", "--number", "-n", min=1, max=MAX_SIZE)]
TITLES = option(None, "CSV with an id first and a column title, as movies.csv.", **FILE)
Titles = Annotated[Path | None, TITLES]
By = Annotated[str, one_of(None, BOUNDS, "Bound of the rating to rank by")]
MinRatings = Annotated[int, option(None, "Leave out items with fewer ratings.", min=0)]
CANDIDATES = option(None, "List only this raw id; may be repeated.", "--candidates", metavar="ID")
EXCLUDE = option(None, "Leave out this raw id; may be repeated.", "--exclude", metavar="ID")
Candidates = Annotated[list[str] | None, CANDIDATES]
Exclude = Annotated[list[str] | None, EXCLUDE]

# Training of a model.
SEED = option(TRAINING, "The same seed gives the same result.", "--seed", "--random-state", min=0)
Seed = Annotated[int, SEED]
Engine = Annotated[str, one_of(HARDWARE, ENGINE_NAMES, "Engine that trains")]
Device = Annotated[str, one_of(HARDWARE, DEVICES, "With engine torch")]
Precision = Annotated[str, one_of(HARDWARE, PRECISIONS, "With engine torch")]
