"""``deepfake submit --wait`` while the service is busy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from deepfake_client.models import JobOut
from deepfake_service.cli.submit import ServiceRefused, Submitter
from tests.support.jobkit import post_video
from tests.unit.service.conftest import Service


def problem(status: int, detail: str) -> dict[str, Any]:
    return {
        "type": "about:blank", "title": "", "status": status, "detail": detail, "instance": "x",
    }  # fmt: skip


BUSY = (503, {"Retry-After": "0"}, problem(503, "Later."))


@contextmanager
def answering(*answers: tuple[int, dict[str, str], Any]) -> Iterator[str]:
    """Serve the answers one after the other; yield the address."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, content = left.pop(0)
            body = json.dumps(content).encode()
            self.send_response(status)
            kind = "application/json" if status == 200 else "application/problem+json"
            for name, value in {**headers, "Content-Type": kind}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_a_busy_service_is_waited_for(service: Service) -> None:
    job = (await post_video(service, b"a")).json()
    ended = {**job, "state": "cancelled"}
    seen: list[JobOut] = []
    answers = BUSY, (200, {}, job), BUSY, BUSY, (200, {}, ended)
    with answering(*answers) as url, Submitter(url, "key") as submitter:
        assert submitter.wait(job["id"], seen.append).content.state == "cancelled"
    assert len(seen) == 2
    gone = (404, {}, problem(404, "There is no such job."))
    with (
        answering(BUSY, gone) as url,
        Submitter(url, "key") as submitter,
        pytest.raises(ServiceRefused, match="no such job"),
    ):
        submitter.wait(job["id"], seen.append)
