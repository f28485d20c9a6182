"""Bodies of requests: received within limits of size and time, and uploaded pictures."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from deepfake_models.media.image import picture_format
from deepfake_service.http.admission import UploadMemory
from deepfake_service.http.auth import Call
from deepfake_service.http.multipart import Part, boundary_of, read_parts, text_of
from deepfake_service.http.problems import invalid_fields
from deepfake_service.platform.errors import (
    ClientGone,
    FieldError,
    InvalidRequest,
    RequestTooLarge,
    UnsupportedContentType,
    UploadTimeout,
    invalid_field,
)
from deepfake_service.platform.storage.vault import LONGEST_UPLOAD
from deepfake_service.platform.texts.fields import unknown_field

FILE = "file"
SCREENSHOT = "screenshot"
MAX_SCREENSHOT_BYTES = 16 * 1024 * 1024
"""A whole 4K screen as PNG has some 10 MiB. Held in memory until it is encrypted."""
MAX_TEXTS_BYTES = 1024 * 1024
"""Of the text fields beside a screenshot: each has 8 KiB at most."""
SPACE_CHECKED_EVERY = 8 * 1024 * 1024
MAX_FIELD_BYTES = 8192
"""Of one text field. URLs of 2,000 characters are common, and longer ones exist."""
BODY_TIMEOUT_S = 120.0
"""Within which a body must arrive, other than a video's: idle clients hold memory and places."""
MIN_RATE = 8192
"""Bytes per second that a body must have. Time that the service itself takes does not count."""
GRACE_S = 20.0
"""How long the body of a request of an account may take to begin, before its rate is measured."""
UNKNOWN_SENDER_GRACE_S = 5.0
"""The same for a body that is read before it is asked who sent it: a form or JSON, which a client
has at hand when it sends the head."""
MORE_BYTES, MORE_FILES = "more than {most} bytes", "more than {most} files"
F = TypeVar("F", bound=BaseModel)
Endpoint = TypeVar("Endpoint")


def bounded_receive(
    scope: Scope,
    receive: Receive,
    max_bytes: int,
    *,
    timeout_s: float,
    grace_s: float,
) -> Receive:
    """Return an ASGI ``receive`` that bounds the body.

    Args:
        scope: says how long the body is, if its client does.
        receive: gives the body.
        max_bytes: the largest body that is accepted.
        timeout_s: from the first read to the end of the body.
        grace_s: after these seconds the body must have ``MIN_RATE``, while it is waited for.

    Raises:
        UnsupportedContentType: by what it returns, if the body is compressed as a whole.
        RequestTooLarge: likewise, before the client is asked to send too much.
        UploadTimeout: likewise, if the body comes too slowly.
    """
    headers = Headers(scope=scope)
    declared = headers.get("content-length", "")
    received, complete, deadline, waited_s = 0, False, 0.0, 0.0

    async def receive_within_limits() -> Message:
        nonlocal received, complete, deadline, waited_s
        if complete:  # the next message tells that the client left, at any time
            return await receive()
        if headers.get("content-encoding") not in (None, "", "identity"):
            raise UnsupportedContentType("Send the request without a Content-Encoding.")
        if declared.isdecimal() and int(declared) > max_bytes:
            raise RequestTooLarge(f"The body may have at most {max_bytes} bytes.")
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
            raise RequestTooLarge(f"The body may have at most {max_bytes} bytes.")
        complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return receive_within_limits


