"""Schedules: the learning rates of PyTorch's schedulers, step by step."""

import pytest
import torch
from torch.optim import lr_scheduler

from numpy_neural_mf.nn import constant, cosine, exponential, linear_warmup, step_decay

RATE, N_STEPS = 0.3, 40


def torch_rates(make_scheduler):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(N_STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (constant(RATE), lambda o: lr_scheduler.ConstantLR(o, factor=1)),
        (step_decay(RATE, every=7, factor=0.5), lambda o: lr_scheduler.StepLR(o, 7, gamma=0.5)),
        (exponential(RATE, 0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
        (cosine(RATE, N_STEPS), lambda o: lr_scheduler.CosineAnnealingLR(o, N_STEPS)),
        (cosine(RATE, N_STEPS, 0.01), lambda o: lr_scheduler.CosineAnnealingLR(o, N_STEPS, eta_min=0.01)),
        (
            linear_warmup(constant(RATE), 10),
            lambda o: lr_scheduler.LinearLR(o, start_factor=1 / 10, total_iters=9),
        ),
    ],
    ids=["constant", "step_decay", "exponential", "cosine", "cosine to a floor", "linear_warmup"],
)
def test_rates_equal_those_of_torch(ours, theirs):
    assert [ours(step) for step in range(N_STEPS)] == pytest.approx(torch_rates(theirs), rel=1e-12)


def test_a_cosine_stays_at_its_end():
    assert cosine(RATE, 10, final=0.1)(10) == pytest.approx(0.1)
    assert cosine(RATE, 10, final=0.1)(1000) == pytest.approx(0.1)


def test_after_the_warmup_the_given_schedule_applies():
    warm = linear_warmup(exponential(RATE, 0.9), 5)
    assert warm(0) == pytest.approx(RATE / 5)
    assert [warm(step) for step in range(4, 20)] == [exponential(RATE, 0.9)(step) for step in range(4, 20)]


@pytest.mark.parametrize(
    ("new", "setting"),
    [
        (lambda **s: constant(s.get("learning_rate", RATE)), "learning_rate"),
        (lambda **s: step_decay(**{"learning_rate": RATE, "every": 3} | s), "learning_rate"),
        (lambda **s: step_decay(**{"learning_rate": RATE, "every": 3} | s), "every"),
        (lambda **s: step_decay(**{"learning_rate": RATE, "every": 3} | s), "factor"),
        (lambda **s: exponential(**{"learning_rate": RATE, "factor": 0.5} | s), "factor"),
        (lambda **s: cosine(**{"learning_rate": RATE, "n_steps": 3} | s), "n_steps"),
        (lambda **s: cosine(**{"learning_rate": RATE, "n_steps": 3} | s), "final"),
        (lambda **s: linear_warmup(constant(RATE), **{"n_steps": 3} | s), "n_steps"),
    ],
)
def test_settings_are_checked_and_named(new, setting):
    """n_steps=0 and every=0 would fail by a division in the first step of training."""
    for value, error in ((-1, ValueError), (None, TypeError), ("auto", TypeError)):
        with pytest.raises(error, match=f"{setting} must be .*, not {value!r}"):
            new(**{setting: value})
