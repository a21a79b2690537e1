"""Tables in a terminal and in Markdown."""

import io

import polars as pl
import pytest
from rich.console import Console

from numpy_neural_mf.reporting.console import markdown, markdown_table, rich_table, terminal
from numpy_neural_mf.utils.tables import harmless

FRAME = pl.DataFrame({"model": ["a", "a long name"], "RMSE": ["0.9 ± 0.1", "1.0"], "n": [7, None]})


def shown(renderable, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def test_names_are_aligned_left_and_numbers_right():
    _, head, _, first, second, *_ = shown(rich_table(FRAME)).splitlines()
    assert head.split() == ["model", "RMSE", "n"]
    assert first.index("a") == second.index("a long name") == head.index("model")
    assert first.index("0.1") + len("0.1") == second.index("1.0") + len("1.0") == head.index("RMSE") + 4
    assert first.index("7") == head.index("n ")
    assert "None" not in second


def test_a_table_wider_than_the_terminal_wraps_titles_and_names_but_no_number():
    columns = {"model": ["linear regression"]} | {f"error of {n}": ["0.12345678"] for n in range(7)}
    text = shown(rich_table(pl.DataFrame(columns)), width=100)
    assert text.count("0.12345678") == 7
    assert "…" not in text
    assert {"error", "of", "6", "linear", "regression"} <= set(text.split())


@pytest.mark.parametrize(
    ("encoding", "name"), [("cp1252", "?ód? ²"), ("ascii", "?\u00f3d? ²"), ("utf-8", "łódź ²")]
)
def test_a_table_is_shown_in_any_encoding(monkeypatch, encoding, name):
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", output)
    terminal().print(rich_table(pl.DataFrame({"model": ["łódź ²"], "RMSE": ["0.9"]})))
    output.flush()
    text = output.buffer.getvalue().decode(encoding)
    assert "łódź ²".encode(encoding, "replace").decode(encoding) in text
    assert "0.9" in text


def test_square_brackets_are_not_markup():
    frame = pl.DataFrame({"[b]model": ["[red]x[/]"]})
    text = shown(rich_table(frame))
    assert "[b]model" in text
    assert "[red]x[/]" in text


def test_markdown():
    assert markdown_table(FRAME).splitlines() == [
        "| model | RMSE | n |",
        "| --- | --- | --- |",
        "| a | 0.9 ± 0.1 | 7 |",
        "| a long name | 1.0 |  |",
    ]


def test_markdown_cells_may_contain_bars_and_line_breaks():
    frame = pl.DataFrame({"a|b": ["c|d|e", "two\nlines"]})
    assert markdown_table(frame).splitlines() == ["| a\\|b |", "| --- |", "| c\\|d\\|e |", "| two lines |"]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<script>", "\\<script>"), ("</b>", "\\</b>"), ("[a](b)", "\\[a\\](b)"), ("**a**", "\\*\\*a\\*\\*"),
        ("`a`", "\\`a\\`"), ("_a_", "\\_a\\_"), ("a\\", "a\\\\"), ("~~a~~", "\\~\\~a\\~\\~"),
        ("A_small", "A_small"), ("p < 0.05", "p < 0.05"), ("0.84 to 0.85 (3.1 %)", "0.84 to 0.85 (3.1 %)"),
    ],
)  # fmt: skip
def test_markdown_shows_markup_as_it_is_and_leaves_plain_text(text, escaped):
    assert markdown(text) == escaped
    assert markdown_table(pl.DataFrame({"a": [text]})).splitlines()[2] == f"| {escaped} |"


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "back\b\b", "\u202eright to left"]
)
def test_control_characters_are_replaced(text):
    assert harmless(text) != text
    assert "\N{REPLACEMENT CHARACTER}" in harmless(text)
    assert harmless(text) in shown(rich_table(pl.DataFrame({text: [text]})))
    assert not set("\x1b\x07\x08\x9b\u202e") & set(shown(rich_table(pl.DataFrame({text: [text]}))))


def test_if_the_environment_has_zero_columns_a_terminal_has_80(monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    assert terminal().width == 80
