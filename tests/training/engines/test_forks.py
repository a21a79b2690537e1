"""An engine is refused in a process forked from one in which it had started threads."""

import os

import pytest

from numpy_neural_mf.training.engines.base import require_same_process


def test_only_the_process_in_which_an_engine_started_may_use_it(monkeypatch):
    require_same_process("of a test")
    require_same_process("of a test")
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    with pytest.raises(RuntimeError, match='engine "of a test" has trained in the process from which this'):
        require_same_process("of a test")
    require_same_process("of the child")
