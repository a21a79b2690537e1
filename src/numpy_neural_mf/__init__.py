"""Neural matrix factorisation for ratings, from a neural network written by hand in NumPy."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api import *  # noqa: F403

    __version__: str
else:

    def __getattr__(name):
        """Import the public names at the first use of one: the command line catches Ctrl-C before."""
        if name == "__version__":
            return importlib.import_module("importlib.metadata").version("numpy-neural-mf")
        api = importlib.import_module(f"{__name__}.api")
        if name in ("__all__", *api.__all__):
            return getattr(api, name)
        if name in globals():  # a part of the package, which the public names brought
            return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__getattr__("__all__")})
