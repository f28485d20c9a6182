"""Rows of a list that cannot be decrypted, which must not keep the others from being listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from deepfake_service.platform.errors import DecryptionFailed
from deepfake_service.platform.logs import describe, logger

T = TypeVar("T")

_log = logger("deepfake_service.records")


def opened_rows(rows: Iterable[Any], opened: Callable[[Any], T]) -> Iterator[tuple[Any, T]]:
    """Yield each row with what ``opened`` returns of it.

    A row for which that does not decrypt, because the key of its case or a sealed column was
    altered, is logged and left out.
    """
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
