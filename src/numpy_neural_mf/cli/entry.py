"""The commands put together; an error is one sentence and an exit code."""

import sys
import warnings
from io import TextIOWrapper
from typing import NoReturn

import numpy as np
import typer

from . import compare, data, evaluate, train, tune, use
from .output import fail, remark

# Panels of the help, each with its commands.
COMMANDS = {
    "Data": (data.download, data.simulate),
    "Models": (tune.tune, use.update, use.info, use.export),
    "Predictions": (use.predict, use.recommend, use.fold_in, use.similar, use.explain),
    "Evaluation": (evaluate.evaluate, compare.compare),
}
HELP = "Neural matrix factorisation for ratings: train, compare, understand."
CODES = "Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted."

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich", help=HELP, epilog=CODES
)
app.add_typer(train.app, name="train", rich_help_panel="Models")
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def main() -> NoReturn:
    """Run the command line; an expected error is one sentence, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a console may lack characters of titles and tables
            stream.reconfigure(errors="replace")
    warnings.showwarning = lambda message, *_: remark(f"numpy-neural-mf: {message}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a training that diverges reports it itself
            app()
    except ValueError as error:
        fail(str(error), code=2)
    except OSError as error:
        path = error.filename2 or error.filename
        fail(f"{path}: {error.strerror}" if path else str(error), code=2)
    except (FloatingPointError, ImportError) as error:  # an optional package that is missing
        fail(str(error), code=1)
    sys.exit(0)
