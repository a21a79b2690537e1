"""What all commands of train share: the default model, old options, and fitting and saving a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typer.core import TyperGroup

from ..data import Features, Ratings, read_features
from ..reporting.console import ProgressBar
from ..utils.atomic_io import is_first_process, require_folder
from .output import fail, log, read, remark, report, stderr

# Fitted model -> its result as text and as facts.
Result = Callable[[Any], tuple[str, dict[str, Any]]]

DEFAULT = "neural-mf"
# Values of the deprecated option --model.
OLD_NAMES = {"neural": "neural-mf", "bayesian": "bayesian-mf"}
# Options of next-item prediction, from before it was a model of its own.
NEXT_ITEM = ("--sequence", "--sequence-length", "--next-item-weight", "--negatives")


class DefaultModel(TyperGroup):
    """A group of commands, one for each model, in which the name of the default model may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the model first where it is missing."""
        if args and args[0] not in (*self.commands, "--help"):
            args = with_model(args)
        return super().parse_args(ctx, args)


def with_model(args: list[str]) -> list[str]:
    """The arguments after the name of a model: that of the deprecated `--model`, or the default."""
    args = [part for arg in args for part in (arg.split("=") if arg.startswith("--model=") else [arg])]
    old = [flag for flag in (arg.partition("=")[0] for arg in args) if flag in NEXT_ITEM]
    if old:
        raise ValueError(f"{', '.join(old)}: next-item prediction is a model of its own, train next-item")
    if "--model" not in args[:-1]:
        return [DEFAULT, *args]
    at = args.index("--model")
    name = args[at + 1]
    if name not in OLD_NAMES:
        raise ValueError(f"model must be one of {', '.join(OLD_NAMES)}, not {name!r}")
    remark(f"--model {name} is deprecated: use numpy-neural-mf train {OLD_NAMES[name]}")
    return [OLD_NAMES[name], *args[:at], *args[at + 2 :]]


def with_new_names(given: dict[str, Any], **new_names: str) -> dict[str, Any]:
    """The options of a command by their new names, where they were given by a deprecated one."""
    for old, new in new_names.items():
        if given[old] is not None:
            flags = (f"--{name.replace('_', '-')}" for name in (old, new))
            remark("{} is deprecated: use {}".format(*flags))
            given = given | {new: given[old]}
    return given


def fit_and_save(model: Any, given: dict[str, Any], result: Result) -> None:
    """Read the ratings, fit a model to them, save it and print its result.

    Parameters
    ----------
    model : Recommender
        Not fitted.
    given : dict of str to object
        The options of the command, by their names.
    result : callable
        Of the fitted model, the result as text and as facts.
    """
    path, checkpoint_dir = given["model"], given.get("checkpoint_dir")
    require_folder(path.parent)
    ratings = _ratings(given)
    console = stderr()
    console.quiet = not is_first_process()
    try:
        with ProgressBar(1, console) as bar:
            bar.start_run(f"training {type(model).__name__}")
            resumable = {"checkpoint_dir": checkpoint_dir} if checkpoint_dir else {}
            model.fit(ratings, on_progress=bar.on_progress, **resumable)
            bar.end_run()
    except KeyboardInterrupt:
        resume = "; the same command resumes from the checkpoint" if checkpoint_dir else ""
        fail(f"interrupted: {path} was not written{resume}", code=130)
    if is_first_process():
        model.save(path)
        text, facts = result(model)
        report(f"{text}.\nWrote {path}", {"model": str(path)} | facts, given["as_json"])


def _ratings(given: dict[str, Any]) -> Ratings:
    """The ratings with the features of the files that were given, each logged."""
    names = ("user", "item", "rating", "timestamp", "scale")
    ratings = read(given["ratings"], given["cache"], **{name: given[name] for name in names})
    sides: dict[str, Features] = {}
    for side, ids in (("user", ratings.user_ids), ("item", ratings.item_ids)):
        path = given.get(f"{side}_features")
        if path is not None:
            sides[f"{side}s"] = read_features(path, text_ids=ids.dtype.kind == "U")
    if is_first_process():
        log(f"{given['ratings'].name}: {ratings}")
        for side, features in sides.items():
            log(f"{given[f'{side[:-1]}_features'].name}: {features}")
    return ratings.with_features(**sides)
