"""Which engine "auto" is, and the engine that is imported late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...mf.architecture import Architecture, Parameters
from ...nn import OPTIMIZERS, Optimizer
from ..distributed import OneProcess
from .base import Engine

# Ratings trained on, each epoch counted, that the NumPy engine needs as long for as Numba to compile.
WORTH_COMPILING = 20_000_000
# How many times as long a rating takes the NumPy engine by itself as among many.
ALONE = 100


def choose_engine(name: str, optimizer: Optimizer, n_trained: int, batch_size: int = 1024) -> str:
    """The engine to train with.

    Parameters
    ----------
    name : str
        Of an engine, which is taken; or "auto": "numba" where it is installed, has the optimizer compiled and
        the job is longer than the compilation; otherwise "numpy".
    optimizer : Optimizer
    n_trained : int
        Ratings times epochs.
    batch_size : int, default 1024
    """
    if name != "auto":
        return name
    work = n_trained * (ALONE if batch_size == 1 else 1)
    pays = work >= WORTH_COMPILING and type(optimizer) in OPTIMIZERS.values()
    return "numba" if pays and find_spec("numba") else "numpy"


def processes_of(engine: str, device: str) -> OneProcess:
    """Those that train one model: with the engine "torch" all that torchrun started, else this one alone.

    Raises
    ------
    ModuleNotFoundError
        PyTorch is not installed.
    ValueError
        The device is not there.
    """
    if engine != "torch":
        return OneProcess()
    with _naming_the_extra('engine "torch"'):
        from .torch_device import find_device
        from .torch_processes import processes
    return processes(find_device(device))


def new_torch_engine(*settings: Any, **more: Any) -> Engine:
    """A `TorchEngine`, of a sequence if given timestamps: PyTorch is imported for whoever asks for it.

    Raises
    ------
    ModuleNotFoundError
        PyTorch is not installed.
    """
    with _naming_the_extra('engine "torch"'):
        from .torch_engine import TorchEngine
        from .torch_sequence_engine import TorchSequenceEngine
    return (TorchSequenceEngine if "timestamps" in more else TorchEngine)(*settings, **more)


def states_of(
    architecture: Architecture, parameters: Parameters, items: NDArray[np.int32]
) -> NDArray[np.floating[Any]]:
    """See `torch_sequence.states_of`.

    Raises
    ------
    ModuleNotFoundError
        PyTorch is not installed.
    """
    with _naming_the_extra("a model with sequences"):
        from .torch_sequence import states_of
    return states_of(architecture, parameters, items)


@contextmanager
def _naming_the_extra(what: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{what} needs {error.name}: pip install "numpy-neural-mf[torch]"', name=error.name
        ) from error
