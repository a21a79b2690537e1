"""Settings of a server, and their way into the worker processes."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

VARIABLE = "NUMPY_NEURAL_MF_SERVER"  # environment variable with the settings, for worker processes
TOKEN = "NUMPY_NEURAL_MF_TOKEN"


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a server.

    Attributes
    ----------
    models : tuple of str, model files; the first is the default
    store : str, address of the database of ratings, as SQLAlchemy takes it; by default SQLite next to the
        first model, ``films.ratings.sqlite`` for ``films.safetensors``
    titles : str or None, CSV file with an id first and a column title
    about : str or None
        JSON file on the data, for the page: "data", "licence", "citation", and "items", which is "films" or
        "items".
    token_file : str or None
        File of the token that each request needs; by default the environment variable NUMPY_NEURAL_MF_TOKEN
        has the token, and without it none is needed.
    origins : tuple of str, other web origins whose pages may send requests; by default none
    host, port : address and port on which the server listens
    workers : int, default 1, the number of processes
    """

    models: tuple[str, ...]
    store: str = ""
    titles: str | None = None
    about: str | None = None
    token_file: str | None = None
    origins: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1

    @property
    def token(self) -> str | None:
        """The token that each request needs, or None; an empty token is a ValueError."""
        if self.token_file is None:
            token = os.environ.get(TOKEN)
        else:
            token = Path(self.token_file).read_text("utf-8").strip()
        if token == "":
            raise ValueError(f"{self.token_file or TOKEN}: expected a token, found nothing")
        return token

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in ("127.0.0.1", "::1", "localhost")

    def to_environment(self) -> None:
        """Pass the settings to child processes."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Self:
        """Return the settings that the parent process passed."""
        given = json.loads(os.environ[VARIABLE])
        return cls(**given | {name: tuple(given[name]) for name in ("models", "origins")})
