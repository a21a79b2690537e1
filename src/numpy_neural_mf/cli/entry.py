"""The commands put together, and what an error looks like: one sentence and an exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

import numpy as np
import typer

from .adapt import fold_in, update
from .compare import compare
from .data import download, simulate
from .evaluate import evaluate
from .export import export
from .output import fail
from .train import train
from .tune import tune
from .use import explain, info, predict, recommend, similar

COMMANDS = (
    download, simulate, compare, tune, train, update, evaluate,
    predict, recommend, fold_in, similar, explain, info, export,
)  # fmt: skip

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Neural matrix factorisation for ratings: train, compare, understand.",
    epilog="Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.",
)
for command in COMMANDS:
    app.command()(command)


def main() -> NoReturn:
    """Run the command line; an expected error is one sentence, never a traceback."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a training that diverges says so itself
            app()
    except ValueError as error:
        fail(str(error), code=2)
    except OSError as error:
        path = error.filename2 or error.filename
        fail(f"{path}: {error.strerror}" if path else str(error), code=2)
    except (FloatingPointError, ImportError) as error:  # an optional package that is missing
        fail(str(error), code=1)
    sys.exit(0)
