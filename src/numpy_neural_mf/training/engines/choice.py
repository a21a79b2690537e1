"""The engines by name, and the one that "auto" takes."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from ...nn import OPTIMIZERS, Optimizer
from ...utils.extras import naming_the_extra
from ..distributed import Communicator
from .base import Engine
from .numba_engine import NumbaEngine
from .numpy_engine import NumpyEngine

# Ratings trained on, each epoch counted, from which Numba is taken: it compiles once for all later trainings.
WORTH_COMPILING = 3_000_000
# The time of the NumPy engine on a batch of one, in times of a rating of a large batch.
PER_SAMPLE = 100


def choose_engine(name: str, optimizer: Optimizer, n_trained: int, batch_size: int = 1024) -> str:
    """The engine to train with: the one of a name, or for "auto" "numba" or "numpy".

    It is "numba" if that is installed, has the optimizer compiled, and training on `n_trained` ratings, each
    epoch counted, takes the NumPy engine more than some seconds.
    """
    if name != "auto":
        return name
    work = n_trained * (PER_SAMPLE if batch_size == 1 else 1)
    pays = work >= WORTH_COMPILING and type(optimizer) in OPTIMIZERS.values()
    return "numba" if pays and find_spec("numba") else "numpy"


def communicator_of(engine: str, device: str) -> Communicator:
    """Of the processes that train one model: for the engine "torch" all that torchrun started.

    A ModuleNotFoundError says that PyTorch is not installed, a ValueError that the device is not available.
    """
    if engine != "torch":
        return Communicator()
    with naming_the_extra('engine "torch"', "torch"):
        from .torch_device import find_device
        from .torch_processes import communicator_on
    return communicator_on(find_device(device))


def new_torch_engine(*settings: Any, **more: Any) -> Engine:
    """A `TorchEngine`; the first call imports PyTorch, or raises a ModuleNotFoundError."""
    with naming_the_extra('engine "torch"', "torch"):
        from .torch_engine import TorchEngine
    return TorchEngine(*settings, **more)


ENGINES: dict[str, Callable[..., Engine]] = {
    "numpy": NumpyEngine,
    "numba": NumbaEngine,
    "torch": new_torch_engine,
}
ENGINE_NAMES = ("auto", *ENGINES)
