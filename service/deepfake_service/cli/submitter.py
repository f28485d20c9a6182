"""Submit files to a service over HTTP.

A large file is sent by tus 1.0.0, so that it goes on where a connection broke.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
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
_UNREADABLE = (
    "The answer cannot be read. Check that --url or DEEPFAKE_URL is the address of this service."
)
_KEYS_REFUSED = ":too_many_failed_sign_ins"
"""End of the type of a problem that only requests with invalid keys get, after several of them."""


class ServiceRefused(DeepfakeError):
    """The service rejected the request."""


class ServiceBusy(ServiceRefused):
    """The service asks to wait before the request is retried."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class KeyRefused(ServiceRefused):
    """The service does not accept the key, so it would reject every other request, too."""


class ServiceUnreachable(DeepfakeError):
    """The service cannot be reached."""


A = TypeVar("A", bound=BaseModel)


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


class _FieldError(BaseModel):
    field: str
    detail: str


class _Problem(BaseModel):
    type: str
    detail: str
    errors: list[_FieldError] = []


class Submitter:
    """Submits files to one service with one key, from several threads; a context manager.
    ``KeyRefused`` or ``ServiceUnreachable`` if the key or the URL cannot be one."""

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
        self._uploads: dict[Path, tuple[str, int]] = {}
        """What was begun by tus and is not yet a job: its address, and how much has arrived."""
        self._heard_at: float | None = None
        """When the service last did what it was asked to."""
        self._told: set[str] = set()
        self.stopping = threading.Event()
        """Ends all waiting."""
        self.failure: DeepfakeError | None = None
        """Why."""
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

        Raises:
            KeyRefused: the service does not accept the key. ServiceRefused: it rejected the file.
            ServiceUnreachable: the service does not respond.
            OSError: the file cannot be read.
        """
        given = {name: str(value) for name, value in fields.items() if value is not None}
        with open_regular(path) as opened:
            size = os.fstat(opened.fileno()).st_size
            task = bars.add_task("uploading", total=size)
            try:
                with bars.wrap_file(opened, task_id=task) as file:
                    if size < RESUMED_FROM_BYTES:
                        content = {"file": (path.name, file)}
                        return self.request(Job, "POST", "videos", data=given, files=content)
                    self._send_rest(path, file, size)
            finally:
                bars.remove_task(task)
        named = {**given, "file_name": path.name}
        address = self._uploads[path][0].removeprefix("/v1/")
        job = self.request(Job, "POST", f"{address}/job", json=named, timeout=SEALED)
        del self._uploads[path]
        return job

    def check_size(self, size: int) -> None:
        """Raise ``ServiceRefused`` if the service takes no file of so many bytes. Its own refusal
        would be read once all of the file was sent. Raises the errors of ``submit``."""
        most = self._exchange("OPTIONS", "/v1/uploads").headers.get("tus-max-size", "")
        if most.isdecimal() and size > int(most):
            raise ServiceRefused(f"The file has {size} bytes. The service takes at most {most}.")

    def read(self, job_id: str) -> Job:
        """Read a job, with its result if it has ended. Raises the same errors as ``submit``."""
        return self.request(Job, "GET", f"jobs/{job_id}")

    def patiently(self, call: Callable[[], A]) -> A:
        """Return what ``call`` returns. Wait while the service is busy, and say why once;
        ``ServiceUnreachable`` if it never answered, or is away for ``UNREACHABLE_S``."""
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
        raise self.failure or ServiceUnreachable

    def until(self, is_over: Callable[[A], bool], read: Callable[[], A]) -> A:
        """Read something until it is over, as patiently, and return it."""
        while not is_over(found := self.patiently(read)):
            self.stopping.wait(POLL_S)
        return found

    def request(self, kind: type[A], method: str, name: str, **content: object) -> A:
        """Send a request below ``/v1/`` and return what is read of its answer. Raises the same
        errors as ``submit``."""
        answer = self._exchange(method, f"/v1/{name}", **content)
        try:
            # A newer service may say more than the published shapes.
            extra: Literal["ignore"] | None = "ignore" if issubclass(kind, Published) else None
            return kind.model_validate_json(answer.content, extra=extra)
        except ValueError as error:
            raise ServiceRefused(_UNREADABLE) from error

    def _exchange(
        self, method: str, path: str, expected: tuple[int, ...] = (), /, **content: object
    ) -> httpx.Response:
        """Send a request and return its answer, if it succeeded or has one of the ``expected``
        statuses. Raises the same errors as ``submit``."""
        try:
            answer = self._client.request(method, path, **content)  # type: ignore[arg-type]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable("cannot be reached") from error
        if answer.is_success or answer.status_code in expected:
            return answer
        raise self._refusal(answer)

    def _refusal(self, answer: httpx.Response) -> DeepfakeError:
        detail, kind = f"HTTP status {answer.status_code}", ""
        with suppress(ValueError):  # a proxy answers with a page that says nothing of the request
            problem = _Problem.model_validate_json(answer.content)
            detail, kind = problem.detail, problem.type
            faults = (f'"{fault.field}": {fault.detail}.' for fault in problem.errors)
            detail = " ".join([detail, *(fault for fault in faults if fault not in detail)])
        message = f"The service rejected the request: {clean(detail)}"
        is_own = kind or not answer.content  # as after HEAD
        if is_own and (answer.status_code in (401, 403) or kind.endswith(_KEYS_REFUSED)):
            return KeyRefused(f"{message} Check --key or DEEPFAKE_KEY.")
        wait = answer.headers.get("retry-after", "")
        if wait.isdecimal():
            return ServiceBusy(message, min(max(float(wait), 1.0), LONGEST_WAIT_S))
        if not kind and answer.status_code in (502, 503, 504):
            return self._unreachable(f"does not respond: {detail}")
        return ServiceRefused(message)

    def _unreachable(self, what: str) -> ServiceUnreachable:
        return ServiceUnreachable(f"The service at {self._url} {what}. {_CHECK_RUNNING}")

    def _send_rest(self, path: Path, file: BinaryIO, size: int) -> None:
        """Send what the service lacks of a file; ``ServiceUnreachable`` if the connection breaks,
        after which the rest can be sent."""
        offset = self._arrived(path, size)
        while offset < size:
            headers = {
                **_TUS,
                "Content-Type": "application/offset+octet-stream",
                "Content-Length": str(size - offset),
                "Upload-Offset": str(offset),
            }
            file.seek(offset)
            rest = iter(lambda: file.read(SENT_AT_ONCE), b"")
            # A conflict, or an upload that is gone, shows in what has arrived.
            address, moved = self._uploads[path][0], (404, 409, 410)
            self._exchange("PATCH", address, moved, headers=headers, content=rest)
            before, offset = offset, self._arrived(path, size)
            if offset <= before:
                raise self._unreachable("does not take the rest of the file")

    def _arrived(self, path: Path, size: int) -> int:
        """Return how much has arrived of a file, whose upload is begun if there is none."""
        address, before = self._uploads.get(path, ("", -1))
        offset = 0
        try:
            known = address and self._exchange("HEAD", address, (404, 410), headers=_TUS)
            if known and known.is_success:
                offset = int(known.headers["upload-offset"])
            else:
                length = {"Upload-Length": str(size)}
                begun = self._exchange("POST", "/v1/uploads", headers=_TUS | length)
                address = begun.headers["location"]
        except (KeyError, ValueError) as error:
            raise ServiceRefused(_UNREADABLE) from error
        if offset > before:
            self._heard_at = time.monotonic()
        self._uploads[path] = address, offset
        return offset
