"""Data sets by name: download, check, unpack and convert them to files that `read_ratings` reads."""

from __future__ import annotations

import csv
import errno
import hashlib
import lzma
import os
import re
import struct
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ...utils.shortened import quoted
from ..readers import ratings_file
from .catalogue import DATASETS, Layout

if TYPE_CHECKING:
    from .download import BytesCallback

# What zipfile raises for a damaged archive or for a compression that none of these sets uses.
BROKEN = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, lzma.LZMAError, ValueError,
    struct.error,
)  # fmt: skip
BAD_NAMES = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.ENOENT)
MAX_UNPACKED = 1 << 32  # bytes; the largest set has about 1 GB


def download_dataset(
    name: str,
    folder: str | os.PathLike[str] = ".",
    *,
    url: str | None = None,
    on_progress: BytesCallback | None = None,
) -> Path:
    """Download a data set from its public address, under its licence (see `DATASETS` and its README).

    The file's length and checksum are checked before it is unpacked; the folder appears complete or not at
    all. An interrupted transfer is resumed at the next call; an existing folder is not downloaded again. If a
    set that may change has a new checksum, a UserWarning says so. Ratings in a layout that `read_ratings`
    does not read are also written to ``ratings.csv``, without entries that stand for no rating; a UserWarning
    counts these.

    Parameters
    ----------
    name : str, one of `DATASETS`, such as "ml-latest-small"; any other is a ValueError
    folder : path, default "."; the data set is in its subfolder `name`, which is returned for `read_ratings`
    url : str, optional, the address of a copy of the same file, in place of the one in `DATASETS`
    on_progress : callable, optional, called with (bytes received, bytes in total or None)

    Raises
    ------
    OSError
        The transfer failed, the file is not the expected one, or the folder cannot be written to.

    Examples
    --------
    >>> read_ratings(download_dataset("goodbooks-10k"))  # doctest: +SKIP
    """
    from .download import fetch, remove

    if name not in DATASETS:
        raise ValueError(f"expected one of {', '.join(DATASETS)}, found {quoted(name)}")
    dataset = DATASETS[name]
    destination = Path(folder, name)
    if destination.exists():
        if ratings_file(destination) is None:
            raise FileExistsError(errno.EEXIST, "exists already, and holds no ratings", str(destination))
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    file = f"{name}{PurePosixPath(dataset.url).suffix}"
    part = destination.with_name(f"{file}.part")
    most = (2 if dataset.is_fixed else 10) * 10**6 * (1 + dataset.megabytes)
    fetch(url or dataset.url, part, most, on_progress)
    try:
        notes = _check(file, part, dataset.checksum, dataset.is_fixed)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=destination.parent) as temporary:
            unpacked = Path(temporary, name)
            unpacked.mkdir()
            if file.endswith(".zip"):
                _unpack(file, part, unpacked)
            else:
                part.rename(unpacked / "ratings.csv")
            if dataset.layout and (unpacked / dataset.layout.file).is_file():
                notes += _write_ratings(name, unpacked, dataset.layout)
            # Some archives have the ratings in a folder, perhaps with another name than the set.
            found = next((one for one in (unpacked, *unpacked.iterdir()) if ratings_file(one)), None)
            if found is None:
                raise _ArchiveError(f"{file}: expected a folder with ratings in it, found none")
            found.rename(destination)
    except _ArchiveError:
        remove(part)
        raise
    remove(part)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return destination


class _ArchiveError(OSError):
    """The downloaded file is unusable, and the next attempt must not resume it."""


def _check(name: str, file: Path, checksum: str, is_fixed: bool) -> list[str]:
    """Return the notes about an accepted file; raise an error for a file that is refused."""
    algorithm, expected = checksum.split(":")
    with file.open("rb") as content:
        found = hashlib.file_digest(
            content, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()
    if found == expected:
        return []
    said = f"{name}: expected {algorithm.upper()} {expected}, found {found}"
    if is_fixed:
        raise _ArchiveError(f"{said}; the file was removed")
    return [f"{said}: the set has changed since then"]


def _unpack(name: str, archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as members:
            _refuse_what_is_unsafe(name, members.infolist())
            members.extractall(folder)
    except BROKEN as error:
        raise _ArchiveError(f"{name}: expected a whole zip archive, found: {error}") from error
    except OSError as error:
        if error.errno not in BAD_NAMES:
            raise
        raise _ArchiveError(f"{name}: refused, for the name of a file in it: {error.strerror}") from error


def _write_ratings(name: str, folder: Path, layout: Layout) -> list[str]:
    """Write ``ratings.csv`` from a file in another layout; return a note that counts the entries left out."""
    n = n_implicit = 0
    with (
        (folder / layout.file).open(encoding="latin-1") as lines,
        (folder / "ratings.csv").open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "rating"])
        for number, line in enumerate(lines, 1):
            match = re.fullmatch(layout.line, line.strip())
            if match is None:
                if number == 1 or line.isspace():  # a header, or a blank line
                    continue
                raise _ArchiveError(
                    f"{name}: {layout.file}, line {number}: expected a rating, found {line!r}"
                )
            n += 1
            if match[3] == layout.implicit:
                n_implicit += 1
            else:
                writer.writerow(match.groups())
    if not n_implicit:
        return []
    left_out = f"{n_implicit:,} of {n:,} ratings are {layout.implicit}, which stands for no rating"
    return [f"{name}: {left_out}; they are not in ratings.csv"]


def _refuse_what_is_unsafe(name: str, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
            raise _ArchiveError(f"{name}: refused, a file in it would be outside: {member.filename!r}")
    # A member is never unpacked to more than its declared size.
    n_bytes = sum(member.file_size for member in members)
    if n_bytes > MAX_UNPACKED:
        found = f"it would unpack to {n_bytes:,} bytes, over {MAX_UNPACKED:,}"
        raise _ArchiveError(f"{name}: refused, {found}")
