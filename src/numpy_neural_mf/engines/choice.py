"""Which engine "auto" is, and the engine that is imported late."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from ..nn import OPTIMIZERS, Optimizer
from .base import Engine

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


def new_torch_engine(*settings: Any, **more: Any) -> Engine:
    """A `torch_engine.TorchEngine`: PyTorch is imported for whoever asks for it.

    Raises
    ------
    ModuleNotFoundError
        PyTorch is not installed.
    """
    try:
        from .torch_engine import TorchEngine
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'engine "torch" needs {error.name}: pip install "numpy-neural-mf[torch]"', name=error.name
        ) from error
    return TorchEngine(*settings, **more)
