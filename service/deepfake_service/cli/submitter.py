"""Submit files to a service over HTTP.

A large file is sent by tus 1.0.0, so that it goes on where a connection broke.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict
from rich.progress import Progress

from deepfake_models.errors import DeepfakeError
from deepfake_service.cli.output import clean
from deepfake_service.cli.score import open_regular
from deepfake_service.platform.answers import Published

POLL_S = 0.5
LONGEST_WAIT_S = 60.0
UNSUCCESSFUL = frozenset({"failed", "cancelled", "expired"})
"""The states of jobs that ended without a result."""
FINAL_STATES = UNSUCCESSFUL | {"succeeded"}
SEALED = httpx.Timeout(1800.0, connect=10.0)
"""For the answer about a file that is complete: the service reads all of it once more."""
RESUMED_FROM_BYTES = 32 * 1024 * 1024
"""Size from which a file is sent by tus, which takes more requests."""
RESUMED_FOR_S = 120.0
"""How long the service may be away during an upload before the command gives up."""
RETRY_S = 2.0
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
    """Submits files to one service with one key; a context manager. ``KeyRefused`` or
    ``ServiceUnreachable`` if the key or the URL cannot be one."""

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
        self._uploads: dict[Path, str] = {}
        """The addresses of what was begun by tus and is not yet a job."""
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
                    self._send_resumably(path, file, size)
            finally:
                bars.remove_task(task)
        named = {**given, "file_name": path.name}
        address = self._uploads[path].removeprefix("/v1/")
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

    def until(self, is_over: Callable[[A], bool], read: Callable[[], A]) -> A:
        """Read something until it is over, however busy the service is, and return it."""
        while True:
            try:
                found = read()
            except ServiceBusy as busy:
                time.sleep(busy.wait_s)
                continue
            if is_over(found):
                return found
            time.sleep(POLL_S)

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

    def _send_resumably(self, path: Path, file: BinaryIO, size: int) -> None:
        """Send what the service lacks of a file; ``ServiceUnreachable`` if nothing more arrived for
        ``RESUMED_FOR_S``."""
        offset, got_on_at = self._arrived(path, size), time.monotonic()
        while offset < size:
            arrived = offset
            try:
                self._send_rest(path, file, offset, size)
            except ServiceUnreachable:
                time.sleep(RETRY_S)  # the service stores what came
            with suppress(ServiceUnreachable):
                arrived = self._arrived(path, size)
            if arrived > offset:
                got_on_at = time.monotonic()
            elif time.monotonic() - got_on_at > RESUMED_FOR_S:
                raise ServiceUnreachable(
                    f"The service does not take the rest of the file. {_CHECK_RUNNING}"
                )
            else:
                time.sleep(RETRY_S)
            offset = arrived

    def _arrived(self, path: Path, size: int) -> int:
        """Return how much has arrived of a file, whose upload is begun if there is none."""
        try:
            if path in self._uploads:
                gone = (404, 410)
                known = self._exchange("HEAD", self._uploads[path], gone, headers=_TUS)
                if known.is_success:
                    return int(known.headers["upload-offset"])
            length = {"Upload-Length": str(size)}
            begun = self._exchange("POST", "/v1/uploads", headers=_TUS | length)
            self._uploads[path] = begun.headers["location"]
        except (KeyError, ValueError) as error:
            raise ServiceRefused(_UNREADABLE) from error
        return 0

    def _send_rest(self, path: Path, file: BinaryIO, offset: int, size: int) -> None:
        headers = {
            **_TUS,
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(size - offset),
            "Upload-Offset": str(offset),
        }
        file.seek(offset)
        rest = iter(lambda: file.read(SENT_AT_ONCE), b"")
        # A conflict, or an upload that is gone, shows in what has arrived.
        moved = (404, 409, 410)
        self._exchange("PATCH", self._uploads[path], moved, headers=headers, content=rest)
