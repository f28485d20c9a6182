"""The service as a process, driven over HTTP."""

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
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deepfake_eval.errors import EvalError

START_S = 180.0
PREFIX = "DEEPFAKE_"
MAX_RETRIES = 600


class ServiceFailed(EvalError):
    """The service did not do what the bench asked of it."""


class Client:
    """One connection to the service, for one thread."""

    def __init__(self, url: str, key: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
        self._headers = {"Authorization": f"Bearer {key}"}
        self.close = self._connection.close

    def is_ready(self) -> bool:
        """Return whether the service can do its work."""
        self._connection.request("GET", "/readyz", None, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status == 200

    def post_picture(self, picture: bytes) -> tuple[dict[str, Any], int]:
        """Send a picture to be examined; return the answer, and how often it was refused before.

        Where the service answers 429 or 503, the request is repeated after the time it names.

        Raises:
            ServiceFailed: it never accepts the request, or answers another status than 200.
        """
        boundary = secrets.token_hex(16)
        head = 'Content-Disposition: form-data; name="files"; filename="generated"'
        body = b"--%b\r\n%b\r\n\r\n%b\r\n--%b--\r\n" % (
            boundary.encode(), head.encode(), picture, boundary.encode()
        )  # fmt: skip
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        for refusals in range(MAX_RETRIES):
            try:
                self._connection.request("POST", "/v1/frames", body, {**self._headers, **kind})
                answer = self._connection.getresponse()
                received = answer.read()
            except (http.client.HTTPException, OSError):
                # The service may refuse a body before it is sent, and close the connection.
                self.close()
                time.sleep(0.2)
                continue
            if answer.status == 200:
                return json.loads(received), refusals
            if answer.status not in (429, 503):
                raise ServiceFailed(f"The service answered {answer.status}: {received[:300]!r}.")
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        raise ServiceFailed(f"The service refused a picture {MAX_RETRIES} times. Look at its log.")


class Service:
    """A service with its own data directory. Start it by ``running``."""

    def __init__(self, root: Path, bundle: Path) -> None:
        self.url = ""
        self.start_s = 0.0
        self._key = secrets.token_urlsafe(32)
        self._log = root / "serve.log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
        settings = {
            "DATA_DIR": str(root / "data"),
            "PORT": "0",
            "ADMIN_KEY": self._key,
            "BUNDLE_DIR": str(bundle),
            # Rates are not what is measured. One account may have eight pictures at a time.
            "SUBMISSIONS_PER_ACCOUNT": "1000000/minute",
            "READS_PER_ACCOUNT": "1000000/minute",
            "MIN_FREE_BYTES": "0",
        }
        began = time.perf_counter()
        with self._log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deepfake_service", "serve"],
                env={**inherited, **{f"{PREFIX}{k}": v for k, v in settings.items()}},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.end()
            raise
        self.start_s = time.perf_counter() - began

    @classmethod
    @contextlib.contextmanager
    def running(cls, root: Path, bundle: Path) -> Iterator[Service]:
        """Start the service in the new folder ``root``, and end it.

        Raises:
            ServiceFailed: it is not installed, or does not start.
        """
        if find_spec("deepfake_service") is None:
            raise ServiceFailed(
                "The service is not installed. Install deepfake-service with the extra service."
            )
        root.mkdir(parents=True)
        service = cls(root, bundle)
        try:
            yield service
        finally:
            service.end()

    def client(self) -> Client:
        return Client(self.url, self._key)

    def memory_mb(self) -> float:
        """Return the resident memory of the service and of all processes that descend from it.

        Pages that several of them share, such as those of libraries, count for each of them.
        """
        return sum(map(_resident_mb, _family(self._process.pid)))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = self._log.read_text().strip().rpartition("\n")[2]
                raise ServiceFailed(f"The service did not become ready. Its last line is: {last}")
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        match = re.search(r"Serving on (http://\S+)", self._log.read_text())
        if not match:
            return False
        self.url = match[1]
        with contextlib.closing(self.client()) as client, contextlib.suppress(OSError):
            return client.is_ready()
        return False  # it does not listen yet

    def end(self) -> None:
        for sent in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
                return


def _family(pid: int) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may contain spaces; state and parent follow it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children[parent].append(int(stat.parent.name))
    members = [pid]
    for member in members:
        members += children[member]
    return members


def _resident_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    match = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return int(match[1]) / 1024 if match else 0.0
