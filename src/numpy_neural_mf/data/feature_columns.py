"""A column of a data frame becomes sparse columns of numbers, by what it holds."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from .faults import Faults, RatingsError
from .tables import Columns

# Strings of which more than this share are distinct tell rows apart, and say no more.
NEARLY_ALL = 0.9
# Strings that say that there is nothing to say.
MISSING = ("", "(no genres listed)")
# What a column says of each row, shape (n, n_columns), and the names of its columns.
Part = tuple[csr_array, list[str]]


def kind_of(series: pl.Series) -> str:
    """What to make of a column: a name in `MAKERS`, or "left out"."""
    if isinstance(series.dtype, pl.List | pl.Array):
        return "many_valued"
    if series.dtype.is_numeric() or series.dtype.is_temporal():
        return "numbers"
    if series.dtype != pl.String:
        return "categories"
    if series.str.contains("|", literal=True).any():
        return "many_valued"
    known = series.drop_nulls()
    return "left out" if known.n_unique() > max(NEARLY_ALL * len(known), 1) else "categories"


def typed(text: pl.Series) -> pl.Series:
    """A column of a text file as numbers, if all are, otherwise as it is."""
    stripped = text.str.strip_chars()
    for kind in (pl.Int64, pl.Float64):
        numbers = stripped.cast(kind, strict=False)
        if numbers.null_count() == text.null_count() < len(text):
            return numbers
    return text


def _one_of_each(series: pl.Series, name: str, table: Columns) -> Part:
    """A column for each distinct value."""
    values = [[value] for value in _as_text(series, name, table)]
    return _many_of_each(pl.Series(values, dtype=pl.List(pl.String)), name, table)


def _many_of_each(series: pl.Series, name: str, table: Columns) -> Part:
    """A column for each distinct value of lists, or of strings with "|" between; of n in a row 1/√n each."""
    if not isinstance(series.dtype, pl.List | pl.Array):
        series = _as_text(series, name, table).str.split("|")
    cells = pl.DataFrame({"row": np.arange(len(series)), "value": series}).explode("value")
    cells = cells.with_columns(_as_text(cells["value"], name, table).str.strip_chars().alias("value"))
    cells = cells.filter(~pl.col("value").is_in(MISSING)).unique(maintain_order=True)  # null is left out, too
    values = cells["value"].unique().sort()
    rows, columns = cells["row"].to_numpy(), values.search_sorted(cells["value"]).to_numpy()
    n = np.bincount(rows, minlength=len(series))
    weights = (1 / np.sqrt(n[rows])).astype(np.float32)
    X = csr_array((weights, (rows, columns)), shape=(len(series), len(values)))
    return X, [f"{name}={value}" for value in values]


def _standardised(series: pl.Series, name: str, table: Columns) -> Part:
    """One column of mean 0 and standard deviation 1, or none where all numbers are the same."""
    numbers, faults = series.to_physical().cast(pl.Float64, strict=False), Faults()
    is_wrong = numbers.is_null() & series.is_not_null() | numbers.is_infinite()
    faults.add(is_wrong, series, f"a finite number as {name}")
    faults.refuse(table.place)
    x = numbers.fill_null(np.nan).to_numpy()
    is_known = ~np.isnan(x)
    deviation = x[is_known].std() if is_known.any() else 0.0
    if not deviation > 0:
        return csr_array((len(x), 0), dtype=np.float32), []
    z = np.where(is_known, (x - x[is_known].mean()) / deviation, 0)
    return csr_array(z[:, None].astype(np.float32)), [name]


def _as_text(series: pl.Series, name: str, table: Columns) -> pl.Series:
    try:
        return series.cast(pl.String)
    except pl.exceptions.PolarsError:
        found = f"expected text in column {name!r}, found {series.dtype}"
        raise RatingsError(f"{table.source}: {found}") from None


MAKERS = {"many_valued": _many_of_each, "categories": _one_of_each, "numbers": _standardised}
