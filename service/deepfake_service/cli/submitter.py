"""Submit files to a service over HTTP, without trusting what it answers.

A large file is sent by tus 1.0.0, so that it goes on where it was interrupted. The address of an
upload is kept in a file in the user's state directory, under a digest of what identifies the file.
It has the key of what has arrived, and is deleted once the file is submitted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

import httpx
from pydantic import BaseModel, Field, TypeAdapter
from rich.progress import Progress

from deepfake_models.errors import DeepfakeError
from deepfake_service.cli.output import clean
from deepfake_service.cli.score import open_regular

POLL_S = 0.5
LONGEST_WAIT_S = 60.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Size limit of an answer. A job with a long result has a few megabytes."""
UNSUCCESSFUL = frozenset({"failed", "cancelled", "expired"})
"""The states of jobs that ended without a result."""
FINAL_STATES = UNSUCCESSFUL | {"succeeded"}
SEALED = httpx.Timeout(1800.0, connect=10.0)
"""For the answer about a file that is complete: the service reads all of it once more."""
RESUMED_FROM_BYTES = 32 * 1024 * 1024
"""Size from which a file is sent by tus, which takes three requests."""
RESUMED_FOR_S = 120.0
"""How long the service may be away before the command gives up. The next one resumes."""
RETRY_S = 2.0
SENT_AT_ONCE = 256 * 1024
SAMPLE_BYTES = 64 * 1024
_TUS = {"Tus-Resumable": "1.0.0"}
_ADDRESS = re.compile(r"/v1/uploads/[A-Za-z0-9_-]{43}")
_CHECK_RUNNING = "Check that it is running or give its address with --url or DEEPFAKE_URL."
_CHECK_ADDRESS = "Check that --url or DEEPFAKE_URL is the address of this service."
_KEY = re.compile(r"[!-~]+")
"""What a header can carry, and every key consists of."""
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


class _Reason(BaseModel):
    detail: str


class _Result(BaseModel):
    verdict: str
    score: float | None = None
    reasons: list[_Reason] = []


class _Progress(BaseModel):
    done: int
    total: int | None = None


class Answer(BaseModel):
    """What a command reads of an answer, and all that the service sent."""

    sent: dict[str, Any] = {}


A = TypeVar("A", bound=Answer)


class Job(Answer):
    """What the command reads of a job."""

    id: Annotated[str, Field(pattern=r"\A[0-9a-z]{26}\z")]
    """Part of the record of submitted rows, in which a line break would forge lines."""
    state: str
    verdict: str | None = None
    failure: str | None = None
    result: _Result | None = None
    progress: _Progress


class _FieldError(BaseModel):
    field: str
    detail: str


class _Problem(BaseModel):
    type: str
    detail: str
    errors: list[_FieldError] | None = None


def _read_bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    for chunk in answer.iter_raw():  # not unpacked: a small answer could take all memory
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ServiceRefused(
                f"The answer has more than {MAX_ANSWER_BYTES} bytes. {_CHECK_ADDRESS}"
            )
    return bytes(body)


