"""The documents are true: their code runs, both languages say the same, and figures are measured."""

import io
import json
import re
import tokenize
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from numpy_neural_mf import simulate_ratings

ROOT = Path(__file__).parents[1]
DOCS, SPANISH = ROOT / "docs", ROOT / "docs" / "es"
FENCE = re.compile(r"^( *)(```+)([^\n]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
# Pages of which the other language has none, or whose lists of pages differ.
ONLY_SPANISH = {"actividad.md", "index.md", "explanation/index.md", "how-to/index.md"}
BILINGUAL = [
    "course/*.md",
    "tutorials/*.md",
    "how-to/*.md",
    "limits.md",
    "limitations.md",
    "reproducibility.md",
]


def pages_in(folder):
    return {path.relative_to(folder).as_posix() for pattern in BILINGUAL for path in folder.glob(pattern)}


def parts_of(text):
    """Prose, then a fence as (info, code), then prose, ..."""
    prose, at = [], 0
    for fence in FENCE.finditer(text):
        prose += [text[at : fence.start()], (fence[3].strip(), fence[4])]
        at = fence.end()
    return [*prose, text[at:]]


def code_only(info, code):
    """Code without comments and the words in its strings: these are translated."""
    if "python" not in info and "code-cell" not in info:
        return re.sub(r"\s+", " ", re.sub(r"#.*", "", code)).replace("../../../", "../../")
    lines = [line for line in code.splitlines() if not line.lstrip().startswith((":", "%"))]
    code = "\n".join(
        line[3:] if line.startswith("   ") and lines[0].startswith("   ") else line for line in lines
    )
    skipped = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.STRING,
        getattr(tokenize, "FSTRING_MIDDLE", -1),
    )
    tokens = tokenize.generate_tokens(io.StringIO(code + "\n").readline)
    return " ".join(token.string for token in tokens if token.type not in skipped)


def outline(folder, page):
    """What must be the same in both languages: headings, tables, lists, code, formulas, numbers, links."""
    found = []
    for part in parts_of((folder / page).read_text(encoding="utf-8")):
        if isinstance(part, tuple):
            found.append((part[0].replace("../../../", "../../"), code_only(*part)))
            continue
        links = [link for link in re.findall(r"\]\(([^)\s]+)\)", part) if not link.startswith("http")]
        places = sorted((folder / page).parent.joinpath(link).resolve() for link in links)
        part = re.sub(r"\]\([^)\s]+\)", "]", part)
        inline = Counter(re.findall(r"(?<!`)`([^`]+)`(?!`)", part))
        part = re.sub(r"(?<!`)`([^`]+)`(?!`)", "", part)
        formulas = Counter(re.sub(r"\s+", "", f) for f in re.findall(r"\$+(.+?)\$+", part, re.DOTALL))
        part = re.sub(r"\$+(.+?)\$+", "", part, flags=re.DOTALL)
        marks = Counter(mark.strip()[:1] for mark in re.findall(r"^(?:#+ |\||- |\d+\. )", part, re.MULTILINE))
        numbers = Counter(re.sub(r"[.,  ]", "", n) for n in re.findall(r"\d[\d.,  ]*\d|\d", part))
        names = sorted(place.name for place in places)
        found.append((marks, formulas, inline, numbers, names))
    return found


@pytest.mark.parametrize("page", sorted(pages_in(DOCS) - {"how-to/index.md"}))
def test_a_page_says_the_same_in_spanish(page):
    english, spanish = outline(DOCS, page), outline(SPANISH, page)
    assert len(english) == len(spanish)
    for one, other in zip(english, spanish, strict=True):
        assert one == other


def test_every_spanish_page_has_an_english_one():
    pages = {path.relative_to(SPANISH).as_posix() for path in SPANISH.rglob("*.md")} - {"choosing.md"}
    assert pages - ONLY_SPANISH <= pages_in(DOCS)


def test_readmes_have_the_same_figures_commands_and_links():
    english, spanish = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.es.md"))
    both = [parts_of(text) for text in (english, spanish)]
    codes = [[code_only(*part) for part in parts if isinstance(part, tuple)] for parts in both]
    assert codes[0] == codes[1]
    assert len(english.splitlines()) <= 120
    assert len(spanish.splitlines()) <= 120
    tables = [re.findall(r"^\|.*\|$", text, re.MULTILINE) for text in (english, spanish)]
    assert len(tables[0]) == len(tables[1])


# Code


def blocks(page, kind="python"):
    return [code for part in parts_of(page.read_text(encoding="utf-8")) if isinstance(part, tuple)
            for info, code in [part] if info == kind]  # fmt: skip


