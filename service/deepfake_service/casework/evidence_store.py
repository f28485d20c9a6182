"""The editions of a job's evidence: create, store and read them.

An edition is never changed. A review, or a flag that a minor may be shown, leads to a new edition.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deepfake_service.casework.core.cases import folder_of
from deepfake_service.casework.core.queries import iso_time
from deepfake_service.casework.core.read_audit import ReadAudit
from deepfake_service.casework.core.visibility import find_visible
from deepfake_service.db import (
    Account,
    AuditEntry,
    Case,
    Database,
    Edition,
    Job,
    Media,
    Occurrence,
    Review,
    new_id,
)
from deepfake_service.db.enums import JobState
from deepfake_service.errors import EvidenceBusy, EvidenceMissing, ImageryWithheld, NotFound
from deepfake_service.evidence import timestamps
from deepfake_service.evidence import zip_format as bag
from deepfake_service.evidence.artifacts import EXAMINATION, Material
from deepfake_service.evidence.builder import Dossier, build
from deepfake_service.observability.logs import describe, logger
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import (
    SERVICE,
    START,
    Action,
    Actor,
    append_entry,
    entry_json,
)
from deepfake_service.security.signing_keys import SigningKeys
from deepfake_service.storage import BlobMissing, Vault, open_json

CUSTODY_BATCH = 500
NOT_IN_CUSTODY = (Action.MATCH_FOUND, Action.CASE_READ, Action.RESULT_READ)
"""Actions that the chain of custody leaves out. Recipients of the evidence must not learn that the
item resembles another account's case, and viewing pages changes nothing. The audit log has them."""
NUMBERING_ATTEMPTS = 3
"""Attempts to number an edition while other processes create editions of the same job."""

_log = logger("deepfake_service.evidence")


@dataclass(frozen=True, slots=True)
class StoredEdition:
    """An edition of evidence as it is handed out."""

    number: int
    content: bytes

    def member(self, name: str) -> bytes:
        """Return one file of the edition's ZIP."""
        return bag.member(self.content, name)

    def __repr__(self) -> str:
        return f"StoredEdition(number={self.number})"


