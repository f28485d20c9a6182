"""Reading of captured files in a confined process, whose answers are not trusted either."""

from __future__ import annotations

import importlib
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Annotated, BinaryIO, Literal

from pydantic import ConfigDict, Field

from deepfake_models.errors import DecoderFailed, DecoderTooSlow, MediaTooLarge, SandboxBusy
from deepfake_models.sandbox.pool import ProcessPool, TaskBounds
from deepfake_models.sandbox.protocol import Options
from deepfake_service.capture.archives import Refused, body_of, read_whole
from deepfake_service.capture.contents import (
    MAX_KEPT_BYTES,
    MAX_MEDIA,
    MAX_NOTES,
    MAX_PAGES,
)
from deepfake_service.platform.answers import Published, Sha256

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
TASK = f"{__name__}:answer_task"

Text = Annotated[str, Field(max_length=4096)]
Count = Annotated[int, Field(ge=0)]


class _Found(Published):
    model_config = ConfigDict(strict=True)


class Page(_Found):
    """A page that was captured."""

    url: Text
    """Its address."""
    title: Text
    """Its title; empty if none is recorded."""
    at: Text
    """When it was captured, as the file says it; may be empty."""


class FoundMedium(_Found):
    """A picture or a video in a captured file."""

    number: Count
    """By which it is chosen, from 1."""
    role: Literal["medium", "full_page_capture", "view"]
    """`full_page_capture` and `view` are screenshots that the tool took."""
    mime: Text
    """Type by its first bytes."""
    size: Count
    """Its size in bytes."""
    sha256: Annotated[Sha256, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of its bytes."""
    url: Text
    """Address that it came from; empty for a file of its own."""
    at: Text
    """When it was fetched; may be empty."""
    page: Count | None
    """Index of its page in `pages`."""


class CapturedImage(FoundMedium):
    """A picture or a video in a captured file, and where it is there."""

    file: Count
    member: Text | None = None
    offset: Count | None = None
    skip: Count | None = None
    part: Count | None = None


class Integrity(_Found):
    """How the digests that came with a file hold, and who signed it as it says."""

    digests: Literal["verified", "partly", "mismatch", "none"]
    """`verified`; `partly` if records without a digest are beside verified ones; `mismatch` if a
    file or record has another digest than stated; `none` if the file states none."""
    signed_by: Text | None = None
    """Of a WACZ: the domain that signed it, or the digest of the key, as the file says. Neither
    that nor the signature is checked: only that it names the list of files, as `digests` says."""


class Note(_Found):
    """A fault of a file that did not keep the rest from being read."""

    code: Annotated[str, Field(pattern="^[a-z_]{1,32}$")]
    """Its kind."""
    detail: Text
    """What and where."""


class Findings(_Found):
    """What one captured file has."""

    kind: Literal["wacz", "warc", "mhtml", "picture", "video"]
    integrity: Integrity
    software: Annotated[list[Text], Field(max_length=6)]
    pages: Annotated[list[Page], Field(max_length=MAX_PAGES)]
    media: Annotated[list[CapturedImage], Field(max_length=MAX_MEDIA)]
    records: Count
    html: bool
    kept: Count
    """Records of the text part."""
    counts: dict[Annotated[str, Field(pattern="^[a-z_]{1,32}$")], Count]
    notes: Annotated[list[Note], Field(max_length=6 * MAX_NOTES)]
    """Of six kinds."""


class CaptureReaders:
    """Confined processes that read captured files, one after the other. Close with ``close()``."""

    def __init__(self, *, require: bool) -> None:
        self._closed = False
        self._pool = ProcessPool(
            Options(tasks=(TASK,), memory_bytes=MEMORY_BYTES), 1, require=require
        )

    def close(self) -> None:
        """End the processes. What is being read fails as if there were none."""
        self._closed = True
        self._pool.close()

    def read(self, source: BinaryIO, number: int) -> tuple[Findings, bytes]:
        """Return what a file has, and the WARC records of its text part; ``Refused`` if it cannot
        be imported, ``SandboxBusy`` or ``SandboxIncomplete`` if there is no process."""
        with self._refusing():
            answer = self._pool.run(TASK, source, json.dumps({"read": number}).encode(), BOUNDS)
        header, _, payload = answer.partition(b"\n")
        try:
            if len(header) > MAX_FOUND_BYTES or len(payload) > 2 * MAX_KEPT_BYTES:
                raise ValueError
            found = json.loads(header)
            if not isinstance(found, dict) or "refused" not in found:
                return Findings.model_validate(found), payload
        except ValueError as error:
            raise Refused("damaged", "its reader gave an answer that it must not give") from error
        code, detail = str(found["refused"])[:32], str(found.get("detail"))[:300]
        if not code.replace("_", "").isalpha():
            code = "damaged"
        raise Refused(code, "".join(c if c.isprintable() else " " for c in detail))

    def body(self, source: BinaryIO, image: CapturedImage) -> Generator[bytes]:
        """Yield the bytes of a picture or a video in a file, which nobody has compared yet. Raises
        as ``read``."""
        argument = json.dumps({"body": image.model_dump(exclude_none=True)}).encode()
        with self._refusing():
            yield from self._pool.pieces(TASK, source, argument, BOUNDS, image.size)

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


def answer_task(source: BinaryIO, argument: bytes) -> bytes | Iterator[bytes]:
    """Read a file in the confined process: a line of JSON, and then bytes; or yield a body."""
    given = json.loads(argument)
    if "body" in given:
        return body_of(source, given["body"])
    payload = b""
    try:
        found, payload = read_whole(source, given["read"])
    except Refused as error:
        found = {"refused": error.code, "detail": error.message}
    except (MemoryError, RecursionError):
        found = {"refused": "too_large", "detail": "it takes more memory or nesting than allowed"}
    except Exception as error:  # content that breaks a parser
        found = {"refused": "damaged", "detail": f"it cannot be read ({type(error).__name__})"}
    return json.dumps(found).encode() + b"\n" + payload
