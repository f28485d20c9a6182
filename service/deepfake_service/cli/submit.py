"""``deepfake submit``: send a file to a service, and wait for its verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from deepfake_models.errors import DeepfakeError

PIECE_BYTES = 256 * 1024
POLL_S = 0.5
ENDED = frozenset({"succeeded", "failed", "cancelled", "expired"})


class ServiceRefused(DeepfakeError):
    """The service did not do what was asked."""


class ServiceUnreachable(DeepfakeError):
    """The service cannot be reached."""


class Client:
    """Speaks to one service with one key; a context manager."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(60.0, connect=10.0),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(
        self, path: Path, fields: dict[str, str], progress: Callable[[int, int], None]
    ) -> dict[str, Any]:
        """Send a file as it is read; the job.

        Raises:
            ServiceRefused, ServiceUnreachable; OSError: the file cannot be read.
        """
        size = path.stat().st_size
        with path.open("rb") as file:
            return self._answered(
                "POST",
                "/v1/videos",
                params=fields,
                content=_pieces(file, size, progress),
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(size),
                },
            )

    def wait(self, job_id: str, progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Follow a job to its end; the job with its result."""
        while True:
            job = self._answered("GET", f"/v1/jobs/{job_id}")
            progress(job)
            if job["state"] in ENDED:
                return job
            time.sleep(POLL_S)

    def _answered(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise ServiceUnreachable(
                f"The service at {self._http.base_url} cannot be reached: is it running? Another "
                "address is given by --url or DEEPFAKE_URL."
            ) from error
        if answer.is_success:
            content: dict[str, Any] = answer.json()
            return content
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"it answered {answer.status_code}"
        raise ServiceRefused(f"the service refused: {detail}")


def _pieces(file: BinaryIO, size: int, progress: Callable[[int, int], None]) -> Iterator[bytes]:
    sent = 0
    while piece := file.read(PIECE_BYTES):
        yield piece
        sent += len(piece)
        progress(sent, size)


class Bars:
    """A bar for the upload and one for the examination."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._upload: TaskID | None = None
        self._work: TaskID | None = None

    def uploaded(self, sent: int, size: int) -> None:
        """Show how much has been sent."""
        if self._upload is None:
            self._upload = self._progress.add_task("sending", total=size)
        self._progress.update(self._upload, completed=sent)

    def examined(self, job: dict[str, Any]) -> None:
        """Show how far the job is."""
        if self._work is None:
            self._work = self._progress.add_task("queued", total=None)
        done, total = job["progress"]["done"], job["progress"]["total"]
        self._progress.update(
            self._work, description=job["state"], completed=done, total=total or None
        )


@contextmanager
def submission_bars() -> Iterator[Bars]:
    """Progress bars on standard error, gone at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bars(progress)


def told(job: dict[str, Any]) -> str:
    """A job in a few lines for people."""
    lines = [f"job {job['id']}: {job['state']}"]
    result = job.get("result")
    if job["state"] == "failed":
        lines.append(f"the service failed: {job['failure']}")
    if result:
        score = "" if result["score"] is None else f" (score {result['score']:.2f})"
        lines.append(result["verdict"].replace("_", " ") + score)
        lines += [f"  {reason['detail']}" for reason in result["reasons"]]
    return "\n".join(lines)
