"""``deepfake submit``: upload a file to a service and wait for its verdict."""

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
FINAL_STATES = frozenset({"succeeded", "failed", "cancelled", "expired"})


class ServiceRefused(DeepfakeError):
    """The service rejected the request."""


class ServiceUnreachable(DeepfakeError):
    """The service cannot be reached."""


class Client:
    """HTTP client of one service and key; a context manager."""

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
        """Stream a file to the service and return its job.

        Raises:
            ServiceRefused: the service rejected the file.
            ServiceUnreachable: the service does not respond.
            OSError: the file cannot be read.
        """
        size = path.stat().st_size
        with path.open("rb") as file:
            return self._request(
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
        """Poll a job until it ends and return it with its result."""
        while True:
            job = self._request("GET", f"/v1/jobs/{job_id}")
            progress(job)
            if job["state"] in FINAL_STATES:
                return job
            time.sleep(POLL_S)

    def _request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise ServiceUnreachable(
                f"The service at {self._http.base_url} cannot be reached. Check that it is running "
                "or give its address with --url or DEEPFAKE_URL."
            ) from error
        if response.is_success:
            content: dict[str, Any] = response.json()
            return content
        try:
            detail = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"HTTP status {response.status_code}"
        raise ServiceRefused(f"The service rejected the request: {detail}")


def _pieces(file: BinaryIO, size: int, progress: Callable[[int, int], None]) -> Iterator[bytes]:
    sent = 0
    while piece := file.read(PIECE_BYTES):
        yield piece
        sent += len(piece)
        progress(sent, size)


class Bars:
    """Progress bars of the upload and the examination."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._upload: TaskID | None = None
        self._work: TaskID | None = None

    def uploaded(self, sent: int, size: int) -> None:
        """Update the upload bar."""
        if self._upload is None:
            self._upload = self._progress.add_task("uploading", total=size)
        self._progress.update(self._upload, completed=sent)

    def examined(self, job: dict[str, Any]) -> None:
        """Update the examination bar."""
        if self._work is None:
            self._work = self._progress.add_task("queued", total=None)
        done, total = job["progress"]["done"], job["progress"]["total"]
        self._progress.update(
            self._work, description=job["state"], completed=done, total=total or None
        )


@contextmanager
def submission_bars() -> Iterator[Bars]:
    """Show progress bars on standard error and remove them at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bars(progress)


def summary(job: dict[str, Any]) -> str:
    """Return a job as a few lines of text."""
    lines = [f"job {job['id']}: {job['state']}"]
    result = job.get("result")
    if job["state"] == "failed":
        lines.append(f"The service failed: {job['failure']}")
    if result:
        score = "" if result["score"] is None else f" (score {result['score']:.2f})"
        lines.append(result["verdict"].replace("_", " ") + score)
        lines += [f"  {reason['detail']}" for reason in result["reasons"]]
    return "\n".join(lines)
