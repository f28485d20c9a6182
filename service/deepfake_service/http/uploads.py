"""Bodies of requests: received within limits of size and time, and uploaded pictures."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from deepfake_models.media.image import picture_format
from deepfake_service.http.auth import Call
from deepfake_service.http.multipart import (
    MultipartReader,
    Part,
    Sink,
    boundary_of,
    parse_multipart,
)
from deepfake_service.http.submission_form import F, PictureForm, TextFields
from deepfake_service.platform.errors import (
    ClientGone,
    FieldError,
    RequestTooLarge,
    UnsupportedContentType,
    UploadTimeout,
    invalid_field,
)
from deepfake_service.platform.settings import Settings
from deepfake_service.retention.orphans import LONGEST_UPLOAD

FIELD = "files"
FILE = "file"
SCREENSHOT = "screenshot"
MAX_SCREENSHOT_BYTES = 16 * 1024 * 1024
"""A whole 4K screen as PNG has some 10 MiB. Held in memory until it is encrypted."""
MAX_TEXTS_BYTES = 1024 * 1024
"""Of the text fields beside a screenshot: each has 8 KiB at most."""
SPACE_CHECKED_EVERY = 8 * 1024 * 1024
MAX_PICTURES = 64
"""Pictures of one request, which is answered while its client waits."""
BODY_TIMEOUT_S = 120.0
"""Within which a body must arrive, other than a video's: idle clients hold memory and places."""
MIN_RATE = 8192
"""Bytes per second that a body must have. Time that the service itself takes does not count."""
GRACE_S = 20.0
"""How long the body of a request of an account may take to begin, before its rate is measured."""
UNKNOWN_SENDER_GRACE_S = 5.0
"""The same for a body that is read before it is asked who sent it: a form or JSON, which a client
has at hand when it sends the head."""
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def bounded_receive(
    scope: Scope,
    receive: Receive,
    max_bytes: int,
    *,
    timeout_s: float,
    grace_s: float,
    noun: str = "A request",
) -> Receive:
    """Return an ASGI ``receive`` that bounds the body.

    Args:
        scope: says how long the body is, if its client does.
        receive: gives the body.
        max_bytes: the largest body that is accepted.
        timeout_s: from the first read to the end of the body.
        grace_s: after these seconds the body must have ``MIN_RATE``, while it is waited for.
        noun: what the body is, for the error about its size.

    Raises:
        RequestTooLarge: by what it returns, before the client is asked to send too much.
        UploadTimeout: likewise, if the body comes too slowly.
    """
    declared = Headers(scope=scope).get("content-length", "")
    received, complete, deadline, waited_s = 0, False, 0.0, 0.0

    async def receive_within_limits() -> Message:
        nonlocal received, complete, deadline, waited_s
        if complete:  # the next message tells that the client left, at any time
            return await receive()
        if declared.isdecimal() and int(declared) > max_bytes:
            raise RequestTooLarge(f"{noun} may have at most {max_bytes} bytes.")
        began = asyncio.get_running_loop().time()
        deadline = deadline or began + timeout_s
        until = min(deadline, began + grace_s + received / MIN_RATE - waited_s)
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError as error:
            raise UploadTimeout(
                f"The body of the request did not arrive within {timeout_s:g} seconds, or came "
                f"slower than {MIN_RATE} bytes per second."
            ) from error
        waited_s += asyncio.get_running_loop().time() - began
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise RequestTooLarge(f"{noun} may have at most {max_bytes} bytes.")
        complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return receive_within_limits


async def receive_body(
    request: Request, max_bytes: int, *, timeout_s: float | None = None, noun: str = "A request"
) -> AsyncIterator[bytes]:
    """Yield the body of ``request`` as it arrives. The route must be marked ``streams_body``.

    The limits are those of ``bounded_receive``, with ``BODY_TIMEOUT_S`` if no time is given.

    Raises:
        RequestTooLarge: the body has more bytes, or its Content-Length says so.
        UploadTimeout: the body did not arrive in time, or too slowly.
        ClientGone: the client closed the connection.
    """
    receive = bounded_receive(
        request.scope,
        request.receive,
        max_bytes,
        timeout_s=timeout_s or BODY_TIMEOUT_S,
        grace_s=GRACE_S,
        noun=noun,
    )
    try:
        async for chunk in Request(request.scope, receive).stream():
            yield chunk
    except ClientDisconnect as error:
        raise ClientGone from error


