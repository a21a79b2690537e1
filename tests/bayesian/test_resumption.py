"""Sampling resumes from a checkpoint only if compiled loops can trust its content."""

import numpy as np
import pytest
from forged_checkpoint import forge

from numpy_neural_mf import BayesianMF, random_split, simulate_ratings
from numpy_neural_mf.training.checkpoint import FILE

pytest.importorskip("numba")
RATINGS = simulate_ratings(n_users=40, n_items=40, n_ratings=1_000, drift=0.5, random_state=0)


class CutOffError(Exception):
    """Stands for any interruption of sampling."""


def cut_off(progress):
    if progress.epoch == 11:
        raise CutOffError


def model():
    return BayesianMF(3, n_samples=9, burn_in=4, rank=2)


@pytest.fixture
def folder(tmp_path):
    """A folder with the state after ten samples, six of them in the mean."""
    with pytest.raises(CutOffError):
        model().fit(*random_split(RATINGS, 0.1), cut_off, tmp_path)
    return tmp_path


def resume(folder):
    return model().fit(*random_split(RATINGS, 0.1), checkpoint_dir=folder)


def element(name, index, value):
    return lambda state, arrays: arrays[name].__setitem__(index, value)


def array(name, change):
    return lambda state, arrays: arrays.update({name: change(arrays[name])})


def wide(state, arrays):
    """Give the factors of the mean more columns than are ever collected."""
    for side in ("P", "Q"):
        name = f"posterior/user_item.{side}"
        arrays[name] = np.tile(arrays[name], (1, 50))


FORGERIES = {
    "bounds beyond the end": (element("sampler/users.bounds", 1, 10**6), "users.bounds, whose values"),
    "bounds that fall": (element("sampler/users.bounds", 0, -1), "users.bounds, whose values"),
    "bounds plus a million": (array("sampler/users.bounds", lambda a: a + 10**6), "users.bounds, whose"),
    "a member that is not there": (element("sampler/users.members", 0, 10**6), "users.members, whose values"),
    "a member below 0": (element("sampler/items.members", 0, -1), "items.members, whose values"),
    "residuals of one rating": (array("sampler/residuals", lambda a: a[:1]), "float64 of shape"),
    "a path too short": (array("sampler/drift.0", lambda a: a[:-1]), "float64 of shape"),
    "a precision of 0": (element("sampler/users.precision", (0, 0), 0), "users.precision, whose values"),
    "a timescale below 0": (element("sampler/numbers", -1, -1), "sampler/numbers, whose values"),
    "not finite": (element("sampler/residuals", 0, np.nan), "not finite"),
    "no residuals": (lambda s, a: a.pop("sampler/residuals"), "no sampler/residuals"),
    "no validation": (lambda s, a: a.pop("validation"), "no validation"),
    "too many columns of the mean": (wide, "the sum of 6 products"),
    "columns of one side": (
        array("posterior/user_item.P", lambda a: a[:, :1]), "the sum of 6 products: factors of 1 and"
    ),
    "a product too many": (array("posterior/user_item.n", lambda a: a - 6), "the sum of 0 products"),
    "a sample too many": (element("posterior/numbers", 0, 7), "sums of 7 samples, not of 6"),
    "samples not in the history": (
        lambda s, a: s["progress"].update(train_loss=[], validation_loss=[], seconds=[]),
        "sums of 6 samples, not of 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_state_is_refused(folder, name):
    change, message = FORGERIES[name]
    forge(folder, change)
    with pytest.raises(ValueError, match=message) as caught:
        resume(folder)
    assert str(caught.value).startswith(f"{folder / FILE}: expected a checkpoint, found")


def test_forged_states_have_a_valid_format(folder):
    """Otherwise the tests above would only find a wrong digest."""
    forge(folder, lambda state, arrays: None)
    resumed, undisturbed = resume(folder), model().fit(*random_split(RATINGS, 0.1))
    for name, value in undisturbed.parameters_.items():
        assert resumed.parameters_[name].tobytes() == value.tobytes()
    assert resumed.history_.validation_loss == undisturbed.history_.validation_loss
