"""Tables as text and HTML, which show values unchanged."""

import pytest

from numpy_neural_mf.utils.tables import Table, harmless, html_table, text_table


@pytest.mark.parametrize("text", ["Amélie (2001)", "two\nlines\tand a tab", "七人の侍", "👩\u200d🚀"])
def test_harmless_text_is_unchanged(text):
    assert harmless(text) == text


def test_html_is_escaped_and_aligned_as_in_the_terminal():
    html = html_table(Table("<title>", ["<a>", "n"], [["x & y", 1]]))
    assert html.startswith('<div style="overflow-x: auto"><table>')
    assert '<caption style="text-align: left">&lt;title&gt;</caption>' in html
    assert '<th style="text-align: left">&lt;a&gt;</th><th style="text-align: right">n</th>' in html
    assert '<td style="text-align: left">x &amp; y</td><td style="text-align: right">1</td>' in html


def test_a_table_without_names_of_columns_has_no_head():
    assert "<thead>" not in html_table(Table("", ["", ""], [["a", 1]]))


def test_text_is_aligned_as_in_html_and_on_one_line():
    table = Table("Films", ["film", "n"], [["two\nlines", 10], ["\x1b[31m", None]])
    assert text_table(table).splitlines() == ["Films", "film        n", "two lines  10", "\ufffd[31m"]
