"""Atomic writing: a file is written completely or not at all."""

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Seconds without a write after which a temporary file counts as left by a killed process.
ABANDONED = 3600.0
Name = str | os.PathLike[str]


def expanded(path: Name) -> Path:
    """Return the path with ``~`` expanded, if there is a home folder."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises where there is none


def require_file(path: Name) -> None:
    """Raise OSError unless a path is a regular file: reading a pipe or a device might never end."""
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(errno.EINVAL, "expected a file, found a folder, a pipe or a device", os.fspath(path))


def require_output(path: Name, *inputs: Name | None) -> None:
    """Raise OSError if a file cannot be written to, ValueError if it is one of the inputs.

    Call it before the work. It writes a temporary file next to `path`, unless the folder does not exist yet.
    """
    path = expanded(path)
    if _is_stream(path):
        if not path.parent.exists():
            raise FileNotFoundError(errno.ENOENT, "expected a file to write to, found no folder", str(path))
        return
    require_folder(Path(os.path.realpath(path)).parent)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "expected a file to write to, found a folder", str(path))
    for given in inputs:
        if given is not None and path.exists() and Path(given).exists() and path.samefile(given):
            raise ValueError(f"{path}: expected a file to write to, found one that is read")
    if path.parent.exists():
        temporary = _temporary(Path(os.path.realpath(path)))
        temporary.touch()
        temporary.unlink()


def require_folder(path: Name) -> None:
    """Raise OSError if a folder cannot be written to or made; call before the work."""
    existing = expanded(path).absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "expected a folder, found a file", str(existing))
    if not os.access(existing, os.W_OK | os.X_OK):
        message = "expected a folder to write to, found one without permission"
        raise PermissionError(errno.EACCES, message, str(existing))


def is_first_process() -> bool:
    """Return whether this process writes files: only the first of those that torchrun started does."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0"


@contextmanager
def replacing(path: Name) -> Iterator[Path]:
    """Yield a temporary path with the same suffix; the file there replaces `path` if the block succeeds.

    Whatever happens meanwhile, `path` is the old file or the complete new one. Folders are made as needed.
    ``~`` is the home folder. Links are followed: the file that a link points to is replaced. A new file has
    the mode of the old one, and its owner where that is allowed. A pipe or a device cannot be replaced: it is
    written to directly. Any number of threads and processes may write at the same time: the last to finish
    wins. A later call removes the temporary files of killed processes, see `ABANDONED`. The OSError of a full
    disk names `path`.
    """
    path = expanded(path)
    if _is_stream(path):
        with _naming(path):
            yield path
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary = _temporary(path)
    try:
        with _naming(path):
            yield temporary
        if temporary.is_file():
            if path.is_file():
                status = path.stat()
                with suppress(OSError, AttributeError):  # no permission, or a system without owners
                    os.chown(temporary, status.st_uid, status.st_gid)
                temporary.chmod(stat.S_IMODE(status.st_mode))
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())  # otherwise a crash could leave an empty file of the new name
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """Return a unique name, also among other processes, that does not exceed the longest possible name."""
    return path.with_name(f".{path.stem[:40]}.{secrets.token_hex(8)}{path.suffix}")


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of `path` that were last written more than `ABANDONED` seconds ago."""
    own = re.compile(rf"\.{re.escape(path.stem[:40])}\.[0-9a-f]{{16}}{re.escape(path.suffix)}")
    for found in path.parent.iterdir():
        with suppress(OSError):  # another process may be faster
            if own.fullmatch(found.name) and time.time() - found.stat().st_mtime > ABANDONED:
                found.unlink()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the file name to an error without one, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        if error.errno is None and str(path) not in str(error):  # from polars, without file name
            raise OSError(f"{path}: {error}") from error
        raise


def _is_stream(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device, or an open file such as /dev/stdout."""
    if path.absolute().parts[1:2] in (("dev",), ("proc",)):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()
