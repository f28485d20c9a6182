"""Reading of captured files in a confined process, whose answers are not trusted either."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pydantic import TypeAdapter

from deepfake_models.errors import DecoderFailed, DecoderTooSlow, MediaTooLarge, SandboxBusy
from deepfake_models.sandbox.pool import ProcessPool, TaskBounds
from deepfake_models.sandbox.protocol import Options
from deepfake_service.capture.archives import body_of, read_file
from deepfake_service.capture.contents import MAX_KEPT_BYTES
from deepfake_service.capture.findings import CapturedImage, Findings, Refusal
from deepfake_service.capture.warc import Refused

MEMORY_BYTES = 2 << 30
"""Address space: libraries take half of it, an MHTML file three times its size."""
CPU_S, TIMEOUT_S = 600.0, 1800.0
"""For one file. One of 4 GiB takes about two minutes of one core."""
BOUNDS = TaskBounds(TIMEOUT_S, MEMORY_BYTES, CPU_S)
MAX_FOUND_BYTES = 16 << 20
LAZY_MODULES = (
    "email.parser",
    "email.policy",
    "encodings.euc_kr",
    "encodings.raw_unicode_escape",
)
READ, TAKE = f"{__name__}:read_task", f"{__name__}:take_task"
_ANSWER: TypeAdapter[Findings | Refusal] = TypeAdapter(Findings | Refusal)


class CaptureReaders:
    """Confined processes that read captured files, one after the other. Close with ``close()``."""

    def __init__(self, *, require: bool) -> None:
        self._closed = False
        self._pool = ProcessPool(
            Options(tasks=(READ, TAKE), memory_bytes=MEMORY_BYTES), 1, require=require
        )

    def close(self) -> None:
        """End the processes. What is being read fails as if there were none."""
        self._closed = True
        self._pool.close()

    def read(self, source: BinaryIO, number: int) -> tuple[Findings, bytes]:
        """Return what a file has, and the WARC records of its text part; ``Refused`` if it cannot
        be imported, ``SandboxBusy`` or ``SandboxIncomplete`` if there is no process."""
        with self._refusing():
            answer = self._pool.run(READ, source, str(number).encode(), BOUNDS)
        header, _, payload = answer.partition(b"\n")
        try:
            if len(header) > MAX_FOUND_BYTES or len(payload) > 2 * MAX_KEPT_BYTES:
                raise ValueError
            found = _ANSWER.validate_json(header)
        except ValueError as error:
            raise Refused("damaged", "its reader gave an answer that it must not give") from error
        if isinstance(found, Findings):
            return found, payload
        detail = "".join(c if c.isprintable() else " " for c in found.detail[:300])
        raise Refused(found.refused, detail)

    def body(self, source: BinaryIO, image: CapturedImage) -> Generator[bytes]:
        """Yield the bytes of a picture or a video in a file, not compared with its digest yet.
        Raises as ``read``."""
        argument = image.model_dump_json().encode()
        with self._refusing():
            yield from self._pool.pieces(TAKE, source, argument, BOUNDS, image.size)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except DecoderTooSlow as error:
            raise Refused("too_slow", "reading it took longer than is allowed") from error
        except MediaTooLarge as error:
            raise Refused("too_large", "reading it takes more memory than is allowed") from error
        except DecoderFailed as error:
            if self._closed:
                raise SandboxBusy from error
            raise Refused("damaged", "its reader ended; the file may be hostile") from error


def prepare() -> None:
    """Import what the libraries would only when they first need it."""
    for name in LAZY_MODULES:
        importlib.import_module(name)


def read_task(source: BinaryIO, number: bytes) -> bytes:
    """Read a file in the confined process: what it has in a line of JSON, and its text part."""
    answer: Findings | Refusal
    try:
        answer, payload = read_file(source, int(number))
    except Refused as error:
        answer, payload = Refusal(refused=error.code, detail=error.message), b""
    except Exception as error:  # content that breaks a parser
        detail = f"it cannot be read ({type(error).__name__})"
        answer, payload = Refusal(refused="damaged", detail=detail), b""
    return answer.model_dump_json().encode() + b"\n" + payload


def take_task(source: BinaryIO, image: bytes) -> Iterator[bytes]:
    """Yield the bytes of a picture or a video in the confined process."""
    return body_of(source, CapturedImage.model_validate_json(image))
