"""Options from a TOML file: numpy-neural-mf COMMAND --settings FILE."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer


def _from_file(context: typer.Context, path: Path | None) -> Path | None:
    """Let the options that the file names have its values for defaults; eager, so before any other option."""
    if path is None:
        return None
    options = {
        flag.lstrip("-").replace("-", "_"): option
        for option in context.command.params
        for flag in option.opts
        if flag.startswith("--") and option.name not in ("settings", "help")
    }
    defaults = {}
    for key, value in _table(path).items():
        option = options.get(key.replace("-", "_"))
        if option is None or option.name is None:
            raise ValueError(
                f"{path}: unknown setting {key!r}; this command has {', '.join(sorted(options))}"
            )
        texts = _texts(path, key, value)
        as_typed = texts if option.multiple or option.nargs == 2 else ",".join(texts)
        try:
            option.process_value(context, as_typed)
        except typer.BadParameter as error:
            raise ValueError(f"{path}: {key}: {error.message.rstrip('.')}, found {value!r}") from error
        defaults[option.name] = as_typed
    context.default_map = defaults
    return path


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected TOML, found: {error}") from error


def _texts(path: Path, key: str, value: Any) -> list[str]:
    """A value, or those of a list, as they would be typed, so that they are read by the same rules."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in values):
        raise ValueError(f"{path}: {key}: expected text, numbers or true or false, found {value!r}")
    return [str(one) for one in values]


Settings = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        is_eager=True,
        callback=_from_file,
        help="TOML with options by their names; what is typed wins.",
    ),
]
