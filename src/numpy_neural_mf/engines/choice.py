"""Which engine "auto" is: the compiled one where it is installed and pays."""

from __future__ import annotations

from importlib.util import find_spec

from ..nn import OPTIMIZERS, Optimizer

# Ratings trained on, each epoch counted, that the NumPy engine needs as long for as Numba to compile.
WORTH_COMPILING = 20_000_000


def choose_engine(name: str, optimizer: Optimizer, n_trained: int) -> str:
    """The engine to train with.

    Parameters
    ----------
    name : str
        Of an engine, which is taken; or "auto": "numba" where it is installed, has the optimizer compiled and
        the job is longer than the compilation; otherwise "numpy".
    optimizer : Optimizer
    n_trained : int
        Ratings times epochs.
    """
    if name != "auto":
        return name
    pays = n_trained >= WORTH_COMPILING and type(optimizer) in OPTIMIZERS.values()
    return "numba" if pays and find_spec("numba") else "numpy"
