"""Rows that are read a batch at a time, because a table may have more than fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from sqlalchemy import ColumnElement, select

from deepfake_service.db import Database, FlaggedHashes, KnownHashes

OfBatch = TypeVar("OfBatch", KnownHashes, FlaggedHashes)
BATCH_ROWS = 100
"""Lists of hashes in memory at a time. Each has up to 1,800 PDQ hashes, sealed in some 400 kB."""


def in_batches(
    database: Database, model: type[OfBatch], *conditions: ColumnElement[bool]
) -> Iterator[OfBatch]:
    """Yield the rows that meet ``conditions`` by their ids.

    No transaction is open while a row is used.
    """
    last = ""
    while True:
        batch = select(model).where(model.id > last, *conditions).order_by(model.id)
        with database.read() as session:
            rows = session.scalars(batch.limit(BATCH_ROWS)).all()
        if not rows:
            return
        last = rows[-1].id
        yield from rows
