"""Conclusions: which differences between models are significant, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

SIGNIFICANCE_LEVEL = 0.05  # a difference is significant if its corrected p-value is below
FEW_SPLITS = 5  # with fewer, the test has little power
Rows = Sequence[dict[str, Any]]


def conclusions(differences: pl.DataFrame) -> list[str]:
    """Return sentences on the models of one data set, the best model first; none for fewer than two models.

    `differences` has a row for each pair of models, as returned by `Comparison.differences`. Models share a
    sentence if they do not differ significantly and are significantly better than the same other models.
    """
    rows = differences.to_dicts()
    if not rows:
        return []
    if all(row["is_significant"] is None for row in rows):
        return ["With one split of the ratings, significance cannot be tested: use more seeds or folds."]
    n_splits = min(row["splits"] for row in rows)
    few = "only large differences are significant: use more seeds or folds."
    sentences = [f"Only {n_splits} splits, so {few}"] if n_splits == 2 else []
    # Ranked by error, the lowest first: each row names the better model first.
    names = dict.fromkeys(name for row in rows for name in (row["model"], row["other"]))
    ranked = sorted(names, key=lambda name: -sum(row["model"] == name for row in rows))
    worse: dict[str, set[str]] = {name: set() for name in ranked}
    for row in rows:
        if row["is_significant"]:
            worse[row["model"]].add(row["other"])
    while ranked:
        group, ranked = _leading_group(ranked, worse)
        beaten = [name for name in ranked if name in worse[group[0]]]
        tied = [name for name in ranked if name not in beaten]
        if beaten:
            is_best_of_all = len(group) == 1 and len(beaten) == len(names) - 1
            sentences.append(_better(group, beaten, _between(rows, group, beaten), is_best_of_all))
        if len(group) > 1:
            sentences.append(_tied(joined(group, "and"), _between(rows, group, group)))
        if tied:
            both = f"{joined(group, 'or')} and {joined(tied, 'or')}"
            sentences.append(_tied(both, _between(rows, group, tied)))
    if 2 < n_splits < FEW_SPLITS and not all(row["is_significant"] for row in rows):
        sentences.append(f"With {n_splits} splits, {few}")
    return sentences


def _leading_group(ranked: list[str], worse: dict[str, set[str]]) -> tuple[list[str], list[str]]:
    """Split off the first models, which are tied and better than the same others; return both parts."""
    first = worse[ranked[0]]
    size = 1
    while size < len(ranked) and ranked[size] not in first and worse[ranked[size]] == first:
        size += 1
    return ranked[:size], ranked[size:]


def _between(rows: Rows, some: Sequence[str], others: Sequence[str]) -> Rows:
    """Return the rows of pairs of a model in `some` and a model in `others`."""
    ways = ((some, others), (others, some))
    return [row for row in rows if any(row["model"] in a and row["other"] in b for a, b in ways)]


def _better(group: Sequence[str], beaten: Sequence[str], rows: Rows, is_best_of_all: bool) -> str:
    verb = "is" if len(group) == 1 else "are"
    all_others = is_best_of_all and len(beaten) > 1
    others = "every other model" if all_others else joined(beaten, "and")
    found = sorted(row["difference"] for row in rows)
    lowest, highest = (f"{d:.4f}" if d >= 0.00005 else "less than 0.0001" for d in (found[0], found[-1]))
    by = lowest if lowest == highest else f"{lowest} to {highest}"
    p_value = max(row["p_value"] for row in rows)
    limit = next(limit for limit in (0.001, 0.01, SIGNIFICANCE_LEVEL) if p_value < limit)
    better = f"{joined(group, 'and')} {verb} significantly better than {others}"
    return f"{better} (RMSE lower by {by}; p < {limit})."


def _tied(names: str, rows: Rows) -> str:
    p_value = min(row["p_value"] for row in rows)
    sign = "=" if len(rows) == 1 else "≥"
    return f"There is no significant difference between {names} (p {sign} {p_value:.2g})."


def joined(names: Iterable[str], word: str, comma: str = ", ") -> str:
    """Join names in words: a, b and c."""
    *first, last = names
    return f"{comma.join(first)} {word} {last}" if first else last
