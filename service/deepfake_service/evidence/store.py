"""The editions of a job's evidence: issue and read them.

An edition is never changed. A review, or a flag that a minor may be shown, leads to a new edition.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deepfake_models.errors import MediaError
from deepfake_models.sandbox.decoder import Decoder
from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.organisation import Sender
from deepfake_service.accounts.read_audit import ReadAudit
from deepfake_service.accounts.visibility import find_visible
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.cases.case_lock import lock_case
from deepfake_service.cases.cases import folder_of, material_of, media_key, open_post
from deepfake_service.evidence import chain_of_custody as custody
from deepfake_service.evidence import editions
from deepfake_service.evidence.bundle import zip_format
from deepfake_service.evidence.bundle.artifacts import (
    EXAMINATION,
    Material,
    cut_places,
    marked_places,
    png,
)
from deepfake_service.evidence.bundle.builder import build, report_copy, report_of
from deepfake_service.evidence.bundle.capture_format import build_capture
from deepfake_service.evidence.bundle.documents import (
    Examination,
    Medium,
    Records,
    StatedCase,
    StatedJob,
    StatedPost,
    read,
)
from deepfake_service.evidence.report.report import ORIGINAL, ReportCopy
from deepfake_service.evidence.revocations import is_withdrawn, supersede
from deepfake_service.evidence.signing_keys import SigningKeys
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import (
    Account,
    Case,
    Database,
    Edition,
    Job,
    Media,
    Occurrence,
    new_id,
)
from deepfake_service.platform.enums import UNFINISHED, JobState
from deepfake_service.platform.errors import (
    Code,
    Conflict,
    EvidenceMissing,
    Forbidden,
    NotFound,
    Overloaded,
)
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.storage import BlobMissing, Vault, open_json
from deepfake_service.platform.storage.blobs import missing_as

ISSUE_ATTEMPTS = 3
"""Attempts to add an edition while others create editions of the same job, or decide on it."""

_log = logger("deepfake_service.evidence")


@dataclass(frozen=True, slots=True)
class _Sources:
    """What a new edition of a job's evidence is built from."""

    records: Records
    material: Material
    media: Media
    edition: Edition
    """The row to add."""
    key: bytes
    """Of the case."""


