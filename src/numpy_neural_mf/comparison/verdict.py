"""Which differences between models are real, in words that need no statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

# A difference is real where its corrected p-value is below this.
SIGNIFICANT = 0.05
# With fewer, what is not shown may still be large.
FEW_SPLITS = 5

Rows = Sequence[dict[str, Any]]


def verdict(differences: pl.DataFrame) -> list[str]:
    """Sentences on the models of one data set, the best first.

    Parameters
    ----------
    differences : polars.DataFrame
        A row for each pair of models, as `Comparison.differences` makes it.

    Returns
    -------
    list of str
        Empty for fewer than two models. Models between which no difference is shown and which are better
        than the same others share a sentence.
    """
    rows = differences.to_dicts()
    if not rows:
        return []
    if all(row["is_real"] is None for row in rows):
        return ["One split of the ratings: no difference can be told from chance; use more seeds or folds."]
    sentences: list[str] = []
    ranked = _ranked(rows)
    worse = {name: {row["other"] for row in rows if row["model"] == name and row["is_real"]}
             for name in ranked}  # fmt: skip
    while ranked:
        group, ranked = _leading_group(ranked, worse)
        beaten = [name for name in ranked if name in worse[group[0]]]
        level = [name for name in ranked if name not in beaten]
        if beaten:
            is_best_of_all = len(group) == 1 and not sentences and not level
            sentences.append(_better(group, beaten, _between(rows, group, beaten), is_best_of_all))
        if len(group) > 1:
            sentences.append(_level(_joined(group, "and"), _between(rows, group, group)))
        if level:
            names = f"{_joined(group, 'or')} and {_joined(level, 'or')}"
            sentences.append(_level(names, _between(rows, group, level)))
    n_splits = min(row["splits"] for row in rows)
    if n_splits < FEW_SPLITS and not all(row["is_real"] for row in rows):
        sentences.append(f"On {n_splits} splits only large differences show: use more seeds or folds.")
    return sentences


def _ranked(rows: Rows) -> list[str]:
    """Models by their errors, the lowest first: each row names the better one first."""
    names = dict.fromkeys(name for row in rows for name in (row["model"], row["other"]))
    return sorted(names, key=lambda name: -sum(row["model"] == name for row in rows))


def _leading_group(ranked: list[str], worse: dict[str, set[str]]) -> tuple[list[str], list[str]]:
    """The first models as long as they are level and better than the same others; and the rest."""
    first = worse[ranked[0]]
    size = 1
    while size < len(ranked) and ranked[size] not in first and worse[ranked[size]] == first:
        size += 1
    return ranked[:size], ranked[size:]


def _between(rows: Rows, some: Sequence[str], others: Sequence[str]) -> Rows:
    """The pairs of one of some and one of the others."""
    ways = ((some, others), (others, some))
    return [row for row in rows if any(row["model"] in a and row["other"] in b for a, b in ways)]


def _better(group: Sequence[str], beaten: Sequence[str], rows: Rows, is_best_of_all: bool) -> str:
    verb = "is" if len(group) == 1 else "are"
    all_others = is_best_of_all and len(beaten) > 1
    others = "every other model" if all_others else _joined(beaten, "and")
    lowest, highest = (_size(pick(row["difference"] for row in rows)) for pick in (min, max))
    by = lowest if lowest == highest else f"{lowest} to {highest}"
    p_value = max(row["p_value"] for row in rows)
    limit = next(limit for limit in (0.001, 0.01, SIGNIFICANT) if p_value < limit)
    return f"{_joined(group, 'and')} {verb} better than {others} (RMSE lower by {by}; p < {limit})."


def _level(names: str, rows: Rows) -> str:
    p_value = min(row["p_value"] for row in rows)
    return f"Between {names} no difference is shown (p {'=' if len(rows) == 1 else '≥'} {p_value:.2g})."


def _size(difference: float) -> str:
    return f"{difference:.4f}" if difference >= 0.00005 else "less than 0.0001"


def _joined(names: Sequence[str], word: str) -> str:
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last
