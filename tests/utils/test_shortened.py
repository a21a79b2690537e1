"""Text in messages has a bound."""

import hypothesis.strategies as st
from hypothesis import given

from numpy_neural_mf.utils.shortened import MAX_VALUE, quoted, shortened


@given(st.text(max_size=200), st.integers(1, 80))
def test_a_text_is_complete_or_visibly_truncated(text, length):
    short = shortened(text, length)
    assert len(short) <= length
    assert short == text or (short[-1] == "…" and text.startswith(short[:-1]))


@given(st.lists(st.integers() | st.text()))
def test_a_value_is_quoted_as_python_writes_it(value):
    assert quoted(value) == shortened(repr(value), MAX_VALUE)
