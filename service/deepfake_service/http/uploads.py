"""Uploaded pictures, read into memory within limits that hold while they arrive."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

from deepfake_service.errors import (
    FieldError,
    InvalidRequest,
    RequestTooLarge,
    UnsupportedContentType,
    UploadTimeout,
)
from deepfake_service.http.admission import Ticket
from deepfake_service.http.multipart import Part, Sink, boundary_of, parse_multipart
from deepfake_service.http.submission_form import Form
from deepfake_service.settings import Settings

FIELD = "files"


@dataclass(frozen=True, slots=True)
class Upload:
    """One uploaded file: its client's name for it, fit to be shown, and its bytes."""

    name: str
    content: io.BytesIO

    def close(self) -> None:
        """Free the memory now. An error's traceback would otherwise keep it, uncounted, until the
        garbage collector comes by."""
        self.content.close()

    def sha256(self) -> str:
        return hashlib.sha256(self.content.getbuffer()).hexdigest()

    def __repr__(self) -> str:
        return "Upload()"


CASE_FIELDS = ("case_reference", "source_url", "platform", "account", "captured_at", "note")
"""Text fields that may come with pictures."""


class _Files:
    """Collects the parts of one request."""

    def __init__(self, settings: Settings, ticket: Ticket) -> None:
        self._settings = settings
        self._ticket = ticket
        self.uploads: list[Upload] = []
        self.texts: list[tuple[str, bytearray]] = []

    def open_part(self, part: Part) -> Sink:
        if part.field in CASE_FIELDS and part.filename is None:
            return Form.collected(self.texts, part.field)
        if part.field != FIELD:
            raise InvalidRequest(
                f'The field "{part.field}" is not known. Send pictures in "{FIELD}".',
                errors=[FieldError(part.field, f'not known; "{FIELD}" is wanted')],
            )
        if part.filename is None:
            raise InvalidRequest(
                f'The field "{FIELD}" holds text, not a file. With curl: -F {FIELD}=@picture.jpg',
                errors=[FieldError(FIELD, "is text, and a file is wanted")],
            )
        limit = self._settings.max_frames_per_request
        if len(self.uploads) == limit:
            raise RequestTooLarge(
                f"A request may hold at most {limit} pictures.",
                errors=[FieldError(FIELD, f"more than {limit} files")],
            )
        upload = Upload(part.filename, io.BytesIO())
        self.uploads.append(upload)
        return self._sink(upload, f"{FIELD}[{len(self.uploads) - 1}]")

    def _sink(self, upload: Upload, where: str) -> Sink:
        limit = self._settings.max_picture_bytes

        def write(data: memoryview) -> None:
            if upload.content.tell() + len(data) > limit:
                raise RequestTooLarge(
                    f"A picture may have at most {limit} bytes.",
                    errors=[FieldError(where, f"more than {limit} bytes")],
                )
            self._ticket.take(len(data))
            upload.content.write(data)

        return write


async def read_files(
    chunks: AsyncIterator[bytes],
    *,
    content_type: str | None,
    content_encoding: str | None,
    content_length: str | None,
    settings: Settings,
    ticket: Ticket,
) -> tuple[list[Upload], Form]:
    """Read the files of a multipart request, in order, and its text fields. The caller closes the
    files.

    Raises:
        UnsupportedContentType: not multipart, or compressed as a whole.
        MalformedRequest: not well-formed, or cut short.
        InvalidRequest: a field that is not known or wrong, or no file.
        RequestTooLarge: naming the limit.
        UploadTimeout: the body came too slowly.
        Overloaded: too much is held in memory already.
    """
    boundary = boundary_of(content_type)
    if content_encoding not in (None, "", "identity"):
        raise UnsupportedContentType("Send the request without a Content-Encoding.")
    limit = settings.max_request_bytes
    if content_length is not None and content_length.isdecimal() and int(content_length) > limit:
        raise _too_large(limit)
    files = _Files(settings, ticket)
    try:
        async with asyncio.timeout(settings.upload_timeout_s):
            await parse_multipart(_bounded(chunks, limit), boundary, files.open_part)
        form = Form()
        for name, value in files.texts:
            form.put(name, value.decode("utf-8", errors="replace"))
    except BaseException as error:
        for upload in files.uploads:
            upload.close()
        if not isinstance(error, TimeoutError):
            raise
        raise UploadTimeout(
            f"The request's body did not arrive within {settings.upload_timeout_s:g} seconds."
        ) from error
    if not files.uploads:
        raise InvalidRequest(
            f'The request holds no file. Send pictures in the field "{FIELD}".',
            errors=[FieldError(FIELD, "at least one file is wanted")],
        )
    return files.uploads, form


async def _bounded(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        yield chunk


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"A request may have at most {limit} bytes.")
