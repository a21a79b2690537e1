"""Search for the settings of a NeuralMF: numpy-neural-mf tune."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Exit

from ..mf.architecture import ARCHITECTURES
from ..training.progress_bar import ProgressBar
from ..tuning.search import TuningProgress
from ..tuning.search import tune as search
from ..utils.atomic_io import require_output
from ..utils.settings import check_choice
from .options import AsJson, Cache, ColumnName, RatingsFile, Scale, Seed, Settings, one_of, option
from .output import ROLES, fail, log, print_json, read, remark, say, show, stderr

if TYPE_CHECKING:
    import polars as pl

OUTPUT = Argument(help="The TOML file to write, for train --settings.")
TIMEOUT = option(None, "Start no trial after this time.", metavar="SECONDS")
STUDY = option(None, "Keep the trials here; the same command resumes a killed search.")
ARCHITECTURE = one_of(None, ARCHITECTURES, "Keep this one and tune only the training")


def tune(
    context: Context, ratings: RatingsFile, output: Annotated[Path, OUTPUT] = Path("settings.toml"),
    trials: Annotated[int, option(None, "Number of trials, including those of a resumed study.")] = 50,
    timeout: Annotated[float | None, TIMEOUT] = None, study: Annotated[Path | None, STUDY] = None,
    architecture: Annotated[str | None, ARCHITECTURE] = None,
    epochs: Annotated[int, option(None, "Epochs per trial.")] = 60, seed: Seed = 0,
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    scale: Scale = None, cache: Cache = True, as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Search for the settings with the lowest error on held-out ratings.

    The first trial has the defaults. Leave test ratings out of the file: the error
    of the best of many trials is optimistic. Ctrl-C keeps the finished trials.

    numpy-neural-mf tune train.csv settings.toml --trials 50 --study study.journal
    """
    if architecture is not None:
        check_choice("architecture", architecture, ARCHITECTURES)
    require_output(output, ratings, study)
    known = read(context)
    log(f"{ratings.name}: {known}")
    try:
        with ProgressBar(trials, stderr()) as bar:
            tuning = search(
                known, architecture=ARCHITECTURES.get(architecture or ""), n_trials=trials, timeout=timeout,
                study=study, epochs=epochs, random_state=seed, on_progress=shown_on(bar),
            )  # fmt: skip
    except KeyboardInterrupt:
        fail(f"interrupted before a trial was complete: {output} was not written", code=130)
    tuning.save(output, data=ratings.name)
    if tuning.n_resumed:
        remark(f"{tuning.n_resumed} of {tuning.trials.height} trials were in {study} already")
    if as_json:
        facts = {"settings": tuning.settings, "validation_rmse": tuning.validation_rmse}
        print_json(facts | {"default_rmse": tuning.default_rmse, "trials": tuning.trials.to_dicts()})
    else:
        command = ["numpy-neural-mf", "train", str(ratings), "--settings", str(output)]
        for role in ROLES:
            command += [f"--{role}", context.params[role]] if context.params[role] else []
        command += ["--scale", *(f"{value:g}" for value in scale)] if scale else []
        show(best_trials(tuning.trials))
        say(
            f"Validation RMSE {tuning.validation_rmse:.4f}, with the defaults {tuning.default_rmse:.4f}. The "
            "lowest of many on the same ratings is optimistic: evaluate the model on others.\n"
            f"Wrote {output}. Next: {shlex.join(command)}"
        )
    if tuning.is_interrupted:
        remark(f"interrupted: {output} has the best of {tuning.trials.height} trials")
        raise Exit(130)


def best_trials(trials: "pl.DataFrame", n: int = 4) -> "pl.DataFrame":
    """Return the best trials and the defaults, one column for each, since there are many settings."""
    import polars as pl
    from polars import selectors

    best = trials.filter(pl.col("state") == "complete").sort("validation_rmse").head(n)
    both = pl.concat([best, trials.head(1)]).unique("trial", maintain_order=True)
    names = [f"{trial}" if trial else "0: defaults" for trial in both["trial"]]
    cells = both.drop("trial", "state").with_columns(selectors.float().round_sig_figs(4)).cast(pl.String)
    return cells.transpose(include_header=True, header_name="trial", column_names=names)


def shown_on(bar: ProgressBar) -> Callable[[TuningProgress], None]:
    """Return a callback that shows each trial and its training on a progress bar."""
    n_ended = -1

    def on_progress(progress: TuningProgress) -> None:
        nonlocal n_ended
        if progress.n_finished > n_ended:
            for _ in range(progress.n_finished - max(n_ended, 0)):
                bar.end_run()
            n_ended = progress.n_finished
            bar.start_run(f"best {progress.best_rmse:.4f}, now" if n_ended else "the defaults")
        bar.on_progress(progress.training)

    return on_progress
