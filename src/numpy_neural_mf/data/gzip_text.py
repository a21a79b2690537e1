"""Decompression of a gzip file, with errors for a damaged file and for a decompression bomb."""

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO

from .faults import RatingsError
from .limits import MOST, most_unpacked

GZIP = b"\x1f\x8b"


def unpacked(path: Path) -> BinaryIO:
    """Open a gzip file; reading raises a RatingsError if the file is damaged or too large when unpacked."""
    return io.BufferedReader(_Unpacked(path), 2**18)


class _Unpacked(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        self.name, self.file = path.name, gzip.GzipFile(path)
        self.n_left = most_unpacked(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            n = self.file.readinto(buffer)
        except (OSError, EOFError, zlib.error) as error:
            raise RatingsError(f"{self.name}: expected a whole gzip file, found: {error}") from error
        self.n_left -= n
        if self.n_left < 0:
            raise RatingsError(
                f"{self.name}: expected text, found over {MOST} times as much as the gzip file has bytes; "
                "unpack it first if it is right"
            )
        return n

    def close(self) -> None:
        self.file.close()
        super().close()