def streams_body(endpoint: Endpoint) -> Endpoint:
    """Mark a route that bounds its body itself, with ``receive_body``. The middleware bounds the
    bodies of all other routes, which FastAPI reads as a whole."""
    endpoint.streams_body = True  # type: ignore[attr-defined]
    return endpoint


def is_streamed(scope: Scope) -> bool:
    """Return whether the route that a request was matched to is marked ``streams_body``."""
    return getattr(scope.get("endpoint"), "streams_body", False)


def refuse_encoding(request: Request) -> None:
    """Raise ``UnsupportedContentType`` if the body is compressed as a whole."""
    if request.headers.get("content-encoding") not in (None, "", "identity"):
        raise UnsupportedContentType("Send the request without a Content-Encoding.")


@dataclass(frozen=True, slots=True)
class Upload:
    """One uploaded file: the name that its client gave it, safe to show, and its bytes."""

    name: str
    content: io.BytesIO

    def close(self) -> None:
        """Free the memory now. The traceback of an error would otherwise keep it, uncounted, until
        the next garbage collection."""
        self.content.close()

    def sha256(self) -> str:
        return hashlib.sha256(self.content.getbuffer()).hexdigest()

    def __repr__(self) -> str:
        return "Upload()"


class FormFiles(Generic[F]):
    """Collects the text fields and the files of one multipart request in memory.

    Args:
        form: the text fields.
        field: the field of the files.
        most: how many files there may be.
        max_bytes: how many bytes one of them may have.
        take: counts bytes that are held; raises an error if they are too many.
    """

    def __init__(
        self, form: type[F], field: str, most: int, max_bytes: int, take: Callable[[int], None]
    ) -> None:
        self._field = field
        self._most = most
        self._max_bytes = max_bytes
        self._take = take
        self.uploads: list[Upload] = []
        self.texts = TextFields(form, files=(field,))

    def open_part(self, part: Part) -> Sink:
        """Return the sink for a part, as ``parse_multipart`` needs it."""
        if part.field != self._field:
            return self.texts.open(part.field)
        if part.filename is None:
            raise invalid_field(
                part.field, f"must be a file, not text (curl: -F {part.field}=@picture.jpg)"
            )
        if len(self.uploads) == self._most:
            raise RequestTooLarge(
                f"A request may hold at most {self._most} pictures.",
                errors=[FieldError(part.field, f"more than {self._most} files")],
            )
        upload = Upload(part.filename, io.BytesIO())
        self.uploads.append(upload)
        return self._sink(upload, f"{part.field}[{len(self.uploads) - 1}]")

    def _sink(self, upload: Upload, field: str) -> Sink:
        limit = self._max_bytes

        def write(data: memoryview) -> None:
            if upload.content.tell() + len(data) > limit:
                raise RequestTooLarge(
                    f"A picture may have at most {limit} bytes.",
                    errors=[FieldError(field, f"more than {limit} bytes")],
                )
            self._take(len(data))
            upload.content.write(data)

        return write


