"""Optional packages: the error for a missing package says how to install it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def naming_the_extra(who: str, extra: str) -> Iterator[None]:
    """Make the error for a package that cannot be imported in this context name the extra that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = f'{who} needs {error.name}: pip install "numpy-neural-mf[{extra}]"'
        raise ModuleNotFoundError(message, name=error.name) from error