_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class Submitter:
    """Submits files to one service with one key; a context manager. ``KeyRefused`` or
    ``ServiceUnreachable`` if the key or the URL cannot be one."""

    def __init__(self, url: str, key: str) -> None:
        if not url.lower().startswith(("http://", "https://")):
            raise ServiceUnreachable(
                f'The URL of the service must begin with http:// or https://, and "{url}" does '
                "not. Correct --url or DEEPFAKE_URL."
            )
        if not _KEY.fullmatch(key):
            raise KeyRefused(
                "The key is empty, or has a space or a character that is not ASCII, which no key "
                "has. Copy it again, for --key or DEEPFAKE_KEY."
            )
        self._url = url
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(60.0, connect=10.0),
        )

    def __enter__(self) -> Submitter:
        self._client.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._client.__exit__(*details)

    def submit(self, path: Path, fields: dict[str, Any], bar: Progress | None = None) -> Job:
        """Stream a file to the service with the fields that are not ``None``; return its job.

        Raises:
            KeyRefused: the service does not accept the key. ServiceRefused: it rejected the file.
            ServiceUnreachable: the service does not respond.
            OSError: the file cannot be read.
        """
        given = {name: str(value) for name, value in fields.items() if value is not None}
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size >= RESUMED_FROM_BYTES:
                return self._submit_resumably(path.name, file, given, bar)
            sent = bar.wrap_file(file, size, description="uploading") if bar else file
            return self.request(
                Job, "POST", "videos", data=given, files={"file": (path.name, sent)}
            )

    def _submit_resumably(
        self, name: str, file: BinaryIO, fields: dict[str, str], bar: Progress | None
    ) -> Job:
        upload = _Upload(self._exchange, self._url, file)
        task = bar.add_task("uploading", total=upload.size) if bar else None

        def progress(sent: int) -> None:
            if bar is not None and task is not None:
                bar.update(task, completed=sent)

        upload.send(progress)
        named = {**fields, "file_name": name}
        job_of = f"{upload.address.removeprefix('/v1/')}/job"
        job = self.request(Job, "POST", job_of, json=named, timeout=SEALED)
        upload.forget()
        return job

    def check_size(self, size: int) -> None:
        """Raise ``ServiceRefused`` if the service takes no file of so many bytes. Its own refusal
        would be read once all of the file was sent. Raises the errors of ``submit``."""
        answer, _ = self._exchange("OPTIONS", "/v1/uploads")
        most = answer.headers.get("tus-max-size", "")
        if re.fullmatch(r"[0-9]{1,18}", most) and size > int(most):
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

    def _exchange(self, method: str, path: str, **content: Any) -> tuple[httpx.Response, bytes]:
        """Send a request, and return the answer also if that is 404, 409 or 410. Raises the same
        errors as ``submit``."""
        try:
            address = f"{self._url.rstrip('/')}{path}"
            with self._client.stream(method, address, **content) as answer:
                body = _read_bounded(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceUnreachable(
                f"The service at {self._url} cannot be reached. {_CHECK_RUNNING}"
            ) from error
        if not answer.is_success and answer.status_code not in (404, 409, 410):
            raise self._refusal(answer, body)
        return answer, body

    def request(self, kind: type[A], method: str, name: str, **content: Any) -> A:
        """Send a request below ``/v1/`` and return what is read of its answer. Raises the same
        errors as ``submit``."""
        answer, body = self._exchange(method, f"/v1/{name}", **content)
        if not answer.is_success:
            raise self._refusal(answer, body)
        try:
            sent = _OBJECT.validate_json(body)
            read = kind.model_validate(sent)
        except ValueError as error:
            raise ServiceRefused(f"The answer cannot be read. {_CHECK_ADDRESS}") from error
        read.sent = sent
        return read

    def _refusal(self, answer: httpx.Response, body: bytes) -> DeepfakeError:
        status, detail, kind = answer.status_code, f"HTTP status {answer.status_code}", None
        # A proxy answers with a page of its own, which says nothing about the request, and the
        # answer to HEAD has no body.
        if body and "problem+json" in answer.headers.get("content-type", ""):
            try:
                problem = _Problem.model_validate_json(body)
            except ValueError:
                return ServiceRefused(f"The answer cannot be read. {_CHECK_ADDRESS}")
            detail, kind = problem.detail, problem.type
            for fault in problem.errors or ():
                said = f'"{fault.field}": {fault.detail}.'
                detail += "" if said in detail else f" {said}"
        message = f"The service rejected the request: {clean(detail)}"
        is_told = kind is not None or not body
        if is_told and (status in (401, 403) or (kind or "").endswith(_KEYS_REFUSED)):
            return KeyRefused(f"{message} Check --key or DEEPFAKE_KEY.")
        wait = answer.headers.get("retry-after", "")
        if re.fullmatch(r"[0-9]{1,9}", wait):
            return ServiceBusy(message, min(max(float(wait), 1.0), LONGEST_WAIT_S))
        if kind is None and status in (502, 503, 504):
            return ServiceUnreachable(
                f"The service at {self._url} does not respond: {detail}. {_CHECK_RUNNING}"
            )
        return ServiceRefused(message)


_Exchange = Callable[..., tuple[httpx.Response, bytes]]


class _Upload:
    """The upload of one open file by tus. ``exchange`` sends a request, as that of a ``Submitter``;
    ``url`` is the address of the service."""

    def __init__(self, exchange: _Exchange, url: str, file: BinaryIO) -> None:
        self._exchange = exchange
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        # XDG Base Directory Specification
        base = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
        self._record = base / "deepfake" / "uploads" / _digest(url, file, self.size)
        known = self._record.read_text("ascii") if self._record.is_file() else ""
        self.address = known if _ADDRESS.fullmatch(known) else ""

    def send(self, progress: Callable[[int], None]) -> None:
        """Send what the service lacks; ``ServiceUnreachable`` if it was away for
        ``RESUMED_FOR_S``."""
        offset, got_on_at = self._arrived(), time.monotonic()
        while offset < self.size:
            arrived = offset
            try:
                self._send_from(offset, progress)
            except ServiceUnreachable:
                time.sleep(RETRY_S)
            with suppress(ServiceUnreachable):
                arrived = self._arrived()
            if arrived > offset:
                got_on_at = time.monotonic()
            elif time.monotonic() - got_on_at > RESUMED_FOR_S:
                raise ServiceUnreachable(
                    f"The service does not take the rest of the file. {_CHECK_RUNNING}"
                )
            offset = arrived
            progress(offset)

    def forget(self) -> None:
        """Delete the record of the upload, which became a job."""
        self._record.unlink(missing_ok=True)

    def _arrived(self) -> int:
        """Return how much has arrived of the upload, which is begun if there is none (any more)."""
        if self.address:
            answer, _ = self._exchange("HEAD", self.address, headers=_TUS)
            if answer.status_code not in (404, 410):
                offset = answer.headers.get("upload-offset", "")
                if re.fullmatch(r"[0-9]{1,18}", offset) and int(offset) <= self.size:
                    return int(offset)
                raise ServiceRefused(f"The answer is not an upload. {_CHECK_ADDRESS}")
        answer, _ = self._exchange(
            "POST", "/v1/uploads", headers={**_TUS, "Upload-Length": str(self.size)}
        )
        self.address = answer.headers.get("location", "")
        if not _ADDRESS.fullmatch(self.address):
            raise ServiceRefused(f"The answer is not an upload. {_CHECK_ADDRESS}")
        self._record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._record.touch(mode=0o600)
        self._record.write_text(self.address, "ascii")
        return 0

    def _send_from(self, offset: int, progress: Callable[[int], None]) -> None:
        """Send the rest of the file."""

        def rest() -> Iterator[bytes]:
            self._file.seek(offset)
            sent = offset
            while sent < self.size and (piece := self._file.read(SENT_AT_ONCE)):
                yield piece[: self.size - sent]
                sent += len(piece)
                progress(sent)

        headers = {
            **_TUS,
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(self.size - offset),
            "Upload-Offset": str(offset),
        }
        self._exchange("PATCH", self.address, headers=headers, content=rest())


def _digest(url: str, file: BinaryIO, size: int) -> str:
    """Return a digest of what identifies a file, without reading all of it."""
    ends = []
    for start in (0, max(0, size - SAMPLE_BYTES)):
        file.seek(start)
        ends.append(hashlib.sha256(file.read(SAMPLE_BYTES)).hexdigest())
    changed = os.fstat(file.fileno()).st_mtime_ns
    return hashlib.sha256(json.dumps([url, size, changed, ends]).encode()).hexdigest()
