"""Former names of parameters: they work, warn, and do not appear in the signature."""

import inspect

import pytest

from numpy_neural_mf.utils.deprecation import DeprecatedName, renamed_parameters


class Model:
    warm_up = DeprecatedName("burn_in")

    @renamed_parameters(warm_up="burn_in")
    def __init__(self, *, burn_in=20):
        self.burn_in = burn_in


def test_a_former_name_sets_the_new_parameter_with_a_warning():
    with pytest.warns(DeprecationWarning, match="^warm_up is now named burn_in$") as caught:
        assert Model(warm_up=3).burn_in == 3
    assert caught[0].filename == __file__


def test_a_former_name_of_an_attribute_reads_and_writes_the_new_one_with_a_warning():
    model = Model(burn_in=5)
    with pytest.warns(DeprecationWarning, match="warm_up is now named burn_in") as caught:
        assert model.warm_up == 5
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="warm_up is now named burn_in"):
        model.warm_up = 6
    assert vars(model) == {"burn_in": 6}


def test_both_names_at_once_are_refused():
    with pytest.raises(TypeError, match="burn_in and its former name warm_up are both given"):
        Model(warm_up=3, burn_in=4)


def test_the_signature_has_only_the_new_names():
    assert list(inspect.signature(Model).parameters) == ["burn_in"]
