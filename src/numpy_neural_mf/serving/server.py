"""The server: uvicorn with the app, in one process or several."""

import os
import signal
import socket
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from ..models import load_model
from .settings import ServerSettings
from .store import RatingsStore, store_beside


def serve(settings: ServerSettings) -> None:
    """Serve until a signal ends the process; errors at the start are those of `create_app`.

    The server checks each second whether a model file was replaced; SIGHUP makes it check at once.
    """
    settings.to_environment()
    config = uvicorn.Config(
        f"{__name__}:app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http="httptools",
        ws="none",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=30,
    )
    if settings.workers == 1:
        uvicorn.Server(config).run()
        return
    for path in settings.models:  # an error is reported once, here
        load_model(path, mapped=True)
    RatingsStore(settings.store or store_beside(settings.models[0])).close()  # creates the table
    with TemporaryDirectory(prefix="numpy-neural-mf-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        Workers(config, [bound(config)]).run()


def bound(config: uvicorn.Config) -> socket.socket:
    """Return the socket that all workers listen on.

    Connections inherit its option. asyncio sets it only where a socket names its protocol, and uvicorn's
    does not: without it, each answer waits 40 ms for the acknowledgement of its first part.
    """
    listening = config.bind_socket()
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class Workers(Multiprocess):
    """Processes that all check for new models at SIGHUP, where uvicorn would restart them."""

    def handle_hup(self) -> None:
        """Pass SIGHUP on to the processes."""
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)


def app_from_environment() -> FastAPI:
    """Return the app of a worker process."""
    from .app import create_app

    return create_app(ServerSettings.from_environment())
