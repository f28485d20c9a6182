"""Resumable uploads of large files, which become submissions once they are complete.

A file arrives in parts, each of which is stored encrypted as soon as it is complete, so that a
broken connection or a killed process costs at most one part. The key is in the address of the
upload and nowhere else: neither the database nor the disk has what would decrypt the parts of an
upload, whether it was completed, deleted or abandoned. Neither a name nor a case is stored with it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio.to_thread
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.platform.chores import for_each
from deepfake_service.platform.db import Database, Upload, UploadPart, new_id
from deepfake_service.platform.db.columns import ID_CHARS
from deepfake_service.platform.errors import (
    ClientGone,
    Code,
    Conflict,
    Gone,
    NotFound,
    RequestTooLarge,
    TooManyRequests,
    UploadTimeout,
)
from deepfake_service.platform.storage import Vault
from deepfake_service.platform.storage.blobs import missing_as
from deepfake_service.platform.storage.envelope import CHUNK_BYTES, KEY_BYTES

PART_BYTES = 4 * 1024 * 1024
"""What is held in memory of an upload, and the most that a break costs."""
MAX_PARTS = 10_000
"""Of one upload: each has a row and a file, and a client could send one byte at a time."""
OPEN_PER_ACCOUNT = 100
"""Uploads of an account that are neither complete nor expired."""
KEPT_FOR = timedelta(days=1)
"""From the creation of an upload until its parts are deleted."""
REMEMBERED_FOR = timedelta(days=7)
"""How long it is then still known that there was an upload, or which job it became."""


@dataclass(frozen=True, slots=True, repr=False)
class Progress:
    """How far an upload is. ``job_id`` is that of the job that it became."""

    id: str
    key: bytes
    length: int
    offset: int
    expires_at: datetime
    parts: tuple[str, ...]
    """The names of its blobs, in order."""
    job_id: str | None


class Uploads:
    """Receives uploads part by part. An account sees its own only."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._completing: set[str] = set()

    def create(self, caller: Caller, length: int) -> tuple[str, Progress]:
        """Begin an upload of ``length`` bytes; return its token, from which its key is derived.
        ``TooManyRequests`` if the account has too many that are not complete."""
        key = secrets.token_bytes(KEY_BYTES)
        with self._database.write() as session:
            self._database.one_at_a_time(session, caller.account_id)
            now = self._database.clock()
            open_ones = select(func.count()).where(
                Upload.account_id == caller.account_id,
                Upload.job_id.is_(None),
                Upload.expires_at > now,
            )
            if (session.scalar(open_ones) or 0) >= OPEN_PER_ACCOUNT:
                raise TooManyRequests(
                    f"{OPEN_PER_ACCOUNT} uploads of this account were begun and not submitted. "
                    "Submit or delete one first.",
                    code=Code.TOO_MANY_AT_ONCE,
                )
            upload = Upload(
                id=_id_of(key),
                account_id=caller.account_id,
                length=length,
                created_at=now,
                expires_at=now + KEPT_FOR,
            )
            session.add(upload)
            append_entry(session, caller.actor, Action.UPLOAD_CREATED, upload.id)
        token = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
        return token, Progress(upload.id, key, length, 0, upload.expires_at, (), None)

    def find(self, caller: Caller, token: str) -> Progress:
        """Return how far an upload is; ``NotFound`` if the account has no such upload,
        ``Gone`` if its parts were deleted."""
        try:
            key = base64.b64decode(token + "=", altchars=b"-_", validate=True)
        except ValueError:
            raise NotFound from None
        with self._database.read() as session:
            upload = session.get(Upload, _id_of(key))
            if upload is None or upload.account_id != caller.account_id:
                raise NotFound
            parts = session.execute(
                select(UploadPart.start, UploadPart.size, UploadPart.blob)
                .where(UploadPart.upload_id == upload.id)
                .order_by(UploadPart.start)
            ).all()
        if upload.job_id is None and upload.expires_at <= self._database.clock():
            raise Gone(code=Code.UPLOAD_EXPIRED)
        offset = parts[-1].start + parts[-1].size if parts else 0
        return Progress(
            upload.id,
            key,
            upload.length,
            upload.length if upload.job_id else offset,
            upload.expires_at,
            tuple(part.blob for part in parts),
            upload.job_id,
        )

    async def append(self, upload: Progress, chunks: AsyncIterator[bytes]) -> int:
        """Store what follows, up to the length of the upload, and return the new offset.

        What arrived before ``chunks`` raised ``ClientGone`` or ``UploadTimeout`` is kept.
        ``Conflict`` if another request has stored what follows, or the upload was deleted;
        ``RequestTooLarge`` if it has too many parts.
        """
        offset, count, pending = upload.offset, len(upload.parts), bytearray()

        async def keep(size: int) -> None:
            nonlocal offset, count
            if count >= MAX_PARTS:
                raise RequestTooLarge(
                    f"An upload may have at most {MAX_PARTS} parts. Send more in each request."
                )
            part = bytes(memoryview(pending)[:size])
            await anyio.to_thread.run_sync(self._keep, upload, offset, part)
            del pending[:size]
            offset, count = offset + size, count + 1

        try:
            async for chunk in chunks:
                pending += chunk
                while len(pending) >= PART_BYTES:
                    await keep(PART_BYTES)
        except (ClientGone, UploadTimeout):
            if pending:
                await keep(len(pending))
            raise
        if pending:
            await keep(len(pending))
        return offset

    def _keep(self, upload: Progress, start: int, part: bytes) -> None:
        blob = f"uploads/{upload.id}/{new_id()}"
        self._vault.write(blob, upload.key, part)
        row = UploadPart(upload_id=upload.id, start=start, size=len(part), blob=blob)
        try:
            # Where a part begins is unique, so that of two requests that go on from the same
            # offset one fails, whatever process it runs in.
            with self._database.write() as session:
                session.add(row)
        except IntegrityError as error:
            self._vault.blobs.delete(blob)
            raise Conflict(code=Code.UPLOAD_CONFLICT) from error

    async def content(self, upload: Progress) -> AsyncIterator[bytes]:
        """Yield the bytes of a complete upload; ``Conflict`` if bytes are missing,
        ``Gone`` if it was deleted meanwhile."""
        if upload.offset < upload.length:
            raise Conflict(
                f"{upload.offset} of {upload.length} bytes have arrived. Send the others first.",
                code=Code.UPLOAD_CONFLICT,
            )
        for blob in upload.parts:
            with missing_as(Gone(code=Code.UPLOAD_EXPIRED), upload_id=upload.id):
                part = await anyio.to_thread.run_sync(self._vault.read, blob, upload.key)
            # Small pieces, so that the event loop answers other requests between them.
            for at in range(0, len(part), CHUNK_BYTES):
                yield part[at : at + CHUNK_BYTES]

    @contextlib.contextmanager
    def completing(self, upload: Progress) -> Iterator[None]:
        """Let no other request of this process read the whole upload while the context lasts. A
        client that lost patience would otherwise make it slower. ``TooManyRequests`` if another
        request is reading it."""
        if upload.id in self._completing:
            raise TooManyRequests(
                "This upload is being submitted. Try again when that has ended.",
                code=Code.TOO_MANY_AT_ONCE,
            )
        self._completing.add(upload.id)
        try:
            yield
        finally:
            self._completing.discard(upload.id)

    def complete(self, upload: Progress, job_id: str) -> None:
        """Remember the job that an upload became, and delete its parts."""
        with self._database.write() as session:
            row = update(Upload).where(Upload.id == upload.id)
            session.execute(row.values(job_id=job_id))
        self._delete_parts(upload.id)

    def delete(self, caller: Caller, upload: Progress) -> None:
        """Delete an upload."""
        self._delete_parts(upload.id, caller.actor)
        with self._database.write() as session:
            session.execute(delete(Upload).where(Upload.id == upload.id))

    def forget_expired(self) -> None:
        """Delete the parts of expired uploads, and later what is known of them."""
        now = self._database.clock()
        with self._database.read() as session:
            expired = session.scalars(
                select(Upload.id).where(
                    Upload.expires_at <= now, Upload.id.in_(select(UploadPart.upload_id))
                )
            ).all()
        for_each(expired, lambda upload_id: self._delete_parts(upload_id, SERVICE))
        with self._database.write() as session:
            session.execute(delete(Upload).where(Upload.expires_at <= now - REMEMBERED_FOR))

    def _delete_parts(self, upload_id: str, actor: Actor | None = None) -> None:
        """Delete what is stored of an upload, and record who did it unless it became a job. If it
        is interrupted, the sweep of orphans goes on."""
        with self._database.write() as session:
            parts = UploadPart.upload_id == upload_id
            blobs = session.scalars(select(UploadPart.blob).where(parts)).all()
            session.execute(delete(UploadPart).where(parts))
            if actor is not None:
                append_entry(session, actor, Action.UPLOAD_DELETED, upload_id)
        for blob in blobs:
            self._vault.blobs.delete(blob)


def _id_of(key: bytes) -> str:
    """Return the id of an upload, which says nothing about its key."""
    return hashlib.sha256(key).hexdigest()[:ID_CHARS]