@dataclass
class EvidenceStore:
    """Issues and reads the evidence of jobs.

    Raises from each method that has a caller:
        NotFound: there is no such job, edition or picture, or the caller may not see it.
        EvidenceMissing: the job has not succeeded, nothing was gathered for it, or its evidence
            was deleted.
        Forbidden: it shows faces, and a person shown may be a minor.
        RecordAltered: the records differ from the audit log.
        Overloaded: see ``issue``.
    """

    _database: Database
    _vault: Vault
    keys: SigningKeys
    _sender: Sender
    decoder: Decoder

    def __post_init__(self) -> None:
        self._read_audit = ReadAudit(self._database)

    def sign_capture(self, document: Mapping[str, JsonValue], records: bytes) -> bytes:
        """Return the signed bundle of a capture: see ``build_capture``."""
        issued: dict[str, JsonValue] = {"issuer": self._sender.issuer, **document}
        return build_capture(issued, records, self.keys.current())

    def issue(self, job_id: str, actor: Actor, *, only_first: bool = False) -> None:
        """Issue the next edition of a job's evidence from the records; the first one alone with
        ``only_first``, since several may get here at once.

        Raises:
            NotFound: there is no such job. EvidenceMissing: nothing was gathered for it, or
                (``EVIDENCE_TOO_LARGE``) a verifier could not read the edition.
            Overloaded: others issue editions of the same job, or decide on it, at this moment.
            RecordAltered: the records differ from the audit log.
        """
        for _ in range(ISSUE_ATTEMPTS):
            sources = self._sources(job_id)
            records, edition = sources.records, sources.edition
            if only_first and edition.number > 1:
                return
            material = self._with_places(sources)
            edition.imagery = bool(material.pictures) and not records.case.minor
            content = build(records, material, self.keys.current())
            assert edition.blob is not None
            self._vault.write(edition.blob, sources.key, content)
            edition.sha256 = zip_format.sha256(content)
            try:
                with self._database.write() as session:
                    _require_current(session, records, edition)
                    session.add(edition)
                    supersede(session, records.predecessor)
                    session.flush()
                    number = str(edition.number)
                    append_entry(session, actor, Action.EVIDENCE_MADE, job_id, number)
                _log.info("evidence_made", job_id=job_id, edition=edition.number)
                return
            except (NotFound, EvidenceMissing, IntegrityError, Conflict) as error:
                self._vault.blobs.delete(edition.blob)
                if isinstance(error, NotFound | EvidenceMissing):
                    raise
                # Another process used this number, or the job was decided on.
                _log.warning("edition_again", job_id=job_id, failure=describe(error))
        # Not EvidenceMissing: callers take that as final.
        raise Overloaded(code=Code.EVIDENCE_BUSY)

    def issue_if_due(self, caller: Caller, job_id: str, number: int | None = None) -> None:
        """Issue an edition if there is none, or if the newest lacks the last decision or flag.
        Where an edition is wanted by its ``number``, only the first one is issued."""
        with self._database.read() as session:
            job, _ = find_visible(session, caller, Job, job_id)
            newest = editions.newest_edition(session, job_id)
            outdated = editions.is_outdated(session, job_id) and job.evidence_expired_at is None
        _require_success(job)
        if (number or 1) > 1 or (newest is not None and (number or not outdated)):
            return
        try:
            self.issue(job_id, SERVICE, only_first=newest is None)
        except EvidenceMissing as error:
            if newest is None:
                raise
            raise EvidenceMissing(
                "The newest edition does not contain the last decision, and no other can be "
                "created. Request an edition by its number.",
                code=error.code,
            ) from error

    def _sources(self, job_id: str) -> _Sources:
        organisation = self._sender.organisation().known()
        with self._database.read() as session:
            job = session.get(Job, job_id)
            if job is None:
                raise NotFound
            custody.require_recorded(session, job)
            case, media = session.get_one(Case, job.case_id), session.get_one(Media, job.media_id)
            key = self._vault.case_key(case)
            try:
                material = Material.unpack(self._vault.read(material_of(job), key))
            except BlobMissing as error:
                raise EvidenceMissing from error
            last = editions.newest_edition(session, job_id)
            edition_id = new_id()
            edition = Edition(
                id=edition_id,
                job_id=job_id,
                number=last.number + 1 if last else 1,
                blob=f"{folder_of(case.id)}edition-{edition_id}",
                imagery=False,
                decided=editions.last_decision(session, job_id),
                created_at=self._database.clock(),
            )
            records = Records(
                issuer=self._sender.issuer,
                organisation=organisation or None,
                edition=edition.number,
                predecessor=last.sha256 if last else None,
                created_at=iso_time(edition.created_at),
                case=StatedCase(
                    id=case.id,
                    reference=open_json(key, case)["reference"],
                    minor=case.minor_at is not None,
                ),
                job=StatedJob(
                    id=job.id,
                    kind=job.kind,
                    frames=job.frames,
                    within_s=material.examination.within_s,
                    submitted_at=iso_time(job.created_at),
                    examined_at=material.examination.examined_at,
                    requester=custody.requester_of(session, job),
                ),
                item=Medium(sha256=media.sha256, size=media.size),
                media_kept=media.blob is not None,
                occurrences=_occurrences_of(session, media, key),
                reviews=custody.reviews_of(session, job, key),
                finding=job.finding,
                custody=custody.custody_of(session, job, media, case),
            )
        return _Sources(records, material, media, edition, key)

    def _with_places(self, sources: _Sources) -> Material:
        """Return the material with the cut-outs of the places that reviewers marked: as the last
        edition with pictures has them, or else from the medium, while that is kept."""
        records, material = sources.records, sources.material
        media, key = sources.media, sources.key
        places = marked_places(records.reviews, material.examination.exact.media)
        if not places or records.case.minor:
            return material
        with self._database.read() as session:
            last = editions.last_with_pictures(session, records.job.id)
        cut: dict[str, bytes] = {}
        if last is not None:
            wanted = [f"data/{place.name}" for place in places]
            with contextlib.suppress(BlobMissing):
                found = zip_format.members(self._vault.read(last, key), wanted)
                cut = {name.removeprefix("data/"): picture for name, picture in found.items()}
        missing = [place for place in places if place.name not in cut]
        if missing and media.blob is not None:
            try:
                with (
                    self._vault.open(media.blob, media_key(media, key)) as file,
                    self.decoder.open(file) as opened,
                ):
                    pictures = cut_places(opened, missing)
                cut |= {name: png(pixels) for name, pixels in pictures.items()}
            except (BlobMissing, MediaError) as error:
                # A decision stands without pictures of what its reviewer saw.
                _log.warning("places_missing", job_id=records.job.id, failure=describe(error))
        return replace(material, files={**material.files, **cut})

    def read(self, caller: Caller, job_id: str, number: int | None = None) -> tuple[int, bytes]:
        """Return the number and the content of an edition, by default of the newest, which is
        issued first if that is due. Audited."""
        self.issue_if_due(caller, job_id, number)
        with self._database.read() as session:
            edition, key = self.find(session, caller, job_id, number)
        return edition.number, self.open(caller, edition, key, shown=False)

    def find(
        self, session: Session, caller: Caller, job_id: str, number: int | None
    ) -> tuple[Edition, bytes]:
        """Return an edition that may be handed out, by default the newest, and the case's key."""
        job, case = find_visible(session, caller, Job, job_id)
        _require_success(job)
        custody.require_recorded(session, job)
        edition = editions.newest_edition(session, job_id, number)
        if edition is None:
            raise NotFound
        if edition.blob is None and job.evidence_expired_at is not None:
            raise EvidenceMissing("This evidence was deleted at the end of its retention period.")
        if is_withdrawn(session, edition.sha256):
            raise EvidenceMissing("This edition of the evidence was withdrawn.")
        if edition.imagery and case.minor_at is not None:
            raise Forbidden(code=Code.IMAGERY_WITHHELD)
        return edition, self._vault.case_key(case)

    def open(self, caller: Caller, edition: Edition, key: bytes, *, shown: bool) -> bytes:
        """Return the content of an edition that ``find`` returned. Audited, but only once in ten
        minutes if it is just ``shown`` on a page."""
        assert edition.blob is not None
        with missing_as(EvidenceMissing, job_id=edition.job_id, edition=str(edition.number)):
            content = self._vault.read(edition.blob, key)
        entry = Action.EVIDENCE_READ, edition.job_id, str(edition.number)
        if shown:
            self._read_audit.note(caller, *entry)
        else:
            with self._database.write() as session:
                append_entry(session, caller.actor, *entry)
        return content

    def member(self, caller: Caller, job_id: str, name: str) -> bytes:
        """Return one file of the newest edition."""
        return zip_format.member(self.read(caller, job_id)[1], name)

    def report(
        self, caller: Caller, job_id: str, language: str, copy: ReportCopy, number: int | None
    ) -> bytes:
        """Return the report of an edition, or a copy that is signed now. See ``read``."""
        _, bundle = self.read(caller, job_id, number)
        if copy == ORIGINAL:
            return zip_format.member(bundle, report_of(language))
        return report_copy(bundle, language, copy, self.keys.current())

    def picture(self, caller: Caller, job_id: str, kind: str, number: int) -> bytes:
        """Return a face as PNG: as people see it (``faces``), as the model saw it (``crops``), or
        its activation map (``heatmaps``)."""
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            if case.minor_at is not None:
                raise Forbidden(code=Code.IMAGERY_WITHHELD)
            _require_success(job)
            custody.require_recorded(session, job)
        try:
            packed = self._vault.read(material_of(job), self._vault.case_key(case))
            if kind == "faces":
                picture = Material.unpack(packed).face(number)
            else:
                picture = zip_format.member(packed, f"{kind}/{number:03}.png")
        except BlobMissing as error:
            raise EvidenceMissing from error
        except KeyError as error:
            raise NotFound from error
        self._read_audit.note(caller, Action.EVIDENCE_READ, job_id, "pictures")
        return picture

    def editions(self, caller: Caller, job_id: str) -> list[editions.IssuedEdition]:
        """List the editions of a job, newest first."""
        with self._database.read() as session:
            return editions.editions_of(session, *find_visible(session, caller, Job, job_id))


