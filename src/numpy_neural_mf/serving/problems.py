"""Errors as application/problem+json (RFC 9457) that name the field and the expected value."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from .schemas import Problem

logger = logging.getLogger(__name__)

MOST_ERRORS = 20  # listed in one response
CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
# Error statuses, for the OpenAPI document.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": HTTPStatus(status).phrase, "content": CONTENT}
    for status in (400, 401, 404, 408, 413, 422, 500, 503)
}


class RequestError(Exception):
    """A request that cannot be answered because of one of its fields."""

    def __init__(self, status: int, field: str, expected: str) -> None:
        self.status, self.field, self.expected = status, field, expected
        super().__init__(f"{field}: {expected}")


def problem(
    status: int,
    detail: str,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return the response to a request that failed."""
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if errors:
        content["errors"] = list(errors)
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def add_problems(app: FastAPI) -> None:
    """Answer every error with a problem; details of server errors appear only in the log."""

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> JSONResponse:
        errors = [{"field": error.field, "expected": error.expected}]
        return problem(error.status, str(error), errors)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        if found[0]["type"] == "json_invalid":
            return problem(400, "expected JSON")
        errors = [
            {"field": _field(one["loc"]), "expected": _expected(one["msg"])} for one in found[:MOST_ERRORS]
        ]
        return problem(422, f"{errors[0]['field']}: {errors[0]['expected']}", errors)

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(SQLAlchemyError)
    async def without_store(request: Request, error: SQLAlchemyError) -> JSONResponse:
        logger.error("ratings store: %s", error)
        return problem(503, "the ratings store does not answer", headers={"Retry-After": "1"})

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "a server error, which the log of the server describes")


def openapi_with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Add the schema of problems to an OpenAPI document, and remove the other schemas of errors."""
    schemas = document["components"]["schemas"]
    template = "#/components/schemas/{model}"
    nested = Problem.model_json_schema(ref_template=template)
    schemas |= nested.pop("$defs") | {"Problem": nested}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document


def _field(place: Sequence[int | str]) -> str:
    """Return the place of an error in the request, such as pairs[3].item."""
    parts = place[1:] if len(place) > 1 else place
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".")


def _expected(message: str) -> str:
    return message.replace("Input should be", "expected").replace("Field required", "expected a value")
