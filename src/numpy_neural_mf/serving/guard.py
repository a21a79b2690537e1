"""Middleware for every request: limits of size, time and concurrency, metrics, and security headers."""

import asyncio
import time
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import REQUESTS, SECONDS
from .problems import problem

MOST_AT_ONCE = 512  # concurrent requests of a worker
MAX_BODY = 2**20  # bytes of a request
TIME_LIMIT = 30.0  # seconds, including the time to receive the request
NOWHERE = "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# The page of the OpenAPI document has inline scripts and styles.
OF_DOCS = f"default-src 'self' 'unsafe-inline'; img-src 'self' data:; {NOWHERE}"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'self'; {NOWHERE}; require-trusted-types-for 'script'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Middleware that applies the limits, counts requests and sets headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within the limits."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, size, status = time.perf_counter(), 0, 0

        async def received() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise HTTPException(413, f"expected at most {MAX_BODY:,} bytes")
            return message

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                if scope["path"] == "/docs":
                    headers["Content-Security-Policy"] = OF_DOCS
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        self._inside += 1
        try:
            if self._inside > MOST_AT_ONCE:
                busy = problem(503, "too many requests at once", headers={"Retry-After": "1"})
                return await busy(scope, receive, sent)
            async with asyncio.timeout(TIME_LIMIT):
                await self._app(scope, received, sent)
        except TimeoutError:
            if not status:
                await problem(408, f"the request took more than {TIME_LIMIT:g} s")(scope, receive, sent)
        finally:
            self._inside -= 1
            route = _route(scope)
            REQUESTS.labels(scope["method"], route, status or 500).inc()
            SECONDS.labels(route).observe(time.perf_counter() - started)


def _route(scope: Scope) -> str:
    """Return the path as the service declares it; all unknown paths are "other"."""
    route: Any = scope.get("route")
    return getattr(route, "path", None) or "other"