def _occurrences_of(session: Session, media: Media, key: bytes) -> tuple[StatedPost, ...]:
    """Return where a medium was seen, oldest first."""
    rows = session.scalars(
        select(Occurrence)
        .where(Occurrence.media_id == media.id)
        .order_by(Occurrence.created_at, Occurrence.id)
    ).all()
    posts = [open_post(key, row) for row in rows]
    collectors = {post.collector for post in posts}
    accounts = session.scalars(select(Account).where(Account.id.in_(collectors)))
    names = {account.id: account.name for account in accounts}
    stated = (dict(post) | {"collector_name": names.get(post.collector)} for post in posts)
    return tuple(StatedPost.model_validate(post, strict=False) for post in stated)


def examination_of(vault: Vault, job: Job, key: bytes) -> Examination:
    """Return the record of the examination that was gathered for a job's evidence; ``BlobMissing``
    if nothing was gathered, or it was deleted."""
    content = zip_format.member(vault.read(material_of(job), key), EXAMINATION)
    return read(Examination, content, EXAMINATION)


def _require_success(job: Job) -> None:
    if job.state in UNFINISHED:
        raise EvidenceMissing(
            "There is no evidence yet. Request it once the examination has succeeded."
        )
    if job.state != JobState.SUCCEEDED:
        raise EvidenceMissing("There is no evidence, because this examination was not completed.")


def _require_current(session: Session, records: Records, edition: Edition) -> None:
    """Lock the case of an edition that is about to be added, and compare it with the records.

    Raises:
        NotFound: the job was deleted, or the deletion of its case has begun, which would miss the
            blob. EvidenceMissing: its evidence was deleted. Conflict: the edition is outdated
            already.
    """
    case = lock_case(session, records.case.id)
    job = session.get(Job, edition.job_id)
    if case is None or case.wrapped_key is None or job is None:
        raise NotFound
    if job.evidence_expired_at is not None:
        # Or no sweep would delete this edition any more.
        raise EvidenceMissing("This evidence was deleted at the end of its retention period.")
    current = case.minor_at is not None, job.finding, editions.last_decision(session, job.id)
    if current != (records.case.minor, records.finding, edition.decided):
        raise Conflict  # a decision or a flag was recorded while the edition was built
