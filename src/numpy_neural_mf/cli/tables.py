"""Tables that commands read and write, and ids typed as arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.faults import Faults
from ..data.ids import index_of
from ..data.timestamps import timestamp_seconds
from ..utils.atomic_io import replacing
from .output import remark

if TYPE_CHECKING:
    import polars as pl

    from ..data.tables import Columns

# An integer as files have it: 007 is another id.
INTEGER = re.compile("0|-?[1-9][0-9]*")


def raw_ids(ids: NDArray[Any], texts: list[str]) -> list[Any]:
    """Convert typed ids to those of the model: whole numbers, or unchanged text."""
    is_text = ids.dtype.kind == "U"
    return [text if is_text or not INTEGER.fullmatch(text) else int(text) for text in texts]


def unknown_ids(ids: NDArray[Any], chosen: Iterable[Any] | None, what: str) -> list[str]:
    """Return the chosen ids that the model does not know, and list them in the log."""
    unknown = [str(one) for one in chosen or () if index_of(ids, one) < 0]
    if unknown:
        remark(f"{what}: {', '.join(unknown)}")
    return unknown


def filters(
    ids: NDArray[Any], candidates: list[str] | None, exclude: list[str] | None
) -> dict[str, list[str] | None]:
    """Return candidates and exclusions as arguments of `recommend`; list unknown ids in the log."""
    unknown_ids(ids, [*(candidates or ()), *(exclude or ())], "candidates or exclusions that are unknown")
    return {"candidates": candidates or None, "exclude": exclude}


def roles_of_text(model: Any) -> list[str]:
    """Return the roles whose ids are text in a model, so that files are read alike: 007 is not 7."""
    ids = {"user": model.user_ids_, "item": model.item_ids_}
    return [role for role, known in ids.items() if known.dtype.kind == "U"]


def read_table(path: Path, model: Any, **wanted: str | None) -> Columns:
    """Read a table: its columns of the wanted roles, with ids as the model has them, and all its columns.

    `wanted` maps roles ("user", "item", "rating", "timestamp") to the name of the column, or None for the
    usual names; only the timestamp may be absent.
    """
    import polars as pl

    from ..data.delimited import Text
    from ..data.raw_values import rating_values, whole_or_text
    from ..data.tables import open_table, read_columns

    is_text = [role for role in roles_of_text(model) if role in wanted]
    table = open_table(path)
    columns = read_columns(table, wanted, text_ids=is_text, whole=True)
    roles, frame, faults = dict(columns.roles), dict(columns.frame), Faults()
    if isinstance(table, Text):  # integers become numbers, for Parquet; other columns stay text
        plain = {name: column for name, column in frame.items() if not column.str.contains(r"[ .]").any()}
        numbers = {name: whole_or_text(column) for name, column in plain.items()}
        frame |= {name: column for name, column in numbers.items() if column.dtype == pl.Int64}
    for role, known in (("user", model.user_ids_), ("item", model.item_ids_)):
        if role in wanted and role not in is_text and roles[role].dtype == pl.String:
            roles[role] = raw_ids(known, roles[role].fill_null("").to_list())
    if "timestamp" in roles:
        roles["timestamp"] = timestamp_seconds(roles["timestamp"], faults)
    if "rating" in roles:
        roles["rating"] = rating_values(roles["rating"], None, faults)
    faults.refuse(columns.place)
    return replace(columns, roles=roles, frame=frame)


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write Parquet or CSV, by the suffix."""
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            frame.write_csv(temporary)


def lists_of(
    users: ArrayLike, items: np.ma.MaskedArray[Any, Any], ratings: np.ma.MaskedArray[Any, Any]
) -> pl.DataFrame:
    """Return recommendations of shape (n_users, n) as a table with a row for each non-empty place."""
    import polars as pl

    n = items.shape[1]
    users, ranks = np.repeat(users, n), np.tile(np.arange(1, n + 1), len(items))
    scores = ratings.data.ravel().astype(np.float64).round(2)  # a rounded float64 is printed short
    places = pl.DataFrame({"user": users, "rank": ranks, "item": items.data.ravel(), "rating": scores})
    return places.filter(~np.ma.getmaskarray(items).ravel())


def with_counts(lists: pl.DataFrame, model: Any) -> pl.DataFrame:
    """Add to lists the number of ratings of each item of the column `item`."""
    import polars as pl

    counts = model.fitted_.counts("item")[index_of(model.item_ids_, lists["item"])]
    return lists.with_columns(n_ratings=pl.Series(counts))


def with_titles(frame: pl.DataFrame, model: Any, path: Path | None) -> pl.DataFrame:
    """Add to a table the title of each item of its column `item`, from a file or else from the model."""
    import polars as pl

    from ..data.titles import titles_of

    titles = model.fitted_.titles if path is None else titles_of(path, model.item_ids_)
    if titles is None:
        return frame
    return frame.with_columns(pl.Series("title", [titles.get(item, "") for item in frame["item"]], pl.String))
