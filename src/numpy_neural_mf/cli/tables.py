"""Tables that commands read and write, and ids as they are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from ..data.columns import Faults, timestamp_seconds
from ..data.readers import chosen_columns
from ..utils.atomic_io import replacing


def raw_ids(ids: NDArray[Any], texts: list[str]) -> list[Any]:
    """Ids that were typed as the model has them: whole numbers, or text as it is."""
    is_text = ids.dtype.kind == "U"
    return [text if is_text or not text.lstrip("-").isdigit() else int(text) for text in texts]


def read_table(
    path: Path, ids: dict[str, NDArray[Any]], **wanted: str | None
) -> tuple[pl.DataFrame, list[str]]:
    """A CSV or Parquet file, and its columns of the roles that are wanted.

    Parameters
    ----------
    path : path
    ids : dict of str to array
        Role to the ids that its column holds: those of a model that has text keep their leading zeros.
    **wanted : str or None
        Role ("user", "item", "rating", "timestamp") to the name of its column, or None for the usual ones.
        Only a timestamp may be absent.
    """
    try:
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
            columns = chosen_columns(frame.columns, wanted, path.name)
        else:
            columns = chosen_columns(pl.read_csv(path, n_rows=0).columns, wanted, path.name)
            as_text = {columns[role]: pl.String for role, known in ids.items() if known.dtype.kind == "U"}
            frame = pl.read_csv(path, schema_overrides=as_text)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path}: expected a table, found: {str(error).partition(chr(10))[0]}") from error
    return frame, [columns[role] for role in wanted if role in columns]


def seconds(column: pl.Series, path: Path) -> NDArray[np.int64]:
    """The timestamps of a table as those of ratings are read."""
    faults = Faults()
    found = timestamp_seconds(column, faults)
    if faults.found:
        row, fault = faults.first()
        raise ValueError(f"{path}, row {row + 1}: {fault}")
    return found


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Parquet or CSV, by the suffix."""
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            frame.write_csv(temporary)


def lists_of(
    users: ArrayLike, items: np.ma.MaskedArray[Any, Any], ratings: np.ma.MaskedArray[Any, Any]
) -> pl.DataFrame:
    """Recommendations of shape (n_users, n) as one row for each place, without the empty ones."""
    n = items.shape[1]
    places = pl.DataFrame(
        {
            "user": np.repeat(users, n),
            "rank": np.tile(np.arange(1, n + 1), len(items)),
            "item": items.data.ravel(),
            "rating": rounded(ratings.data.ravel(), 2),
        }
    )
    return places.filter(~np.ma.getmaskarray(items).ravel())


def rounded(numbers: NDArray[np.floating[Any]], digits: int) -> NDArray[np.float64]:
    """As float64 first, in which a rounded number is written short."""
    return numbers.astype(np.float64).round(digits)


def with_titles(frame: pl.DataFrame, path: Path | None) -> pl.DataFrame:
    """The table with the title of each item of its column `item`, if there is a file of them."""
    if path is None:
        return frame
    try:
        titles = pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path}: expected a table, found: {str(error).partition(chr(10))[0]}") from error
    if "title" not in titles.columns:
        raise ValueError(f"{path}: expected a column 'title', found {', '.join(titles.columns)}")
    known = dict(zip(titles[:, 0], titles["title"], strict=True))
    title = [known.get(str(item)) or "" for item in frame["item"]]
    return frame.with_columns(pl.Series("title", title, pl.String))
