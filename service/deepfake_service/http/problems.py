"""Every error as one shape: ``application/problem+json``."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deepfake_service.errors import (
    MEDIA_TYPE,
    FieldError,
    InvalidRequest,
    Problem,
    ServiceError,
    problem_of,
    problem_of_status,
)
from deepfake_service.http.schemas import problem_schemas
from deepfake_service.observability.logs import describe, logger

REQUEST_ID_KEY = "request_id"
"""Where the middleware keeps the request's id in the scope's state."""

_log = logger("deepfake_service.errors")


def response_of(problem: Problem, request_id: str) -> Response:
    """The answer that tells of ``problem``."""
    return Response(
        json.dumps(problem.body(request_id), ensure_ascii=False),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def install(app: FastAPI) -> None:
    """Answer all errors of ``app``, the framework's own included, as problems, and say so in its
    OpenAPI description."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        api = generate()
        api["components"]["schemas"].update(problem_schemas())
        return api

    app.openapi = openapi  # type: ignore[method-assign]


async def _service_error(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status == 500:
        _log.error("request_failed", failure=describe(error))
    return response_of(problem, request_id(request))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = problem_of_status(error.status_code, dict(error.headers or {}))
    return response_of(problem, request_id(request))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [
        FieldError(".".join(str(p) for p in e["loc"][1:]) or str(e["loc"][0]), str(e["msg"]))
        for e in error.errors()
    ]
    return response_of(problem_of(InvalidRequest(errors=wrong)), request_id(request))


def request_id(request: Request) -> str:
    """The id of ``request``."""
    return str(request.scope["state"][REQUEST_ID_KEY])
