"""Blobs that no row names, as interrupted uploads and deletions leave them behind, and blobs that
rows name and that are missing or damaged."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta

from sqlalchemy import select, true, union
from sqlalchemy.orm import Session

from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.db import (
    Capture,
    Case,
    Database,
    Edition,
    Job,
    Look,
    Media,
    NoticeEvent,
    Occurrence,
    UploadPart,
)
from deepfake_service.platform.enums import UNFINISHED
from deepfake_service.platform.errors import DecryptionFailed
from deepfake_service.platform.storage import BlobMissing, Vault, context_of
from deepfake_service.platform.storage.envelope import unseal
from deepfake_service.platform.storage.vault import LONGEST_UPLOAD

COMMITTED_WITHIN = timedelta(hours=1)
"""How long after the end of an upload its row is there."""
_PIECE = 1024 * 1024
BLOBS_PER_QUERY = 500
"""Blobs that are in memory at a time, and whose rows are looked up by one query."""


def delete_orphans(database: Database, vault: Vault) -> None:
    """Delete the blobs that no row names and that are old enough. This lists the whole store, so
    that it should not run every minute."""
    before = database.clock() - LONGEST_UPLOAD - COMMITTED_WITHIN
    for prefix, find_orphans in (
        ("media/", _media_and_uploads),
        ("uploads/", _media_and_uploads),
        ("work/", _work),
        ("cases/", _case_files),
    ):
        listed = vault.blobs.older_than(prefix, before)
        while old := list(itertools.islice(listed, BLOBS_PER_QUERY)):
            with database.read() as session:
                orphans = find_orphans(session, old)
            vault.blobs.delete(*orphans)
    vault.blobs.delete_unfinished(before)


def damaged_blobs(database: Database, vault: Vault) -> Iterator[str]:
    """Yield the names of blobs that are missing or do not decrypt, or whose keys do not. Decrypting
    checks the authentication tag of every chunk; plaintext is discarded."""
    with database.read() as session:  # by columns, so that no altered row is refused
        wrapped = session.execute(select(Case.id, Case.wrapped_key)).all()
        rows = session.execute(select(Media.blob, Media.case_id, Media.id, Media.wrapped_key)).all()
        signed = session.scalars(union(select(Edition.blob), select(Capture.blob))).all()
    # What has no key, or no blob, expired or is being shredded.
    cases = {case_id: _case_key(vault, case_id, key) for case_id, key in wrapped if key}
    media = {row.blob: row for row in rows if row.blob and row.wrapped_key}
    files = vault.blobs.older_than("cases/", utc_now() + timedelta(days=1))
    for name in sorted({*media, *files, *filter(None, signed)}):
        row = media.get(name)
        case_key = cases.get(row.case_id if row else name.split("/")[1])
        if case_key is None:
            continue
        try:
            if row is None:
                vault.read(name, case_key)
                continue
            key = unseal(case_key, row.wrapped_key, context_of("media-key", row.id))
            with vault.open(name, key) as file:
                while file.read(_PIECE):
                    pass
        except DecryptionFailed:
            yield name
        except BlobMissing:
            if _is_named(database, name):  # or it was deleted meanwhile
                yield name


def _is_named(database: Database, blob: str) -> bool:
    columns = (Media.blob, Edition.blob, Capture.blob)
    with database.read() as session:
        return any(session.scalar(select(c).where(c == blob).limit(1)) for c in columns)


def _case_key(vault: Vault, case_id: str, wrapped: bytes) -> bytes:
    """Return the key of a case, or an empty one, which decrypts nothing, if it does not unwrap."""
    with suppress(DecryptionFailed):
        return vault.case_key(Case(id=case_id, wrapped_key=wrapped))
    return b""


def _case_files(session: Session, names: Sequence[str]) -> list[str]:
    """Return those of a case's blobs that no row names, by the kind and id in their names; bundles
    of captures, which each attempt names anew, by their rows. Nothing of a case under a legal hold
    is returned."""
    case_ids = {name: name.split("/")[1] for name in names}
    of_names = Case.id.in_(set(case_ids.values()))
    held = set(session.scalars(select(Case.id).where(of_names, Case.held_at.is_not(None))))
    ids_of: dict[str, list[str]] = {}
    for name in names:
        kind, _, row_id = name.rpartition("/")[2].partition("-")
        ids_of.setdefault(kind, []).append(row_id)
    kinds = (
        ("edition", Edition.id, Edition.blob.is_not(None)),
        ("look", Look.id, true()),
        ("material", Job.id, Job.evidence_expired_at.is_(None)),
        ("notice", NoticeEvent.id, true()),
        ("screenshot", Occurrence.id, Occurrence.screenshot_expired_at.is_(None)),
    )
    of_captures = select(Capture.blob).where(Capture.case_id.in_(set(case_ids.values())))
    signed = set(session.scalars(of_captures))
    in_use = {
        f"{kind}-{row_id}"
        for kind, column, is_kept in kinds
        for row_id in session.scalars(
            select(column).where(column.in_(ids_of.get(kind, ())), is_kept)
        )
    }
    return [
        name
        for name in names
        if name.rpartition("/")[2] not in in_use
        and name not in signed
        and case_ids[name] not in held
    ]


def _media_and_uploads(session: Session, names: Sequence[str]) -> list[str]:
    """Return those media and parts of uploads that no row names."""
    ids = [n.partition("/")[2] for n in names]
    media = session.scalars(select(Media.blob).where(Media.id.in_(ids)))
    parts = session.scalars(select(UploadPart.blob).where(UploadPart.blob.in_(names)))
    in_use = {*media, *parts}
    return [n for n in names if n not in in_use]


def _work(session: Session, names: Sequence[str]) -> list[str]:
    """Return the intermediate results of jobs that have ended or were deleted. A step that was
    still writing when its job was deleted leaves some."""
    job_ids = {name: name.split("/")[1] for name in names}
    of_names = Job.id.in_(set(job_ids.values()))
    unfinished = set(session.scalars(select(Job.id).where(of_names, Job.state.in_(UNFINISHED))))
    return [n for n in names if job_ids[n] not in unfinished]
