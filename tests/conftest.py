"""Settings for a machine that is slow or shared: no deadlines, and no threads that wait for each other."""

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

import pytest
from hypothesis import settings

# BLAS and PyTorch read it when they are loaded. For arrays this small, threads cost more than they bring.
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


class SkippedWithoutTorch(MetaPathFinder, Loader):
    """Skips a test, or a file of them, where it imports PyTorch."""

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "torch" else None

    def exec_module(self, module):
        pytest.skip("PyTorch is not installed", allow_module_level=True)


if not find_spec("torch"):
    sys.meta_path.append(SkippedWithoutTorch())
