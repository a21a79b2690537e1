"""The command line: numpy-neural-mf, or python -m numpy_neural_mf."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; Ctrl-C ends it without a traceback, also while modules are imported."""
    try:
        from .entry import run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


__all__ = ["main"]
