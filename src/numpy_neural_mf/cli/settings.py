"""Options from a TOML file: numpy-neural-mf COMMAND --settings FILE."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import option


def _from_file(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of the file the defaults of the command's options, each checked as if it were typed."""
    if path is None:
        return None
    options = {
        flag.lstrip("-").replace("-", "_"): one
        for one in context.command.params
        for flag in one.opts
        if flag.startswith("--") and one.name not in ("settings", "help")
    }
    defaults: dict[str, Any] = {}
    for key, value in _table(path).items():
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
        defaults[str(one.name)] = as_typed
    context.default_map = defaults
    return path


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected TOML, found: {error}") from error


Settings = Annotated[
    Path | None,
    option(
        None, "TOML file of options; typed options win.", metavar="FILE", is_eager=True, callback=_from_file
    ),
]
