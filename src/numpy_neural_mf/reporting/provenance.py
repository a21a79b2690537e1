"""Provenance of results: versions, platform and the settings of a model."""

import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ..mf.architecture import Architecture


def made_with() -> dict[str, str]:
    """Return the platform and the versions of Python and of the packages behind the results, by name."""
    versions = {package: version(package) for package in ("numpy-neural-mf", "numpy", "scikit-learn")}
    return {"python": platform.python_version(), "platform": platform.platform()} | versions


def settings_of(model: object) -> dict[str, str]:
    """Return the settings of a model and of its `Architecture`, by name, as text.

    A setting is an attribute whose name neither begins nor ends with an underscore, as in scikit-learn.

    >>> from numpy_neural_mf import LinearRegression
    >>> settings_of(LinearRegression(alphas=(1, 10)))
    {'alphas': '1, 10'}
    """
    settings: dict[str, Any] = {}
    for name, value in vars(model).items():
        if not (name.startswith("_") or name.endswith("_")):
            settings |= asdict(value) if isinstance(value, Architecture) else {name: value}
    return {name: _text(value) for name, value in settings.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