async def receive_body(
    request: Request, max_bytes: int, *, timeout_s: float | None = None
) -> AsyncIterator[bytes]:
    """Yield the body of ``request`` as it arrives, within the limits of ``bounded_receive``. The
    route must be marked ``streams_body``.

    Raises:
        RequestTooLarge: the body has more bytes, or its Content-Length says so.
        UploadTimeout: the body did not arrive in time, or too slowly.
        ClientGone: the client closed the connection.
    """
    timeout_s = timeout_s or BODY_TIMEOUT_S
    receive = bounded_receive(
        request.scope, request.receive, max_bytes, timeout_s=timeout_s, grace_s=GRACE_S
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


@dataclass(frozen=True, slots=True, repr=False)
class Upload:
    """One uploaded file: the name that its client gave it, safe to show, and its bytes."""

    name: str
    content: io.BytesIO

    def sha256(self) -> str:
        return hashlib.sha256(self.content.getbuffer()).hexdigest()

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self.content.getvalue()


@dataclass(frozen=True, slots=True)
class Pictures:
    """Which pictures a form may have: in which field, how many, and how large each may be."""

    field: str
    most: int
    max_bytes: int


class SubmittedForm(Generic[F]):
    """The fields of one request: texts, pictures, and a file that is passed on as it arrives.

    Args:
        form: the text fields.
        has_file: whether there may be a file, in the field ``file``.
        pictures: which pictures there may be. They are in memory: read them within ``held_in``.
    """

    def __init__(
        self, form: type[F], *, has_file: bool = False, pictures: Pictures | None = None
    ) -> None:
        self._form = form
        self._pictures = pictures
        self._files = [*([FILE] if has_file else []), *([pictures.field] if pictures else [])]
        self._texts: dict[str, bytearray] = {}
        self._take: Callable[[int], None] | None = None
        self._file_came = False
        self.file_name: str | None = None
        self.uploads: list[Upload] = []

    @contextlib.contextmanager
    def held_in(self, memory: UploadMemory) -> Iterator[None]:
        """Count the pictures as held in ``memory`` while the context lasts, and free them then: the
        traceback of an error would keep them, uncounted, until the next garbage collection."""
        with memory.share() as self._take:
            try:
                yield
            finally:
                for upload in self.uploads:
                    upload.content.close()

    async def read(self, request: Request, max_bytes: int) -> F:
        """Read a multipart request that has no file, and return its text fields.

        Raises:
            UnsupportedContentType: the body is not multipart, or is compressed as a whole.
            MalformedRequest: the body is not well-formed, or was cut short.
            InvalidRequest: a field is unknown, was sent twice or is invalid.
            RequestTooLarge: naming the limit.
            UploadTimeout: the body did not arrive in time.
            ClientGone: the client closed the connection.
            Overloaded: too much is already held in memory.
        """
        boundary = boundary_of(request.headers.get("content-type"))
        async for _ in self.file(boundary, receive_body(request, max_bytes), required=False):
            pass  # a form without a file yields nothing
        return self.parse()

    async def file(
        self, boundary: bytes, body: AsyncIterator[bytes], *, required: bool = True
    ) -> AsyncIterator[bytes]:
        """Yield the bytes of the file while a multipart body arrives, and collect the other fields;
        raise the errors of ``read`` that are about the body, or ``InvalidRequest`` if a file is
        required and missing."""
        field = ""
        async for piece in read_parts(boundary, body):
            if isinstance(piece, Part):
                field = piece.field
                self._begin(piece)
            elif field not in self._files:
                self._add_text(field, piece)
            elif self._pictures and field == self._pictures.field:
                content, limit = self.uploads[-1].content, self._pictures.max_bytes
                if content.tell() + len(piece) > limit:
                    over = _over(MORE_BYTES, limit, f"{field}[{len(self.uploads) - 1}]")
                    raise RequestTooLarge(
                        f"A picture may have at most {limit} bytes.", errors=[over]
                    )
                assert self._take is not None, "pictures are read within held_in"
                self._take(len(piece))
                content.write(piece)
            else:
                yield piece
        if required and not self._file_came:
            raise invalid_field(FILE, "missing; send the video to examine")

    def parse(self) -> F:
        """Return the text fields. An empty one counts as one that was not sent.

        Raises:
            MalformedRequest: naming the field that is not UTF-8.
            InvalidRequest: naming each field that is invalid.
        """
        values = {name: text_of(bytes(v), name) for name, v in self._texts.items() if v}
        try:
            return self._form.model_validate(values)
        except ValidationError as error:
            invalid = invalid_fields(error)
        raise InvalidRequest.of_fields(*invalid)

    def _begin(self, part: Part) -> None:
        if part.field not in self._files:
            self._begin_text(part.field)
        elif part.filename is None:
            example = "video.mp4" if part.field == FILE else "picture.jpg"
            detail = f"must be a file, not text (curl: -F {part.field}=@{example})"
            raise invalid_field(part.field, detail)
        elif self._pictures and part.field == self._pictures.field:
            if len(self.uploads) == self._pictures.most:
                raise RequestTooLarge(
                    f"A request may hold at most {self._pictures.most} pictures.",
                    errors=[_over(MORE_FILES, self._pictures.most, part.field)],
                )
            self.uploads.append(Upload(part.filename, io.BytesIO()))
        elif self._file_came:
            raise invalid_field(FILE, "sent twice; send one video in each request")
        else:
            self._file_came, self.file_name = True, part.filename or None

    def _begin_text(self, name: str) -> None:
        if name not in self._form.model_fields:
            known = (*self._files, *self._form.model_fields)
            raise InvalidRequest.of_fields(unknown_field(name, known))
        if name in self._texts:  # a body of a million small fields must take no memory
            raise invalid_field(name, "sent twice; send it once")
        self._texts[name] = bytearray()

    def _add_text(self, name: str, data: bytes) -> None:
        if len(self._texts[name]) + len(data) > MAX_FIELD_BYTES:
            raise invalid_field(name, f"longer than {MAX_FIELD_BYTES} bytes")
        self._texts[name] += data


async def receive_file(call: Call, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body of a request, within ``LONGEST_UPLOAD`` and as long as the disk has space for
    it. See ``receive_body``."""
    received, checked = 0, 0
    try:
        async for chunk in receive_body(
            call.request, max_bytes, timeout_s=LONGEST_UPLOAD.total_seconds()
        ):
            received += len(chunk)
            if received - checked > SPACE_CHECKED_EVERY:
                call.services.disk.require()  # other uploads take space meanwhile
                checked = received
            yield chunk
    except RequestTooLarge as error:
        raise RequestTooLarge(error.message, errors=[_over(MORE_BYTES, max_bytes, FILE)]) from None


def _over(template: str, most: int, field: str) -> FieldError:
    return FieldError(field, template.format(most=most), template, {"most": most})


def require_screenshot(content: bytes, field: str) -> None:
    """Raise ``InvalidRequest`` unless a picture has one of the formats of screenshots."""
    if picture_format(content[:64]) not in ("PNG", "JPEG", "WEBP"):
        raise invalid_field(field, "send a PNG, JPEG or WebP picture")


@contextlib.asynccontextmanager
async def read_with_screenshot(call: Call, form: type[F]) -> AsyncIterator[tuple[F, bytes | None]]:
    """Read the text fields of a multipart request, and its screenshot if it has one, which is held
    in memory while the context lasts. Raises the errors of ``SubmittedForm.read``, and
    ``Overloaded``."""
    call.services.disk.require()
    sent = SubmittedForm(form, pictures=Pictures(SCREENSHOT, 1, MAX_SCREENSHOT_BYTES))
    with sent.held_in(call.state.memory):
        fields = await sent.read(call.request, MAX_SCREENSHOT_BYTES + MAX_TEXTS_BYTES)
        screenshot = sent.uploads[0].content.getvalue() if sent.uploads else None
        if screenshot is not None:
            require_screenshot(screenshot, SCREENSHOT)
        yield fields, screenshot
