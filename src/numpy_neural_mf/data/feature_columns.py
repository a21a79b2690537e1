"""Encode a column of a data frame as sparse columns of numbers, depending on its type."""

from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from .faults import Faults, RatingsError
from .tables import Columns

# Strings with more than this share of distinct values only identify rows.
NEARLY_ALL = 0.9
# Strings that stand for a missing value.
MISSING = ("", "(no genres listed)")
# The encoding of a column, shape (n, n_columns), and the names of its columns.
Part = tuple[csr_array, list[str]]


def kind_of(series: pl.Series) -> str:
    """Return how to encode a column: a name in `MAKERS`, or "left out"."""
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
    """Return a column of a text file as numbers if all values are numbers, otherwise unchanged."""
    stripped = text.str.strip_chars()
    for kind in (pl.Int64, pl.Float64):
        numbers = stripped.cast(kind, strict=False)
        if numbers.null_count() == text.null_count() < len(text):
            return numbers
    return text


def _indicators(series: pl.Series, name: str, table: Columns, of_many: bool) -> Part:
    """Return a column per distinct value; each of n values of a row (in a list or with "|") has 1/√n."""
    is_list = of_many and isinstance(series.dtype, pl.List | pl.Array)
    values = series if is_list else _as_text(series, name, table)
    cells = pl.DataFrame({"row": np.arange(len(series)), "value": values})
    if of_many:
        cells = (cells if is_list else cells.with_columns(pl.col("value").str.split("|"))).explode("value")
    cells = cells.with_columns(_as_text(cells["value"], name, table).str.strip_chars().alias("value"))
    cells = cells.filter(~pl.col("value").is_in(MISSING)).unique(maintain_order=True)  # null is left out, too
    values = cells["value"].unique().sort()
    rows, columns = cells["row"].to_numpy(), values.search_sorted(cells["value"]).to_numpy()
    n = np.bincount(rows, minlength=len(series))
    weights = (1 / np.sqrt(n[rows])).astype(np.float32)
    X = csr_array((weights, (rows, columns)), shape=(len(series), len(values)))
    return X, [f"{name}={value}" for value in values]


def _standardised(series: pl.Series, name: str, table: Columns) -> Part:
    """Return one column of mean 0 and standard deviation 1, or none if all numbers are equal."""
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


MAKERS: dict[str, Callable[[pl.Series, str, Columns], Part]] = {
    "many_valued": partial(_indicators, of_many=True),
    "categories": partial(_indicators, of_many=False),
    "numbers": _standardised,
}
