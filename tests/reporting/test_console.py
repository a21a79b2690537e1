"""Tables and progress in a terminal, in Markdown and in HTML."""

import io
import math
import re

import polars as pl
import pytest
from rich.console import Console

from numpy_neural_mf.reporting.console import (
    ProgressBar,
    harmless,
    html_table,
    markdown,
    markdown_table,
    rich_table,
    terminal,
)
from numpy_neural_mf.training.loop import Progress

FRAME = pl.DataFrame({"model": ["a", "a long name"], "RMSE": ["0.9 ± 0.1", "1.0"], "n": [7, None]})


def shown(renderable, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def live(**settings):
    return Console(file=io.StringIO(), force_terminal=True, color_system=None, width=120, **settings)


def progress(n_trained, **settings):
    defaults = {"epoch": 1, "epochs": 2, "n_total": 2_000, "train_loss": 0.9, "validation_loss": math.nan}
    return Progress(n_trained=n_trained, **defaults | settings)


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
def test_what_a_terminal_would_obey_is_replaced(text):
    assert harmless(text) != text
    assert "\N{REPLACEMENT CHARACTER}" in harmless(text)
    assert harmless(text) in shown(rich_table(pl.DataFrame({text: [text]})))
    assert not set("\x1b\x07\x08\x9b\u202e") & set(shown(rich_table(pl.DataFrame({text: [text]}))))


@pytest.mark.parametrize("text", ["Amélie (2001)", "two\nlines\tand a tab", "七人の侍", "👩\u200d🚀"])
def test_other_text_is_harmless_as_it_is(text):
    assert harmless(text) == text


def test_where_the_environment_says_no_columns_a_terminal_has_80(monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    assert terminal().width == 80


def test_html_is_escaped_and_aligned_as_in_the_terminal():
    html = html_table(pl.DataFrame({"<a>": ["x & y"], "n": [1]}), "<title>")
    assert html.startswith('<div style="overflow-x: auto"><table>')
    assert '<caption style="text-align: left">&lt;title&gt;</caption>' in html
    assert '<th style="text-align: left">&lt;a&gt;</th><th style="text-align: right">n</th>' in html
    assert '<td style="text-align: left">x &amp; y</td><td style="text-align: right">1</td>' in html


def test_on_a_terminal_runs_epochs_losses_and_speed_are_shown():
    console = live()
    with ProgressBar(3, console) as bar:
        bar.start_run("films, neural, seed 0")
        bar.on_progress(progress(500))
        bar.on_progress(progress(1_500, epoch=2, train_loss=0.8, validation_loss=0.85))
        bar.end_run()
    text = console.file.getvalue()
    assert "run 1 of 3" in text
    assert "epoch 2 of 2" in text
    assert "films, neural, seed 0: loss 0.8000, validation 0.8500" in text
    assert re.search(r"0\.8500, [\d.]+( [kM])? ratings/s", text)
    assert "nan" not in text


def test_a_missing_validation_loss_is_left_out():
    console = live()
    with ProgressBar(1, console) as bar:
        bar.start_run("films")
        bar.on_progress(progress(500))
    text = console.file.getvalue()
    assert "epoch 1 of 2" in text
    assert "loss 0.9000" in text
    assert "validation" not in text


def test_a_new_run_replaces_the_last_one():
    console = live()
    with ProgressBar(2, console) as bar:
        bar.start_run("first")
        bar.on_progress(progress(500))
        bar.end_run()
        console.file.truncate(0)
        bar.start_run("second")
    text = console.file.getvalue()
    assert "second" in text
    assert "run 2 of 2" in text
    assert not re.search("first|loss|epoch", text)


def test_square_brackets_in_a_description_are_no_markup():
    console = live()
    with ProgressBar(1, console) as bar:
        bar.start_run("old [red] films [/]")
    assert "old [red] films [/]" in console.file.getvalue()


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_shows_everything_too(width):
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)
    with ProgressBar(30, console) as bar:
        bar.start_run("simulated, latent structure, B_medium, seed 0, fold 1")
        bar.on_progress(progress(1_500, epoch=2, train_loss=0.8, validation_loss=0.85))
    text = " ".join(re.sub(r"\x1b\[\S*[A-Za-z]", " ", console.file.getvalue()).split())
    assert "simulated, latent structure, B_medium, seed 0, fold 1: loss 0.8000, validation 0.8500" in text
    assert "ratings/s" in text
    assert "epoch 2 of 2" in text


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_cursor_is_shown_again_after_an_error(error):
    console = live()

    def interrupted():
        with ProgressBar(1, console) as bar:
            bar.start_run("films")
            raise error

    with pytest.raises(error):
        interrupted()
    show, hide = "\x1b[?25h", "\x1b[?25l"
    assert console.file.getvalue().rindex(show) > console.file.getvalue().rindex(hide)


def test_nothing_is_live_outside_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=False)
    with ProgressBar(1, console) as bar:
        bar.start_run("films")
        bar.on_progress(progress(500))
        bar.end_run()
    assert console.file.getvalue() == ""
