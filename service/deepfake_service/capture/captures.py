"""Captures that were handed in: store them, show what was found, and choose what is examined.

Their files are media: encrypted in the blob store under keys of their own, and deleted as media
are. A worker reads them (``imports.py``) and signs a bundle of their text, which is kept as
evidence is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial

from pydantic import Field
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.read_audit import ReadAudit
from deepfake_service.accounts.visibility import find_visible
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.capture.findings import (
    CapturedImage,
    FoundMedium,
    Integrity,
    Kind,
    Note,
    Page,
)
from deepfake_service.capture.gate import ROOM_BYTES
from deepfake_service.capture.registries import Operator
from deepfake_service.capture.shapes import UNREAD, CollectorNotes, Content, FileRecord, NamedFile
from deepfake_service.cases.case_lock import lock_open_case
from deepfake_service.cases.cases import Cases
from deepfake_service.evidence.bundle.zip_format import sha256
from deepfake_service.examination.submissions import Sealed, Submissions
from deepfake_service.examination.webhook_deliveries import (
    ShownWebhook,
    add_callback,
    shown_webhooks,
)
from deepfake_service.hashes.minor_flags import MinorFlags
from deepfake_service.platform.answers import ItemId, Published, Sha256, Time
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import (
    Capture,
    CapturedMedium,
    Case,
    Database,
    Delivery,
    Media,
    current_time,
    new_id,
)
from deepfake_service.platform.disk_space import SHORT, DiskSpace
from deepfake_service.platform.enums import CaptureState
from deepfake_service.platform.errors import (
    EvidenceMissing,
    NotFound,
    RecordAltered,
    invalid_field,
)
from deepfake_service.platform.storage import Vault
from deepfake_service.platform.storage.blobs import missing_as
from deepfake_service.platform.webhooks import Callback

MAX_LISTED = 100
"""Captures of a case that are listed. Each may have 500 pictures."""
MAX_FILES = 20
"""Of one capture: an archive, and screenshots of what it does not show."""

UNPICTURED = {
    "not_enclosed": "The browser was not run, because this machine cannot enclose it; deepfake "
    "check says why.",
    "memory": "The page takes more memory than the browser may have.",
    "too_slow": "The page was not drawn within a minute.",
    "unreachable": "The browser could not open the page.",
    "moving": "The page went on to another one while its picture was taken.",
    "failed": "The browser failed at this page.",
}
"""Why there is no picture of a whole page, as a sentence."""


class CaptureFile(Published):
    """A file of a capture."""

    media_id: ItemId
    """Its id as a medium of the case, by which it can be exported."""
    name: str | None = Field(description="The name that its client gave it.")
    kind: Kind | None
    """By its content; null until it was read."""
    size: int | None = Field(description="Its size in bytes.")
    sha256: Sha256 | None = Field(description="SHA-256 of its bytes.")
    kept: bool = Field(description="Whether it is still stored. Files expire as media do.")
    integrity: Integrity | None = Field(description="Null until it was read.")


class ShownMedium(FoundMedium):
    """A picture or video of a capture."""

    chosen: bool = Field(description="Whether it was chosen to be examined.")
    job_id: ItemId | None = Field(description="The job that examines it, once there is one.")
    failure: str | None
    """Why it could not be taken out of its file: a code. It can be chosen again."""


class ShownCapture(Published):
    """A capture and what was found in it."""

    id: ItemId = Field(description="Id of the capture.")
    case_id: ItemId = Field(description="Id of its case.")
    state: CaptureState
    """`queued`: a link waits to be opened; `received`: a worker is to read it; `comparison`: items
    are compared with it, and nothing reads or examines it."""
    reason: str | None
    """Why it was refused, or why a link has no picture or video: a code."""
    detail: str | None = Field(description="The same as a sentence, and what can be done.")
    waits: str | None
    """What holds up its work for now, as a sentence: the server is short of disk space."""
    created_at: Time = Field(description="When it was handed in.")
    finished_at: Time | None = Field(description="When it was read.")
    sha256: Sha256 | None = Field(description="SHA-256 of its signed bundle.")
    kept: bool = Field(description="Whether the bundle is stored.")
    collector: ItemId = Field(description="Id of the account that handed it in.")
    source_url: str | None = Field(description="Address of the post, as it was handed in.")
    platform: str | None = Field(description="Name of the platform.")
    account: str | None = Field(description="The account that published the post.")
    captured_at: Time | None = Field(description="When it was captured, as it was handed in.")
    note: str | None = Field(description="The collector's note.")
    title: str | None = Field(description="Title of the post.")
    captured_by: str | None = Field(description="Who captured it.")
    device: str | None = Field(description="With which device.")
    reached: str | None = Field(description="How the page was reached.")
    full_page: bool = Field(description="Whether the first screenshot shows the whole page.")
    examine_all: bool = Field(description="Whether everything in it was to be examined.")
    by_link: bool = Field(description="Whether the service opened a link, or is to.")
    operator: Operator | None
    """Whose the host of the page is; null unless a link was opened."""
    files: list[CaptureFile] = Field(description="The files that were handed in or fetched.")
    software: list[str] = Field(description="What the files say that made them.")
    pages: list[Page] = Field(description="The pages, at most 200 of each file.")
    media: list[ShownMedium]
    """Pictures of at least 5 kB and videos, at most 500 of each file."""
    missing: list[str]
    """What it lacks of the minimum of the Berkeley Protocol (paragraphs 153 to 155): `url`,
    `html_source`, `full_page_capture`, `time`. Empty if it has all, or was not read."""
    no_picture: str | None
    """Why a browser took no picture of the whole page of a link, as a sentence. Null if it did, or
    if none is set up."""
    counts: dict[str, int]
    """What was counted, such as `small` pictures that are not offered."""
    webhooks: list[ShownWebhook] = Field(description="The webhooks of its end.")
    notes: list[Note]
    """Faults, at most 50 of each kind and file: entries that a WACZ does not list, and digests that
    do not match, come first."""


class CaptureList(Published):
    """The newest captures of a case, at most 100, newest first."""

    captures: list[ShownCapture] = Field(description="The captures.")


@dataclass
class Captures:
    """Accepts captures and shows them.

    What does not exist or is not the caller's to see raises ``NotFound``.
    """

    _database: Database
    _vault: Vault
    _disk: DiskSpace
    _minor_flags: MinorFlags
    _cases: Cases
    _submissions: Submissions
    _kept_for: timedelta

    def __post_init__(self) -> None:
        self._read_audit = ReadAudit(self._database)

    async def accept(
        self,
        caller: Caller,
        case: tuple[str | None, str | None],
        handed_in: CollectorNotes,
        files: Sequence[tuple[str | None, Sealed]],
        callback: Callback | None = None,
        state: CaptureState = CaptureState.RECEIVED,
    ) -> tuple[str, bool]:
        """Record a capture, whose files are stored with their names, for the open case with this id
        or for one with this reference of the account's; return its id and whether it is new. Equal
        files in the same case of which the same is said are one capture; only the first ones are
        kept. Its end, and those of the jobs of what is in it, are told to ``callback``; a
        comparison has none."""
        accept = partial(self._accept, caller, case, handed_in, files, callback, state)
        return await self._submissions.keep_if_new(accept, [sealed for _, sealed in files])

    def _accept(
        self,
        caller: Caller,
        where: tuple[str | None, str | None],
        handed_in: CollectorNotes,
        files: Sequence[tuple[str | None, Sealed]],
        callback: Callback | None,
        state: CaptureState,
    ) -> tuple[str, bool]:
        digests = sorted(sealed.stored.sha256 for _, sealed in files)
        with self._database.write() as session:
            self._database.one_at_a_time(session, caller.account_id)
            for digest in dict.fromkeys(digests):
                self._database.one_at_a_time(session, digest)
            case, key = self._cases.lock_chosen(session, caller, *where)
            for known in _same(session, case, digests, state):
                # What is said of a capture is signed: with another address it is another one. It
                # may have more examined than is asked for, and not less.
                said = Content.opened(key, known).handed_in
                if handed_in in (said, replace(said, examine_all=False)):
                    if callback is not None:
                        add_callback(session, key, known, callback)
                    return known.id, False
            capture = Capture(
                id=new_id(),
                case_id=case.id,
                account_id=caller.account_id,
                state=state,
                created_at=current_time(session),
            )
            at = capture.created_at
            media = [s.of_capture(capture, key, at, self._kept_for) for _, s in files]
            names = [name for name, _ in files]
            named = [NamedFile(media_id=m.id, name=n) for m, n in zip(media, names, strict=True)]
            Content(handed_in=handed_in, files=named).seal(key, capture)
            session.add(capture)
            session.flush()
            session.add_all(media)
            if callback is not None:
                add_callback(session, key, capture, callback)
            self._minor_flags.inherit_by_bytes(session, case, digests)
            append_entry(session, caller.actor, Action.CAPTURE_SUBMITTED, capture.id)
        return capture.id, True

    def of_case(
        self,
        caller: Caller,
        case_id: str,
        limit: int | None = MAX_LISTED,
        state: CaptureState | None = None,
    ) -> CaptureList:
        """Return the newest captures of a case, or those in a state, newest first. The caller
        audits that."""
        of_case = select(Capture).where(Capture.case_id == case_id).order_by(Capture.id.desc())
        if state is not None:
            of_case = of_case.where(Capture.state == state)
        with self._database.read() as session:
            _, case = find_visible(session, caller, Case, case_id)
            if case.wrapped_key is None:
                return CaptureList(captures=[])
            return CaptureList(captures=self._shown(session, of_case.limit(limit), case))

    def read(self, caller: Caller, capture_id: str) -> ShownCapture:
        """Return a capture and what was found in it. Audited once in ten minutes."""
        with self._database.read() as session:
            _, case = find_visible(session, caller, Capture, capture_id)
            if case.wrapped_key is None:
                raise NotFound
            (shown,) = self._shown(session, select(Capture).where(Capture.id == capture_id), case)
        self._read_audit.note(caller, Action.CAPTURE_READ, capture_id)
        return shown

    def _shown(self, session: Session, captures: Select[Capture], case: Case) -> list[ShownCapture]:
        """Return captures of a case, by four queries for all of them."""
        ids = captures.with_only_columns(Capture.id)
        media = session.scalars(select(Media).where(Media.capture_id.in_(ids)))
        chosen = session.scalars(select(CapturedMedium).where(CapturedMedium.capture_id.in_(ids)))
        known = {m.id: m for m in media}
        taken = {(row.capture_id, row.number): row for row in chosen}
        webhooks = shown_webhooks(session, Delivery.capture_id.in_(ids))
        key = self._vault.case_key(case)
        return [
            self._show(capture, Content.opened(key, capture), known, taken, webhooks[capture.id])
            for capture in session.scalars(captures)
        ]

    def _show(
        self,
        capture: Capture,
        content: Content,
        stored: Mapping[str, Media],
        chosen: Mapping[tuple[str, int], CapturedMedium],
        webhooks: list[ShownWebhook],
    ) -> ShownCapture:
        """Return a capture as it is shown, given its opened content."""
        found, fetch = content.found or UNREAD, content.fetch
        picture = fetch.picture if fetch else None
        about: Sequence[FileRecord | None] = found.files or [None] * len(content.files)
        told = asdict(content.handed_in)
        media = [
            ShownMedium(
                **image.model_dump(include=set(FoundMedium.model_fields)),
                chosen=row is not None and row.failure is None,
                job_id=row.job_id if row else None,
                failure=row.failure if row else None,
            )
            for image in found.media
            for row in [chosen.get((capture.id, image.number))]
        ]
        untaken = [m.size for m in media if m.chosen and not m.job_id]
        is_queued = capture.state == CaptureState.QUEUED
        needed = ROOM_BYTES if is_queued else max(untaken, default=None)
        has_room = needed is None or self._disk.has_room(needed)
        return ShownCapture(
            id=capture.id,
            case_id=capture.case_id,
            state=capture.state,
            reason=capture.reason,
            detail=content.detail,
            waits=None if has_room else SHORT,
            created_at=capture.created_at.isoformat(timespec="milliseconds"),
            finished_at=iso_time(capture.finished_at),
            sha256=capture.sha256,
            kept=capture.blob is not None,
            collector=capture.account_id,
            **told.pop("post"),
            **told,
            by_link=content.is_by_link,
            operator=fetch.operator if fetch else None,
            files=[
                _file(file, known, stored.get(file.media_id))
                for file, known in zip(content.files, about, strict=True)
            ],
            software=found.tools,
            pages=found.pages,
            media=media,
            missing=found.minimum.missing,
            no_picture=UNPICTURED.get(picture.reason or "") if picture else None,
            counts=found.counts,
            webhooks=webhooks,
            notes=found.notes,
        )

    def bundle(self, caller: Caller, capture_id: str) -> bytes:
        """Return the signed bundle of a capture. Audited. ``EvidenceMissing`` if it is not there
        yet, or was deleted; ``RecordAltered`` if it is another one than was recorded."""
        with self._database.read() as session:
            capture, case = find_visible(session, caller, Capture, capture_id)
        if capture.blob is None:
            raise EvidenceMissing(
                "This capture has no bundle: it was not read yet, was refused, or its retention "
                "has ended."
            )
        with missing_as(EvidenceMissing, capture_id=capture_id):
            content = self._vault.read(capture.blob, self._vault.case_key(case))
        if sha256(content) != capture.sha256:
            raise RecordAltered
        with self._database.write() as session:
            append_entry(session, caller.actor, Action.CAPTURE_READ, capture_id, "bundle")
        return content

    def choose(
        self, caller: Caller, capture_id: str, numbers: Sequence[int] | None
    ) -> ShownCapture:
        """Have pictures and videos of a capture examined; ``None`` for all that are no screenshots
        of the page. A worker takes them out of their files, again if that had failed. What was
        chosen before stays. Return the capture as ``read`` does; ``InvalidRequest`` if it has no
        such medium, or its files were deleted."""
        with self._database.write() as session:
            find_visible(session, caller, Capture, capture_id)
            capture = session.get_one(Capture, capture_id)
            case = lock_open_case(session, capture.case_id)
            content = Content.opened(self._vault.case_key(case), capture)
            media = {m.number: m for m in (content.found or UNREAD).media}
            wanted = offered(media.values()) if numbers is None else sorted(set(numbers))
            if unknown := [n for n in wanted if n not in media]:
                raise invalid_field("media", f"the capture has no picture or video {unknown[0]}")
            if capture.state != CaptureState.CAPTURED or not wanted:
                raise invalid_field("media", "the capture has none that can be examined")
            kept = {m.id for m in session.scalars(_files_of(capture_id)) if m.blob is not None}
            if any(content.files[media[n].file - 1].media_id not in kept for n in wanted):
                raise invalid_field(
                    "media", "the files of the capture were deleted; hand it in again"
                )
            added = add_chosen(session, capture_id, wanted)
            if added:
                append_entry(session, caller.actor, Action.CAPTURE_EXAMINED, capture_id, str(added))
        return self.read(caller, capture_id)


def _file(file: NamedFile, about: FileRecord | None, stored: Media | None) -> CaptureFile:
    return CaptureFile(
        media_id=file.media_id,
        name=file.name,
        kind=about.kind if about else None,
        integrity=about.integrity if about else None,
        size=stored.size if stored else None,
        sha256=stored.sha256 if stored else None,
        kept=stored is not None and stored.blob is not None,
    )


def offered(media: Iterable[CapturedImage]) -> list[int]:
    """Return the numbers of the media that are examined if all are."""
    return [m.number for m in media if m.role == "medium" or m.offset is None]


def add_chosen(session: Session, capture_id: str, numbers: Sequence[int]) -> int:
    """Record that media of a capture were chosen; return how many had not been, or had failed."""
    chosen = select(CapturedMedium).where(CapturedMedium.capture_id == capture_id)
    known = {medium.number: medium for medium in session.scalars(chosen)}
    new = [n for n in numbers if n not in known or known[n].failure is not None]
    for n in new:
        session.merge(CapturedMedium(capture_id=capture_id, number=n, failure=None))
    return len(new)


def _files_of(capture_id: str) -> Select[Media]:
    return select(Media).where(Media.capture_id == capture_id)


def _same(
    session: Session, case: Case, digests: Sequence[str], state: CaptureState
) -> Iterator[Capture]:
    """Yield the captures of a case that have, and still keep, exactly these files. What is only
    compared with equals no other."""
    compared = Capture.state == CaptureState.COMPARISON
    with_first = (
        select(Capture.id)
        .join(Media, Media.capture_id == Capture.id)
        .where(
            Capture.case_id == case.id,
            Capture.state != CaptureState.REFUSED,
            compared if state is CaptureState.COMPARISON else ~compared,
            Media.sha256 == digests[0],
        )
    )
    for capture_id in session.scalars(with_first.distinct()).all():
        media = session.scalars(_files_of(capture_id)).all()
        is_kept = all(m.blob is not None for m in media)
        if is_kept and sorted(m.sha256 for m in media) == digests:
            yield session.get_one(Capture, capture_id)
