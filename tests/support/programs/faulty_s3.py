"""An S3 server (moto) that answers slowly or with errors when it is told to.

``python -m tests.support.programs.faulty_s3 ADDRESS PORT`` runs it. ``PUT /_faults`` with a JSON
object sets how: ``share`` of the requests are answered with status 500,
and all are answered ``delay_s`` late.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

PATH = "/_faults"
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class FaultyServer:
    """Passes requests on to ``app``, with faults."""

    def __init__(self, app: WsgiApp) -> None:
        self._app = app
        self._share = 0.0
        self._delay_s = 0.0

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            faults = json.loads(environ["wsgi.input"].read(length))
            self._share, self._delay_s = faults.get("share", 0.0), faults.get("delay_s", 0.0)
            start_response("204 No Content", [])
            return [b""]
        time.sleep(self._delay_s)
        if random.random() < self._share:
            content = b"<Error><Code>InternalError</Code></Error>"
            headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))]
            start_response("500 Internal Server Error", [*headers, ("Connection", "close")])
            return [content]
        return self._app(environ, start_response)


def main(address: str, port: str) -> None:
    """Serve until the process is killed."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    app = FaultyServer(DomainDispatcherApplication(create_backend_app))
    run_simple(address, int(port), app, threaded=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
