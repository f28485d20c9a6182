"""Send a large file by tus 1.0.0, so that it goes on where it was interrupted.

The address of an upload is kept in a file in the user's state directory, under a digest of what
identifies the file. It has the key of what has arrived, and is deleted once the file is submitted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import httpx

RESUMED_FROM_BYTES = 32 * 1024 * 1024
"""Size from which a file is sent like this, which takes three requests."""
RESUMED_FOR_S = 120.0
"""How long the service may be away before the command gives up. The next one resumes."""
RETRY_S = 2.0
SENT_AT_ONCE = 256 * 1024
SAMPLE_BYTES = 64 * 1024
_TUS = {"Tus-Resumable": "1.0.0"}
_ADDRESS = re.compile(r"/v1/uploads/[A-Za-z0-9_-]{43}")

Exchange = Callable[..., tuple[httpx.Response, bytes]]


class ServiceAway(Exception):
    """The service cannot be reached now."""


class InvalidAnswer(Exception):
    """The answer is not one of this protocol."""


class ResumedUpload:
    """The upload of one open file.

    Args:
        exchange: sends a request, by its method, path and httpx's options. It returns the answer
            also if that is 404, 409 or 410, raises ``ServiceAway`` if there is none, and another
            error otherwise.
        url: the address of the service.
    """

    def __init__(self, exchange: Exchange, url: str, file: BinaryIO) -> None:
        self._exchange = exchange
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._record = _state_folder() / _digest(url, file, self._size)

    def send(self, progress: Callable[[int], None]) -> str:
        """Send what the service lacks, and return the path of the complete upload; ``ServiceAway``
        if the service was away for ``RESUMED_FOR_S``, ``InvalidAnswer`` if it answers something
        else."""
        address = self._record.read_text("ascii") if self._record.is_file() else ""
        offset = self._offset(address) if _ADDRESS.fullmatch(address) else None
        if offset is None:
            address, offset = self._begin(), 0
        got_on_at = time.monotonic()
        while offset < self._size:
            try:
                self._send_from(address, offset, progress)
            except ServiceAway:
                time.sleep(RETRY_S)  # what has arrived is asked all the same
            try:
                arrived = self._offset(address)
                if arrived is None:
                    address, arrived = self._begin(), 0
            except ServiceAway:
                arrived = offset
            if arrived > offset:
                got_on_at = time.monotonic()
            elif time.monotonic() - got_on_at > RESUMED_FOR_S:
                raise ServiceAway
            offset = arrived
            progress(offset)
        return address

    def forget(self) -> None:
        """Delete the record of the upload, which became a job."""
        self._record.unlink(missing_ok=True)

    def _begin(self) -> str:
        answer, _ = self._exchange(
            "POST", "/v1/uploads", headers={**_TUS, "Upload-Length": str(self._size)}
        )
        address: str = answer.headers.get("location", "")
        if not _ADDRESS.fullmatch(address):
            raise InvalidAnswer
        self._record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._record.touch(mode=0o600)
        self._record.write_text(address, "ascii")
        return address

    def _send_from(self, address: str, offset: int, progress: Callable[[int], None]) -> None:
        """Send the rest of the file."""

        def rest() -> Iterator[bytes]:
            self._file.seek(offset)
            sent = offset
            while sent < self._size and (piece := self._file.read(SENT_AT_ONCE)):
                yield piece[: self._size - sent]
                sent += len(piece)
                progress(sent)

        headers = {
            **_TUS,
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(self._size - offset),
            "Upload-Offset": str(offset),
        }
        self._exchange("PATCH", address, headers=headers, content=rest())

    def _offset(self, address: str) -> int | None:
        """Return how much has arrived; ``None`` if there is no such upload (any more)."""
        answer, _ = self._exchange("HEAD", address, headers=_TUS)
        if answer.status_code in (404, 410):
            return None
        offset = answer.headers.get("upload-offset", "")
        if not (offset.isascii() and offset.isdecimal() and int(offset) <= self._size):
            raise InvalidAnswer
        return int(offset)


def _state_folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"  # XDG Base Directory Specification
    return Path(base).expanduser() / "deepfake" / "uploads"


def _digest(url: str, file: BinaryIO, size: int) -> str:
    """Return a digest of what identifies a file, without reading all of it."""
    ends = []
    for start in (0, max(0, size - SAMPLE_BYTES)):
        file.seek(start)
        ends.append(hashlib.sha256(file.read(SAMPLE_BYTES)).hexdigest())
    changed = os.fstat(file.fileno()).st_mtime_ns
    return hashlib.sha256(json.dumps([url, size, changed, ends]).encode()).hexdigest()
