"""JSON objects in sealed columns of the database, each under a case's key and bound to its row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from deepfake_service.platform.db import (
    Base,
    Capture,
    Case,
    FlaggedHashes,
    Job,
    KnownHashes,
    Listing,
    Look,
    Notice,
    NoticeEvent,
    Occurrence,
    Review,
)
from deepfake_service.platform.errors import DecryptionFailed
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.storage.envelope import seal, unseal
from deepfake_service.platform.storage.vault import context_of

R = TypeVar("R", bound=Sequence[Any])
T = TypeVar("T")

_log = logger("deepfake_service.records")


# Kinds are part of the stored format: content that was sealed under another one does not open.
_KINDS: dict[type[Base], str] = {
    Capture: "capture",
    Case: "case",
    FlaggedHashes: "flagged",
    Job: "result",
    Listing: "listing",
    Look: "look",
    KnownHashes: "known",
    Notice: "notice",
    NoticeEvent: "notice-event",
    Occurrence: "occurrence",
    Review: "review",
}


def _place(row: Base) -> tuple[str, bytes]:
    """Return the name of the sealed column of ``row``, and what its content is bound to."""
    row_id = getattr(row, "job_id" if isinstance(row, KnownHashes) else "id")
    return "result" if isinstance(row, Job) else "sealed", context_of(_KINDS[type(row)], row_id)


def seal_json(key: bytes, row: Base, content: dict[str, Any]) -> None:
    """Seal ``content`` into the sealed column of ``row``, whose id must be set."""
    column, context = _place(row)
    setattr(row, column, seal(key, json.dumps(content).encode(), context))


def open_json(key: bytes, row: Base) -> dict[str, Any]:
    """Return the content of the sealed column of ``row``, which must not be empty;
    ``DecryptionFailed`` if ``key`` is another one, or the content was altered or moved."""
    column, context = _place(row)
    content: dict[str, Any] = json.loads(unseal(key, getattr(row, column), context))
    return content


def opened_rows(rows: Iterable[R], opened: Callable[[R], T]) -> Iterator[tuple[R, T]]:
    """Yield each row with what ``opened`` returns of it. A row for which that does not decrypt,
    because the key of its case or a sealed column was altered, is logged and left out."""
    for row in rows:
        try:
            result = opened(row)
        except DecryptionFailed as error:
            _log.error(
                "record_unreadable",
                table=row[0].__tablename__,
                row=row[0].id,
                failure=describe(error),
            )
        else:
            yield row, result