class EvidenceStore:
    """Creates and reads the evidence of jobs."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        keys: SigningKeys,
        *,
        issuer: str,
        software: str,
        timestamp_url: str | None,
    ) -> None:
        self._database = database
        self._vault = vault
        self.keys = keys
        self._issuer = issuer
        self._software = software
        self._read_audit = ReadAudit(database.clock)
        self._stamp = timestamp_url and functools.partial(timestamps.request, timestamp_url)

    def store_material(self, job: Job, key: bytes, material: Material) -> None:
        """Store what was gathered for a job's evidence, encrypted under its case's key."""
        self._vault.write(material_of(job), key, material.pack())

    def create_first(self, job_id: str) -> None:
        """Create the first edition for a job that is about to end, unless it exists."""
        with self._database.read() as session:
            existing = session.scalars(select(Edition.id).where(Edition.job_id == job_id)).first()
        if existing is None:
            self.create(job_id, SERVICE)

    def create(self, job_id: str, actor: Actor) -> int:
        """Create the next edition of a job's evidence from the records, and return its number.

        Raises:
            NotFound: there is no such job. EvidenceMissing: nothing was gathered for it.
            EvidenceBusy: other processes create editions of the same job at this moment.
        """
        for _ in range(NUMBERING_ATTEMPTS):
            dossier, material, edition, key = self._dossier(job_id)
            content = build(dossier, material, self.keys.current(), stamp=self._stamp or None)
            assert edition.blob is not None
            self._vault.write(edition.blob, key, content)
            edition.sha256 = bag.sha256(content)
            try:
                with self._database.write() as session:
                    session.add(edition)
                    session.flush()
                    number = str(edition.number)
                    append_entry(session, actor, Action.EVIDENCE_MADE, job_id, number)
                _log.info("evidence_made", job_id=job_id, edition=edition.number)
                return edition.number
            except IntegrityError as error:
                # Another process used this number, or the job was deleted.
                self._vault.blobs.delete(edition.blob)
                _log.warning("edition_again", job_id=job_id, failure=describe(error))
        # Not EvidenceMissing: callers take that as final.
        raise EvidenceBusy

    def _dossier(self, job_id: str) -> tuple[Dossier, Material, Edition, bytes]:
        with self._database.read() as session:
            job = session.get(Job, job_id)
            if job is None:
                raise NotFound
            case, media = session.get_one(Case, job.case_id), session.get_one(Media, job.media_id)
            key = self._vault.case_key(case)
            material = self._material(job, key)
            last = session.scalars(
                select(Edition).where(Edition.job_id == job_id).order_by(Edition.number.desc())
            ).first()
            edition_id = new_id()
            edition = Edition(
                id=edition_id,
                job_id=job_id,
                number=last.number + 1 if last else 1,
                blob=f"{folder_of(case.id)}edition-{edition_id}",
                imagery=bool(material.pictures) and case.minor_at is None,
                created_at=self._database.clock(),
            )
            dossier = Dossier(
                issuer=self._issuer,
                edition=edition.number,
                predecessor=last.sha256 if last else None,
                created_at=str(iso_time(edition.created_at)),
                case={
                    "id": case.id,
                    "reference": open_json(key, case)["reference"],
                    "minor": case.minor_at is not None,
                },
                job={
                    "id": job.id,
                    "kind": job.kind,
                    "frames": job.frames,
                    "submitted_at": iso_time(job.created_at),
                    "examined_at": material.examination["examined_at"],
                    "requester": _requester(session, job),
                },
                item={"sha256": media.sha256, "size": media.size},
                occurrences=_occurrences(session, media, key),
                reviews=_reviews(session, job, key),
                finding=job.finding,
                custody=_custody(session, job, media, case),
                software=self._software,
            )
        return dossier, material, edition, key

    def _material(self, job: Job, key: bytes) -> Material:
        try:
            return Material.unpack(self._vault.read(material_of(job), key))
        except BlobMissing as error:
            raise EvidenceMissing from error

    def edition(
        self, caller: Caller, job_id: str, number: int | None = None, *, shown: bool = False
    ) -> StoredEdition:
        """Return an edition, by default the newest. The first one is created if there is none.

        Reading is audited, but only once in ten minutes if the edition is just ``shown`` on a page.

        Raises:
            NotFound: there is no such job or edition, or the caller may not see it.
            EvidenceMissing: the job has not succeeded, or its evidence was deleted.
            ImageryWithheld: it shows faces, and a person shown may be a minor.
        """
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            editions = select(Edition).where(Edition.job_id == job_id)
            if number is None:
                editions = editions.order_by(Edition.number.desc())
            else:
                editions = editions.where(Edition.number == number)
            edition = session.scalars(editions.limit(1)).first()
        _require_success(job)
        if edition is None:
            if number is not None and number != 1:
                raise NotFound
            return self.edition(caller, job_id, self.create(job_id, SERVICE), shown=shown)
        if edition.blob is None:
            raise EvidenceMissing("This evidence was deleted at the end of its retention period.")
        if edition.imagery and case.minor_at is not None:
            raise ImageryWithheld
        key = self._vault.case_key(case)
        content = self._vault.read(edition.blob, key)
        if not shown or self._read_audit.is_first_read(caller, f"shown/{job_id}"):
            with self._database.write() as session:
                append_entry(
                    session, caller.actor, Action.EVIDENCE_READ, job_id, str(edition.number)
                )
        return StoredEdition(edition.number, content)

    def member(self, caller: Caller, job_id: str, name: str, number: int | None = None) -> bytes:
        """Return one file of an edition. See ``edition`` for the errors."""
        return self.edition(caller, job_id, number).member(name)

    def picture(self, caller: Caller, job_id: str, kind: str, number: int) -> bytes:
        """Return a face (``crops``) or its activation map (``heatmaps``) as PNG.

        Raises:
            NotFound: there is no such job or picture, or the caller may not see it.
            EvidenceMissing: the job has not succeeded, or its evidence was deleted.
            ImageryWithheld: a person shown may be a minor.
        """
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
        if case.minor_at is not None:
            raise ImageryWithheld
        _require_success(job)
        key = self._vault.case_key(case)
        try:
            picture = material_member(self._vault, job, key, f"{kind}/{number:03}.png")
        except BlobMissing as error:
            raise EvidenceMissing from error
        except KeyError as error:
            raise NotFound from error
        if self._read_audit.is_first_read(caller, f"pictures/{job_id}"):
            with self._database.write() as session:
                append_entry(session, caller.actor, Action.EVIDENCE_READ, job_id, "pictures")
        return picture

    def editions(self, caller: Caller, job_id: str) -> list[dict[str, Any]]:
        """List the editions of a job, newest first."""
        with self._database.read() as session:
            _, case = find_visible(session, caller, Job, job_id)
            editions = session.scalars(
                select(Edition).where(Edition.job_id == job_id).order_by(Edition.number.desc())
            ).all()
        return [
            {
                "edition": e.number,
                "sha256": e.sha256,
                "created_at": iso_time(e.created_at),
                "kept": e.blob is not None,
                "withheld": e.imagery and case.minor_at is not None,
            }
            for e in editions
        ]

    def newest_of(self, sha256: str) -> tuple[int, int] | None:
        """Return the number of the edition with this SHA-256, and that of its job's newest one.

        ``None`` if this installation has no such edition.
        """
        with self._database.read() as session:
            edition = session.scalars(select(Edition).where(Edition.sha256 == sha256)).first()
            if edition is None:
                return None
            newest = session.scalars(
                select(Edition.number)
                .where(Edition.job_id == edition.job_id)
                .order_by(Edition.number.desc())
            ).first()
        return edition.number, newest or edition.number


def material_of(job: Job) -> str:
    """Return the name of the blob of what was gathered for a job's evidence."""
    return f"{folder_of(job.case_id)}material-{job.id}"


