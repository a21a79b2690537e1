"""The program: all commands together; an error is one sentence and an exit code."""

import os
import re
import sys
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, NoReturn

import numpy as np
import typer

from . import compare, data, demo, evaluate, export, serve, train, tune, update, use
from .options import option
from .output import fail, remark

# Panels of the help, each with its commands.
COMMANDS = {
    "Data": (data.download, data.simulate),
    "Models": (tune.tune, update.update, use.info, export.export),
    "Predictions": (use.predict, use.recommend, use.fold_in, use.similar, use.explain),
    "Service": (serve.serve, demo.demo),
    "Evaluation": (evaluate.evaluate, compare.compare),
}
HELP = "Neural matrix factorisation for ratings: train, compare, understand."
# PyTorch's messages on all devices; the class of its error differs by device and is not imported here.
OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory")
CODES = "Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted."


def show_version(is_asked: bool) -> None:
    """Print the version and exit, if --version was given."""
    if is_asked:
        print(f"numpy-neural-mf {version('numpy-neural-mf')}")
        raise typer.Exit


VERSION = option(None, "Show the version.", "--version", metavar="", is_eager=True, callback=show_version)

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich", help=HELP, epilog=CODES
)
app.add_typer(train.app, name="train", rich_help_panel="Models")


@app.callback()
def without_a_command(version: Annotated[bool, VERSION] = False) -> None:
    """Options of the program itself."""


for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def run() -> NoReturn:
    """Run the command line; an expected error is one sentence, never a traceback."""
    if os.environ.get("COLUMNS") == "0":  # with zero columns, rich prints nothing
        del os.environ["COLUMNS"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # its encoding may lack characters of titles and tables
            stream.reconfigure(errors="replace")
    warnings.showwarning = lambda message, *_: remark(f"numpy-neural-mf: {message}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # the training itself reports that it diverged
            try:
                app()
            finally:
                flush_output()
    except ValueError as error:
        fail(as_typed(str(error), sys.argv[1:]), code=2)
    except OSError as error:
        path = error.filename2 or error.filename
        fail(f"{path}: {error.strerror}" if path else error.strerror or str(error), code=2)
    except (FloatingPointError, ImportError) as error:  # an optional package that is missing
        fail(str(error), code=1)
    except MemoryError as error:
        fail(f"there is not enough memory: {error}".removesuffix(": "), code=1)
    except RuntimeError as error:
        if not OUT_OF_MEMORY.search(str(error)):
            raise
        tried = re.search(r"tried to (allocate [\d.]+ \w+)", str(error), re.IGNORECASE)
        which = f": PyTorch cannot {tried[1]}" if tried else " for PyTorch"
        fail(f"there is not enough memory{which}", code=1)
    sys.exit(0)


def flush_output() -> None:
    """Flush standard output; raise OSError if the disk is full, but not if a pipe was closed."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again at exit
        if not isinstance(error, BrokenPipeError):
            raise


def as_typed(message: str, arguments: Iterable[str]) -> str:
    """Replace the name of a setting in its error message by the option that was typed: n_folds by --folds.

    The message no longer allows None, which stands for an omitted option and cannot be typed.
    """
    message = message.replace(", or None, not ", ", not ")
    for argument in arguments:
        flag = argument.partition("=")[0]
        name = "coverage" if flag == "--interval" else re.escape(flag.removeprefix("--").replace("-", "_"))
        if flag.startswith("--"):
            message = re.sub(rf"^(n_)?{name}(?= must be |: expected | ')", flag, message)
    message = re.sub(r'engine "(\w+)"', r"--engine \1", message)
    return re.sub(r"(?<=; the name of another can be given as )(?=\w+$)", "--", message)
