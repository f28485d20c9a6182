"""Submit files to a service over HTTP.

A large file is sent by tus 1.0.0, so that it goes on where a connection broke.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.progress import Progress

from deepfake_models.errors import DeepfakeError
from deepfake_service.cli.output import clean
from deepfake_service.cli.score import open_regular
from deepfake_service.platform.answers import Published

POLL_S = 1.0
LONGEST_WAIT_S = 60.0
UNREACHABLE_S = 120.0
"""How long a service that has answered before may be away, such as for a restart."""
RETRY_S = 2.0
UNSUCCESSFUL = frozenset({"failed", "cancelled", "expired"})
"""The states of jobs that ended without a result."""
FINAL_STATES = UNSUCCESSFUL | {"succeeded"}
SEALED = httpx.Timeout(1800.0, connect=10.0)
"""For the answer about a file that is complete: the service reads all of it once more."""
RESUMED_FROM_BYTES = 32 * 1024 * 1024
"""Size from which a file is sent by tus, which takes more requests."""
SENT_AT_ONCE = 256 * 1024
_TUS = {"Tus-Resumable": "1.0.0"}
_CHECK_RUNNING = "Check that it is running or give its address with --url or DEEPFAKE_URL."
_KEYS_REFUSED, _AT_ANOTHER_OFFSET = ":too_many_failed_sign_ins", ":upload_conflict"
"""Ends of types of problems: one that only requests with invalid keys get, after several of them,
and one of an upload whose last bytes before a break are still being stored."""


class ServiceRefused(DeepfakeError):
    """The service rejected the request."""


class ServiceBusy(ServiceRefused):
    """The service asks to wait before the request is retried."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class KeyRefused(DeepfakeError):
    """The service does not accept the key, so it would reject every other request, too."""


class ServiceUnreachable(DeepfakeError):
    """The service cannot be reached."""


A = TypeVar("A", bound=BaseModel)
T = TypeVar("T")


class _Sent(BaseModel):
    """Keeps what else the service sent, to print it."""

    model_config = ConfigDict(extra="allow")


class _Reason(_Sent):
    detail: str


class _Result(_Sent):
    reasons: list[_Reason]


class Job(_Sent):
    """What the command reads of a job."""

    id: str
    state: str
    verdict: str | None = None
    score: float | None = None
    failure: str | None = None
    result: _Result | None = None


class _Problem(BaseModel):
    detail: str
    type: str = ""


