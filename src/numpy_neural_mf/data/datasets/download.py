"""Download of one file over HTTP, which resumes an interrupted transfer."""

import re
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

# Called with the number of bytes received and the total, or None if the server does not report it.
BytesCallback = Callable[[int, int | None], None]

TIMEOUT = 30.0  # seconds without a byte
PAUSES = (1.0, 4.0, 15.0)  # seconds before the second, third and fourth attempt
SLOWEST = 1000  # bytes per second, after the first TIMEOUT
BLOCK = 1 << 16


def fetch(url: str, part: Path, most: int, on_progress: BytesCallback | None = None) -> None:
    """Download `url` to `part`, resuming an interrupted transfer; raise OSError after the last attempt.

    More than `most` bytes are an OSError, and the partial file is removed; after other errors it is kept.
    `part`.tag has the entity tag of the file that `part` is the beginning of: a transfer resumes only while
    the server still has the same file (RFC 9110, sections 13.1.5 and 14).
    """
    for pause in (*PAUSES, None):
        try:
            return _attempt(url, part, most, on_progress)
        except HTTPError as error:
            error.close()
            problem = f"the server answered {error.code} {error.reason}"
            if error.code < 500:
                raise OSError(f"{url}: expected a file, {problem}") from None
        except (_BrokenOffError, URLError, HTTPException, ConnectionError, TimeoutError, SSLError) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        if pause is not None:
            time.sleep(pause)
    raise OSError(f"{url}: failed {len(PAUSES) + 1} times, the last time: {problem}")


def remove(part: Path) -> None:
    """Remove the partial file of a transfer."""
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


class _BrokenOffError(Exception):
    """The connection ended early or did not send what was asked for; another attempt may do better."""


def _attempt(url: str, part: Path, most: int, on_progress: BytesCallback | None) -> None:
    tag_file = _tag_file(part)
    n_here = part.stat().st_size if part.is_file() and tag_file.is_file() else 0
    headers = {"User-Agent": "numpy-neural-mf"}
    if n_here:
        headers |= {"Range": f"bytes={n_here}-", "If-Range": tag_file.read_text("latin-1")}
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{n_here}":
            return  # complete: there is nothing beyond it
        part.unlink()
        raise _BrokenOffError("the part that was here is not one of this file") from None
    with response:
        total = _length(response, n_here)
        if response.status != 206:
            n_here = 0
        if not n_here:
            part.unlink(missing_ok=True)  # before its tag changes: a tag never belongs to other bytes
            _write_tag(tag_file, response)
        with part.open("ab") as file:
            begun, n_before = time.monotonic(), n_here
            while block := response.read1(BLOCK):
                file.write(block)
                n_here += len(block)
                if n_here > most:
                    remove(part)
                    raise OSError(f"{url}: expected at most {most:,} bytes, the server sends more")
                if n_here - n_before < SLOWEST * (time.monotonic() - begun - TIMEOUT):
                    raise _BrokenOffError(f"fewer than {SLOWEST:,} bytes in a second")
                if on_progress is not None:
                    on_progress(n_here, total)
    if total is not None and n_here != total:
        raise _BrokenOffError(f"the connection ended after {n_here:,} of {total:,} bytes")


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _length(response: HTTPResponse, n_here: int) -> int | None:
    """Return the length of the complete file in bytes, or None if the server does not report it."""
    if response.status != 206:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None
    sent = response.headers.get("Content-Range", "")
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", sent)
    if span is None or int(span[1]) != n_here:
        raise _BrokenOffError(f"expected bytes from {n_here} on, the server sent {sent or 'others'!r}")
    return None if span[2] == "*" else int(span[2])


def _write_tag(tag_file: Path, response: HTTPResponse) -> None:
    """Store the validator of this version of the file; without one, no transfer is resumed."""
    tag = response.headers.get("ETag", "")
    tag = response.headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag
    tag_file.unlink(missing_ok=True)
    if tag:
        tag_file.write_text(tag, "latin-1")
