"""The text fields that come with media: checked one by one, each by its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from deepfake_service.casework.submissions import Sighting, Submission
from deepfake_service.db.enums import Priority, RetentionPolicy
from deepfake_service.errors import FieldError, InvalidRequest
from deepfake_service.http.admission import Ticket

FIELDS = (
    "case_reference", "source_url", "platform", "account", "captured_at", "note", "callback_url",
    "priority", "frames", "retention",
)  # fmt: skip
MAX_FIELD_BYTES = 8192
"""Of one text field: URLs of 2,000 characters are common, longer ones exist."""

MAX_FRAMES = 2000
"""Of one video: their faces have to fit into an evidence bundle."""


class Form:
    """The text fields of one submission, checked one by one."""

    def __init__(self, known: tuple[str, ...] = FIELDS) -> None:
        self._known = known
        self.values: dict[str, str] = {}

    def put(self, name: str, value: str) -> None:
        """Keep a field.

        Raises:
            InvalidRequest: it is not known, or came twice.
        """
        if name not in self._known:
            raise wrong_field(name, f"not known; known are {', '.join(self._known)}")
        if name in self.values:
            raise wrong_field(name, "given twice")
        if value:
            self.values[name] = value

    def text(self, name: str, limit: int) -> str | None:
        """A field of at most ``limit`` printable characters.

        Raises:
            InvalidRequest: it is longer, or holds others.
        """
        return _text(self.values.get(name), name, limit)

    @staticmethod
    def collector(
        name: str, value: bytearray, limit: int = MAX_FIELD_BYTES, ticket: Ticket | None = None
    ) -> Callable[[memoryview], None]:
        """A sink for the field ``name`` that fills ``value`` up to ``limit`` bytes, counted on
        ``ticket``."""

        def write(data: memoryview) -> None:
            if len(value) + len(data) > limit:
                raise wrong_field(name, f"more than {limit} bytes")
            if ticket is not None:
                ticket.take(len(data))
            value.extend(data)

        return write

    @staticmethod
    def collected(texts: list[tuple[str, bytearray]], name: str) -> Callable[[memoryview], None]:
        """A sink for the field ``name``, put down in ``texts``: once, so that a body of a million
        small fields takes no memory.

        Raises:
            InvalidRequest: it came before.
        """
        if any(name == known for known, _ in texts):
            raise wrong_field(name, "given twice")
        value = bytearray()
        texts.append((name, value))
        return Form.collector(name, value)

    def submission(self, idempotency_key: str | None, *, kind: str = "video") -> Submission:
        """What is asked for.

        Raises:
            InvalidRequest: naming the field that is wrong.
        """
        get = self.values.get
        return Submission(
            kind=kind,
            case_reference=_text(get("case_reference"), "case_reference", 200),
            sighting=Sighting(
                source_url=_url(get("source_url"), "source_url"),
                platform=_text(get("platform"), "platform", 200),
                account=_text(get("account"), "account", 200),
                captured_at=_moment(get("captured_at")),
                note=_text(get("note"), "note", 2000),
            ),
            callback_url=_url(get("callback_url"), "callback_url"),
            priority=_one_of(Priority, get("priority"), "priority", Priority.BATCH),
            frames=_frames(get("frames")),
            retention=_one_of(
                RetentionPolicy, get("retention"), "retention", RetentionPolicy.STANDARD
            ),
            idempotency_key=_text(idempotency_key, "Idempotency-Key", 255),
        )


def wrong_field(name: str, detail: str) -> InvalidRequest:
    """The error that names a field and what is wrong with it."""
    return InvalidRequest(f'The field "{name}": {detail}.', errors=[FieldError(name, detail)])


def _text(value: str | None, name: str, limit: int) -> str | None:
    if value is None:
        return None
    if len(value) > limit:
        raise wrong_field(name, f"more than {limit} characters")
    if not value.isprintable():
        raise wrong_field(name, "holds characters that cannot be printed")
    return value


def _url(value: str | None, name: str) -> str | None:
    text = _text(value, name, 4096)
    if text is not None and not re.fullmatch(r"https?://[^\s/?#]+\S*", text):
        raise wrong_field(name, "not a URL that begins with http:// or https://")
    return text


def _moment(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is not None:
            return at.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise wrong_field("captured_at", "not a time as 2026-01-31T12:00:00Z") from None
    raise wrong_field("captured_at", "has no time zone; end it with Z for UTC")


def _frames(value: str | None) -> int | None:
    if value is None:
        return None
    written = value.isascii() and value.isdecimal() and len(value) <= len(str(MAX_FRAMES))
    if not (written and 1 <= int(value) <= MAX_FRAMES):
        raise wrong_field("frames", f"not a whole number from 1 to {MAX_FRAMES}")
    return int(value)


def _one_of(kind: Any, value: str | None, name: str, default: Any) -> Any:
    if value is None:
        return default
    try:
        return kind(value)
    except ValueError:
        raise wrong_field(name, f"not one of {', '.join(kind)}") from None