class Submitter:
    """Submits files to one service with one key, from several threads; a context manager.
    ``KeyRefused`` or ``ServiceUnreachable`` if the key or the URL cannot be one.

    While the service is busy, or away after it has answered before, requests are repeated. Methods
    raise ``KeyRefused`` if it does not accept the key, ``ServiceRefused`` if it rejected the
    request, and ``ServiceUnreachable`` if it never answered, or is away for ``UNREACHABLE_S``.
    """

    def __init__(self, url: str, key: str) -> None:
        if not url.lower().startswith(("http://", "https://")):
            raise ServiceUnreachable(
                f'The URL of the service must begin with http:// or https://, and "{url}" does '
                "not. Correct --url or DEEPFAKE_URL."
            )
        # What a header can carry, and every key consists of.
        if not key or not all("!" <= character <= "~" for character in key):
            raise KeyRefused(
                "The key is empty, or has a space or a character that is not ASCII, which no key "
                "has. Copy it again, for --key or DEEPFAKE_KEY."
            )
        self._url = url
        self._heard_at: float | None = None
        """When the service last did what it was asked to."""
        self._told: set[str] = set()
        self.stopping = threading.Event()
        """Ends all waiting."""
        self.console = Console(stderr=True)
        try:
            self._client = httpx.Client(
                base_url=url,
                headers={"Authorization": f"Bearer {key}"},
                timeout=httpx.Timeout(60.0, connect=10.0),
            )
        except httpx.InvalidURL as error:
            raise self._unreachable("cannot be reached") from error

    def __enter__(self) -> Submitter:
        self._client.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def submit(self, path: Path, fields: Mapping[str, object], bars: Progress) -> Job:
        """Stream a file to the service with the fields that are not ``None``; return its job.
        ``OSError`` if the file cannot be read."""
        given = {name: str(value) for name, value in fields.items() if value is not None}
        with open_regular(path) as opened:
            size = os.fstat(opened.fileno()).st_size
            task = bars.add_task("uploading", total=size)
            try:
                with bars.wrap_file(opened, task_id=task) as file:
                    if size < RESUMED_FROM_BYTES:
                        content = {"file": (path.name, file)}
                        return self.request(Job, "POST", "videos", data=given, files=content)
                    address = self._send_in_parts(file, size)
            finally:
                bars.remove_task(task)
        named = {**given, "file_name": path.name}
        return self.request(Job, "POST", f"{address}/job", json=named, timeout=SEALED)

    def check_size(self, size: int) -> None:
        """Raise ``ServiceRefused`` if the service takes no file of so many bytes. Its own refusal
        would be read once all of the file was sent."""
        most = self._answer("OPTIONS", "uploads").headers["tus-max-size"]
        if size > int(most):
            raise ServiceRefused(f"The file has {size} bytes. The service takes at most {most}.")

    def read(self, job_id: str) -> Job:
        """Read a job, with its result if it has ended."""
        return self.request(Job, "GET", f"jobs/{job_id}")

    def until(self, is_over: Callable[[A], bool], read: Callable[[], A]) -> A:
        """Read something until it is over, and return it."""
        while not is_over(found := read()):
            self.stopping.wait(POLL_S)
        return found

    def request(self, kind: type[A], method: str, name: str, **content: object) -> A:
        """Send a request below ``/v1/`` and return what is read of its answer."""
        answer = self._answer(method, name, **content)
        try:
            # A newer service may say more than the published shapes.
            extra: Literal["ignore"] | None = "ignore" if issubclass(kind, Published) else None
            return kind.model_validate_json(answer.content, extra=extra)
        except ValueError as error:
            raise ServiceRefused(
                "The answer cannot be read. Check that --url or DEEPFAKE_URL is the address of "
                "this service."
            ) from error

    def _answer(self, method: str, name: str, **content: object) -> httpx.Response:
        return self._patiently(lambda: self._exchange(method, name, **content))

    def _patiently(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, and say once why that is waited for."""
        away_since: float | None = None
        while not self.stopping.is_set():
            try:
                found = call()
            except ServiceBusy as busy:
                self._heard_at, wait_s = time.monotonic(), busy.wait_s
                if busy.message not in self._told:
                    self._told.add(busy.message)
                    why = f"{busy.message} It is retried until it is accepted."
                    self.console.print(why, markup=False, highlight=False, soft_wrap=True)
            except ServiceUnreachable:
                now, wait_s = time.monotonic(), RETRY_S
                away_since = now if away_since is None else away_since
                heard_at = self._heard_at
                if heard_at is None or now - max(heard_at, away_since) > UNREACHABLE_S:
                    raise
            else:
                self._heard_at = time.monotonic()
                return found
            self.stopping.wait(wait_s)
        raise ServiceUnreachable

    def _exchange(self, method: str, name: str, **content: object) -> httpx.Response:
        """Send a request once; ``ServiceBusy`` if it is to be repeated later."""
        try:
            answer = self._client.request(method, f"/v1/{name}", **content)  # type: ignore[arg-type]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable("cannot be reached") from error
        if answer.is_success:
            return answer
        try:
            problem = _Problem.model_validate_json(answer.content)
        except ValueError:  # of a proxy, or to HEAD, whose answers have no body
            problem = _Problem(detail=f"HTTP status {answer.status_code}")
        message = f"The service rejected the request: {clean(problem.detail)}"
        if answer.status_code in (401, 403) or problem.type.endswith(_KEYS_REFUSED):
            raise KeyRefused(f"{message} Check --key or DEEPFAKE_KEY.")
        wait = answer.headers.get("retry-after", "")
        if wait.isdecimal():
            raise ServiceBusy(message, min(max(float(wait), 1.0), LONGEST_WAIT_S))
        if not problem.type and answer.status_code in (502, 503, 504):
            raise self._unreachable(f"does not respond: {problem.detail}")
        if problem.type.endswith(_AT_ANOTHER_OFFSET):
            raise self._unreachable("has not yet noticed that the connection broke")
        raise ServiceRefused(message)

    def _unreachable(self, what: str) -> ServiceUnreachable:
        return ServiceUnreachable(f"The service at {self._url} {what}. {_CHECK_RUNNING}")

    def _send_in_parts(self, file: BinaryIO, size: int) -> str:
        """Send a file by tus, going on where a connection broke; return the upload's address below
        ``/v1/``."""
        begun = self._answer("POST", "uploads", headers={**_TUS, "Upload-Length": str(size)})
        address, arrived = begun.headers["location"].removeprefix("/v1/"), 0

        def send_rest() -> None:
            nonlocal arrived
            offset = int(self._exchange("HEAD", address, headers=_TUS).headers["upload-offset"])
            if offset > arrived:
                arrived, self._heard_at = offset, time.monotonic()
            headers = {
                **_TUS,
                "Content-Type": "application/offset+octet-stream",
                "Content-Length": str(size - offset),
                "Upload-Offset": str(offset),
            }
            file.seek(offset)
            rest = iter(lambda: file.read(SENT_AT_ONCE), b"")
            self._exchange("PATCH", address, headers=headers, content=rest)

        self._patiently(send_rest)
        return address
