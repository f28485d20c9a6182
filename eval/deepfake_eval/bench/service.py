"""The service and its workers as processes, driven over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deepfake_eval.bench import machine
from deepfake_eval.errors import EvalError

FRAMES, VIDEOS = "/v1/frames", "/v1/videos"
START_S = 180.0
PREFIX = "DEEPFAKE_"
MAX_RETRIES = 600


class ServiceFailed(EvalError):
    """The service did not do what the bench asked of it."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to a request, and how often the service asked to try again before it."""

    status: int
    body: bytes
    refusals: int = 0

    def json(self) -> dict[str, Any]:
        """Return the body.

        Raises:
            ServiceFailed: the status is not 2xx.
        """
        if not 200 <= self.status < 300:
            raise ServiceFailed(f"the service answered {self.status}: {self.body[:300]!r}")
        body: dict[str, Any] = json.loads(self.body)
        return body


class Client:
    """One connection to the service, for one thread."""

    def __init__(self, url: str, key: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
        self._headers = {"Authorization": f"Bearer {key}"}

    def get(self, path: str) -> Response:
        """Return the answer to a GET request."""
        answer, body = self._request("GET", path)
        return Response(answer.status, body)

    def post_file(self, path: str, field: str, content: bytes) -> Response:
        """Upload a file in the form field ``field``.

        Where the service answers 429 or 503, the request is repeated after the time it names.

        Raises:
            ServiceFailed: it never accepts the request.
        """
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\nContent-Disposition: form-data; "
            f'name="{field}"; filename="generated"\r\n\r\n'
        )
        body = b"".join([head.encode(), content, f"\r\n--{boundary}--\r\n".encode()])
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        for refusals in range(MAX_RETRIES):
            try:
                answer, received = self._request("POST", path, body, **kind)
            except (http.client.HTTPException, OSError):
                # The service may refuse a body before it is sent, and close the connection.
                self.close()
                time.sleep(0.2)
                continue
            if answer.status not in (429, 503):
                return Response(answer.status, received, refusals)
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        raise ServiceFailed(f"{path}: refused {MAX_RETRIES} times")

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        **headers: str,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, path, body, {**self._headers, **headers})
        answer = self._connection.getresponse()
        return answer, answer.read()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Service:
    """A service with its own data directory, and its workers. Start it by ``running``."""

    def __init__(self, root: Path, bundle: Path) -> None:
        self.key = secrets.token_urlsafe(32)
        self.url = ""
        self.start_s = 0.0
        self._root = root
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
        self._environment = {
            **inherited,
            f"{PREFIX}DATA_DIR": str(root / "data"),
            f"{PREFIX}PORT": "0",
            f"{PREFIX}ADMIN_KEY": self.key,
            f"{PREFIX}BUNDLE_DIR": str(bundle),
            # One account may use the whole service.
            f"{PREFIX}SUBMISSIONS_PER_ACCOUNT": "1000000/minute",
            f"{PREFIX}READS_PER_ACCOUNT": "1000000/minute",
            f"{PREFIX}MAX_PENDING_REQUESTS_PER_ACCOUNT": "32",
            f"{PREFIX}MIN_FREE_BYTES": "0",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    @classmethod
    @contextlib.contextmanager
    def running(
        cls,
        root: Path,
        bundle: Path,
        *,
        workers: int = 0,
        worker_cores: Sequence[int] = (),
        settings: Mapping[str, str] | None = None,
    ) -> Iterator[Service]:
        """Start the service in the new folder ``root``, with ``workers`` worker processes.

        Without workers, the service examines jobs itself. Where ``worker_cores`` are given, each
        worker has one of them for itself. ``settings`` are by the name without ``PREFIX``.

        Raises:
            ServiceFailed: it is not installed, or does not start.
        """
        if find_spec("deepfake_service") is None:
            raise ServiceFailed("the service is not installed (the extra service)")
        root.mkdir(parents=True)
        service = cls(root, bundle)
        service._environment |= {f"{PREFIX}{k}": v for k, v in (settings or {}).items()}
        try:
            service._serve(own_worker=workers == 0)
            for number in range(workers):
                cores = worker_cores[number : number + 1]
                log = service._start(f"worker-{number}", "worker", cores=cores)
                service._wait_for(log, r"(worker_started)")
            yield service
        finally:
            service._end()

    def client(self) -> Client:
        """Return a new client."""
        return Client(self.url, self.key)

    def memory(self) -> dict[str, float | None]:
        """Return the resident memory of all processes together; see ``machine.Memory``."""
        pids = {pid for process in self._processes for pid in machine.family(process.pid)}
        return asdict(sum(map(machine.memory, pids), machine.Memory()))

    def _serve(self, *, own_worker: bool) -> None:
        began = time.perf_counter()
        log = self._start("serve", "serve", *([] if own_worker else ["--no-worker"]))
        self.url = self._wait_for(log, r"Serving on (http://\S+)")
        deadline = time.monotonic() + START_S
        while not self._ready():
            if time.monotonic() > deadline:
                raise ServiceFailed(f"the service did not become ready: {_last_line(log)}")
            time.sleep(0.01)
        self.start_s = time.perf_counter() - began

    def _ready(self) -> bool:
        with contextlib.closing(self.client()) as client:
            try:
                return client.get("/readyz").status == 200
            except OSError:  # it does not listen yet
                if self._processes[0].poll() is None:
                    return False
                raise

    def _start(self, name: str, *words: str, cores: Sequence[int] = ()) -> Path:
        log = self._root / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 - fixed command, own interpreter
                [sys.executable, "-m", "deepfake_service", *words],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=partial(os.sched_setaffinity, 0, cores) if cores else None,
            )
        self._processes.append(process)
        return log

    def _wait_for(self, log: Path, pattern: str) -> str:
        deadline = time.monotonic() + START_S
        while not (match := re.search(pattern, log.read_text())):
            ended = self._processes[-1].poll() is not None
            if ended or time.monotonic() > deadline:
                raise ServiceFailed(f"the service did not start: {_last_line(log)}")
            time.sleep(0.01)
        return match[1]

    def _end(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _last_line(log: Path) -> str:
    return log.read_text().strip().rpartition("\n")[2]
