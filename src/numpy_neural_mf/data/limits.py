"""Limits of ids and ratings, for what reads them and for models, which need no polars to look them up."""

from pathlib import Path

# The largest rating, and the smallest distance of the lowest from the highest: beyond these, single precision
# does not hold what models compute.
MAX_RATING = 1e9
MIN_RANGE = 1e-9
# Characters of the longest id: NumPy's strings are all as long as the longest, at 4 bytes a character.
MAX_ID = 256
# Characters of the longest title; a longer one is cut.
MAX_TITLE = 500
# Bytes that each byte of a compressed file may become, and that any file may: text seldom becomes ten times
# smaller.
MOST = 100
ALWAYS = 2**26


def most_unpacked(path: Path) -> int:
    """Bytes that a compressed file may become."""
    return max(ALWAYS, MOST * path.stat().st_size)