class StreamedFile:
    """The file of a multipart body, in the field ``file``; ``open_other`` opens all other parts."""

    def __init__(self, content_type: str | None, open_other: Callable[[Part], Sink]) -> None:
        self._open_other = open_other
        self._pieces: deque[bytes] = deque()
        self._files = 0
        self.name: str | None = None
        self._reader = MultipartReader(boundary_of(content_type), self._open_part)

    def _open_part(self, part: Part) -> Sink:
        if part.field != FILE:
            return self._open_other(part)
        if part.filename is None:
            raise invalid_field(FILE, "must be a file, not text (curl: -F file=@video.mp4)")
        self._files += 1
        if self._files > 1:
            raise invalid_field(FILE, "sent twice; send one video in each request")
        self.name = part.filename or None
        return lambda data: self._pieces.append(bytes(data))

    async def content(
        self, body: AsyncIterator[bytes], *, required: bool = True
    ) -> AsyncIterator[bytes]:
        """Yield the bytes of the file while the body arrives, and collect the other parts;
        ``MalformedRequest`` if the body is not well-formed, or was cut short; ``InvalidRequest`` if
        a field is unknown or was sent twice, or a file is required and missing."""
        async for chunk in body:
            self._reader.feed(chunk)
            while self._pieces:
                yield self._pieces.popleft()
        self._reader.close()
        if required and not self._files:
            raise invalid_field(FILE, "missing; send the video to examine")


async def receive_file(call: Call, max_bytes: int, noun: str) -> AsyncIterator[bytes]:
    """Yield the body of a request, within ``LONGEST_UPLOAD`` and as long as the disk has space for
    it. See ``receive_body``."""
    received, checked = 0, 0
    try:
        async for chunk in receive_body(
            call.request, max_bytes, timeout_s=LONGEST_UPLOAD.total_seconds(), noun=noun
        ):
            received += len(chunk)
            if received - checked > SPACE_CHECKED_EVERY:
                call.state.disk.require()  # other uploads take space meanwhile
                checked = received
            yield chunk
    except RequestTooLarge as error:
        detail = f"more than {max_bytes} bytes"
        raise RequestTooLarge(error.message, errors=[FieldError(FILE, detail)]) from None


def require_screenshot(content: bytes, field: str) -> None:
    """Raise ``InvalidRequest`` unless a picture has one of the formats of screenshots."""
    if picture_format(content[:64]) not in ("PNG", "JPEG", "WEBP"):
        raise invalid_field(field, "send a PNG, JPEG or WebP picture")


async def read_with_screenshot(
    request: Request, form: type[F], take: Callable[[int], None]
) -> tuple[F, bytes | None]:
    """Return the text fields of a multipart request, and its screenshot if it has one.

    Raises:
        UnsupportedContentType, MalformedRequest, InvalidRequest, RequestTooLarge, UploadTimeout,
            ClientGone, Overloaded: see ``read_pictures``.
    """
    boundary = boundary_of(request.headers.get("content-type"))
    files = FormFiles(form, SCREENSHOT, 1, MAX_SCREENSHOT_BYTES, take)
    body = receive_body(request, max_bytes=MAX_SCREENSHOT_BYTES + MAX_TEXTS_BYTES)
    await parse_multipart(body, boundary, files.open_part)
    fields = files.texts.parse()
    if not files.uploads:
        return fields, None
    screenshot = files.uploads[0].content.getvalue()
    require_screenshot(screenshot, SCREENSHOT)
    return fields, screenshot


async def read_pictures(
    request: Request, settings: Settings, take: Callable[[int], None]
) -> tuple[list[Upload], PictureForm]:
    """Return the pictures of a multipart request, in order, and its text fields. The caller closes
    the pictures.

    Raises:
        UnsupportedContentType: the body is not multipart, or is compressed as a whole.
        MalformedRequest: the body is not well-formed, or was cut short.
        InvalidRequest: a field is unknown or invalid, or there is no picture.
        RequestTooLarge: naming the limit.
        UploadTimeout: the body did not arrive in time.
        ClientGone: the client closed the connection.
        Overloaded: too much is already held in memory.
    """
    boundary = boundary_of(request.headers.get("content-type"))
    refuse_encoding(request)
    files = FormFiles(PictureForm, FIELD, MAX_PICTURES, settings.max_picture_bytes, take)
    chunks = receive_body(request, max_bytes=settings.max_request_bytes)
    try:
        await parse_multipart(chunks, boundary, files.open_part)
        form = files.texts.parse()
        if not files.uploads:
            raise invalid_field(FIELD, "missing; send at least one picture")
    except BaseException:
        for upload in files.uploads:
            upload.close()
        raise
    return files.uploads, form
