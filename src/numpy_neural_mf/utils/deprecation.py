"""Former names of parameters, which still work with a DeprecationWarning."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def renamed_parameters(**new_names: str) -> Callable[[F], F]:
    """Return a decorator with which a class or function accepts the former names of keyword parameters.

    The keywords are former names, their values the new names. A call with both names is a TypeError.
    """

    def decorated(called: F) -> F:
        if isinstance(called, type):
            called.__init__ = decorated(called.__init__)  # type: ignore[misc]
            return called

        @functools.wraps(called)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for old, new in new_names.items():
                if old in kwargs:
                    if new in kwargs:
                        raise TypeError(f"{new} and its former name {old} are both given")
                    _warn(old, new)
                    kwargs[new] = kwargs.pop(old)
            return called(*args, **kwargs)

        return cast("F", wrapper)

    return decorated


class DeprecatedName:
    """An alias for an attribute under its former name."""

    def __init__(self, new: str) -> None:
        self._new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        _warn(self._old, self._new)
        return getattr(instance, self._new)

    def __set__(self, instance: Any, value: Any) -> None:
        _warn(self._old, self._new)
        setattr(instance, self._new, value)


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is now named {new}", DeprecationWarning, stacklevel=3)
