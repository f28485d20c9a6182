"""``deepfake serve``: run the HTTP service."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from asyncio import Transport
from collections.abc import Iterator
from typing import Literal

import typer
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from deepfake_models.bundle.bundle import Bundle
from deepfake_models.decision.fitness import unfit
from deepfake_models.errors import DeepfakeError
from deepfake_models.sandbox.pool import missing_layers
from deepfake_service.accounts.admin_key import ADMIN_KEY_FILE, ensure_admin_key
from deepfake_service.app import create_app
from deepfake_service.audit.records import open_database
from deepfake_service.cli.output import clean
from deepfake_service.cli.score import naming_bundle
from deepfake_service.examination.engine import engine_running
from deepfake_service.http.middleware import LOOPBACK, for_own_hosts
from deepfake_service.platform import logs
from deepfake_service.platform.errors import (
    DatabaseError,
    DatabaseUnavailable,
    DataDirError,
    SettingsError,
)
from deepfake_service.platform.settings import PREFIX, Settings

KEEP_ALIVE_S = 15
SHUTDOWN_S = 30
"""How long running requests may take to finish when the service stops."""
MAX_HEAD_BYTES = 32 * 1024
"""Of a request line and headers that arrive in pieces. Real requests have less than 1 kB."""
MAX_CONNECTIONS = 512
"""Half of the 1024 files that a process may usually open, which leaves room to start decoders."""
OPERATIONS = frozenset({"/healthz", "/readyz", "/metrics"})
"""The only paths of the operators' listener."""
OPERATIONS_CONNECTIONS = 16


def run(settings: Settings, *, worker: bool = True) -> None:
    """Serve until SIGTERM or SIGINT (Ctrl-C), then let running requests finish and return.

    Raises:
        DeepfakeError: the bundle, the database or the address cannot be used. The message is meant
            for the operator.
    """
    log = logs.logger("deepfake_service.serve")
    with contextlib.ExitStack() as stack:
        # First, as nothing is as quick to tell. Connections are refused until the server listens.
        listener = stack.enter_context(_listen(settings.host, settings.port))
        operators = None
        if settings.operations_port:
            host, port = settings.operations_host, settings.operations_port
            operators = stack.enter_context(_listen(host, port, "OPERATIONS_"))
        with _naming_data_dir(settings):
            database = open_database(settings)
            database.check_integrity()
        with naming_bundle(settings.bundle_dir):
            scorer, decoder = stack.enter_context(engine_running(settings))

        def welcome() -> None:  # not before: a key that is shown once would be lost
            with _naming_data_dir(settings):
                first = ensure_admin_key(database, settings, terminal=sys.stderr.isatty())
            _greet(settings, listener, first, scorer.bundle)

        app = create_app(settings, database, scorer, decoder, worker=worker)
        app.state.shared.on_start = welcome
        confinement = decoder.confinement()
        if not confinement.complete:
            typer.echo(
                f"{missing_layers(confinement)} docs/deployment.md says what helps.", err=True
            )
        guarded = for_own_hosts(app, settings)
        server = _server(guarded, lifespan="on", max_connections=MAX_CONNECTIONS)
        app.state.shared.is_stopping = lambda: server.should_exit
        # uvicorn stops on these signals and then raises them again, which would make the exit
        # status that of a killed process. A requested stop is a success.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        if operators is not None:
            stack.enter_context(_operators_served(app, operators))
        with contextlib.suppress(SystemExit):  # how uvicorn ends if the app could not start
            server.run(sockets=[listener])
        if not server.started:
            failure = app.state.shared.start_failure
            if isinstance(failure, DeepfakeError):
                raise failure
            if failure is not None:
                log.error("not_started", failure=logs.describe(failure))
            raise DeepfakeError("The service could not start. See its log for the reason.")
        log.info("stopped")


def _server(
    app: ASGIApp, *, lifespan: Literal["on", "off"], max_connections: int
) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan=lifespan,
            log_config=None,
            access_log=False,
            server_header=False,
            # Nothing depends on the client's address, and proxy headers can be forged.
            proxy_headers=False,
            ws="none",
            http=_making_room(max_connections // 2),
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            limit_concurrency=max_connections,
            # A client whose connection does not fit in the backlog waits a second or more.
            backlog=max_connections,
        )
    )


