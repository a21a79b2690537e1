"""Titles of items, by their raw ids: from a mapping, a data frame or a file."""

import os
from collections.abc import Mapping
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ids import as_ids, of_kind
from .limits import MAX_TITLE

# Files of titles in the folders of data sets.
TITLES_FILES = ("movies.csv", "books.csv")
Titles = Mapping[Any, str]  # by raw ids, integers or strings as those of the ratings


def titles_of(source: Any, item_ids: NDArray[Any]) -> dict[Any, str]:
    """Return the titles of a source (see `Ratings.with_titles`) by ids of the same kind as the known ids."""
    if isinstance(source, Mapping) and all(isinstance(title, str | None) for title in source.values()):
        raw, titles = list(source), list(source.values())
    else:
        raw, titles = _columns(source)
    usable, ids = of_kind(item_ids, as_ids(raw))
    cleaned = map(_one_line, compress(titles, usable))
    return {id: title for id, title in zip(ids.tolist(), cleaned, strict=True) if title}


def aligned(titles: Titles | None, ids: NDArray[Any]) -> NDArray[Any] | None:
    """Return the title of each id, an array of str, "" for ids without one; None if there are no titles."""
    return None if titles is None else np.array([titles.get(id, "") for id in ids.tolist()], object)


def _columns(source: Any) -> tuple[list[Any], list[Any]]:
    """Return ids and titles of a table, whose columns have usual names."""
    from .raw_values import as_series, as_text
    from .tables import NAMES, named_as, open_table, path_of, read_columns

    if isinstance(source, str | os.PathLike):
        source = path_of(source)
        source = titles_file(source) or source / TITLES_FILES[0] if source.is_dir() else source
    table = open_table(source, header=True)
    names = table.names()
    wanted = {"item": "id" if "id" in names and not named_as(names, NAMES["item"]) else None, "title": None}
    roles = read_columns(table, wanted, text_ids=True).roles
    return list(roles["item"]), list(as_text(as_series(roles["title"])))


def titles_file(folder: Path) -> Path | None:
    """Return the file of titles in the folder of a data set, if there is one."""
    return next((folder / name for name in TITLES_FILES if (folder / name).is_file()), None)


def _one_line(title: str | None) -> str:
    """Return a title without line breaks and lone surrogates, truncated if it is too long."""
    return " ".join((title or "").split()).encode(errors="replace").decode()[:MAX_TITLE]
