"""Attributes of a model that are read from its fitted state."""

from operator import attrgetter
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Forwarded(Generic[T]):
    """A read-only attribute of type T that forwards to another attribute, given by its dotted path."""

    def __init__(self, path: str) -> None:
        self._read = attrgetter(path)

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        return cast("T", self if instance is None else self._read(instance))

    def __set__(self, instance: Any, value: Any) -> None:
        raise AttributeError("this attribute is read from what the model learned and cannot be set")