def _making_room(places: int) -> type[H11Protocol]:
    """Return a protocol whose connections without a request take so many places at most: a further
    one replaces the oldest. Clients that say nothing, or half of a head, keep no one out."""

    class MakingRoom(H11Protocol):
        idle_since = 0.0

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.idle_since = self.loop.time()
            idle = [each for each in self.connections if isinstance(each, MakingRoom) and each.idle]
            if len(idle) > places:
                min(idle, key=lambda each: each.idle_since).transport.close()

        @property
        def idle(self) -> bool:
            # There is no cycle until the first request, whatever uvicorn's annotation says.
            waits = getattr(self.cycle, "response_complete", True)
            return waits and not self.transport.is_closing()

        def handle_events(self) -> None:
            super().handle_events()
            # RFC 9112, section 6.1: a proxy may have ended the body elsewhere. What follows it
            # would be a request that the proxy never saw.
            both = {b"content-length", b"transfer-encoding"} <= set(dict(self.headers or ()))
            if both and CLOSE_HEADER not in self.headers:
                self.headers.append(CLOSE_HEADER)  # as if the client had sent it

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.idle_since = self.loop.time()

    return MakingRoom


@contextlib.contextmanager
def _operators_served(app: ASGIApp, listener: socket.socket) -> Iterator[None]:
    """Serve the operators' paths of ``app`` while the context lasts, from a thread with its own
    event loop: connections of clients cannot take these places."""

    async def operations_only(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in OPERATIONS:
            await app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": b"Not found.\n"})

    listener.listen(OPERATIONS_CONNECTIONS)  # now, not when the thread gets its turn
    server = _server(operations_only, lifespan="off", max_connections=OPERATIONS_CONNECTIONS)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="operations", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def _naming_data_dir(settings: Settings) -> Iterator[None]:
    try:
        yield
    except DataDirError as error:
        error.args = (f"{PREFIX}DATA_DIR ({clean(str(settings.data_dir))}): {error.message}",)
        raise
    except (DatabaseError, DatabaseUnavailable) as error:
        # The URL contains a password, so the message names the variable instead.
        where = f"{PREFIX}DATABASE_URL" if settings.database_url else f"{PREFIX}DATA_DIR"
        error.args = (f"{where}: {error.message}",)
        raise


def _listen(host: str, port: int, prefix: str = "") -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {host} port {port}: {error.strerror}. "
            f"Set {PREFIX}{prefix}HOST or {PREFIX}{prefix}PORT to another address."
        ) from error
    return listener


def _greet(settings: Settings, listener: socket.socket, first: str | None, bundle: Bundle) -> None:
    model = bundle.model_json()
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [
        f"Serving on http://{host}:{port} (API reference: http://{host}:{port}/docs)",
        f"Model {model['bundle']} {model['version']}, {model['sha256'][:16]}; "
        f"terms: {model['terms']}",
        *(f"NOT FOR USE: {reason.detail}" for reason in unfit(bundle.spec)),
    ]
    switches = (
        (settings.capture_links, f"opening of links ({PREFIX}CAPTURE_LINKS=true)"),
        (settings.looks_from, f"looks at posts ({PREFIX}LOOKS_FROM=KR, or your country)"),
    )
    if off := ", ".join(feature for value, feature in switches if not value):
        lines.append(f"Off, with the setting that switches it on: {off}.")
    if settings.host not in LOOPBACK:
        lines.append(
            "This address can be reached from other machines: put a TLS-terminating proxy in front "
            "of it."
        )
    if first is None:
        key_file = settings.data_dir / ADMIN_KEY_FILE
        if settings.admin_key:
            source = f"the value of {PREFIX}ADMIN_KEY"
        elif key_file.is_file():
            source = f"the one generated earlier, in {key_file}"
        else:
            source = f"the one generated earlier. If it is lost, set {PREFIX}ADMIN_KEY to a new one"
        lines.append(f"Sign in with the administrator key: {source}.")
    elif sys.stderr.isatty():
        lines.append(f"Administrator key, shown only once: {first}")
    else:
        lines.append(
            f"Administrator key: saved in {settings.data_dir / ADMIN_KEY_FILE} until someone "
            "signs in to the console with it"
        )
    lines.append('API requests send it as "Authorization: Bearer KEY". Press Ctrl-C to stop.')
    typer.echo("\n".join(lines), err=True)
