"""Around every request: its id, its log line, its metrics, security headers and the last catch."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepfake_service.errors import NotReady
from deepfake_service.http.problems import REQUEST_ID_KEY, problem_of, response_of
from deepfake_service.observability.logs import describe, logger, request_id_from
from deepfake_service.observability.metrics import UNMATCHED, Metrics, known_method

REQUEST_ID_HEADER = "X-Request-ID"
MAX_BODY_BYTES = 1024 * 1024
"""Of a body that is JSON or a form: a notice with its longest texts has less than half of it."""
STREAMED = re.compile(r"/v1/(videos|frames|verify|cases/[^/]*/occurrences)")
"""Paths of uploads, which bound what they take as it arrives."""

_log = logger("deepfake_service.access")


class RequestMiddleware:
    """Pure ASGI, so that bodies stream through it and a disconnect reaches the route."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        body_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._body_timeout_s = body_timeout_s
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_from(Headers(scope=scope).get(REQUEST_ID_HEADER))
        scope.setdefault("state", {})[REQUEST_ID_KEY] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), scope["path"], request_id)
            await send(message)

        started = self._clock()
        self._metrics.request_started()
        try:
            bounded = receive
            if not STREAMED.fullmatch(scope["path"]):
                bounded = _bounded(receive, self._body_timeout_s)
            await self._app(scope, bounded, send_with_headers)
        except asyncio.CancelledError:
            # Only the server does this, at the end of the time that a stop leaves; it would log
            # a traceback and answer 500.
            if status:
                raise
            answer = response_of(problem_of(NotReady()), request_id)
            await answer(scope, receive, send_with_headers)
        except Exception as error:
            # Logged here and not raised: the server would log the error's text.
            _log.error("request_failed", failure=describe(error))
            if not status:
                answer = response_of(problem_of(error), request_id)
                await answer(scope, receive, send_with_headers)
        finally:
            seconds = self._clock() - started
            route = getattr(scope.get("route"), "path", UNMATCHED)
            self._metrics.request_ended(scope["method"], route, status, seconds)
            _log.info(
                "request",
                method=known_method(scope["method"]),
                route=route,
                status=status,
                duration_ms=round(seconds * 1000, 1),
            )
            structlog.contextvars.clear_contextvars()


def _bounded(receive: Receive, timeout_s: float) -> Receive:
    """A body of few bytes that arrives in time: FastAPI reads one whole before it asks who it is
    from."""
    received, whole, ends = 0, False, time.monotonic() + timeout_s

    async def receive_some() -> Message:
        nonlocal received, whole
        if whole:  # what comes now is the wait for the client to go
            return await receive()
        try:
            async with asyncio.timeout(ends - time.monotonic()):
                message = await receive()
        except TimeoutError as error:
            # Of this class alone FastAPI passes on what it meets while it reads a body.
            raise HTTPException(408) from error
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise HTTPException(413)
        whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return receive_some


def _add_headers(headers: MutableHeaders, path: str, request_id: str) -> None:
    headers[REQUEST_ID_HEADER] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    if path.startswith("/v1/"):
        headers["Cache-Control"] = "no-store"
