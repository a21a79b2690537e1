"""Serve models over HTTP: numpy-neural-mf serve."""

from pathlib import Path
from typing import Annotated

from typer import Argument

from ..utils.extras import naming_the_extra
from .options import FILE, Settings, Titles, option

MODELS = Argument(help="Model files; the first is the default.", exists=True, dir_okay=False)
STORE = option(None, "Address of the ratings store; by default SQLite next to the model.")
TOKEN = option(None, "File of the token that requests need; else NUMPY_NEURAL_MF_TOKEN.", **FILE)
ORIGIN = option(None, "Another origin whose pages may send requests; may be repeated.", metavar="URL")
ABOUT = option(None, "JSON file on the data, for the page: data, licence, citation, items.", **FILE)
HOST = option(None, "Address to listen on; by default this machine only.")


def serve(
    models: Annotated[list[Path], MODELS], titles: Titles = None,
    about: Annotated[Path | None, ABOUT] = None,
    store: Annotated[str, STORE] = "", token_file: Annotated[Path | None, TOKEN] = None,
    origin: Annotated[list[str] | None, ORIGIN] = None,
    host: Annotated[str, HOST] = "127.0.0.1",
    port: Annotated[int, option(None, "Port; 0 for a free one.", min=0, max=65_535)] = 8000,
    workers: Annotated[int, option(None, "Processes; they share the model's memory.", min=1)] = 1,
    settings: Settings = None,
) -> None:  # fmt: skip
    """Serve models over HTTP: predictions, top-N lists and explanations; new ratings are stored.

    numpy-neural-mf serve films.safetensors --titles movies.csv
    """
    with naming_the_extra("serve", "serve"):
        from ..serving import ServerSettings
        from ..serving import serve as run
    given = ServerSettings(
        tuple(map(str, models)),
        store=store,
        titles=None if titles is None else str(titles),
        about=None if about is None else str(about),
        token_file=None if token_file is None else str(token_file),
        origins=tuple(origin or ()),
        host=host,
        port=port,
        workers=workers,
    )
    run(given)