@pytest.mark.parametrize("name", ["README.md", "README.es.md"])
def test_the_ten_lines_of_the_readme_print_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed = blocks(ROOT / name)[0], blocks(ROOT / name, "text")[0]
    with redirect_stdout(io.StringIO()) as out:
        exec(code, {})
    assert out.getvalue() == printed
    assert (tmp_path / "films.safetensors").exists()


@pytest.mark.parametrize("name", ["README.md", "README.es.md"])
def test_the_layer_of_the_readme_is_that_of_the_package(name):
    source = (ROOT / "src" / "numpy_neural_mf" / "nn" / "layers.py").read_text(encoding="utf-8")
    shown = [line.strip() for line in blocks(ROOT / name)[1].splitlines() if line.strip()]
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    assert any(lines[at : at + len(shown)] == shown for at in range(len(lines)))


# Cells are run when the site is built, exercises in their solutions, and a GPU is not there.
RUN = [page for page in sorted(pages_in(DOCS) | {"index.md"}) if not page.startswith("course/")]
RUN = [DOCS / page for page in RUN if page != "how-to/gpu.md" and blocks(DOCS / page)]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = simulate_ratings(n_users=60, n_items=40, n_ratings=900).to_polars()
    frame.write_csv("ratings.csv")
    Path("movies.csv").write_text("movieId,genres\n" + "".join(f"{n},A|B\n" for n in range(1, 41)))
    names = {}
    for code in blocks(page):
        with redirect_stdout(io.StringIO()):
            exec(code, names)


@pytest.mark.parametrize("folder", [DOCS, SPANISH], ids=["en", "es"])
def test_every_exercise_is_solved(folder):
    solved = (folder / "course" / "solutions.md").read_text(encoding="utf-8")
    for page in sorted(folder.glob("course/[01]*.md")):
        exercises = blocks(page)
        assert len(exercises) == 3, page.name
        for code in exercises:
            lines = [line.strip() for line in code.splitlines() if line.strip().startswith("assert")]
            assert lines, code
            if page.name.startswith(("09", "10")):  # with what the chapter has trained
                continue
            assert all(line in solved for line in lines), code


def test_the_first_chapters_need_only_numpy_and_matplotlib():
    allowed = {"numpy", "matplotlib", "functools", "numpy_neural_mf"}
    for page in sorted(DOCS.glob("course/0[0-8]*.md")):
        text = page.read_text(encoding="utf-8")
        modules = set(re.findall(r"^(?:from|import) ([\w.]+)", text, re.MULTILINE))
        assert {module.partition(".")[0] for module in modules} <= allowed
        ours = {module for module in modules if module.startswith("numpy_neural_mf")}
        assert ours <= {"numpy_neural_mf.nn"}


# Figures

MARKED = re.compile(r"^<!-- figures: ([\w. -]+) -->\n((?:.+\n)+)", re.MULTILINE)
WITH_FIGURES = [
    path for path in [*ROOT.glob("README*.md"), *DOCS.rglob("*.md")] if "<!-- figures:" in path.read_text()
]


def values_in(content):
    """All numbers of a result file, also those in texts."""
    if isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from values_in(value)
        if (
            isinstance(content, list)
            and len(content) > 1
            and all(isinstance(v, int | float) for v in content)
        ):
            yield sorted(content)[len(content) // 2]
    elif isinstance(content, str):
        yield from (float(number) for number in re.findall(r"\d+\.\d+", content))
    elif isinstance(content, int | float):
        yield float(content)


def figures_of(file):
    """The numbers of a result file, or of a table that a command wrote."""
    text = (ROOT / "benchmarks" / "results" / file).read_text(encoding="utf-8")
    return [*values_in(json.loads(text)["tables"] if file.endswith("json") else text)]


def test_there_are_figures_to_check():
    assert {path.name for path in WITH_FIGURES} >= {"README.md", "README.es.md", "benchmarks.md", "limits.md"}


@pytest.mark.parametrize("path", WITH_FIGURES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_figure_is_one_of_its_result_file(path):
    is_spanish = "es" in path.relative_to(ROOT).as_posix().split("/") or path.name == "README.es.md"
    point, separator = (",", ".") if is_spanish else (".", ",")
    for files, text in MARKED.findall(path.read_text(encoding="utf-8")):
        known = [value for file in files.split() for value in figures_of(file)]
        text = re.sub(r"\]\([^)]*\)|`[^`]*`", "", text)
        for figure in re.findall(rf"\d+(?:{re.escape(separator)}\d{{3}})*{re.escape(point)}\d+", text):
            number = figure.replace(separator, "").replace(point, ".")
            decimals = len(number.partition(".")[2])
            assert any(f"{abs(value):.{decimals}f}" == number for value in known), (
                f"{figure} in: {text[:200]}"
            )
