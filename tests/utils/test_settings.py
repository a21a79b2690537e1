"""Checks of settings: the type first, then the range, and an error that names the setting and the value."""

import doctest
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from numpy_neural_mf.utils import settings
from numpy_neural_mf.utils.settings import (
    check_boolean,
    check_choice,
    check_fields,
    check_integer,
    check_number,
    check_sizes,
)

NOT_NUMBERS = ["auto", "3", None, True, np.True_, [3], (), {}, np.array([3]), object, 1j]


@pytest.mark.parametrize("value", [1, 5, np.int32(3), np.uint8(1), 10**400])
def test_integers_of_python_and_numpy_are_integers(value):
    check_integer("epochs", value, at_least=1)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 2.5, 2.0, np.float64(2), float("nan")])
def test_what_is_not_an_integer_is_a_type_error(value):
    message = f"epochs must be an integer of at least 1, not {value!r}"
    with pytest.raises(TypeError, match=re.escape(message) + "$"):
        check_integer("epochs", value, at_least=1)


@pytest.mark.parametrize("value", [0, -1, np.int64(-5)])
def test_an_integer_out_of_range_is_a_value_error(value):
    with pytest.raises(
        ValueError, match=re.escape(f"epochs must be an integer of at least 1, not {value!r}")
    ):
        check_integer("epochs", value, at_least=1)


def test_an_integer_has_an_upper_bound_where_one_is_given():
    check_integer("n", 5, at_least=1, at_most=5)
    with pytest.raises(ValueError, match="n must be an integer from 1 to 5, not 6"):
        check_integer("n", 6, at_least=1, at_most=5)


@pytest.mark.parametrize("value", [0, 0.5, np.float32(0.25), np.int8(0)])
def test_numbers_of_python_and_numpy_are_numbers(value):
    check_number("dropout", value, at_least=0, below=1)


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_not_a_number_is_a_type_error(value):
    message = f"learning_rate must be a finite number above 0, not {value!r}"
    with pytest.raises(TypeError, match=re.escape(message) + "$"):
        check_number("learning_rate", value, above=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan"), 10**400])
def test_a_number_is_finite_whatever_its_bounds(value):
    with pytest.raises(ValueError, match="damping must be a finite number, not "):
        check_number("damping", value)


@pytest.mark.parametrize(("bounds", "value"), [
    ({"at_least": 0}, -0.1), ({"above": 0}, 0.0), ({"at_most": 1}, 1.1), ({"below": 1}, 1),
])  # fmt: skip
def test_bounds_are_included_or_excluded_as_their_names_say(bounds, value):
    with pytest.raises(ValueError, match="x must be a finite number"):
        check_number("x", value, **bounds)
    for keyword in bounds.keys() & {"at_least", "at_most"}:
        check_number("x", bounds[keyword], **bounds)


def test_none_is_allowed_only_where_the_setting_is_optional():
    check_integer("patience", None, at_least=1, optional=True)
    check_number("tolerance", None, above=0, optional=True)
    with pytest.raises(TypeError, match="patience must be an integer of at least 1, or None, not 'auto'"):
        check_integer("patience", "auto", at_least=1, optional=True)


def test_a_boolean_is_true_or_false():
    check_boolean("biases", False)
    check_boolean("biases", np.True_)
    for value in (0, 1, "no", None):
        with pytest.raises(TypeError, match=f"biases must be True or False, not {value!r}"):
            check_boolean("biases", value)


def test_a_choice_is_one_of_the_names():
    check_choice("activation", "relu", {"relu": 1, "tanh": 2})
    with pytest.raises(ValueError, match="activation must be one of relu, tanh, not 'swish'"):
        check_choice("activation", "swish", ("relu", "tanh"))


@pytest.mark.parametrize("value", [3, None, ["relu"], {}])  # of which some cannot be looked up
def test_a_choice_that_is_not_text_is_a_type_error(value):
    with pytest.raises(TypeError, match=re.escape(f"activation must be one of relu, not {value!r}")):
        check_choice("activation", value, {"relu": 1})


@pytest.mark.parametrize("value", [(), [8], (64, np.int64(32)), np.array([3, 4])])
def test_sizes_are_integers_from_one(value):
    check_sizes("hidden_layer_sizes", value)


@pytest.mark.parametrize(
    "value", [10, None, "ab", {8}, iter([8]), (8, 2.5), ("8",), (True,), np.array(8), np.ones((2, 2), int)]
)
def test_sizes_of_another_type_are_type_errors(value):
    with pytest.raises(TypeError, match="sizes must be a sequence of integers from 1 to 1000000"):
        check_sizes("hidden_layer_sizes", value)


@pytest.mark.parametrize("value", [(5, 0), (5, 1_000_001)])
def test_a_size_out_of_range_is_a_value_error(value):
    message = f"hidden_layer_sizes must be a sequence of integers from 1 to 1000000, not {value}"
    with pytest.raises(ValueError, match=re.escape(message)):
        check_sizes("hidden_layer_sizes", value)


def test_the_examples_in_the_documentation_hold():
    results = doctest.testmod(settings)
    assert results.attempted > 0
    assert results.failed == 0


def test_an_object_has_all_of_its_fields_and_no_other():
    check_fields("history", {"loss": 1, "seconds": 2}, ["seconds", "loss"])
    check_fields("summary", {}, [])
    for value, message in (
        ({"loss": 1}, "history: missing seconds; expected loss, seconds"),
        ({"loss": 1, "seconds": 2, "b": 3, "a": 4}, "history: unknown a, b; expected loss, seconds"),
        (None, "history: expected loss, seconds, found None"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            check_fields("history", value, ["loss", "seconds"])
    with pytest.raises(ValueError, match="summary: unknown code; expected no fields"):
        check_fields("summary", {"code": 1}, ())


CHECKS = [
    check_boolean,
    check_integer,
    check_number,
    lambda name, value: check_choice(name, value, ("a", "b")),
]
CHECKS += [check_sizes, lambda name, value: check_fields(name, value, ("a", "b"))]


@given(
    st.recursive(st.text(), lambda part: st.lists(part) | st.dictionaries(st.text(), part)), st.integers(0, 3)
)
@example("x", 5)
@example([""], 5)
def test_errors_are_short_for_any_value(value, power):
    value = value * 10**power if isinstance(value, str | list) else value
    for check in CHECKS:
        try:
            check("x", value)
        except (TypeError, ValueError) as error:
            assert len(str(error)) <= 300  # noqa: PT017
