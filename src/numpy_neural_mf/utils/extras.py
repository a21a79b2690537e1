"""Optional packages: the error for one that is missing says how to install it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def naming_the_extra(who: str, extra: str) -> Iterator[None]:
    """A context in which a package that cannot be imported is an error that names what installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = f'{who} needs {error.name}: pip install "numpy-neural-mf[{extra}]"'
        raise ModuleNotFoundError(message, name=error.name) from error
