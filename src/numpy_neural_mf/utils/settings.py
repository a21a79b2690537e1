"""Checks of settings: TypeError for the wrong type, ValueError out of range, with the name and value."""

import functools
import inspect
import math
import operator
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

from .shortened import quoted

C = TypeVar("C", bound=type)

MAX_SIZE = 1_000_000  # of a layer; for larger layers, NumPy's errors do not mention memory

# Each keyword's words in the error, and comparison.
BOUNDS = {
    "at_least": ("of at least", operator.ge),
    "above": ("above", operator.gt),
    "at_most": ("of at most", operator.le),
    "below": ("below", operator.lt),
}


def check_integer(name: str, value: Any, *, optional: bool = False, **bounds: int) -> None:
    """Require an integer of Python or NumPy, not a Boolean, within bounds given by the keywords of BOUNDS."""
    _check("an integer", Integral, name, value, optional, bounds)


def check_number(name: str, value: Any, *, optional: bool = False, **bounds: float) -> None:
    """Require a finite real number, or None where it is optional, within bounds.

    >>> check_number("dropout", 1.5, at_least=0, below=1)
    Traceback (most recent call last):
    ValueError: dropout must be a finite number of at least 0 and below 1, not 1.5
    """
    _check("a finite number", Real, name, value, optional, bounds)


def check_boolean(name: str, value: Any) -> None:
    """Require True or False, of Python or NumPy."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {quoted(value)}")


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Require one of several names."""
    if not (isinstance(value, str) and value in choices):
        error = ValueError if isinstance(value, str) else TypeError
        raise error(f"{name} must be one of {', '.join(choices)}, not {quoted(value)}")


def check_sizes(name: str, values: Any) -> None:
    """Require a sequence of integers from 1 to MAX_SIZE, perhaps empty: a list, a tuple or a 1-D array."""
    is_sequence = isinstance(values, Sequence) or (isinstance(values, np.ndarray) and values.ndim == 1)
    is_typed = is_sequence and all(_is_a(Integral, value) for value in values)
    if not (is_typed and all(1 <= value <= MAX_SIZE for value in values)):
        error = ValueError if is_typed else TypeError
        raise error(f"{name} must be a sequence of integers from 1 to {MAX_SIZE}, not {quoted(values)}")


def check_fields(name: str, value: Any, fields: Collection[str]) -> None:
    """Require an object of JSON with these fields, all of them and no other; ValueError otherwise."""
    expected = f"expected {', '.join(sorted(fields)) or 'no fields'}"
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: {expected}, found {quoted(value)}")
    if missing := sorted(set(fields) - set(value)):
        raise ValueError(f"{name}: missing {', '.join(missing)}; {expected}")
    if unknown := sorted(set(value) - set(fields)):
        raise ValueError(f"{name}: unknown {', '.join(unknown)}; {expected}")


def known_keywords(*more: str) -> Callable[[C], C]:
    """Return a class decorator: an unknown keyword is a TypeError with the nearest name, or with all names.

    `more` are the names that the class accepts by ``**``.
    """

    def decorated(cls: C) -> C:
        init: Any = cls.__init__  # type: ignore[misc]
        _, *parameters = inspect.signature(init).parameters.values()
        known = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD] + list(more)

        @functools.wraps(init)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
            for name in kwargs.keys() - set(known):
                nearest = get_close_matches(name, known, 1)
                hint = f"did you mean {nearest[0]!r}?" if nearest else f"it has {', '.join(known)}"
                raise TypeError(f"{type(self).__name__} has no setting {quoted(name)}; {hint}")
            init(self, *args, **kwargs)

        cls.__init__ = wrapper  # type: ignore[misc]
        return cls

    return decorated


def _check(kind: str, of: type, name: str, value: Any, optional: bool, bounds: Mapping[str, float]) -> None:
    given = [(*BOUNDS[keyword], bound) for keyword, bound in bounds.items()]
    is_typed = _is_a(of, value)
    in_range = is_typed and -math.inf < value < math.inf and all(holds(value, b) for _, holds, b in given)
    if in_range and of is Real and isinstance(value, Integral):
        in_range = abs(int(value)) <= sys.float_info.max
    if in_range or (optional and value is None):
        return
    expected = " ".join([kind, " and ".join(f"{words} {bound}" for words, _, bound in given)]).strip()
    if [*bounds] == ["at_least", "at_most"]:
        expected = f"{kind} from {bounds['at_least']} to {bounds['at_most']}"
    error = ValueError if is_typed else TypeError
    raise error(f"{name} must be {expected}{', or None' if optional else ''}, not {quoted(value)}")


def _is_a(type_: type, value: Any) -> bool:
    return isinstance(value, type_) and not isinstance(value, bool | np.bool_)
