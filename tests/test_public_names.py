"""What the package offers: names that exist and are documented, and an import that brings nothing unasked."""

import ast
import doctest
import importlib.metadata
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import numpy_neural_mf

ROOT = Path(numpy_neural_mf.__file__).parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(ROOT)], "numpy_neural_mf.")
    if not module.name.endswith("__main__")
)
PACKAGES = ["numpy_neural_mf", *(name for name in MODULES if (ROOT.parent / name.replace(".", "/")).is_dir())]
# Run beside the tests of the network.
HAVE_DOCTESTS_OF_THEIR_OWN = ("numpy_neural_mf.nn.gradcheck", "numpy_neural_mf.nn.network")


OPTIONAL = (
    "torch",
    "numba",
    "onnx",
    "onnxruntime",
    "optuna",
    "pandas",
    "pyarrow",
    "IPython",
    "pytest",
    "hypothesis",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_offered_exists(package):
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_names_are_listed_once_and_in_order(package):
    names = importlib.import_module(package).__all__
    # CONSTANTS, Classes, functions.
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name.islower(), name))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_class_and_function_offered_is_documented(package):
    module = importlib.import_module(package)
    offered = {name: getattr(module, name) for name in module.__all__}
    documented = {
        name: value.__doc__
        for name, value in offered.items()
        if inspect.isclass(value) or inspect.isfunction(value)
    }
    # A dataclass without docstring is given its signature as one.
    assert [name for name, text in documented.items() if not text or text.startswith(f"{name}(")] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_class_and_function_imported_into_a_package_is_offered(package):
    module = importlib.import_module(package)
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
    }
    assert public <= set(module.__all__)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_opens_with_a_sentence(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", [name for name in MODULES if name not in HAVE_DOCTESTS_OF_THEIR_OWN])
def test_examples_in_docstrings_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def output_of(code):
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


HEAVY = {"matplotlib", "sklearn", "polars", "jinja2", "scipy.sparse", "scipy.stats", "scipy.optimize"}
NEED_SKLEARN = {"NeuralNetwork", "RatingRegressor"}
LIGHT = [name for name in numpy_neural_mf.__all__ if name not in NEED_SKLEARN]


@pytest.mark.parametrize(
    "code", ["import numpy_neural_mf", f"from numpy_neural_mf import {', '.join(LIGHT)}"]
)
def test_importing_brings_no_optional_package_and_no_heavy_one(code):
    modules = output_of(f"{code}; import sys; print(*sys.modules)")
    assert HEAVY.union(OPTIONAL).intersection(modules) == set()


def test_ratings_are_learned_and_recommended_without_what_only_reads_and_draws():
    code = "from numpy_neural_mf import NeuralMF, simulate_ratings; r = simulate_ratings(30, 20, 200)"
    code += "\nNeuralMF(epochs=1, engine='numpy').fit(r).recommend(1); import sys; print(*sys.modules)"
    assert {"matplotlib", "sklearn", "polars", "pandas"}.intersection(output_of(code)) == set()


def test_the_public_names_are_listed_before_one_is_used():
    names = output_of("import numpy_neural_mf; print(*dir(numpy_neural_mf))")
    assert set(numpy_neural_mf.__all__) < set(names)


def test_the_version_is_that_of_the_installed_package():
    assert numpy_neural_mf.__version__ == importlib.metadata.version("numpy-neural-mf")


def test_a_part_of_the_package_is_an_attribute_and_another_name_is_none():
    assert numpy_neural_mf.data.Ratings is numpy_neural_mf.Ratings
    with pytest.raises(AttributeError, match="module 'numpy_neural_mf' has no attribute 'Rating'"):
        _ = numpy_neural_mf.Rating


WITHOUT_OPTIONAL_PACKAGES = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {OPTIONAL}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from numpy_neural_mf import *
from numpy_neural_mf import __all__, cli
ratings = simulate_ratings(n_users=20, n_items=10, n_ratings=100)
NeuralMF(epochs=1).fit(read_ratings(ratings.to_polars()))
print(*__all__)
"""


def test_the_package_works_where_no_optional_package_is_installed():
    assert output_of(WITHOUT_OPTIONAL_PACKAGES) == numpy_neural_mf.__all__
