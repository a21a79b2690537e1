"""The engines by name, and the choice of "auto"."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from ...nn import OPTIMIZERS, Optimizer
from ...utils.extras import naming_the_extra
from ..distributed import Communicator
from .base import Engine
from .numba_engine import NumbaEngine
from .numpy_engine import NumpyEngine

# Ratings trained on, summed over epochs, from which "auto" is Numba, which compiles once for later trainings.
WORTH_COMPILING = 3_000_000
# Time of the NumPy engine for a batch of one rating, relative to its time per rating in a large batch.
PER_SAMPLE = 100


def choose_engine(name: str, optimizer: Optimizer, n_trained: int, batch_size: int = 1024) -> str:
    """Return the name of the engine to train with: the given name, or for "auto" either "numba" or "numpy".

    "auto" is "numba" if Numba is installed, the engine has the optimizer, and training on `n_trained`
    ratings, summed over epochs, would take the NumPy engine more than a few seconds.
    """
    if name != "auto":
        return name
    work = n_trained * (PER_SAMPLE if batch_size == 1 else 1)
    pays = work >= WORTH_COMPILING and type(optimizer) in OPTIMIZERS.values()
    return "numba" if pays and find_spec("numba") else "numpy"


def communicator_of(engine: str, device: str) -> Communicator:
    """Return the communicator of the processes that train one model: for "torch", all that torchrun started.

    Raises ModuleNotFoundError if PyTorch is not installed, and ValueError if the device is not available.
    """
    if engine != "torch":
        return Communicator()
    with naming_the_extra('engine "torch"', "torch"):
        from .torch_device import find_device
        from .torch_processes import communicator_on
    return communicator_on(find_device(device))


def new_torch_engine(*settings: Any, **more: Any) -> Engine:
    """Return a `TorchEngine`; the first call imports PyTorch or raises ModuleNotFoundError."""
    with naming_the_extra('engine "torch"', "torch"):
        from .torch_engine import TorchEngine
    return TorchEngine(*settings, **more)


ENGINES: dict[str, Callable[..., Engine]] = {
    "numpy": NumpyEngine,
    "numba": NumbaEngine,
    "torch": new_torch_engine,
}
ENGINE_NAMES = ("auto", *ENGINES)
