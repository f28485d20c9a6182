"""Connections of the server: how long they may wait, and which one is closed if there are too many.

A connection needs no key, so that anybody can open as many as the system allows. Three rules keep
them from blocking the service:

1. The head of a request must arrive within a time limit, and the client must accept the response.
2. If the maximum is reached, a new connection replaces one that waits without a request, or for the
   body of a request whose sender is not known.
3. If no connection may be replaced, a few more connections are accepted for
   ``/healthz``, ``/readyz`` and ``/metrics``. Operators may also give these paths a listener.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from deepfake_service.http.request_heads import StrictBuffer

OPERATIONS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that answer while the service is full, and the only ones of the operators' listener."""
MAX_HEAD_BYTES = 32 * 1024
"""Maximum size of the request line and headers. Real requests have less than 1 kB."""
RESERVED = 8
"""Connections above the maximum, which only serve ``OPERATIONS``."""
KNOWN_SENDER = "sender_is_known"
"""Key in the ``state`` of a request's scope that is set once its key or its session was checked."""
NEW_S = 0.1
"""A connection that has no request yet, or waits for a body, is replaced last while it is younger,
and not at all if no other could be: the server accepts several before it reads from any."""
FLUSH_S = 5.0
"""How long a closed connection may take to send the rest of its response."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of the server's connections."""

    max_connections: int
    head_timeout_s: float
    """From the opening of the connection, or the first byte of a request, to the end of its
    head."""
    stall_timeout_s: float
    """How long a client may refuse to receive more of a response."""
    operations_port: int = 0
    """The port of the operators' listener; 0 if there is none."""


class BoundedConnection(H11Protocol):
    """One connection. ``connection_class`` returns a subclass that has ``limits``."""

    limits: ClassVar[ConnectionLimits]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit a connection, in place of another if there are too many, or close it."""
        super().connection_made(transport)
        self.conn._receive_buffer = StrictBuffer(MAX_HEAD_BYTES)
        self._opened_at = self._asked_at = self.loop.time()
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._is_extra = False
        port = self.server[1] if self.server else None
        self.for_operations = port == self.limits.operations_port
        if self.for_operations:
            self.app = cast(Any, _operations_only(self.app, 404))
        limit = RESERVED if self.for_operations else self.limits.max_connections
        others = [c for c in self._others() if c.for_operations == self.for_operations]
        if len(others) >= limit and not _replace_one(others):
            self._is_extra = True
            self.app = cast(Any, _operations_only(self.app, 503))
            if self.for_operations or len(others) >= limit + RESERVED:
                transport.abort()
                return
        self._start_head_timer()

    def _others(self) -> list[BoundedConnection]:
        return [c for c in self.connections if isinstance(c, BoundedConnection) and c is not self]

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress: none has arrived, or the last one was answered."""
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return cycle is None or cycle.response_complete

    @property
    def waits_for_body(self) -> bool:
        """Whether the body of a request is on its way that anybody may have sent. Most routes ask
        who sent a request when its body has arrived."""
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return (
            cycle is not None
            and cycle.more_body
            and not cycle.response_started
            and KNOWN_SENDER not in cycle.scope.get("state", {})
        )

    @property
    def may_be_replaced(self) -> bool:
        """Whether a new connection may take its place."""
        return self.is_idle or self.waits_for_body

    @property
    def is_new(self) -> bool:
        """Whether the rest of what it waits for may still be on its way."""
        if self.waits_for_body:
            return self.loop.time() - self._asked_at < NEW_S
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return cycle is None and self.loop.time() - self._opened_at < NEW_S

    def data_received(self, data: bytes) -> None:
        """Handle bytes. Those that do not complete a head do not extend its time limit."""
        cycle = self.cycle
        super().data_received(data)
        if self.cycle is not cycle:
            self._asked_at = self.loop.time()
        if not self.is_idle:
            self._cancel_head_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            # Part of a head, or of a body that nobody reads because it was answered already.
            self._start_head_timer()

    def on_response_complete(self) -> None:
        """Close a connection above the maximum after its response."""
        super().on_response_complete()
        if self._is_extra:
            self.close()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no further request arrives."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(FLUSH_S, self.transport.abort)

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not receive."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.limits.stall_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting: the client received something."""
        super().resume_writing()
        self._cancel_stall_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel_head_timer()
        self._cancel_stall_timer()
        super().connection_lost(exc)

    def close(self) -> None:
        """Close the connection once the client has received what was sent."""
        self.transport.close()
        self.loop.call_later(FLUSH_S, self.transport.abort)

    def replace(self) -> None:
        """Close the connection at once, and count it no longer."""
        self.connections.discard(self)
        self.transport.abort()

    def last_used(self) -> tuple[bool, float]:
        """Return the order of idle connections: without any request first, then the oldest."""
        return self.cycle is not None, self._opened_at

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_timeout_s, self.transport.abort)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cancel_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def connection_class(limits: ConnectionLimits) -> type[BoundedConnection]:
    """Return the protocol class for uvicorn, with these limits."""
    return type("LimitedConnection", (BoundedConnection,), {"limits": limits})


def _replace_one(connections: Iterable[BoundedConnection]) -> bool:
    """Close a connection that may be replaced, of the address that has most. Return whether there
    is one."""
    found = [c for c in connections if c.may_be_replaced]
    if not found or (len(found) == 1 and found[0].is_new):
        return False
    addresses = Counter(_address(c) for c in found)
    min(found, key=lambda c: (-addresses[_address(c)], c.is_new, *c.last_used())).replace()
    return True


def _address(connection: BoundedConnection) -> str:
    return connection.client[0] if connection.client else ""


def _operations_only(app: Any, status: int) -> ASGIApp:
    """Return an app that answers ``status`` to every path but ``OPERATIONS``."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in OPERATIONS:
            await app(scope, receive, send)
            return
        text = {404: b"Not found.\n", 503: b"Too many connections. Try again later.\n"}[status]
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        if status == 503:
            headers.append((b"retry-after", b"5"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    return answer
