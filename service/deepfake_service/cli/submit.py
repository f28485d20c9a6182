"""``deepfake submit``: upload a file to a service and wait for its verdict."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from deepfake_client import AuthenticatedClient
from deepfake_client.api.jobs import get_job
from deepfake_client.api.videos import submit_video
from deepfake_client.models import JobOut, JobState, Priority, ProblemOut, VideoUpload
from deepfake_client.types import UNSET, File, Response
from deepfake_models.errors import DeepfakeError
from deepfake_service.cli.score import clean

POLL_S = 0.5
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Size limit of an answer. A job with a long result has a few megabytes."""
_CHECK_RUNNING = "Check that it is running or give its address with --url or DEEPFAKE_URL."
_CHECK_ADDRESS = "Check that --url or DEEPFAKE_URL is the address of this service."
JOB_ID = re.compile(r"[0-9a-z]{26}")
LONGEST_WAIT_S = 60.0
_KEY_REFUSED = frozenset({401, 403})
_KEYS_REFUSED = ":too_many_failed_sign_ins"
"""End of the type of a problem that only requests with invalid keys get, after several of them."""
_AWAY = frozenset({502, 503, 504})
"""What a proxy answers for a service that is not there, for example while it restarts."""
UNSUCCESSFUL = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})
"""The states of jobs that ended without a result."""
FINAL_STATES = UNSUCCESSFUL | {JobState.SUCCEEDED}


class ServiceRefused(DeepfakeError):
    """The service rejected the request."""


class ServiceBusy(ServiceRefused):
    """The service asks to wait before the request is sent again."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class KeyRefused(ServiceRefused):
    """The service does not accept the key, so that it would reject every other request, too."""


class ServiceUnreachable(DeepfakeError):
    """The service cannot be reached."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the client reads it, and the JSON that the service sent."""

    content: JobOut
    sent: dict[str, Any]


