"""Ratings as columns: user, item, value and, if known, time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .columns import among, occurring, taken
from .features import Features, FeaturesLike, as_features
from .ids import check_ids
from .limits import MAX_RATING, MIN_RANGE
from .timestamps import LATEST
from .titles import Titles, titles_of

if TYPE_CHECKING:
    import polars as pl

Anywhere = Callable[[NDArray[np.bool_]], NDArray[np.bool_]]

COLUMNS: dict[str, type] = {
    "users": np.int32, "items": np.int32, "values": np.float32,
    "timestamps": np.int64, "noise_variance": np.float32, "expected": np.float32,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ratings:
    """Ratings of items by users, one per row; a column of wrong length, dtype or range is a ValueError.

    Attributes
    ----------
    users, items : int32 arrays of shape (n,), index of each rating's user in `user_ids`, item in `item_ids`
    values : float32 array of shape (n,), the ratings: finite, within `scale`
    user_ids, item_ids : int64 or str arrays, sorted and unique raw ids; an id may have no rating
    scale : (float, float), the lowest and the highest possible rating
    timestamps : int64 array of shape (n,), optional, seconds since 1970, or other numbers up to that size
    noise_variance, expected : float32 arrays of shape (n,), optional
        Variance and mean (the Bayes-optimal prediction) of each simulated rating given its user and item.
    n_dropped : int, default 0, number of ratings dropped because the user rated the item again later
    user_features, item_features : Features, optional, see `with_features`; parts keep those of the whole
    titles : mapping of raw item id to str, optional, see `with_titles`; parts keep those of the whole
    scale_is_guessed : bool, default False, whether `scale` was chosen from the ratings, not given
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    values: NDArray[np.float32]
    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    scale: tuple[float, float]
    timestamps: NDArray[np.int64] | None = None
    noise_variance: NDArray[np.float32] | None = None
    expected: NDArray[np.float32] | None = None
    n_dropped: int = 0
    user_features: Features | None = None
    item_features: Features | None = None
    scale_is_guessed: bool = False
    titles: Titles | None = None

    def __post_init__(self) -> None:
        n = len(self.users)
        for name, dtype in COLUMNS.items():
            column = getattr(self, name)
            if column is None and name not in ("users", "items", "values"):
                continue
            if not isinstance(column, np.ndarray) or column.dtype != dtype or column.shape != (n,):
                is_array = isinstance(column, np.ndarray)
                found = f"{column.dtype} of shape {column.shape}" if is_array else type(column)
                raise ValueError(f"{name}: expected a {np.dtype(dtype)} array of shape ({n},), found {found}")
        for side in ("user", "item"):
            ids, features = getattr(self, f"{side}_ids"), getattr(self, f"{side}_features")
            check_ids(f"{side}_ids", ids)
            indices = getattr(self, f"{side}s")
            if n and not 0 <= indices.min() <= indices.max() < len(ids):
                found = f"{indices.min()} to {indices.max()}"
                raise ValueError(f"{side}s: expected indices from 0 to {len(ids) - 1}, found {found}")
            if features is not None and features.ids.dtype.kind != ids.dtype.kind:
                kinds = {"i": "integers", "U": "strings"}
                expected = f"expected ids that are {kinds[ids.dtype.kind]}, as those rated"
                raise ValueError(f"{side}_features: {expected}, found {kinds[features.ids.dtype.kind]}")
        lowest, highest = map(np.float32, check_scale(self.scale))
        # A NaN fails the comparison, so this check covers finite values as well.
        if n and not (lowest <= self.values.min() and self.values.max() <= highest):
            raise ValueError(f"values: expected finite ratings within the scale {self.scale}")
        times = self.timestamps
        if times is not None and n and not -LATEST < times.min() <= times.max() < LATEST:
            found = f"{times.min()} to {times.max()}"
            raise ValueError(f"timestamps: expected seconds since 1970 (see as_timestamps), found {found}")

    @classmethod
    def from_columns(
        cls,
        users: Any,
        items: Any,
        values: Any,
        timestamps: Any = None,
        scale: tuple[float, float] | None = None,
        source: str = "ratings",
    ) -> Ratings:
        """Make ratings from columns of raw ids, numbers and, optionally, times.

        If a user rated an item more than once, the last rating counts: the one with the highest timestamp,
        or, with equal or no timestamps, the one furthest down. The remaining rows keep their order. Integers
        beyond 64 bits become strings. An empty table, or a missing or invalid value, is a RatingsError that
        names the row, from 1. If most rows are dropped, a UserWarning says so.

        Parameters
        ----------
        users, items : array-likes of shape (n,), raw ids: integers, or strings of at most 256 characters
        values : array-like of shape (n,), ratings, finite numbers
        timestamps : array-like of shape (n,), optional
            Numbers, dates or ISO 8601 text: see `numpy_neural_mf.data.timestamps.as_timestamps`.
        scale : (float, float), optional, lowest and highest possible rating; by default the first common one
            (`numpy_neural_mf.data.raw_values.KNOWN_SCALES`) that holds every rating, otherwise their range.
        source : str, default "ratings", the name of these ratings in errors
        """
        from .from_columns import ratings_from, warn_of_dropped  # they import Ratings

        columns = {"user": users, "item": items, "rating": values}
        if timestamps is not None:
            columns["timestamp"] = timestamps
        ratings = ratings_from(columns, scale, source, lambda row: f"{source}, row {row + 1}")
        return warn_of_dropped(ratings)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        text = f"Ratings: {len(self):,} ratings of {self.n_items:,} items by {self.n_users:,} users"
        text += f", {self.scale[0]:g} to {self.scale[1]:g}"
        if not len(self):
            return text
        density = len(self) / (self.n_users * self.n_items)
        return f"{text}, mean {self.mean:.2f}, density {100 * density:.3g} %"

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def mean(self) -> float:
        """Mean rating, NaN without ratings."""
        return float(self.values.mean(dtype=np.float64)) if len(self) else float("nan")

    @property
    def noise_floor(self) -> float | None:
        """RMSE of the Bayes-optimal predictor, the conditional mean: sqrt(mean(noise_variance)), if known."""
        if self.noise_variance is None or not len(self):
            return None
        return float(np.sqrt(self.noise_variance.mean(dtype=np.float64)))

    @property
    def raw_users(self) -> NDArray[Any]:
        """Raw user id of each row, shape (n,)."""
        return np.asarray(self.user_ids[self.users])

    @property
    def raw_items(self) -> NDArray[Any]:
        """Raw item id of each row, shape (n,)."""
        return np.asarray(self.item_ids[self.items])

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """All arrays that a model learns from, except the times, for a fingerprint."""
        own: list[NDArray[Any]] = [self.users, self.items, self.values, self.user_ids, self.item_ids]
        features = (self.user_features, self.item_features)
        return own + [array for one in features if one is not None for array in one.arrays]

    def __getitem__(self, rows: slice | ArrayLike) -> Ratings:
        """Return some of the ratings, with the ids and scale of the whole; other indices are an IndexError.

        Parameters
        ----------
        rows : slice, bool array-like of shape (n,), or array-like of integers, in their order

        Examples
        --------
        >>> from numpy_neural_mf import Ratings
        >>> ratings = Ratings.from_columns(["ann", "bob"], [7, 9], [4.0, 2.0])
        >>> len(ratings[:1]), ratings[ratings.values < 3].raw_users.tolist()
        (1, ['bob'])
        """
        if isinstance(rows, slice):
            return replace(self.part(rows), n_dropped=0)
        rows = np.asarray(rows)
        is_mask = rows.dtype == bool and rows.shape == (len(self),)
        if not (is_mask or (rows.ndim == 1 and (rows.dtype.kind in "iu" or not rows.size))):
            expected = f"expected a slice, a mask of shape ({len(self)},) or integers of shape (n,)"
            raise IndexError(f"{expected}, found {rows.dtype} of shape {rows.shape}")
        return self.take(rows)

    def head(self, n: int = 5) -> pl.DataFrame:
        """Return the first n ratings as a polars data frame: see `to_polars`."""
        return self[:n].to_polars()

    def take(self, rows: ArrayLike) -> Ratings:
        """Return the ratings at `rows` (indices, or a mask of shape (n,)), with all ids and the scale."""
        rows = np.asarray(rows)
        rows = rows.astype(np.intp) if rows.size == 0 else rows
        return replace(self, n_dropped=0, **self._columns(lambda column: taken(column, rows)))

    def part(self, rows: slice) -> Ratings:
        """Return the ratings of a range of rows, with the ids and scale of the whole, without copying."""
        return replace(self, **self._columns(lambda column: column[rows]))

    def _columns(self, of: Callable[[NDArray[Any]], NDArray[Any]]) -> dict[str, Any]:
        """Return ``of(column)`` by name, for each column that is not None."""
        return {name: of(column) for name in COLUMNS if (column := getattr(self, name)) is not None}

    def with_features(self, users: FeaturesLike = None, items: FeaturesLike = None) -> Ratings:
        """Return the same ratings with features of their users and items, for models that use them.

        Each is `Features`, or a path or a data frame for `read_features`; None keeps the present features.
        They may cover only some of the ids, and also ids without ratings, which a model then knows as well.
        `Features` with integer ids for ratings with string ids, or the reverse, are a ValueError.

        Examples
        --------
        >>> from numpy_neural_mf import Ratings
        >>> ratings = Ratings.from_columns(["ann", "bob"], [7, 9], [4.0, 2.0])
        >>> films = {"id": [7, 9, 11], "genres": [["Crime", "Drama"], ["Comedy"], []]}
        >>> ratings.with_features(items=films).item_features
        Features: 3 rows, 3 columns of genres
        """
        user_features = self.user_features if users is None else as_features(users, self.user_ids)
        item_features = self.item_features if items is None else as_features(items, self.item_ids)
        return replace(self, user_features=user_features, item_features=item_features)

    def with_titles(self, source: Any) -> Ratings:
        """Return the same ratings with titles of items, which models keep and show in lists and explanations.

        Ids are matched as in `predict`; a title longer than 500 characters is truncated. A table without
        columns of items and titles is a RatingsError. If no rated item has a title, a UserWarning says so.

        Parameters
        ----------
        source : mapping of raw id to title, data frame, or path of a file or of a folder with one
            A table has a column of items (``movieId``, ``item_id``, ``id``, …) and one of titles (``title``,
            ``name``, …).

        Examples
        --------
        >>> from numpy_neural_mf import Ratings
        >>> ratings = Ratings.from_columns(["ann", "bob"], [7, 9], [4.0, 2.0])
        >>> ratings.with_titles({7: "Heat (1995)", 9: "Casino (1995)"}).titles[7]
        'Heat (1995)'
        """
        titles = titles_of(source, self.item_ids)
        if not any(id in titles for id in self.item_ids.tolist()):
            warnings.warn(f"none of {len(titles):,} titles belongs to a rated item", stacklevel=2)
        return replace(self, titles=titles)

    def compact(self, described: bool = False, anywhere: Anywhere = lambda occurs: occurs) -> Ratings:
        """Return the same ratings with only the users and items that have a rating, indexed again.

        If `described`, users and items with features are kept or added as well. If these ratings are one
        process's part, `anywhere` takes a bool array, which ids have a rating here, to that of all parts.
        """
        users, user_ids = occurring(self.users, self.user_ids, anywhere)
        items, item_ids = occurring(self.items, self.item_ids, anywhere)
        if described and self.user_features is not None:
            users, user_ids = among(users, user_ids, self.user_features.ids)
        if described and self.item_features is not None:
            items, item_ids = among(items, item_ids, self.item_features.ids)
        return replace(self, users=users, items=items, user_ids=user_ids, item_ids=item_ids)

    def to_polars(self) -> pl.DataFrame:
        """Return a polars data frame: user_id, item_id, rating and, if known, timestamp."""
        import polars as pl

        return pl.DataFrame(self._named())

    def to_pandas(self) -> Any:
        """Return the same as a pandas data frame; a ModuleNotFoundError if pandas is not installed."""
        import pandas as pd

        return pd.DataFrame(self._named())

    def _named(self) -> dict[str, NDArray[Any]]:
        columns = {"user_id": self.raw_users, "item_id": self.raw_items, "rating": self.values}
        return columns if self.timestamps is None else columns | {"timestamp": self.timestamps}


def check_scale(scale: tuple[float, float]) -> tuple[float, float]:
    """Return the scale as floats; raise a ValueError if it is impossible."""
    if len(scale) != 2 or not (np.isfinite(scale).all() and scale[0] < scale[1]):
        raise ValueError(f"scale: expected (lowest, highest) with lowest < highest, found {scale}")
    if max(map(abs, scale)) > MAX_RATING or scale[1] - scale[0] < MIN_RANGE:
        expected = f"from -{MAX_RATING:g} to {MAX_RATING:g}, {MIN_RANGE:g} apart or more"
        raise ValueError(f"scale: expected a lowest and a highest rating {expected}, found {scale}")
    return float(scale[0]), float(scale[1])
