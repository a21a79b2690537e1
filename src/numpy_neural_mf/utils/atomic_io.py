"""Files are written whole or not at all."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def require_folder(path: str | os.PathLike[str]) -> None:
    """Raise OSError before the work whose results go there, if a folder cannot be written to or made."""
    existing = Path(path).absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "expected a folder, found a file", str(existing))
    if not os.access(existing, os.W_OK | os.X_OK):
        message = "expected a folder to write to, found one without permission"
        raise PermissionError(errno.EACCES, message, str(existing))


def is_first_process() -> bool:
    """Whether this process is the one that writes: of those that torchrun started, the first."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path next to `path`, of the same suffix, that takes its place when the block ends well.

    Whatever happens in between, `path` is the old file or the whole new one. Folders are made as needed.
    Links are followed: the file that a link points to is replaced. A new file has the mode of the old one,
    and its owner where that is allowed. A pipe or a device cannot be replaced: it is written to directly.
    """
    path = Path(path)
    if _is_stream(path):
        yield path
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        if temporary.is_file():
            if path.is_file():
                status = path.stat()
                with suppress(OSError, AttributeError):  # not the superuser, or a system without owners
                    os.chown(temporary, status.st_uid, status.st_gid)
                temporary.chmod(stat.S_IMODE(status.st_mode))
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())  # else a failing machine could keep the new name of an empty file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether a path is a pipe, a socket or a device, or stands for an open file, as /dev/stdout does."""
    if path.absolute().parts[1:2] in (("dev",), ("proc",)):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()
