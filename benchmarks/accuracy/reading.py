"""Reading of delimited text: generated files, most of them damaged, versus an independent reader, the judge.

    python -m benchmarks.accuracy.reading --n-files 100000 --seed 1

Each file has a delimiter, perhaps a header, ids that are numbers or text, quotes, blank lines, columns in any
order and one of three line endings; then, in most files, a few characters are removed, doubled or inserted,
or the end is cut off. The judge reads character by character, by RFC 4180. A file must be read as the judge
reads it, or refused with a RatingsError of one line. The outcomes are counted; a file with another outcome is
written to ``--folder``.
"""

import gzip
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks.harness import Parser, Results

from numpy_neural_mf import Ratings, RatingsError, read_ratings

DELIMITERS = (",", ";", "\t", "|", "::")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# Characters to insert: all that have a meaning, and some that have none.
CHARACTERS = [
    '"',
    '""',
    ",",
    ";",
    "\t",
    "::",
    "|",
    "\n",
    "\r",
    "\r\n",
    " ",
    "0",
    "7",
    ".",
    "-",
    "+",
    "é",
    "x",
]
TEXTS = ["a", "Up", "it's", 'the "x"', "one, two", "a;b", "a|b", "a::b", "two\nlines", " padded ", "é", "007"]


class File(NamedTuple):
    """A generated file: its text, and the names and delimiter with which it was made."""

    text: str
    delimiter: str
    names: tuple[str, ...]
    has_header: bool
    is_damaged: bool


def made(rng: np.random.Generator) -> File:
    """Generate a file."""
    delimiter = str(rng.choice(DELIMITERS))
    names = ["user", "item", "rating", "timestamp"]
    has_header = bool(rng.random() < 0.7)
    if has_header:
        names = ["user", "item", "rating", *(name for name in ("timestamp", "note") if rng.random() < 0.5)]
        names = [str(name) for name in rng.permutation(names)]
    of_text, end = rng.random(3) < (0.2, 0.2, 0.6), str(rng.choice(["\n", "\n", "\r\n", "\r"]))
    quoted = float(rng.choice([0.0, 0.0, 0.2, 1.0]))

    def field(name: str) -> str:
        kind = {"user": 0, "item": 1, "note": 2}.get(name)
        if kind is not None:
            value = str(rng.choice(TEXTS)) if of_text[kind] else str(rng.integers(0, 12))
        elif name == "rating":
            value = str(rng.choice(["1", "2.5", "3", "4.0", "5", ".5"]))
        else:
            value = str(rng.integers(0, 10**9))
        needed = any(one in value for one in (delimiter, delimiter[0], '"', "\n"))
        return '"' + value.replace('"', '""') + '"' if needed or rng.random() < quoted else value

    rows = [[field(name) for name in names] for _ in range(rng.integers(1, 8))]
    lines = [delimiter.join(row) for row in ([names] if has_header else []) + rows]
    if rng.random() < 0.2:
        lines.insert(int(rng.integers(1, len(lines) + 1)), str(rng.choice(["", "  "])))
    text = end.join(lines) + end * int(rng.random() < 0.7)
    is_damaged = bool(rng.random() < 0.7)
    return File(damaged(text, rng) if is_damaged else text, delimiter, tuple(names), has_header, is_damaged)


def damaged(text: str, rng: np.random.Generator) -> str:
    """Return the text with a few characters more or fewer."""
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(text) + 1))
        what = rng.integers(0, 4)
        if what == 0:
            text = text[:at] + text[at + 1 :]
        elif what == 1:
            text = text[:at] + str(rng.choice(CHARACTERS)) + text[at:]
        elif what == 2:
            text = text[:at] + text[at : at + 3] + text[at:]
        elif rng.random() < 0.3:
            text = text[:at]
    return text


def records(text: str, delimiter: str) -> Iterator[list[str]]:
    """Return the records by RFC 4180, character by character; raise ValueError for quotes inside a field."""
    at, fields = 0, []
    while at < len(text):
        if text[at] == '"':
            end, value = at + 1, ""
            while True:
                close = text.index('"', end)  # a ValueError if there is none
                value, end = value + text[end:close], close + 1
                if text[end : end + 1] != '"':
                    break
                value, end = value + '"', end + 1
        else:
            end = at
            while end < len(text) and text[end] not in "\r\n" and not text.startswith(delimiter, end):
                end += 1
            value = text[at:end]
        fields.append(value)
        at = end
        if text.startswith(delimiter, at):
            at += len(delimiter)
            if at < len(text):
                continue
            fields.append("")
        elif at < len(text) and text[at] not in "\r\n":
            raise ValueError("a quote within a field")
        at += 2 if text.startswith("\r\n", at) else 1
        yield fields
        fields = []


