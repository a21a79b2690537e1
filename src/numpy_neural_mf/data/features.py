"""Features of users or items, such as genres, as one sparse row for each.

Modules that read tables need polars, so functions import them when they read a table.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..utils.shortened import shortened
from .faults import Faults, RatingsError, listed
from .ids import Ids, check_ids, index_of

if TYPE_CHECKING:
    from .tables import Columns

FeaturesLike = Any  # `Features`, or what `read_features` takes

# The release year at the end of a MovieLens title: "Toy Story (1995)".
YEAR = r"\((\d{4})\)\s*$"
# Names of pandas' row index, also in its Parquet files; it describes no user or item.
INDEX_NAMES = ("", "unnamed: 0", "__index_level_0__")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Features:
    """Features of users or of items, one row for each id; inconsistent parts are a ValueError.

    A model learns a vector for each column; a user or an item is described by the sum of these vectors,
    weighted by its row.

    Attributes
    ----------
    ids : int64 or str array of shape (n,), sorted and unique
        Raw ids, as in `Ratings`.
    matrix : scipy.sparse.csr_array of float32, shape (n, n_columns), finite
    columns, fields : tuples of str, of length n_columns
        The names of the columns, such as "genres=Drama", and the columns of the data frame that they come
        from, such as "genres".
    left_out : tuple of str
        Columns of the data frame that were not encoded, as nearly every row has a different value.
    """

    ids: NDArray[Any]
    matrix: scipy.sparse.csr_array
    columns: tuple[str, ...]
    fields: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_ids("ids", self.ids)
        matrix, n_columns = self.matrix, len(self.columns)
        expected = (len(self.ids), n_columns)
        if matrix.shape != expected or matrix.dtype != np.float32:
            found = f"{matrix.dtype} of shape {matrix.shape}"
            raise ValueError(f"matrix: expected float32 of shape {expected}, found {found}")
        if not np.isfinite(matrix.data).all():
            raise ValueError("matrix: expected finite weights")
        if len(self.fields) != n_columns:
            raise ValueError(f"fields: expected {n_columns}, one for a column, found {len(self.fields)}")

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        id: str | None = None,
        *,
        many_valued: Sequence[str] = (),
        categories: Sequence[str] = (),
        numbers: Sequence[str] = (),
        ignored: Sequence[str] = (),
        source: str = "data frame",
    ) -> Features:
        """Make features from a data frame with one row for each user or item.

        The encoding of a column that is not named in a parameter:

        - *Many-valued*, if it holds lists, tuples or sets, or if a string has a "|": each value is a
          column. Each of n values of a row has the weight 1/√n, so that the row has length 1 (Koren, 2008,
          section 4.1).
        - *Categories*, for other strings and Boolean values: each value is a column, of weight 1.
        - *Numbers*: one column, standardised to mean 0 and standard deviation 1; dates count as numbers.
        - Strings that differ in nearly every row, such as titles, are left out.

        Null, NaN, "" and "(no genres listed)" are missing values: the mean for numbers, otherwise no column.
        A column that is missing or of the wrong type, or an id that is missing or repeated, is a ValueError.

        Parameters
        ----------
        frame : data frame (polars, pandas, or what polars makes one of)
        id : str, optional
            The column of ids; by default the first with a usual name (``movieId``, ``user_id``, ``id``, …),
            otherwise the first. Row numbers that pandas wrote are ignored.
        many_valued, categories, numbers, ignored : sequences of str, columns to encode in this way
        source : str, default "data frame", its name in errors

        Examples
        --------
        >>> films = {"id": [7, 9], "genres": ["Crime|Drama", None], "year": [1995, 1994], "title": ["A", "B"]}
        >>> Features.from_frame(films)
        Features: 2 rows, 3 columns of genres, year; left out: title
        """
        from .tables import frame_of, read_columns

        table = replace(read_columns(frame_of(frame), {}, whole=True), source=source)
        roles = {"many_valued": many_valued, "categories": categories, "numbers": numbers, "ignored": ignored}
        return features_of(table, id, roles)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """All its arrays, for a fingerprint."""
        matrix = self.matrix
        return [self.ids, matrix.data, matrix.indices, matrix.indptr, np.array(self.columns, str)]

    def __repr__(self) -> str:
        text = f"Features: {len(self):,} rows, {len(self.columns):,} columns"
        text += f" of {', '.join(dict.fromkeys(self.fields))}" if self.fields else ""
        return text + (f"; left out: {', '.join(self.left_out)}" if self.left_out else "")

    def ids_with(self, field: str, *values: object) -> NDArray[Any]:
        """Return the sorted raw ids that have any of these values in a field of categories or of many values.

        Another kind of field, or a value that no id has, is a ValueError.

        Examples
        --------
        >>> films = Features.from_frame({"id": [7, 9, 11], "genres": ["Crime|Drama", "Comedy", "Drama"]})
        >>> films.ids_with("genres", "Crime", "Comedy").tolist()
        [7, 9]

        Use them to list only comedies, or no comedies: ``model.recommend(1,
        candidates=films.ids_with("genres", "Comedy"))``, ``model.recommend(1,
        exclude=films.ids_with("genres", "Comedy"))``.
        """
        known = {name: at for at, name in enumerate(self.columns) if self.fields[at] == field != name}
        if missing := [value for value in values if f"{field}={value}" not in known]:
            values_of = [name.removeprefix(f"{field}=") for name in known]
            found = f"{shortened(field)!r} has {shortened(', '.join(values_of)) or 'no such values'}"
            raise ValueError(f"expected a value of a field, found {shortened(str(missing[0]))!r}: {found}")
        of_values = self.matrix[:, [known[f"{field}={value}"] for value in values]]
        return np.asarray(self.ids[np.diff(of_values.tocsr().indptr) > 0])

    def rows_for(self, ids: Ids) -> scipy.sparse.csr_array:
        """Return the rows of raw ids, shape (n_ids, n_columns); an id without features has an empty row."""
        n, matrix, row = len(self.ids), self.matrix, index_of(self.ids, ids)
        with_empty = matrix.data, matrix.indices, np.append(matrix.indptr, matrix.indptr[-1])
        return scipy.sparse.csr_array(with_empty, shape=(n + 1, len(self.columns)))[np.where(row < 0, n, row)]


def read_features(
    source: FeaturesLike,
    id: str | None = None,
    *,
    many_valued: Sequence[str] = (),
    categories: Sequence[str] = (),
    numbers: Sequence[str] = (),
    ignored: Sequence[str] = (),
    text_ids: bool = False,
) -> Features:
    """Read features from a file or a data frame: `Features.from_frame` explains the columns.

    If titles end in a year, as "Toy Story (1995)" in MovieLens' ``movies.csv``, "year" is a category as well.

    Parameters
    ----------
    source : path, or data frame (polars, pandas, Arrow, or a mapping of columns)
        The path of a text file with a header, of a Parquet or Feather file, or of the folder of a MovieLens
        set with ``movies.csv``.
    id, many_valued, categories, numbers, ignored
        As in `Features.from_frame`.
    text_ids : bool, default False, whether to keep ids as strings, as in the ratings, even if all are whole

    Raises
    ------
    RatingsError
        The file is not a table, or its columns are of the wrong type; the message names the line.
    TypeError
        The source is neither a path nor a data frame.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> read_features("ml-latest-small/movies.csv")  # doctest: +SKIP
    Features: 9,125 rows, 123 columns of genres, year; left out: title
    """
    import polars as pl

    from .delimited import Text
    from .feature_columns import typed
    from .raw_values import as_series, as_text, whole_or_text
    from .tables import open_table, path_of, read_columns

    if isinstance(source, str | os.PathLike):
        path = path_of(source)
        source = path / "movies.csv" if path.is_dir() else path
    table = open_table(source, header=True)
    columns = read_columns(table, {}, whole=True)
    id = id_column(columns.frame) if id is None else id
    frame = dict(columns.frame)
    if isinstance(table, Text):
        frame = {name: whole_or_text(one) if name == id else typed(one) for name, one in frame.items()}
    if text_ids and id in frame:
        frame[id] = as_text(as_series(columns.frame[id])).str.strip_chars()
    title = as_series(frame.get("title", ()))
    if title.dtype == pl.String and "year" not in frame:
        year = title.str.extract(YEAR)
        if year.null_count() < len(year) / 2:
            frame["year"], categories = year, ["year", *categories]
    roles = {"many_valued": many_valued, "categories": categories, "numbers": numbers, "ignored": ignored}
    return features_of(replace(columns, frame=frame), id, roles)


def as_features(source: FeaturesLike, ids: NDArray[Any]) -> Features:
    """Return features unchanged, or read them; their ids are strings if `ids` are."""
    is_text = ids.dtype.kind == "U"
    return source if isinstance(source, Features) else read_features(source, text_ids=is_text)


def features_of(table: Columns, id: str | None, roles: Mapping[str, Sequence[str]]) -> Features:
    """Encode all columns of a table as features; `Features.from_frame` explains the encoding."""
    from .feature_columns import MAKERS, kind_of
    from .raw_values import as_series

    frame = dict(table.frame)
    id = id_column(frame) if id is None else id
    kinds = {name: kind for kind, names in roles.items() for name in names}
    for name in (id, *kinds):
        if name not in frame:
            asked = f"expected a column {shortened(name)!r}"
            raise RatingsError(f"{table.source}: {asked}, found {listed(frame)}")
    if len({len(column) for column in frame.values()}) > 1:
        lengths = ", ".join(str(len(column)) for column in frame.values())
        raise RatingsError(f"{table.source}: expected columns of one length, found {lengths}")
    ids, rows = _ids(frame.pop(id), id, table)
    parts, fields, columns, left_out = [scipy.sparse.csr_array((len(ids), 0), dtype=np.float32)], [], [], []
    for name, column in frame.items():
        series = as_series(column)
        kind = kinds.get(name) or ("ignored" if name.lower() in INDEX_NAMES else kind_of(series))
        if kind == "left out":
            left_out.append(name)
        elif kind != "ignored":
            part, names = MAKERS[kind](series, name, table)
            parts.append(part)
            columns += names
            fields += [name] * len(names)
    matrix = scipy.sparse.csr_array(scipy.sparse.hstack(parts, format="csr")[np.argsort(rows)])
    return Features(ids, matrix, tuple(columns), tuple(fields), tuple(left_out))


def id_column(names: Iterable[str]) -> str:
    """Return the column of ids: the first with a usual name, such as movieId, otherwise the first."""
    from .tables import NAMES, named_as

    names = [name for name in names if name.lower() not in INDEX_NAMES]
    usual = named_as(names, ("id", *NAMES["user"], *NAMES["item"]))
    return next((name for name in names if name in usual), names[0] if names else "")


def _ids(raw: Any, name: str, table: Columns) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return sorted ids, and the position of each row of the table among them."""
    from .raw_values import as_id_series, coded_ids

    if not len(raw):
        raise RatingsError(f"{table.source}: expected at least one row, found none")
    expected, faults = f"an id in column {shortened(name)!r}", Faults()
    series = as_id_series(raw, expected, faults)
    ids, rows = coded_ids(series, expected, faults)
    if not faults.found:
        faults.add(~series.is_first_distinct(), series, "each id once")
    faults.refuse(table.place)
    return ids, rows
