"""The package nn: its modules need only NumPy, except for the scikit-learn estimator."""

import subprocess
import sys
from pathlib import Path

import pytest

import numpy_neural_mf
from numpy_neural_mf import nn

# The parent package is a stand-in, since importing it imports everything.
IMPORT_NN = f"""
import sys, types
import numpy, numpy.random, numpy.typing
before = set(sys.modules)
parent = types.ModuleType("numpy_neural_mf")
parent.__path__ = [{str(Path(numpy_neural_mf.__file__).parent)!r}]
sys.modules["numpy_neural_mf"] = parent
import numpy_neural_mf.nn
names = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(*sorted(names - set(sys.stdlib_module_names)))
numpy_neural_mf.nn.NeuralNetwork
print("sklearn" in sys.modules)
"""


def test_nn_imports_only_numpy_until_the_estimator_is_used():
    done = subprocess.run([sys.executable, "-c", IMPORT_NN], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["numpy_neural_mf", "True"], done.stderr


def test_an_unknown_name_raises_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Perceptron'"):
        nn.Perceptron  # noqa: B018