def material_member(vault: Vault, job: Job, key: bytes, name: str) -> bytes:
    """Return one file of what was gathered for a job's evidence.

    Raises:
        BlobMissing: nothing was gathered, or it was deleted. KeyError: it has no such file.
    """
    return bag.member(vault.read(material_of(job), key), name)


def examination_of(vault: Vault, job: Job, key: bytes) -> dict[str, Any]:
    """Return the record of the examination that was gathered for a job's evidence.

    Raises:
        BlobMissing: nothing was gathered, or it was deleted.
    """
    content: dict[str, Any] = json.loads(material_member(vault, job, key, EXAMINATION))
    return content


def _require_success(job: Job) -> None:
    if job.state != JobState.SUCCEEDED:
        raise EvidenceMissing("There is no evidence, because this examination was not completed.")


def _occurrences(session: Session, media: Media, key: bytes) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(Occurrence).where(Occurrence.media_id == media.id).order_by(Occurrence.created_at)
    )
    occurrences = [
        {"id": o.id, "recorded_at": iso_time(o.created_at), **open_json(key, o)} for o in rows
    ]
    for occurrence in occurrences:
        account = session.get(Account, occurrence["collector"])
        occurrence["collector_name"] = account.name if account else None
    return occurrences


def _requester(session: Session, job: Job) -> str:
    """Return the name, kind and role of the account that asked for the examination."""
    account = session.get_one(Account, job.account_id)
    return f"{account.name} ({account.kind}, {account.role})"


def _reviews(session: Session, job: Job, key: bytes) -> list[dict[str, Any]]:
    rows = session.execute(
        select(Review, Account)
        .join(Account, Review.account_id == Account.id)
        .where(Review.job_id == job.id)
        .order_by(Review.created_at)
    )
    return [
        {
            "at": iso_time(review.created_at),
            "account": account.id,
            "name": account.name,
            "role": account.role,
            "decision": review.decision,
            **open_json(key, review),
        }
        for review, account in rows
    ]


def _custody(session: Session, job: Job, media: Media, case: Case) -> dict[str, Any]:
    """Return the entries of the audit log about a job, its medium and its case.

    Each has the hash of the entry before it in the log, so that its own hash can be recomputed.
    """
    entries = session.scalars(
        select(AuditEntry)
        .where(
            AuditEntry.subject.in_([job.id, media.id, case.id]),
            AuditEntry.action.not_in([str(a) for a in NOT_IN_CUSTODY]),
        )
        .order_by(AuditEntry.number)
    ).all()
    before: dict[int, str] = {}
    for start in range(0, len(entries), CUSTODY_BATCH):
        numbers = [e.number - 1 for e in entries[start : start + CUSTODY_BATCH]]
        previous = select(AuditEntry).where(AuditEntry.number.in_(numbers))
        before |= {e.number: e.hash for e in session.scalars(previous)}
    ids = {e.account_id for e in entries if e.account_id}
    accounts = session.scalars(select(Account).where(Account.id.in_(ids)))
    return {
        "accounts": {a.id: {"name": a.name, "kind": a.kind, "role": a.role} for a in accounts},
        "entries": [
            {**entry_json(e), "hash": e.hash, "previous": before.get(e.number - 1, START)}
            for e in entries
        ],
    }
