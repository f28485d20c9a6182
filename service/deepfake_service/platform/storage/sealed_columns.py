"""JSON objects in sealed columns of the database, each under a case's key and bound to its row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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

T = TypeVar("T")

_log = logger("deepfake_service.records")


@dataclass(frozen=True, slots=True)
class _Sealed:
    """The column of a table that is sealed, and what its content is bound to."""

    kind: str
    column: str = "sealed"
    row_id: str = "id"

    def context(self, row: Base) -> bytes:
        return context_of(self.kind, getattr(row, self.row_id))


# Kinds are part of the stored format: content that was sealed under another one does not open.
_SEALED: dict[type[Base], _Sealed] = {
    Capture: _Sealed("capture"),
    Case: _Sealed("case"),
    FlaggedHashes: _Sealed("flagged"),
    Job: _Sealed("result", column="result"),
    Listing: _Sealed("listing"),
    Look: _Sealed("look"),
    KnownHashes: _Sealed("known", row_id="job_id"),
    Notice: _Sealed("notice"),
    NoticeEvent: _Sealed("notice-event"),
    Occurrence: _Sealed("occurrence"),
    Review: _Sealed("review"),
}


def seal_json(key: bytes, row: Base, content: dict[str, Any]) -> None:
    """Seal ``content`` into the sealed column of ``row``, whose id must be set."""
    sealed = _SEALED[type(row)]
    setattr(row, sealed.column, seal(key, json.dumps(content).encode(), sealed.context(row)))


def open_json(key: bytes, row: Base) -> dict[str, Any]:
    """Return the content of the sealed column of ``row``, which must not be empty;
    ``DecryptionFailed`` if ``key`` is another one, or the content was altered or moved."""
    sealed = _SEALED[type(row)]
    plain = unseal(key, getattr(row, sealed.column), sealed.context(row))
    content: dict[str, Any] = json.loads(plain)
    return content


def opened_rows(rows: Iterable[Any], opened: Callable[[Any], T]) -> Iterator[tuple[Any, T]]:
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
