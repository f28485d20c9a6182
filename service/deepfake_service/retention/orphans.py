"""Blobs that no row names: interrupted uploads and deletions leave them behind."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, true
from sqlalchemy.orm import Session

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
from deepfake_service.platform.db.enums import UNFINISHED
from deepfake_service.platform.storage import Vault

LONGEST_UPLOAD = timedelta(hours=1)
"""Within which the upload of a video must complete. Object stores date a blob by its beginning."""
COMMITTED_WITHIN = timedelta(hours=1)
"""How long after the end of an upload its row is there."""
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
            for name in orphans:
                vault.blobs.delete(name)
    vault.blobs.delete_unfinished(before)


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
