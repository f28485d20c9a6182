"""Multipart bodies (RFC 7578) as a stream. Text in them, in forms and in queries has to be UTF-8.

Starlette's own form parser writes parts over 1 MiB to the temporary folder. This service must not
write plaintext media to disk. Where text is not UTF-8, Starlette's puts U+FFFD, which would make
one text of several, such as one case of the Korean references of three.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from deepfake_service.platform.errors import (
    FieldError,
    MalformedRequest,
    UnsupportedContentType,
)

MULTIPART = "multipart/form-data"
MAX_BOUNDARY = 70
"""Characters (RFC 2046, section 5.1.1)."""
MAX_NAME_CHARS = 255
"""Of a file name in an answer: the limit of common file systems."""
MAX_FIELD_CHARS = 64
"""Of a field name in an error."""
FIELD_NAME = "The name of a field"
NOT_UTF8 = "not UTF-8; send text as UTF-8"


@dataclass(frozen=True, slots=True)
class Part:
    """The head of one part. ``filename`` is ``None`` for a field that is not a file."""

    field: str
    filename: str | None


async def read_parts(boundary: bytes, body: AsyncIterator[bytes]) -> AsyncIterator[Part | bytes]:
    """Yield the head of each part of a multipart body, and then its bytes as they arrive.
    ``MalformedRequest`` if the body is not well-formed, or ends before its last boundary."""
    found: list[Part | bytes] = []
    name, value, headers = bytearray(), bytearray(), dict[bytes, bytes]()
    fed, ended = 0, False

    def end_header() -> None:
        headers[bytes(name).lower()] = bytes(value)
        name.clear()
        value.clear()

    def end_head() -> None:
        kind, options = parse_options_header(headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise MalformedRequest("A part has no Content-Disposition that names its field.")
        field = _printable(text_of(options[b"name"], "?", FIELD_NAME))[:MAX_FIELD_CHARS]
        raw, where = options.get(b"filename"), f'The file name in the field "{field}"'
        filename = None if raw is None else base_name(text_of(raw, field, where))
        found.append(Part(field, filename))
        headers.clear()

    def end() -> None:
        nonlocal ended
        ended = True

    parser = MultipartParser(
        boundary,
        {
            "on_header_field": lambda data, start, end: name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: value.extend(data[start:end]),
            "on_header_end": end_header,
            "on_headers_finished": end_head,
            "on_part_data": lambda data, start, end: found.append(data[start:end]),
            "on_end": end,
        },
    )
    async for chunk in body:
        try:
            parser.write(chunk)
        except FormParserError as error:
            at = fed + max(0, getattr(error, "offset", 0))
            raise MalformedRequest(
                f"The body is not well-formed multipart (RFC 7578): see byte {at}, from 0."
            ) from error
        fed += len(chunk)
        for event in found:
            yield event
        found.clear()
    if not ended:
        raise MalformedRequest("The body ends before its last boundary.")


def boundary_of(content_type: str | None) -> bytes:
    """Return the boundary in the Content-Type of a request; ``UnsupportedContentType`` if it is not
    ``multipart/form-data``, ``MalformedRequest`` if it has no proper boundary."""
    media_type, options = parse_options_header(content_type)
    if media_type != MULTIPART.encode():
        raise UnsupportedContentType(f"Send the request as {MULTIPART}.")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= MAX_BOUNDARY:
        raise MalformedRequest(
            f"The Content-Type {MULTIPART} needs a boundary of 1 to {MAX_BOUNDARY} characters."
        )
    return boundary


def text_of(raw: bytes, field: str, where: str | None = None) -> str:
    """Return text that ``field`` has; ``MalformedRequest``, naming it, if it is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        where = where or f'The field "{field}"'
        told = FieldError(field, NOT_UTF8)
        raise MalformedRequest(f"{where} is not UTF-8.", errors=[told]) from error


def urlencoded_fields(raw: bytes, most: int | None = None) -> list[tuple[str, str]]:
    """Return the fields of a query or of a URL-encoded form.

    Raises:
        MalformedRequest: naming the field whose text is not UTF-8.
        ValueError: there are more than ``most``.
    """
    # Latin-1 has a character for each byte, so that it keeps bytes as they are.
    pairs = parse_qsl(
        raw.decode("latin-1"), keep_blank_values=True, max_num_fields=most, encoding="latin-1"
    )
    fields = []
    for name, value in pairs:
        field = text_of(name.encode("latin-1"), "?", FIELD_NAME)
        fields.append((field, text_of(value.encode("latin-1"), field[:MAX_FIELD_CHARS])))
    return fields


def base_name(name: str) -> str:
    """Return the last component of a client's file name, as text that is safe to show.

    Folders are removed for both separators, and so is every character that is not printable:
    controls, and the bidirectional ones that make ``gpj.exe`` read as ``exe.jpg``.
    """
    return _printable(name.replace("\\", "/").rpartition("/")[2])[:MAX_NAME_CHARS]


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()
