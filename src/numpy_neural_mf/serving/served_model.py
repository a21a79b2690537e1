"""A loaded model as the service uses it: raw ids in, plain Python values out."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data.ids import index_of
from ..mf.parameters import Side
from ..models import NewUser, load_model
from ..models.explain import Reason
from ..models.fitted import Fitted
from ..models.uncertainty import few_steps
from .metrics import UNKNOWN
from .prepared import prepared
from .problems import RequestError
from .schemas import ItemRating, Pair, RecommendRequest
from .shortlist import Shortlist
from .titles import Titles

Stamp = tuple[int, int, int]
Facts = dict[str, Any]


@dataclass(frozen=True, eq=False)
class ServedModel:
    """An immutable model, its file and the titles of its items."""

    name: str
    path: Path
    stamp: Stamp
    model: Any
    titles: Titles | None
    shortlist: Shortlist | None

    @classmethod
    def load(cls, path: Path, titles: Mapping[str, str] | None) -> Self:
        """Load a model from a file, whose arrays all processes share; errors are those of `load_model`."""
        stamp = stamp_of(path)  # before it is read, so that a file written meanwhile has another stamp
        model = load_model(path, mapped=True)
        if isinstance(model.fitted_, Fitted):
            model._state = replace(model.fitted_, model=prepared(model.fitted_))
        own = getattr(model, "titles_", None)
        if titles is not None:
            own = [titles.get(str(item), "") for item in model.item_ids_.tolist()]
        counts = model.fitted_.counts("item")  # computed now rather than by the first request
        shown = None if own is None else Titles(list(own), counts)
        shortlist = Shortlist.of(model.fitted_) if isinstance(model.fitted_, Fitted) else None
        return cls(path.stem, path, stamp, model, shown, shortlist)

    # Users and items

    def rows(self, side: Side, raw: Any) -> NDArray[np.int32]:
        """Return the row of each id, -1 for unknown ids, and count the unknown ids."""
        rows = index_of(self.model.fitted_.ids(side), raw)
        if unknown := int(np.count_nonzero(rows < 0)):
            UNKNOWN.labels(side).inc(unknown)
        return rows

    def require_item(self, item: int | str) -> None:
        """Refuse an item that the model does not know."""
        if self.rows("item", item) < 0:
            raise RequestError(404, "item", "expected an item that the model knows")

    def require(self, method: str) -> None:
        """Refuse a request that needs a method that the model lacks."""
        if not hasattr(self.model, method):
            found = type(self.model).__name__
            raise RequestError(422, "model", f"expected a model with {method}, found a {found}")

    def check_ratings(self, ratings: Sequence[ItemRating], place: str = "ratings") -> None:
        """Refuse ratings outside the model's scale."""
        low, high = getattr(self.model, "rating_scale_", (-np.inf, np.inf))
        for at, one in enumerate(ratings):
            if not low <= one.rating <= high:
                expected = f"expected a rating from {low:g} to {high:g}"
                raise RequestError(422, f"{place}[{at}].rating", expected)

    def fold_in(self, ratings: Mapping[Any, float]) -> NewUser:
        """Fold in a new user with these ratings, except ratings of unknown items."""
        self.require("fold_in")
        by_row = dict(zip(self.rows("item", list(ratings)).tolist(), ratings.values(), strict=True))
        ids = self.model.item_ids_
        folded_in: NewUser = self.model.fold_in({ids[row]: by_row[row] for row in by_row if row >= 0})
        return folded_in

    # Responses

    def predict(self, pairs: Sequence[Pair], interval: float | None) -> Facts:
        """Return predicted ratings of pairs, with intervals of this coverage."""
        self.require("predict" if interval is None else "predict_interval")
        users, items = [pair.user for pair in pairs], [pair.item for pair in pairs]
        known = (self.rows("user", users) >= 0) & (self.rows("item", items) >= 0)
        columns = {"user": users, "item": items, "known": known.tolist()}
        columns["rating"] = self.model.predict(users, items).tolist()
        return {"model": self.name, "predictions": _rows(columns | self._bounds(users, items, interval))}

    def recommend(self, user: Any, asked: RecommendRequest) -> Facts:
        """Return a top-N list for a user who is known or folded in."""
        options: Facts = {"by": asked.by, "diversity": asked.diversity, "min_ratings": asked.min_ratings}
        given = {name: value for name, value in options.items() if value}
        refused = given.keys() - self._options
        if asked.diversity and not self.has_diversity:
            refused |= {"diversity"}
        for name in refused:
            kind = type(self.model).__name__
            raise RequestError(422, name, f"expected none, since a {kind} does not take it")
        if asked.exclude or asked.candidates is not None:
            given["candidates"] = self._candidates(asked)
        if asked.interval is not None:
            self.require("predict_interval")
        items, scores = self._best(user, asked.n, given)
        columns = {"score": scores.tolist()} | self._bounds(user, items, asked.interval)
        if asked.reasons:
            self.require("explain")
            explained = [self.model.explain(user, item).reasons for item in items.tolist()]
            columns["reasons"] = [self._reasons(reasons[: asked.reasons]) for reasons in explained]
        answer: Facts = {"model": self.name, "items": _rows(self._item_columns(items) | columns)}
        if asked.ratings is not None:
            rated = [one.item for one in asked.ratings]
            answer["unknown"] = [item for item in rated if index_of(self.model.item_ids_, item) < 0]
        return answer

    def _best(self, user: Any, n: int, given: Facts) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return items and predicted ratings, by the shortlist if it supports the request."""
        if self.shortlist is not None and given in ({}, {"by": "lower_bound"}):
            rows, ratings = self.shortlist.best(self.model.fitted_, user, n)
            return self.model.item_ids_[rows], ratings
        items, scores = self.model.recommend(user, n, with_scores=True, **given)
        return items.compressed(), scores.compressed()

    def similar(self, item: int | str, n: int, min_ratings: int) -> Facts:
        """Return the items most similar to a given item."""
        self.require_item(item)
        try:
            items, cosines = self.model.similar_items(item, n, min_ratings)
        except ValueError as error:  # the model has no embeddings
            raise RequestError(422, "model", str(error)) from error
        columns = self._item_columns(items) | {"similarity": cosines.tolist()}
        return {"model": self.name, "items": _rows(columns)}

    def explain(self, user: Any, item: int | str, n: int) -> Facts:
        """Return the parts of a prediction, and the n ratings with the largest weights."""
        self.require("explain")
        self.require_item(item)
        found = self.model.explain(user, item)
        reasons, others = self._reasons(found.reasons[:n]), sum(one.weight for one in found.reasons[n:])
        return asdict(found) | {"model": self.name, "reasons": reasons, "others": float(others)}

    def items(self, search: str, limit: int, offset: int) -> Facts:
        """Return a page of the items whose titles have all words of a text, the most rated items first."""
        if search and self.titles is None:
            raise RequestError(422, "search", "expected none, since no titles are known")
        rows = self._by_count if self.titles is None or not search else self.titles.find(search)
        page = np.array(rows[offset : offset + limit], np.int64)
        columns = self._item_columns(self.model.item_ids_[page])
        columns["n_ratings"] = self.model.fitted_.counts("item")[page].tolist()
        return {"model": self.name, "total": len(rows), "items": _rows(columns)}

    def starters(self, n: int) -> Facts:
        """Return well-known items with differing ratings, for a new user to rate first."""
        items = self.model.item_ids_[self._starters[:n]]
        counts = self.model.fitted_.counts("item")[self._starters[:n]].tolist()
        columns = self._item_columns(items) | {"n_ratings": counts}
        return {"model": self.name, "total": len(self._starters), "items": _rows(columns)}

    @cached_property
    def facts(self) -> Facts:
        """The class and size of the model, when it was written, and its training data."""
        fitted = self.model.fitted_
        return {
            "name": self.name,
            "kind": type(self.model).__name__,
            "file": self.path.name,
            "written": datetime.fromtimestamp(self.stamp[1] / 1e9, UTC).isoformat(timespec="seconds"),
            "n_users": len(fitted.user_ids),
            "n_items": len(fitted.item_ids),
            "n_ratings": len(fitted.interactions.items),
            "n_parameters": int(self.model.n_parameters_),
            "rating_scale": getattr(self.model, "rating_scale_", None),
            "rating_steps": few_steps(fitted.interactions.ratings).tolist(),
            "item_ids": "integer" if fitted.item_ids.dtype.kind == "i" else "text",
            "has_titles": self.titles is not None,
            "has_intervals": hasattr(self.model, "predict_interval"),
            "has_diversity": self.has_diversity,
        }

    @cached_property
    def _options(self) -> set[str]:
        return {*inspect.signature(self.model.recommend).parameters}

    @cached_property
    def has_diversity(self) -> bool:
        """Whether the model's lists accept `diversity`, which needs similarities of items."""
        try:
            self.model.recommend(self.model.user_ids_[0], 1, diversity=1.0)
        except (TypeError, ValueError):
            return False
        return True

    @cached_property
    def _by_count(self) -> NDArray[np.intp]:
        return np.argsort(-self.model.fitted_.counts("item"), kind="stable")

    @cached_property
    def _starters(self) -> NDArray[np.intp]:
        """Rows by log(n_i) s_i, where n_i and s_i are number and standard deviation of an item's ratings.

        This follows log popularity · entropy of Rashid et al., "Getting to know you", 2002.
        """
        seen = self.model.fitted_.interactions
        counts, n = np.maximum(seen.item_counts, 1), seen.n_items
        sums, squares = (np.bincount(seen.items, weights, n) for weights in (seen.ratings, seen.ratings**2))
        deviations = np.sqrt(np.maximum(squares / counts - (sums / counts) ** 2, 0))
        return np.argsort(-np.log(counts) * deviations, kind="stable")

    def _candidates(self, asked: RecommendRequest) -> NDArray[Any]:
        ids = self.model.item_ids_
        allowed = np.ones(len(ids), bool) if asked.candidates is None else _marked(ids, asked.candidates)
        return np.asarray(ids[allowed & ~_marked(ids, asked.exclude)])

    def _bounds(self, users: Any, items: Any, coverage: float | None) -> Facts:
        if coverage is None or not len(items):
            return {}
        low, high = self.model.predict_interval(users, items, coverage=coverage)
        return {"low": low.tolist(), "high": high.tolist()}

    def _reasons(self, reasons: Sequence[Reason]) -> list[Facts]:
        columns = self._item_columns([one.item for one in reasons])
        columns |= {name: [getattr(one, name) for one in reasons] for name in ("rating", "weight")}
        return _rows(columns)

    def _item_columns(self, items: Any) -> Facts:
        """Return ids, and titles where they are known."""
        items = np.asarray(items)
        columns = {"item": items.tolist()}
        if self.titles is not None:
            rows = index_of(self.model.item_ids_, items).tolist()
            columns["title"] = [self.titles.titles[row] for row in rows]
        return columns


def stamp_of(path: Path) -> Stamp:
    """Return inode, time and size of a file, which change when the file is replaced."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _marked(ids: NDArray[Any], some: Sequence[Any]) -> NDArray[np.bool_]:
    rows, marked = index_of(ids, some), np.zeros(len(ids), bool)
    marked[rows[rows >= 0]] = True
    return marked


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[Facts]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