class _BoundedAnswer(httpx.SyncByteStream):
    """The body of an answer, up to ``MAX_ANSWER_BYTES``."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        for chunk in self._stream:
            received += len(chunk)
            if received > MAX_ANSWER_BYTES:
                raise ServiceRefused(
                    f"The answer has more than {MAX_ANSWER_BYTES} bytes. {_CHECK_ADDRESS}"
                )
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _bound(answer: httpx.Response) -> None:
    """Limit the body of an answer before it is read, which is as a whole."""
    # Compressed, it could be small on the wire and take all memory.
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise ServiceRefused(f"The answer is compressed, which was not asked for. {_CHECK_ADDRESS}")
    if isinstance(answer.stream, httpx.SyncByteStream):
        answer.stream = _BoundedAnswer(answer.stream)


class Submitter:
    """Submits files to one service with one key; a context manager.

    What the service answers is not trusted: it is limited, and texts in it are made safe for a
    terminal before they are shown.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        timeout = httpx.Timeout(60.0, connect=10.0)
        self._client = AuthenticatedClient(
            base_url=url,
            token=key,
            timeout=timeout,
            headers={"Accept-Encoding": "identity"},
            httpx_args={"event_hooks": {"response": [_bound]}},
        )

    def __enter__(self) -> Submitter:
        self._client.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._client.__exit__(*details)

    def submit(
        self, path: Path, fields: dict[str, Any], progress: Callable[[int, int], None]
    ) -> Job:
        """Stream a file to the service and return its job.

        Args:
            path: the file.
            fields: fields of ``deepfake_client.models.VideoUpload``; ``priority`` and
                ``captured_at`` as text.
            progress: called with the bytes sent so far, and all bytes of the file.

        Raises:
            KeyRefused: the service does not accept the key. ServiceRefused: it rejected the file.
            ServiceUnreachable: the service does not respond.
            OSError: the file cannot be read.
        """
        given = {name: UNSET if value is None else value for name, value in fields.items()}
        given["priority"] = Priority(fields["priority"])
        if isinstance(captured_at := given.get("captured_at"), str):
            given["captured_at"] = datetime.fromisoformat(captured_at)
        with _Reported(path, progress) as file:
            upload = VideoUpload(file=File(payload=file, file_name=path.name), **given)
            return self._job(lambda: submit_video.sync_detailed(client=self._client, body=upload))

    def read(self, job_id: str) -> Job:
        """Read a job, with its result if it has ended.

        Raises:
            KeyRefused: the service does not accept the key.
            ServiceRefused: the account may not read it, or it was deleted.
            ServiceUnreachable: the service does not respond.
        """
        return self._job(lambda: get_job.sync_detailed(job_id, client=self._client))

    def wait(self, job_id: str, progress: Callable[[JobOut], None]) -> Job:
        """Poll a job until it ends and return it with its result; wait while the service is busy.

        Raises:
            KeyRefused: the service no longer accepts the key.
            ServiceRefused: the account may no longer read it, or it was deleted.
            ServiceUnreachable: the service does not respond.
        """
        while True:
            try:
                job = self.read(job_id)
            except ServiceBusy as busy:
                time.sleep(busy.wait_s)
                continue
            progress(job.content)
            if job.content.state in FINAL_STATES:
                return job
            time.sleep(POLL_S)

    def _job(self, call: Callable[[], Response[JobOut | ProblemOut]]) -> Job:
        try:
            response = call()
        except httpx.HTTPError as error:
            raise ServiceUnreachable(
                f"The service at {self._url} cannot be reached. {_CHECK_RUNNING}"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ServiceRefused(f"The answer cannot be read. {_CHECK_ADDRESS}") from error
        if isinstance(response.parsed, JobOut):
            if not JOB_ID.fullmatch(response.parsed.id):
                raise ServiceRefused(f"The answer has no id of a job. {_CHECK_ADDRESS}")
            return Job(response.parsed, json.loads(response.content))
        status = HTTPStatus(response.status_code).value
        detail = f"HTTP status {status}"
        if isinstance(response.parsed, ProblemOut):
            detail = response.parsed.detail
            for invalid in response.parsed.errors or ():
                detail += f" {invalid.field}: {invalid.detail}."
        message = f"The service rejected the request: {clean(detail)}"
        if isinstance(response.parsed, ProblemOut) and (
            status in _KEY_REFUSED or response.parsed.type_.endswith(_KEYS_REFUSED)
        ):
            raise KeyRefused(f"{message} Check --key or DEEPFAKE_KEY.")
        wait = response.headers.get("retry-after", "")
        if wait.isascii() and wait.isdecimal():
            raise ServiceBusy(message, min(float(wait), LONGEST_WAIT_S))
        if response.parsed is None and status in _AWAY:
            raise ServiceUnreachable(
                f"The service at {self._url} does not respond: HTTP status {status}. "
                f"{_CHECK_RUNNING}"
            )
        raise ServiceRefused(message)


class _Reported(io.FileIO):
    """A file that reports how much of it was read."""

    def __init__(self, path: Path, progress: Callable[[int, int], None]) -> None:
        super().__init__(path)
        self._size = path.stat().st_size
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._progress(self.tell(), self._size)
        return data


class Bars:
    """Progress bars of the upload and the examination."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._upload: TaskID | None = None
        self._work: TaskID | None = None
        self._close_look: TaskID | None = None

    def uploaded(self, sent: int, size: int) -> None:
        """Update the upload bar."""
        if self._upload is None:
            self._upload = self._progress.add_task("uploading", total=size)
        self._progress.update(self._upload, completed=sent)

    def examined(self, job: JobOut) -> None:
        """Update the bars of the examination: one for its overview, and one for the close look.

        With one for both, it would step back when frames are added for the close look.
        """
        if self._work is None:
            self._work = self._progress.add_task("queued", total=None)
        done, total = job.progress.done, job.progress.total or 0
        overview = job.progress.overview or total
        self._progress.update(
            self._work,
            description=str(job.state),
            completed=min(done, overview),
            total=overview or None,
        )
        if total > overview:
            if self._close_look is None:
                self._close_look = self._progress.add_task("close look")
            self._progress.update(
                self._close_look, completed=max(done - overview, 0), total=total - overview
            )


@contextmanager
def submission_bars() -> Iterator[Bars]:
    """Show progress bars on standard error and remove them at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bars(progress)


def summary(job: JobOut) -> str:
    """Return a job as a few lines of text, safe for a terminal."""
    lines = [f"job {job.id}: {job.state}"]
    if job.state is JobState.FAILED:
        lines.append(f"The service failed: {job.failure}")
    if job.result is not None:
        score = job.result.score
        verdict = str(job.result.verdict).replace("_", " ")
        lines.append(verdict + (f" (score {score:.2f})" if isinstance(score, float) else ""))
        lines += [f"  {reason.detail}" for reason in job.result.reasons]
    return "\n".join(map(clean, lines))
