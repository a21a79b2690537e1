"""The command line as a whole: help, and errors that are one sentence."""

import io
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command

from numpy_neural_mf import cli
from numpy_neural_mf.cli.entry import app, as_typed

GROUP = get_command(app)
TRAIN = GROUP.commands["train"].commands
COMMANDS = [[name] for name in GROUP.commands if name != "train"] + [["train", name] for name in TRAIN]


def options_of(command):
    group = GROUP if command[0] != "train" else GROUP.commands["train"]
    return [option for option in group.commands[command[-1]].params if option.opts[0].startswith("-")]


# Help


@pytest.mark.parametrize("command", [[], ["train"]])
def test_without_a_command_there_is_help(run_main, command):
    _, out, err = run_main(*command)
    names = TRAIN if command else GROUP.commands
    assert [name for name in names if name not in out + err] == []


def test_the_help_lists_the_commands_by_purpose(run):
    text = run("--help").stdout
    assert [panel for panel in ("Data", "Models", "Predictions", "Evaluation") if panel not in text] == []
    assert "130 interrupted" in text


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_has_an_example_and_every_option(run, command):
    text = run(*command, "--help").stdout
    assert f" numpy-neural-mf {' '.join(command)}" in text
    shown = [option for option in options_of(command) if not option.hidden]
    assert [option.name for option in shown if option.opts[0] not in text] == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_option_is_explained_in_one_line(command):
    unexplained = [option.name for option in options_of(command) if not (option.help or option.hidden)]
    assert unexplained == []
    assert [option.help for option in options_of(command) if len(option.help or "") > 80] == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_takes_settings_and_json(command):
    names = {flag for option in options_of(command) for flag in option.opts}
    assert "--settings" in names
    assert "--json" in names or command in (["compare"], ["serve"], ["demo"])


def test_the_version_is_the_version_of_the_package(run_main):
    assert run_main("--version") == (0, f"numpy-neural-mf {version('numpy-neural-mf')}\n", "")


def test_a_terminal_of_zero_columns_has_the_usual_width(run_main, monkeypatch, models):
    monkeypatch.setenv("COLUMNS", "0")
    code, out, _ = run_main("info", "model.safetensors")
    assert code == 0
    assert "NeuralMF" in out


