"""Train a model further, on ratings of a file or of the service's store: numpy-neural-mf update."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Context

from ..data import Ratings
from ..utils.extras import naming_the_extra
from .options import AsJson, ColumnName, ModelFile, Settings, Titles, option
from .output import load, read, report, working
from .tables import roles_of_text

FILE = Argument(help="CSV, Parquet, ...; by default the ratings that the service stored.")
OUTPUT = Argument(help="The file to write; by default the model's.")
STORE = option(None, "Address of the service's ratings store; by default SQLite next to the model.")


def update(
    context: Context, model: ModelFile,
    ratings: Annotated[Path | None, FILE] = None, output: Annotated[Path | None, OUTPUT] = None,
    store: Annotated[str, STORE] = "",
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    titles: Titles = None, as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Train a model further on new ratings, also of new users and items.

    A service that serves the file loads the new model.

    numpy-neural-mf update films.safetensors this_week.csv
    numpy-neural-mf update films.safetensors
    """
    loaded, path = load(model, "partial_fit"), output or model
    if ratings is None:
        new = _kept(loaded, model, store)
    elif store:
        raise ValueError("expected ratings from a file or from --store, found both")
    else:
        scale = getattr(loaded, "rating_scale_", None)  # a NextItemModel has none
        new = read(context, scale=scale, text_ids=roles_of_text(loaded))
    n_users, n_items, n = len(loaded.user_ids_), len(loaded.item_ids_), 0 if new is None else len(new)
    if new is not None:
        new = new if titles is None else new.with_titles(titles)
        with working(f"learning {n:,} ratings"):
            loaded.partial_fit(new)
    if new is not None or output is not None:
        loaded.save(path)
    n_users, n_items = len(loaded.user_ids_) - n_users, len(loaded.item_ids_) - n_items
    text = f"Wrote {path}: {n:,} ratings learned, {n_users:,} new users, {n_items:,} new items"
    facts = {"model": str(path), "ratings": n, "new_users": n_users, "new_items": n_items}
    report(text if n else "There are no new ratings to learn", facts, as_json)


def _kept(loaded: Any, model: Path, address: str) -> Ratings | None:
    """Return the ratings of a store that the model has not learned; None if there are none."""
    with naming_the_extra("update from a ratings store", "serve"):
        from ..serving.store import RatingsStore, store_beside
        from ..serving.unlearned import unlearned_ratings
    beside = Path(store_beside(model).removeprefix("sqlite:///"))
    if not address and not beside.exists():
        raise ValueError(f"expected a file of ratings, or those that the service kept in {beside}")
    with working("reading the ratings that the service kept"):
        return unlearned_ratings(RatingsStore(address or store_beside(model)), loaded)
