"""The MovieLens data sets by name: brought, checked, unpacked, and under which terms they may be used."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import struct
import tempfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ...utils.shortened import quoted
from ..readers import ratings_file

if TYPE_CHECKING:
    from .download import BytesCallback

BASE_URL = "https://files.grouplens.org/datasets/movielens/"
CITATION = (
    "F. Maxwell Harper and Joseph A. Konstan. The MovieLens Datasets: History and Context. "
    "ACM Transactions on Interactive Intelligent Systems 5(4), 2015. https://doi.org/10.1145/2827872"
)
# What zipfile raises of an archive that is damaged, or packed as none of these sets is.
BROKEN = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, lzma.LZMAError, ValueError,
    struct.error,
)  # fmt: skip
BAD_NAMES = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.ENOENT)
MAX_UNPACKED = 1 << 32  # bytes; the largest set has about 1 GB


@dataclass(frozen=True, slots=True)
class MovieLensSet:
    """One data set of the catalogue.

    `megabytes` are to transfer, `md5` is that of the archive. It may be redistributed, under the same
    conditions, if `may_be_shared`. Unless it `is_fixed`, another `md5` is another state of it.
    """

    n_ratings: int
    megabytes: int
    md5: str
    may_be_shared: bool = False
    is_fixed: bool = True

    @property
    def licence(self) -> str:
        """Its terms in a sentence; those in its README count."""
        shared = "redistribution under the same conditions" if self.may_be_shared else "no redistribution"
        return f"research use, {shared}, no commercial use without permission"


MOVIELENS = {
    "ml-100k": MovieLensSet(100_000, 5, "0e33842e24a9c977be4e0107933c0723"),
    "ml-1m": MovieLensSet(1_000_209, 6, "c4d9eecfca2ab87c1945afe126590906"),
    "ml-10m": MovieLensSet(10_000_054, 63, "ce571fd55effeba0271552578f2648bd"),
    "ml-20m": MovieLensSet(20_000_263, 190, "cd245b17a1ae2cc31bb14903e1204af3"),
    "ml-25m": MovieLensSet(25_000_095, 250, "6b51fb2759a8657d3bfcbfc42b592ada"),
    "ml-32m": MovieLensSet(32_000_204, 239, "d472be332d4daa821edc399621853b57", may_be_shared=True),
    "ml-latest-small": MovieLensSet(100_836, 1, "31a303aabbc519bd33d025e44d6c2570", True, is_fixed=False),
}


def download_movielens(
    name: str,
    folder: str | os.PathLike[str] = ".",
    *,
    base_url: str = BASE_URL,
    on_progress: BytesCallback | None = None,
) -> Path:
    """Bring a MovieLens data set from GroupLens, under GroupLens' licence (see its README and `MOVIELENS`).

    The archive is checked by length and MD5 before it is unpacked; the folder appears whole or not at all. A
    transfer that broke off goes on at the next call; a folder that is there already is not fetched again. A
    set that may change has another MD5 when it has: then a UserWarning says so.

    Parameters
    ----------
    name : str, one of `MOVIELENS`, such as "ml-latest-small"; another is a ValueError
    folder : path, default ".", gets the folder `name`, which is returned for `read_ratings` to read
    base_url : str, default GroupLens' server, where ``name.zip`` is
    on_progress : callable, optional, is given (bytes here, bytes in all or None)

    Raises
    ------
    OSError
        The transfer failed, what came is not what was expected, or the folder cannot be written to.

    Examples
    --------
    >>> read_ratings(download_movielens("ml-latest-small"))  # doctest: +SKIP
    """
    from .download import fetch, remove

    if name not in MOVIELENS:
        raise ValueError(f"expected one of {', '.join(MOVIELENS)}, found {quoted(name)}")
    destination = Path(folder, name)
    if destination.exists():
        if ratings_file(destination) is None:
            raise FileExistsError(errno.EEXIST, "is in the way, and holds no ratings", str(destination))
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(f"{name}.zip.part")
    most = (2 if MOVIELENS[name].is_fixed else 10) * 10**6 * (1 + MOVIELENS[name].megabytes)
    fetch(f"{base_url}{name}.zip", part, most, on_progress)
    try:
        _check(name, part)
        _unpack(name, part, destination)
    except _ArchiveError:
        remove(part)
        raise
    remove(part)
    return destination


class _ArchiveError(OSError):
    """What came is of no use, and no other attempt should begin with it."""


def _check(name: str, archive: Path) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    expected = MOVIELENS[name]
    said = f"{name}.zip: expected MD5 {expected.md5}, found {found}"
    if found != expected.md5 and expected.is_fixed:
        raise _ArchiveError(f"{said}; what came was removed")
    if found != expected.md5:
        warnings.warn(f"{said}: the set has changed, which it may", stacklevel=3)


def _unpack(name: str, archive: Path, destination: Path) -> None:
    try:
        with (
            zipfile.ZipFile(archive) as members,
            tempfile.TemporaryDirectory(prefix=f".{name}.", dir=destination.parent) as temporary,
        ):
            _refuse_what_is_unsafe(name, members.infolist())
            members.extractall(temporary)
            # The folder in the archive need not have the name of the set: that of ml-10m is ml-10M100K.
            unpacked = [folder for folder in Path(temporary).iterdir() if ratings_file(folder)]
            if not unpacked:
                raise _ArchiveError(f"{name}.zip: expected a folder with ratings in it, found none")
            unpacked[0].rename(destination)
    except BROKEN as error:
        raise _ArchiveError(f"{name}.zip: expected a whole zip archive, found: {error}") from error
    except OSError as error:
        if error.errno not in BAD_NAMES:
            raise
        raise _ArchiveError(f"{name}.zip: refused, for the name of a file in it: {error.strerror}") from error


def _refuse_what_is_unsafe(name: str, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
            raise _ArchiveError(f"{name}.zip: refused, a file in it would be outside: {member.filename!r}")
    # No more than it declares is ever unpacked of a member.
    n_bytes = sum(member.file_size for member in members)
    if n_bytes > MAX_UNPACKED:
        found = f"it would unpack to {n_bytes:,} bytes, over {MAX_UNPACKED:,}"
        raise _ArchiveError(f"{name}.zip: refused, {found}")
