"""The maps of the project are true: named paths exist, and the rooms are those of the import contract."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "numpy_neural_mf"
PAGES = ["README.md", "README.es.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/neural-mf.md"]
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "decisions").glob("*.md"))


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def code_of(page):
    """Inline code, and each word of code blocks."""
    text = text_of(page)
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return inline, [word for block in blocks for word in block.split()]


def paths_of(page):
    """Paths in the repository, relative to its root or to the package."""
    inline, words = code_of(page)
    links = re.findall(r"\]\(([^)#:]+)\)", text_of(page))
    folder = (ROOT / page).parent
    named = [word for code in inline for word in code.split() if re.fullmatch(r"[\w.-]+/[\w./-]*", word)]
    files = [word for word in words if re.fullmatch(r"(src|docs|tests|benchmarks|examples)/[\w./-]+", word)]
    modules = re.findall(r"python3? -m (benchmarks[\w.]+)", text_of(page))
    found = {path: [ROOT / path, PACKAGE / path] for path in named + files}
    found |= {link: [folder / link] for link in links}
    return found | {module: [ROOT / f"{module.replace('.', '/')}.py"] for module in modules}


def layers():
    """Rooms of the contract, from the top down; those of one layer are siblings."""
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["type"] == "layers")
    return [[name.strip().rpartition(".")[2] for name in layer.split("|")] for layer in contract["layers"]]


def rooms():
    return {name for layer in layers() for name in layer}


def is_output(path):
    """Results of commands that the pages show, and folders of the user."""
    return path.startswith(("ml-latest-small", "results"))


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page):
    named = {path: places for path, places in paths_of(page).items() if not is_output(path)}
    assert named or page.startswith("docs/decisions/")
    assert [path for path, places in named.items() if not any(place.exists() for place in places)] == []


def test_the_contract_has_every_room_of_the_package():
    assert rooms() == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def test_the_architecture_page_has_a_line_for_each_room():
    assert set(re.findall(r"^(\w+)/ +\w", text_of("docs/architecture.md"), re.MULTILINE)) == rooms()


def test_contributing_has_the_rooms_in_the_order_of_the_contract():
    (chain,) = re.findall(r"`cli`(?:[^`]*`\w+`)+(?=\.)", text_of("CONTRIBUTING.md"))
    found = [re.findall(r"`(\w+)`", layer) for layer in chain.split("→")]
    assert found == layers()


def test_ten_questions_are_each_answered_by_one_file():
    rows = re.findall(r"^\| a new [\w ]+ \| `([\w/.]+)` \|$", text_of("docs/architecture.md"), re.MULTILINE)
    assert len(rows) == 10
    assert all((PACKAGE / path).is_file() for path in rows)


def test_the_code_on_the_page_of_the_mathematics_finds_what_the_page_says(capsys):
    for block in re.findall(r"^```python\n(.*?)^```", text_of("docs/neural-mf.md"), re.MULTILINE | re.DOTALL):
        exec(block, {})
    of_gradient, of_variance = (float(line) for line in capsys.readouterr().out.split())
    assert of_gradient < 1e-6
    assert of_variance < 0.1
