"""The ASGI app: routes, limits, authentication and error responses together."""

import asyncio
import logging
import secrets
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ..utils.threads import one_blas_thread
from .guard import Guard
from .problems import add_problems, openapi_with_problems
from .routes import api, metrics, probes
from .service import Service
from .settings import ServerSettings

logger = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
SECONDS_BETWEEN_LOOKS = 1.0  # between two checks of the model files
LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]", "::1"]


def create_app(settings: ServerSettings) -> FastAPI:
    """Return the service as an ASGI application with its models loaded.

    Raises ModelFileError if a file is not a model, and ValueError if a setting is invalid.
    """
    service, token = Service(settings), settings.token
    app = FastAPIOffline(
        title="numpy-neural-mf",
        description="Predicted ratings, top-N lists, explanations, and a store of new ratings.",
        lifespan=_lifespan,
        redoc_url=None,
    )
    app.state.service = service
    protected = [] if token is None else [Depends(_require(token))]
    app.include_router(api, dependencies=protected)
    app.include_router(metrics, dependencies=protected)
    app.include_router(probes)
    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_api_route("/", _page, include_in_schema=False)
    add_problems(app)
    generated = app.openapi
    app.openapi = lambda: openapi_with_problems(generated())  # type: ignore[method-assign]
    if settings.is_local and token is None:  # against DNS rebinding
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOCAL_HOSTS)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.add_middleware(Guard)
    return app


async def _page() -> FileResponse:
    return FileResponse(PAGE / "index.html")


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run the app with one BLAS thread, and reload model files that are replaced."""
    service, look = app.state.service, asyncio.Event()
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, look.set)
    with one_blas_thread():
        watching = asyncio.create_task(_watch(service, look))
        try:
            yield
        finally:
            watching.cancel()
            service.store.close()


async def _watch(service: Service, look: asyncio.Event) -> None:
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(look.wait(), SECONDS_BETWEEN_LOOKS)
        look.clear()
        await asyncio.to_thread(service.reload)


def _require(token: str) -> Callable[..., Awaitable[None]]:
    """Return a dependency that refuses requests without the token."""
    scheme = HTTPBearer(auto_error=False, description="The token that the server was started with.")

    async def require(given: Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)]) -> None:
        if given is None or not secrets.compare_digest(given.credentials.encode(), token.encode()):
            headers = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "Authorization: expected Bearer and the token", headers)

    return require
