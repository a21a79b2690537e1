"""Limits of ids and ratings, for readers and models; this module does not need polars."""

from pathlib import Path

# The largest absolute rating and the smallest range of a scale: beyond these, single precision does not
# suffice for what models compute.
MAX_RATING = 1e9
MIN_RANGE = 1e-9
# Most characters of an id: NumPy's strings are all as long as the longest, at 4 bytes a character.
MAX_ID = 256
# Most characters of a title; a longer title is truncated.
MAX_TITLE = 500
# Most bytes that a byte of a compressed file may unpack to, and the size that any file may reach; text seldom
# shrinks by a factor of ten.
MOST = 100
ALWAYS = 2**26


def most_unpacked(path: Path) -> int:
    """Return the number of bytes that a compressed file may unpack to."""
    return max(ALWAYS, MOST * path.stat().st_size)
