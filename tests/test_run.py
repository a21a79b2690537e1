"""run.py: it says what it installs, hands arguments on, and lets an interrupted program finish."""

import runpy
import sys
from pathlib import Path

import pytest

RUN = str(Path(__file__).parents[1] / "run.py")
PARALLEL = ("--numprocesses=auto", "--dist=loadfile")


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The names of run.py, with an environment that does not exist yet."""
    monkeypatch.setenv("NUMPY_NEURAL_MF_VENV", str(tmp_path / "venv"))
    return runpy.run_path(RUN)


@pytest.fixture
def commands(script, monkeypatch):
    """The programs that `main` runs, which do nothing."""
    found = []
    names = script["main"].__globals__

    def record(*commands, **more):
        found.extend([str(one) for one in command] for command in commands)
        return 0

    monkeypatch.setitem(names, "run", record)

    class Created:
        @staticmethod
        def create(folder, with_pip):
            folder.mkdir()

    monkeypatch.setitem(names, "venv", Created)
    return found


@pytest.mark.parametrize(
    ("arguments", "extras", "program"),
    [
        (["compare", "a.csv"], ".[fast]", ["numpy-neural-mf", "compare", "a.csv"]),
        (["tune", "a.csv"], ".[tune]", ["numpy-neural-mf", "tune", "a.csv"]),
        (["test", "-x"], ".[dev]", ["python", "-m", "pytest", *PARALLEL, "-x"]),
        (["test", "--light", "-x"], ".[test]", ["python", "-m", "pytest", *PARALLEL, "-x"]),
    ],
)
def test_what_is_installed_and_its_size_are_said_once(script, commands, capsys, arguments, extras, program):
    for _ in range(2):
        assert script["main"](arguments) == 0
    pip, *programs = commands
    assert pip[1:5] == ["-u", "-m", "pip", "install"]
    assert "--quiet" not in pip
    assert pip[-1] == extras
    compiling = [command[-1] for command in programs if command[1] == "-c"]
    assert len(compiling) == (2 if extras == ".[fast]" else 0)
    programs = [command for command in programs if command[1] != "-c"]
    assert [[Path(path).name, *rest] for path, *rest in programs] == [program] * 2
    said = capsys.readouterr().out
    assert said.count("Installing ") == said.count(" MB on disk") == 1
    assert said.count("about 10 to 20 minutes with two cores") == (2 if arguments[0] == "test" else 0)
    assert ("PyTorch are skipped" in said) == ("--light" in arguments)


def test_an_interrupted_program_finishes_and_the_exit_code_is_130(script, monkeypatch):
    class Interrupted:
        """A program that is waited for twice, since Ctrl-C breaks the first wait off."""

        waits, returncode = 0, None

        def __init__(self, command):
            pass

        def wait(self):
            self.waits += 1
            if self.waits == 1:
                raise KeyboardInterrupt
            self.returncode = 0

    monkeypatch.setattr("subprocess.Popen", Interrupted)
    assert script["run"](["program"]) == 130


def test_the_exit_code_is_the_highest_of_the_programs(script):
    programs = [[sys.executable, "-c", f"raise SystemExit({code})"] for code in (0, 3, 0)]
    assert script["run"](*programs) == 3


def test_what_is_compiled_at_the_set_up_can_be_trained(script):
    pytest.importorskip("numba")
    for models in script["COMPILED"]:
        exec(script["COMPILE"].format(models), {})
