"""Optional packages: the error for a missing package says how to install it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def naming_the_extra(who: str, extra: str) -> Iterator[None]:
    """Name the extra that installs a package in the error if its import in this context fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = f'{who} needs {error.name}: pip install "numpy-neural-mf[{extra}]"'
        raise ModuleNotFoundError(message, name=error.name) from error
