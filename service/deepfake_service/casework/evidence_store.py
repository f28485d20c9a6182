"""Editions of a job's evidence: made, kept sealed, read. Each is a new one; none is changed."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deepfake_service.casework.core.cases import folder_of
from deepfake_service.casework.core.queries import row_of, stated
from deepfake_service.casework.core.read_audit import ReadAudit
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
from deepfake_service.evidence.builder import TIMELINE, Dossier, build, report_of
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
from deepfake_service.storage import BlobMissing, Vault, context_of
from deepfake_service.storage.envelope import unseal

AT_ONCE = 500
NOT_IN_CUSTODY = (Action.MATCH_FOUND, Action.CASE_READ, Action.RESULT_READ)
"""What a chain of custody leaves out: that the item looks like another account's case is not for
everybody who gets the evidence, and looking at pages changes nothing. The audit log has it all."""
ATTEMPTS = 3
"""To number an edition, while others are being made of the same job."""

_log = logger("deepfake_service.evidence")


@dataclass(frozen=True, slots=True)
class StoredEdition:
    """An edition as it is handed out."""

    number: int
    content: bytes

    def member(self, name: str) -> bytes:
        """Return the file ``name`` of the bundle."""
        return bag.member(self.content, name)

    def __repr__(self) -> str:
        return f"StoredEdition(number={self.number})"


class EvidenceStore:
    """Makes and reads the evidence of jobs."""

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

    def keep(self, job: Job, key: bytes, material: Material) -> None:
        """Keep what was gathered for a job's evidence, sealed under its case's key."""
        self._vault.keep(material_of(job), key, material.pack())

    def first(self, job_id: str) -> None:
        """Make the first edition of a job that is about to be over, unless there is one."""
        with self._database.read() as session:
            known = session.scalars(select(Edition.id).where(Edition.job_id == job_id)).first()
        if known is None:
            self.make(job_id, SERVICE)

    def make(self, job_id: str, actor: Actor) -> int:
        """Make the next edition of a job's evidence from what is on record; its number.

        Raises:
            NotFound: there is no such job. EvidenceMissing: nothing was gathered for it.
                EvidenceBusy: others number editions of it faster.
        """
        for _ in range(ATTEMPTS):
            dossier, material, edition, key = self._dossier(job_id)
            content = build(dossier, material, self.keys.current(), stamp=self._stamp or None)
            assert edition.blob is not None
            self._vault.keep(edition.blob, key, content)
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
                # Another process made this number, or the job is gone.
                self._vault.blobs.delete(edition.blob)
                _log.warning("edition_again", job_id=job_id, failure=describe(error))
        # Not that there is none: what is missing is given up, and its material deleted.
        raise EvidenceBusy

    def _dossier(self, job_id: str) -> tuple[Dossier, Material, Edition, bytes]:
        with self._database.read() as session:
            job = session.get(Job, job_id)
            if job is None:
                raise NotFound
            case, media = session.get_one(Case, job.case_id), session.get_one(Media, job.media_id)
            key = self._vault.case_key(case.id, case.wrapped_key)
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
            assert case.sealed is not None
            about = json.loads(unseal(key, case.sealed, context_of("case", case.id)))
            dossier = Dossier(
                issuer=self._issuer,
                edition=edition.number,
                predecessor=last.sha256 if last else None,
                created_at=str(stated(edition.created_at)),
                case={
                    "id": case.id,
                    "reference": about["reference"],
                    "minor": case.minor_at is not None,
                },
                job={
                    "id": job.id,
                    "kind": job.kind,
                    "frames": job.frames,
                    "submitted_at": stated(job.created_at),
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
            return Material.unpack(self._vault.kept(material_of(job), key))
        except BlobMissing as error:
            raise EvidenceMissing from error

    def bundle(
        self, caller: Caller, job_id: str, number: int | None = None, *, shown: bool = False
    ) -> StoredEdition:
        """An edition, by default the newest, made where there is none yet. Audited; where it is
        only ``shown`` on a page, once in ten minutes.

        Raises:
            NotFound: there is no such job or edition that the caller may see. EvidenceMissing: the
            job is not over, or its evidence was deleted. ImageryWithheld: faces are shown in it,
            and somebody may be a minor.
        """
        with self._database.read() as session:
            job, _, case = row_of(session, caller, job_id)
            editions = select(Edition).where(Edition.job_id == job_id)
            wanted = editions.order_by(Edition.number.desc())
            if number is not None:
                wanted = editions.where(Edition.number == number)
            edition = session.scalars(wanted.limit(1)).first()
        if job.state != JobState.SUCCEEDED:
            raise EvidenceMissing("The job has not succeeded (yet): there is no evidence of it.")
        if edition is None:
            if number is not None and number != 1:
                raise NotFound
            return self.bundle(caller, job_id, self.make(job_id, SERVICE), shown=shown)
        if edition.blob is None:
            raise EvidenceMissing("This evidence was deleted after its time was over.")
        if edition.imagery and case.minor_at is not None:
            raise ImageryWithheld
        key = self._vault.case_key(case.id, case.wrapped_key)
        content = self._vault.kept(edition.blob, key)
        if not shown or self._read_audit.is_first_read(caller, f"shown/{job_id}"):
            with self._database.write() as session:
                append_entry(
                    session, caller.actor, Action.EVIDENCE_READ, job_id, str(edition.number)
                )
        return StoredEdition(edition.number, content)

    def report(self, caller: Caller, job_id: str, language: str, number: int | None) -> bytes:
        """The report of an edition as a signed PDF; see ``bundle``."""
        return self.bundle(caller, job_id, number).member(report_of(language))

    def timeline(self, caller: Caller, job_id: str) -> bytes:
        """The timeline of the newest edition, an SVG; see ``bundle``."""
        return self.bundle(caller, job_id).member(TIMELINE)

    def picture(self, caller: Caller, job_id: str, kind: str, number: int) -> bytes:
        """A face (``crops``) or what counted in it (``heatmaps``) as PNG; see ``bundle``.

        Raises:
            NotFound: also where there is no such picture.
        """
        with self._database.read() as session:
            job, _, case = row_of(session, caller, job_id)
        if case.minor_at is not None:
            raise ImageryWithheld
        if job.state != JobState.SUCCEEDED:
            raise EvidenceMissing("The job has not succeeded (yet): there is no evidence of it.")
        key = self._vault.case_key(case.id, case.wrapped_key)
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
        """What editions there are, the newest first."""
        with self._database.read() as session:
            _, _, case = row_of(session, caller, job_id)
            found = session.scalars(
                select(Edition).where(Edition.job_id == job_id).order_by(Edition.number.desc())
            ).all()
        return [
            {
                "edition": e.number,
                "sha256": e.sha256,
                "created_at": stated(e.created_at),
                "kept": e.blob is not None,
                "withheld": e.imagery and case.minor_at is not None,
            }
            for e in found
        ]

    def newest_of(self, sha256: str) -> tuple[int, int] | None:
        """Of a bundle of ours: its number, and that of its job's newest edition."""
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
    """The blob of what was gathered for a job's evidence."""
    return f"{folder_of(job.case_id)}material-{job.id}"