HEAVY = {"matplotlib", "sklearn", "polars", "pandas", "torch", "numba", "optuna", "jinja2"}
MODULES_AFTER = """
import sys
from numpy_neural_mf.cli import main
sys.argv[0] = "numpy-neural-mf"
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("command", [[], ["train"], *COMMANDS], ids=" ".join)
def test_the_help_needs_no_heavy_package(command):
    done = subprocess.run(
        [sys.executable, "-c", MODULES_AFTER, *command, "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage" in done.stdout
    assert HEAVY & set(done.stderr.split()) == set()


# Errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["compare", "missing.csv"], "missing.csv: expected a file of ratings, found: No such file"),
        (["compare", "bad.csv"], "bad.csv, line 3: expected a finite number as rating, found 'good'"),
        (["compare", "ratings.csv", "--user", "reader"], "ratings.csv: expected a column 'reader' as user"),
        (["compare", "ratings.csv", "--scale", "2", "3"], "expected a rating from 2 to 3, found"),
        (["compare", "ratings.csv", "--scale", "3", "2"], "--scale: expected (lowest, highest)"),
        (["compare", "ratings.csv", "--engine", "abacus"], "--engine must be one of auto, numpy"),
        (["compare", "ratings.csv", "--seeds", "0"], "--seeds must be an integer of at least 1, not 0"),
        (["compare", "ratings.csv", "--folds", "1"], "--folds must be at least 2, or 0 for random"),
        (["compare", "ratings.csv", "--epochs", "0"], "from 1 to 100000, not 0"),
        (["train", "ratings.csv", "--epochs", "0"], "from 1 to 100000, not 0"),
        (["train", "ratings.csv", "--batch-size", "0"], "--batch-size must be an integer of at least 1, not"),
        (["compare", "ratings.csv", "--output-dir", "bad.csv"], "bad.csv: expected a folder, found a file"),
        (["compare", "ratings.csv", "--output-dir", "bad.csv/x"], "bad.csv: expected a folder, found a file"),
        (["simulate", "bad.csv/x.csv", "--ratings", "70"], "bad.csv: "),
        (["simulate", ".", "--ratings", "70"], ""),
        (["simulate", "x.csv", "--users", "0"], "--users must be an integer from 1 to"),
        (["simulate", "x.csv", "--items", "9" * 20], "--items must be an integer from 1 to"),
        (["simulate", "x.csv", "--ratings", "70", "--users", "8", "--items", "8"], "--ratings must be"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_exits_2(ratings_csv, folder, fault, arguments, sentence):
    (folder / "bad.csv").write_text("user_id,item_id,rating\n1,1,3\n1,2,good\n")
    before = sorted(folder.iterdir())
    message, code = fault(*arguments)
    assert sentence in message
    assert code == 2
    assert sorted(folder.iterdir()) == before


def test_a_training_that_diverges_exits_1(ratings_csv, monkeypatch, fault):
    def diverging(*arguments, **settings):
        raise FloatingPointError("the loss is nan in epoch 1: use a lower learning rate")

    monkeypatch.setattr("numpy_neural_mf.cli.compare.run_experiments", diverging)
    sentence = "the loss is nan in epoch 1: use a lower learning rate"
    assert fault("compare", "ratings.csv") == (sentence, 1)


def test_an_interrupted_command_exits_130(monkeypatch, run_main):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy_neural_mf.cli.use.load_model", interrupted)
    code, out, _ = run_main("info", "model.safetensors")
    assert (code, out) == (130, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_a_full_disk_is_one_sentence(fault):
    message, code = fault("simulate", "/dev/full", "--users", 9, "--items", 9, "--ratings", 70)
    assert (message, code) == ("/dev/full: No space left on device (os error 28)", 2)
    for unbuffered in ("", "1"):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "numpy_neural_mf", "--version"]
            environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
        assert (done.returncode, done.stderr) == (2, "numpy-neural-mf: No space left on device\n")


INTERRUPTED_WHILE_IMPORTING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from numpy_neural_mf.cli import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
@pytest.mark.parametrize(
    "module", ["numpy", "numpy_neural_mf.models", "rich.console", "numpy_neural_mf.cli.use"]
)
def test_an_interruption_while_importing_has_no_traceback(module):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_IMPORTING, module], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("reason", ["Unable to allocate 37.3 GiB for an array with shape (5, 1)", ""])
def test_too_little_memory_is_one_sentence(monkeypatch, fault, reason):
    def exhausting(path):
        raise MemoryError(reason)

    monkeypatch.setattr("numpy_neural_mf.cli.use.load_model", exhausting)
    message, code = fault("info", "model.safetensors")
    assert message == "there is not enough memory" + (f": {reason}" if reason else "")
    assert code == 1


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 8.00 GiB of which",
            "there is not enough memory: PyTorch cannot allocate 2.50 GiB",
        ),
        (
            "[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 4000 bytes. Error code 12",
            "there is not enough memory: PyTorch cannot allocate 4000 bytes",
        ),
        ("CUDA error: out of memory\nCompile with", "there is not enough memory for PyTorch"),
    ],
)
def test_too_little_memory_for_pytorch_is_one_sentence(ratings_csv, monkeypatch, run_main, message, sentence):
    def exhausting(*arguments, **settings):
        raise type("OutOfMemoryError", (RuntimeError,), {})(message)

    monkeypatch.setattr("numpy_neural_mf.models.NeuralMF.fit", exhausting)
    code, out, err = run_main("train", "ratings.csv", "m", "--engine", "torch", "--device", "cuda")
    assert (code, out) == (1, "")
    assert err.splitlines()[1:] == [f"numpy-neural-mf: {sentence}"]


def test_another_runtime_error_is_not_hidden(monkeypatch, run_main):
    def failing(path):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("numpy_neural_mf.cli.use.load_model", failing)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run_main("info", "model.safetensors")


@pytest.mark.parametrize(
    ("message", "arguments", "expected"),
    [
        ("n_folds must be at least 2", ["--folds", "1"], "--folds must be at least 2"),
        ("n_folds must be at least 2", ["--folds=1"], "--folds must be at least 2"),
        ("n_folds must be at least 2", [], "n_folds must be at least 2"),
        ("epochs must be an integer, or None, not 0", [], "epochs must be an integer, not 0"),
        ("coverage must be below 1", ["--interval", "1"], "--interval must be below 1"),
        ("batch_size must be 1", ["--batch-size", "0"], "--batch-size must be 1"),
        ("scale: expected (lowest, highest)", ["--scale", "3", "2"], "--scale: expected (lowest, highest)"),
        ("users.csv: expected a table", ["--users", "users.csv"], "users.csv: expected a table"),
        ("device 'cuda' is for engine \"torch\"", ["--device=cuda"], "--device 'cuda' is for --engine torch"),
        (
            "a.csv: found 'a'; the name of another can be given as user", ["a.csv"],
            "a.csv: found 'a'; the name of another can be given as --user",
        ),
    ],
)  # fmt: skip
def test_errors_of_settings_name_the_option_that_was_typed(message, arguments, expected):
    assert as_typed(message, arguments) == expected


def test_a_missing_column_is_answered_with_the_option_that_names_it(folder, fault):
    (folder / "odd.csv").write_text("reader,item,rating\n1,2,3\n")
    message, _ = fault("compare", "odd.csv")
    assert message.endswith("the name of another can be given as --user")


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "--no-such-option"],
        ["compare", "--seeds", "many"],
        ["train", "ratings.csv", "--epochs", "x"],
        ["train", "ratings.csv", "--hidden-layer-sizes", "0"],
        ["train", "ratings.csv", "--hidden-layer-sizes", "9" * 20],
        ["explain", "model.safetensors", "1", "2", "--number", "0"],
        ["recommend", "model.safetensors", "-n", "9" * 20],
        ["evaluate", "model.safetensors", "ratings.csv", "-k", "-1"],
        ["no such command"],
    ],
)
def test_an_unknown_option_is_answered_with_the_usage(run, arguments):
    result = run(*arguments, code=2)
    assert "Usage" in result.stderr
    assert "None" not in result.stderr
    assert result.stdout == ""


def test_characters_missing_from_the_encoding_are_replaced(models, tmp_path, monkeypatch):
    (tmp_path / "titles.csv").write_text("movieId,title\n" + "".join(f"{n},Фильм\n" for n in range(60)))
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stdout)
    command = ["recommend", "model.safetensors", "1", "--titles", str(tmp_path / "titles.csv")]
    monkeypatch.setattr(sys, "argv", ["numpy-neural-mf", *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    stdout.flush()
    assert ended.value.code == 0
    assert b"?????" in stdout.buffer.getvalue()
