"""The engine that "auto" takes, and the engine whose library is imported late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ...nn import OPTIMIZERS, Optimizer
from ..distributed import Communicator
from .base import Engine

# Ratings trained on, each epoch counted, on which the NumPy engine takes as long as Numba to compile.
WORTH_COMPILING = 20_000_000
# The time of the NumPy engine on a batch of one, in times of a rating of a large batch.
PER_SAMPLE = 100


def choose_engine(name: str, optimizer: Optimizer, n_trained: int, batch_size: int = 1024) -> str:
    """The engine to train with.

    Parameters
    ----------
    name : str
        The name of an engine, or "auto": "numba" if it is installed, has the optimizer compiled and training
        takes longer than the compilation; otherwise "numpy".
    optimizer : Optimizer
    n_trained : int
        Ratings times epochs.
    batch_size : int, default 1024
    """
    if name != "auto":
        return name
    work = n_trained * (PER_SAMPLE if batch_size == 1 else 1)
    pays = work >= WORTH_COMPILING and type(optimizer) in OPTIMIZERS.values()
    return "numba" if pays and find_spec("numba") else "numpy"


def communicator_of(engine: str, device: str) -> Communicator:
    """Of the processes that train one model: for the engine "torch" all that torchrun started.

    Raises
    ------
    ModuleNotFoundError
        PyTorch is not installed.
    ValueError
        The device is not available.
    """
    if engine != "torch":
        return Communicator()
    with _naming_the_extra():
        from .torch_device import find_device
        from .torch_processes import communicator_on
    return communicator_on(find_device(device))


def new_torch_engine(*settings: Any, **more: Any) -> Engine:
    """A `TorchEngine`; PyTorch is imported by the first call.

    Raises
    ------
    ModuleNotFoundError
        PyTorch is not installed.
    """
    with _naming_the_extra():
        from .torch_engine import TorchEngine
    return TorchEngine(*settings, **more)


@contextmanager
def _naming_the_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'engine "torch" needs {error.name}: pip install "numpy-neural-mf[torch]"', name=error.name
        ) from error
