"""The middleware around every request: its id, log line, metrics, security headers, the bound on
its body, and the answer to an error that no handler caught."""

from __future__ import annotations

import asyncio
import re
import time
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepfake_service.http.problems import REQUEST_ID_KEY, BodyRefused, problem_of, response_of
from deepfake_service.http.uploads import (
    BODY_TIMEOUT_S,
    UNKNOWN_SENDER_GRACE_S,
    bounded_receive,
    is_streamed,
)
from deepfake_service.platform.errors import Code, Overloaded, ServiceError
from deepfake_service.platform.logs import describe, logger, request_id_from
from deepfake_service.platform.metrics import UNMATCHED, Metrics, known_method
from deepfake_service.platform.settings import PREFIX, Settings

REQUEST_ID_HEADER = "X-Request-ID"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MAX_BODY_BYTES = 1024 * 1024
"""Of a JSON body or a form: a notice with its longest texts has less than half of this."""

_HOST = re.compile(r"\[?([^\[\]]+?)\]?(?::\d*)?")

_log = logger("deepfake_service.access")


class RequestMiddleware:
    """Pure ASGI, so that bodies stream through it and a disconnect reaches the route."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

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
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                # Unless a route says otherwise: what is static may be kept.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        started = time.monotonic()
        self._metrics.in_progress.inc()
        try:
            await self._app(scope, _bounded(scope, receive), send_with_headers)
        except asyncio.CancelledError:
            # Only the server cancels requests, when its time to shut down is over; it would log a
            # traceback and answer 500.
            if status:
                raise
            answer = response_of(problem_of(Overloaded(code=Code.NOT_READY)), HTTPConnection(scope))
            await answer(scope, receive, send_with_headers)
        except Exception as error:
            # Not raised again: the server would log the text of the error.
            _log.error("request_failed", failure=describe(error))
            if not status:
                answer = response_of(problem_of(error), HTTPConnection(scope))
                await answer(scope, receive, send_with_headers)
        finally:
            seconds = time.monotonic() - started
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


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Limit the body on routes that set no limit: FastAPI reads the whole body before it
    authenticates."""
    bounded = bounded_receive(
        scope, receive, MAX_BODY_BYTES, timeout_s=BODY_TIMEOUT_S, grace_s=UNKNOWN_SENDER_GRACE_S
    )

    async def receive_some() -> Message:
        # The route is known once something reads the body.
        if is_streamed(scope):
            return await receive()
        try:
            return await bounded()
        except ServiceError as error:
            raise BodyRefused(error) from error

    return receive_some


def for_own_hosts(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Refuse other names of hosts on loopback: a page could have its own name resolve to this
    machine, and would be of the same origin then (DNS rebinding). The log names the setting that
    adds a name, for the operator; the answer names none, as that page can read it."""
    if settings.host not in LOOPBACK:
        return app
    own = {*LOOPBACK, urlsplit(settings.public_url or "").hostname}

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            named = _HOST.fullmatch(Headers(scope=scope).get("host", ""))
            if named is None or named[1].lower() not in own:
                _log.warning("unknown_host", setting=f"{PREFIX}PUBLIC_URL")
                answer = PlainTextResponse("Unknown host. The log says which setting adds it.", 400)
                await answer(scope, receive, send)
                return
        await app(scope, receive, send)

    return guarded
