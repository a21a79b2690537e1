"""Charts: where numbers are drawn, and that names are text, never markup."""

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parsed_page import Page

from numpy_neural_mf.reporting.charts import Axis, Interval, Line, bar_chart, interval_chart, line_chart

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


def numbers_of(html, tag, attribute):
    return [float(value) for value in re.findall(rf'<{tag} [^>]*?\b{attribute}="([^"]+)"', html)]


@given(low=NUMBERS, width=st.floats(1e-3, 1e6), n=st.integers(2, 10))
def test_ticks_are_round_few_and_within_the_axis(low, width, n):
    axis = Axis(low, low + width, 0, 100)
    ticks = sorted(axis.ticks(n))
    assert len(ticks) <= n + 1
    assert all(-0.1 <= axis(tick) <= 100.1 for tick in ticks)
    steps = {f"{b - a:.0e}"[0] for a, b in pairwise(ticks)}
    assert steps <= {"1", "2", "5"}


@given(low=NUMBERS, width=st.floats(1e-3, 1e6))
def test_the_texts_of_ticks_differ(low, width):
    texts = list(Axis(low, low + width, 0, 100).ticks().values())
    assert len(set(texts)) == len(texts)


def test_an_axis_may_run_downward():
    axis = Axis(1, 5, 200, 0)
    assert [axis(1), axis(3), axis(5)] == [200, 100, 0]


def test_epochs_are_whole_numbers():
    assert list(Axis(1, 3, 0, 100).ticks(least=1.0).values()) == ["1", "2", "3"]


def test_intervals_stand_in_the_order_of_their_values():
    rows = [Interval("a", 0.90, 0.88, 0.92, "red"), Interval("b", 0.87, 0.86, 0.88, "blue")]
    html = interval_chart(rows, "RMSE", (0.80, "noise floor"))
    first, second = numbers_of(html, "circle", "cx")
    assert second < first
    assert "0.9000" in html
    assert "noise floor" in Page(html).text


def test_a_value_far_behind_is_named_and_not_drawn():
    rows = [Interval("mean", 2.0, None, None, "grey"), Interval("model", 0.9, None, None, "blue")]
    html = interval_chart(rows, "RMSE")
    assert len(numbers_of(html, "circle", "cx")) == 1
    assert "→ 2.0000" in html


def test_one_value_alone_has_an_axis_too():
    html = interval_chart([Interval("model", 0.9, None, None, "blue")], "RMSE")
    assert all(map(math.isfinite, numbers_of(html, "circle", "cx")))


def test_a_line_has_a_point_for_each_number_and_higher_is_further_up():
    line = Line([1, 2, 3], [0.9, 0.8, 0.7], [0.9, 0.8, 0.7], [0.9, 0.8, 0.7])
    html = line_chart([line], "red", "epoch", "loss", (1, 3), (0.7, 0.9), has_dots=True)
    heights = numbers_of(html, "circle", "cy")
    assert len(heights) == 3
    assert heights == sorted(heights)


def test_a_single_point_is_a_dot():
    html = line_chart([Line([1], [0.9], [0.9], [0.9])], "red", "epoch", "loss", (1, 1), (0.9, 0.9))
    assert len(numbers_of(html, "circle", "cx")) == 1


def test_bars_are_as_high_as_their_shares():
    html = bar_chart([(1, 1, 10), (2, 2, 30), (3, 3, 0)], "rating")
    low, high, none = numbers_of(html, "rect", "height")
    assert high == pytest.approx(3 * low, abs=0.2)
    assert none == 0
    text = Page(html).text
    assert "25 % 1 75 % 2 0 % 3" in text


def test_bins_have_numbers_between_them():
    html = bar_chart([(k / 10, (k + 1) / 10, k) for k in range(20)], "RMSE")
    assert len(numbers_of(html, "rect", "x")) == 20
    assert "0.5 1.0 1.5" in Page(html).text


@settings(max_examples=30)
@given(name=st.text(min_size=1))
def test_any_name_is_text(name):
    html = interval_chart([Interval(name, 0.9, None, None, "red")], name)
    assert set(Page(html).tags) == {"svg", "text", "polyline", "circle"}


def test_a_drawing_is_told_in_words():
    html = interval_chart([Interval("C & <b>", 0.87, None, None, "red")], "test RMSE")
    assert Page(html).values_of("aria-label") == ["test RMSE: C & <b> 0.8700"]
