"""A service over HTTP: predictions, lists, explanations, and the ratings that come in (extra "serve")."""

from .app import create_app
from .server import serve
from .settings import ServerSettings

__all__ = ["ServerSettings", "create_app", "serve"]