def judged(file: File) -> dict[tuple[str, str], tuple[float, int]] | None:
    """Return the rating and time of each pair, as the judge reads them; None if the file must be refused."""
    try:
        rows = list(records(file.text, file.delimiter))
    except ValueError:
        return None
    rows = [row for row in rows if any(field.strip() for field in row)]
    if not rows:
        return None
    names = [*file.names, *map(str, range(len(rows[0])))][: max(len(rows[0]), 3)]
    if file.has_header:
        names = [re.sub("[ _.-]", "", name.lower()) for name in rows.pop(0)]
    if any(names.count(role) != 1 for role in ("user", "item", "rating")) or names.count("timestamp") > 1:
        return None
    found: dict[tuple[str, str], tuple[float, int]] = {}
    for row in rows:
        if len(row) != len(names):
            return None
        one = dict(zip(names, (field.strip() for field in row), strict=True))
        used = [one.get(name, "") for name in ("user", "item", "rating", "timestamp") if name in names]
        if not any(used):
            continue
        if not (all(used) and NUMBER.fullmatch(one["rating"])):
            return None
        time = int(float(one.get("timestamp", "0"))) if NUMBER.fullmatch(one.get("timestamp", "0")) else None
        pair = one["user"], one["item"]
        if time is None:
            return None
        while time >= 10**11:  # milliseconds, or finer
            time //= 1000
        if pair not in found or time >= found[pair][1]:
            found[pair] = float(np.float32(float(one["rating"]))), time
    return found or None


def as_judged(ratings: Ratings, found: dict[tuple[str, str], tuple[float, int]]) -> bool:
    """Return whether ratings equal those of the judge; numeric ids may be written 1.0."""
    times = np.zeros(len(ratings), int) if ratings.timestamps is None else ratings.timestamps
    users, items = (
        {text if ids.dtype.kind == "U" else int(float(text)): text for text in texts}
        for ids, texts in zip(
            (ratings.user_ids, ratings.item_ids), ([p[0] for p in found], [p[1] for p in found]), strict=True
        )
    )
    columns = (ratings.raw_users, ratings.raw_items, ratings.values, times)
    read: dict[Any, Any] = {
        (users.get(user), items.get(item)): (value, time)
        for user, item, value, time in zip(*(column.tolist() for column in columns), strict=True)
    }
    return read == found


def outcome(file: File, path: Path) -> str:
    """Return the outcome of reading a file."""
    expected = judged(file)
    if expected is None and file.is_damaged and not file.has_header:
        # "a\tb::1::2\t3" is damaged with one delimiter, and a sound table with another.
        others = (judged(file._replace(delimiter=delimiter)) for delimiter in DELIMITERS)
        expected = next((found for found in others if found is not None), None)
    content = file.text.encode()
    path.write_bytes(gzip.compress(content) if len(content) % 7 == 0 else content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            ratings = read_ratings(path)
    except RatingsError as error:
        if len(str(error)) > 300 or not str(error).isprintable():
            return "WRONG: a message of several lines"
        if not file.is_damaged:
            return f"WRONG: refused, {error}"
        return "refused by both" if expected is None else "refused, though the judge reads it"
    except BaseException as error:  # panics of polars are not an Exception
        return f"WRONG: {type(error).__name__}"
    if expected is None:
        return "WRONG: read, though the judge refuses it"
    try:
        return "read alike" if as_judged(ratings, expected) else "WRONG: read otherwise"
    except (ValueError, OverflowError):
        return "WRONG: read otherwise"


def main() -> None:
    parser = Parser(__doc__, n_files=1000)
    parser.add_options(n_files=100_000, seed=0, folder="")
    given = parser.parse_args()
    results, rng = Results("reading", given), np.random.default_rng(given.seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for n in range(given.n_files):
            file = made(rng)
            found = outcome(file, Path(folder, "ratings"))
            counts[found.partition(",")[0] if found.startswith("WRONG") else found] += 1
            if given.folder and found.startswith("WRONG"):
                Path(given.folder).mkdir(parents=True, exist_ok=True)
                Path(given.folder, f"{n}.csv").write_text(f"{file!r}\n{found}\n", encoding="utf-8")
    for found, count in counts.most_common():
        results.add("outcomes", outcome=found, files=count)


if __name__ == "__main__":
    main()