def material_member(vault: Vault, job: Job, key: bytes, name: str) -> bytes:
    """Return one file of what was gathered for a job's evidence.

    Raises:
        BlobMissing: nothing was gathered, or it was deleted. KeyError: it has no such file.
    """
    return bag.member(vault.kept(material_of(job), key), name)


def examination_of(vault: Vault, job: Job, key: bytes) -> dict[str, Any]:
    """Return the record of the examination that was gathered for a job's evidence.

    Raises:
        BlobMissing: nothing was gathered, or it was deleted.
    """
    content: dict[str, Any] = json.loads(material_member(vault, job, key, EXAMINATION))
    return content


def _occurrences(session: Session, media: Media, key: bytes) -> list[dict[str, Any]]:
    seen = session.scalars(
        select(Occurrence).where(Occurrence.media_id == media.id).order_by(Occurrence.created_at)
    )
    found = [
        {
            "id": o.id,
            "recorded_at": stated(o.created_at),
            **json.loads(unseal(key, o.sealed, context_of("occurrence", o.id))),
        }
        for o in seen
    ]
    for o in found:
        account = session.get(Account, o["collector"])
        o["collector_name"] = account.name if account else None
    return found


def _requester(session: Session, job: Job) -> str:
    """Who asked for the examination: the account's name, kind and role."""
    account = session.get_one(Account, job.account_id)
    return f"{account.name} ({account.kind}, {account.role})"


def _reviews(session: Session, job: Job, key: bytes) -> list[dict[str, Any]]:
    found = session.execute(
        select(Review, Account)
        .join(Account, Review.account_id == Account.id)
        .where(Review.job_id == job.id)
        .order_by(Review.created_at)
    )
    return [
        {
            "at": stated(review.created_at),
            "account": account.id,
            "name": account.name,
            "role": account.role,
            "decision": review.decision,
            **json.loads(unseal(key, review.sealed, context_of("review", review.id))),
        }
        for review, account in found
    ]


def _custody(session: Session, job: Job, media: Media, case: Case) -> dict[str, Any]:
    """The entries of the audit log about a job, its medium and its case, each with the hash of the
    one before it in the log, so that an entry's own hash can be computed again."""
    entries = session.scalars(
        select(AuditEntry)
        .where(
            AuditEntry.subject.in_([job.id, media.id, case.id]),
            AuditEntry.action.not_in([str(a) for a in NOT_IN_CUSTODY]),
        )
        .order_by(AuditEntry.number)
    ).all()
    before: dict[int, str] = {}
    for start in range(0, len(entries), AT_ONCE):
        numbers = [e.number - 1 for e in entries[start : start + AT_ONCE]]
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
