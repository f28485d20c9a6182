"""The worker's part: read captures, sign what was found, and take out what is to be examined.

Each attempt writes under its own name, so that a worker that was taken for dead replaces
nothing that another one signed. What an attempt leaves that was not recorded is swept as an orphan.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import BinaryIO
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import aliased

from deepfake_models.errors import SandboxBusy, SandboxIncomplete
from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.capture.captures import add_chosen, offered
from deepfake_service.capture.contents import instant
from deepfake_service.capture.findings import CapturedImage, Findings, Page
from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.capture.shapes import (
    UNREAD,
    CaptureFindings,
    CaptureRecord,
    Collector,
    CollectorNotes,
    Content,
    FileRecord,
    Minimum,
)
from deepfake_service.capture.warc import Refused
from deepfake_service.capture.work import Work, end, in_turn
from deepfake_service.cases.cases import PostDetails, folder_of, media_key
from deepfake_service.cases.media_deletion import expire
from deepfake_service.evidence.bundle.capture_format import Text
from deepfake_service.evidence.bundle.zip_format import sha256
from deepfake_service.evidence.store import EvidenceStore
from deepfake_service.examination.submissions import Origin, Submission, Submissions
from deepfake_service.platform.chores import Lane
from deepfake_service.platform.claims import MAX_ATTEMPTS, Claims
from deepfake_service.platform.db import (
    Account,
    Capture,
    CapturedMedium,
    Database,
    Media,
    new_id,
)
from deepfake_service.platform.disk_space import DiskSpace
from deepfake_service.platform.enums import CaptureState
from deepfake_service.platform.errors import (
    DatabaseUnavailable,
    Overloaded,
    ServiceError,
    StorageUnavailable,
)
from deepfake_service.platform.logs import logger
from deepfake_service.platform.networks import host_of, platform_of
from deepfake_service.platform.storage import BlobMissing, Vault

_UNTAKEN = (CapturedMedium.job_id.is_(None), CapturedMedium.failure.is_(None))
TO_DO = or_(
    Capture.state == CaptureState.RECEIVED,
    exists().where(CapturedMedium.capture_id == Capture.id, *_UNTAKEN),
)
"""Captures that are to be read, or have media that are to be taken out."""

_log = logger("deepfake_service.captures")


@dataclass
class Imports(Lane[Capture]):
    """Reads captures one after the other: uploads and examinations do not wait for them."""

    _database: Database
    _vault: Vault
    _disk: DiskSpace
    _readers: CaptureReaders
    _evidence: EvidenceStore
    _submissions: Submissions
    executor_id: str
    kept_for: timedelta

    def __post_init__(self) -> None:
        super().__init__("capture", 1)
        self._claims = Claims(self._database, self.executor_id, Capture)
        self._short: dict[str, int] = {}
        """Captures of which a medium did not find that many bytes on the disk."""

    @staticmethod
    def is_due(_: datetime) -> ColumnElement[bool]:
        """Return the condition that a capture waits."""
        received = exists().where(Capture.state == CaptureState.RECEIVED)
        return or_(received, exists().where(*_UNTAKEN))

    def stop(self) -> None:
        """Start nothing further, and end the readers: what is being read is read again."""
        super().stop()
        self._readers.close()

    def _claim(self, free: int, busy: set[str]) -> dict[str, Capture]:
        """Claim captures. What the disk has no room for is left until it has; other captures do not
        wait for it. Then no other worker may have a capture in hand: two that fit one by one would
        fill the disk again and again."""
        again = {each for each, size in self._short.items() if self._disk.has_room(size)}
        other = aliased(Capture)
        is_alone = ~exists().where(other.worker.in_(self._claims.others()))
        fits = Capture.id.not_in(list(self._short)) | (Capture.id.in_(again) & is_alone)
        due = in_turn(TO_DO & fits & Capture.id.not_in(busy))
        return {row.id: row for row in self._claims.take(due, free)}

    def _do(self, due: Capture) -> None:
        self._short.pop(due.id, None)
        work = Work.opened(self._database, self._vault, due)
        if work is None:
            return
        try:
            if due.state == CaptureState.RECEIVED:
                self._import(work)
            else:
                self._take_out(work)
        except (DatabaseUnavailable, StorageUnavailable, SandboxBusy, SandboxIncomplete):
            self._claims.release(due.id)
            raise

    def _import(self, work: Work) -> None:
        capture = work.capture
        if capture.attempts > MAX_ATTEMPTS:
            self._end(work, CaptureState.REFUSED, reason="failed")
            return
        found, texts = [], []
        try:
            for number, media in enumerate(work.media, start=1):
                with self._opened(work, media) as file:
                    findings, text = self._readers.read(file, number)
                found.append(findings)
                texts.append(text)
        except BlobMissing:
            self._end(work, CaptureState.REFUSED, reason="deleted")
            return
        except Refused as error:
            if capture.reason is None:  # else it is a link, which says better why it has nothing
                work = _with(work, detail=error.message)
            self._end(work, CaptureState.REFUSED, reason=capture.reason or error.code)
            return
        record = self._record(work, found)
        name = f"{folder_of(capture.case_id)}capture-{new_id()}"
        bundle = self._evidence.sign_capture(record.document(), b"".join(texts))
        self._vault.write(name, work.key, bundle)
        work = _with(work, found=record.found())
        if not self._end(work, CaptureState.CAPTURED, blob=name, digest=sha256(bundle)):
            self._vault.blobs.delete(name)

    def _opened(self, work: Work, media: Media) -> BinaryIO:
        if media.blob is None:
            raise BlobMissing
        return self._vault.open(media.blob, media_key(media, work.key))

    def _end(
        self,
        work: Work,
        state: CaptureState,
        *,
        reason: str | None = None,
        blob: str | None = None,
        digest: str | None = None,
    ) -> bool:
        """Record what became of a capture; return whether that counts."""
        with self._database.write() as session:
            if (kept := work.kept(session)) is None:
                return False
            capture, _ = kept
            capture.state, capture.blob, capture.sha256 = state, blob, digest
            # Of a link, the reason why it has no medium stays.
            end(session, work.key, capture, work.content, reason or capture.reason)
            for media in work.media:
                row = session.get(Media, media.id)
                if row is not None:
                    row.expires_at = self._database.clock() + self.kept_for
            if work.content.found and work.content.handed_in.examine_all:
                add_chosen(session, capture.id, offered(work.content.found.media))
            append_entry(session, SERVICE, Action.CAPTURE_ENDED, capture.id, digest or reason)
        if state is CaptureState.REFUSED:
            for media in work.media:
                expire(self._database, self._vault, media.id)
        _log.info("capture_ended", capture_id=capture.id, state=state, reason=reason)
        return True

    def _record(self, work: Work, found: Sequence[Findings]) -> CaptureRecord:
        """Return what is signed."""
        content, capture, post = work.content, work.capture, work.content.handed_in.post
        with self._database.read() as session:
            account = session.get_one(Account, capture.account_id)
        pages, media = merge_pages(found, content.handed_in)
        present = {  # of what a capture needs at least (Berkeley Protocol, paragraphs 153 to 155)
            "url": bool(pages or post.source_url),
            "html_source": any(each.html for each in found),
            "full_page_capture": any(m.role == "full_page_capture" for m in media),
            "time": bool(post.captured_at) or any(page.at for page in pages),
        }
        missing = [name for name, is_there in present.items() if not is_there]
        is_archive = any(each.kind not in ("picture", "video") for each in found)
        counts = sum((Counter(each.counts) for each in found), Counter[str]())
        return CaptureRecord(
            id=capture.id,
            case=capture.case_id,
            method="by link" if content.fetch else "imported" if is_archive else "by hand",
            fetch=content.fetch,
            received_at=capture.created_at.isoformat(timespec="milliseconds"),
            created_at=self._database.clock().isoformat(timespec="milliseconds"),
            collector=Collector(account=account.id, name=account.name, role=account.role),
            handed_in=content.handed_in,
            tools=list(dict.fromkeys(name for each in found for name in each.software)),
            files=[
                FileRecord(
                    number=number,
                    kind=each.kind,
                    sha256=file.sha256,
                    size=file.size,
                    records=each.records,
                    integrity=each.integrity,
                )
                for number, (each, file) in enumerate(zip(found, work.media, strict=True), start=1)
            ],
            pages=pages,
            media=media,
            minimum=Minimum(berkeley_153=not missing, missing=missing),
            text=Text(records=sum(each.kept for each in found)),
            counts=dict(counts),
            notes=[note for each in found for note in each.notes],
            changes=[what for name, what in _CHANGES.items() if counts.get(name)],
        )

    def _take_out(self, work: Work) -> None:
        chosen = select(CapturedMedium.number).where(
            CapturedMedium.capture_id == work.capture.id, *_UNTAKEN
        )
        with self._database.read() as session:
            numbers = session.scalars(chosen).all()
        images = {image.number: image for image in (work.content.found or UNREAD).media}
        for number in numbers:
            failure, job_id = None, None
            try:
                if work.capture.attempts > MAX_ATTEMPTS:
                    raise Refused("failed", "taking it out has failed repeatedly")
                job_id = asyncio.run(self._submit(work, images[number]))
            except Overloaded:
                _log.warning("capture_waits_for_disk_space", capture_id=work.capture.id)
                self._short[work.capture.id] = images[number].size
                self._claims.release(work.capture.id)
                return
            except (DatabaseUnavailable, StorageUnavailable, SandboxBusy):
                raise
            except BlobMissing:
                failure = "deleted"
            except (Refused, ServiceError) as error:
                failure = error.code if isinstance(error, Refused) else "failed"
            with self._database.write() as session:
                row = session.get(CapturedMedium, (work.capture.id, number))
                if row is not None and row.job_id is None:
                    row.job_id, row.failure = job_id, failure
        self._claims.release(work.capture.id, is_done=True)

    async def _submit(self, work: Work, image: CapturedImage) -> str:
        media = work.media[image.file - 1]
        self._disk.require(image.size)
        with (
            self._opened(work, media) as file,
            contextlib.closing(self._readers.body(file, image)) as body,
        ):

            async def pieces() -> AsyncIterator[bytes]:
                for piece in body:
                    self._disk.require()  # uploads and other workers take space meanwhile
                    yield piece

            sealed = await self._submissions.seal(pieces())
        if sealed.stored.sha256 != image.sha256:
            await self._submissions.discard(sealed)
            raise Refused("damaged", "the picture or video is another one than before")
        capture = work.capture
        with self._database.read() as session:
            owner = session.get_one(Account, work.case.account_id)
        name = ""
        with contextlib.suppress(ValueError):  # anyone can write a record of what is no address
            name = urlsplit(image.url).path.rpartition("/")[2][:200]
        tools = (work.content.found or UNREAD).tools
        assert capture.sha256 is not None
        sighting, claimed = post_of(work.content, image, capture.created_at)
        if tools and work.content.fetch is None:
            claimed = (*claimed, "tool")
        submission = Submission(
            sighting=sighting,
            file_name=name or work.content.files[image.file - 1].name,
            origin=Origin(
                case_id=capture.case_id,
                capture=capture.id,
                capture_sha256=capture.sha256,
                collector=capture.account_id,
                tool=(tools[0] if tools else "capture by hand")[:200],
                claimed=claimed,
            ),
        )
        caller = Caller(owner.id, owner.role, None)
        return (await self._submissions.accept(caller, submission, sealed)).job_id


_CHANGES = {
    "requests_left_out": "requests were left out of the text part: they may hold cookies and keys",
    "cookies_masked": "values of Set-Cookie were replaced by asterisks in the text part",
    "inline_imagery": "imagery within texts was cut out of the text part",
    "text_left_out": "texts beyond the limit were left out of the text part",
}


def merge_pages(
    found: Iterable[Findings], handed_in: CollectorNotes
) -> tuple[list[Page], list[CapturedImage]]:
    """Return the pages and the media of all files, numbered through. Equal media count once."""
    pages: list[Page] = []
    media: dict[str, CapturedImage] = {}
    marks = handed_in.full_page
    for each in found:
        first = len(pages)
        pages += each.pages
        for image in each.media:
            is_marked = marks and each.kind == "picture"
            marks = marks and not is_marked
            changed: dict[str, object] = {"role": "full_page_capture"} if is_marked else {}
            if image.page is not None and image.page < len(each.pages):
                changed["page"] = first + image.page
            media.setdefault(image.sha256, image.model_copy(update=changed))
    numbered = enumerate(media.values(), start=1)
    return pages, [image.model_copy(update={"number": n}) for n, image in numbered]


def post_of(
    content: Content, image: CapturedImage, received: datetime
) -> tuple[PostDetails, tuple[str, ...]]:
    """Return where a medium was seen, and which of these fields the capture alone claims.

    What was handed in counts, and when this service fetched a link. Anyone can make a file or a
    page that names any person: its address, time and title are claims, a time after the capture was
    ``received`` is none, and no account is taken from it. If the file has the page that was named,
    what was handed in says nothing of its other pages.
    """
    post, title = content.handed_in.post, content.handed_in.title
    pages, fetch = (content.found or UNREAD).pages, content.fetch
    is_of_page = image.page is not None and image.page < len(pages)
    page = pages[image.page or 0] if is_of_page else Page(url="", title="", at="")
    if is_of_page and post.source_url in {each.url for each in pages} - {page.url}:
        post, title = PostDetails(), None
    note = " · ".join(text for text in (title, post.note) if text)
    named = _printable((fetch and fetch.post.get("title")) or page.title)
    stated = {
        "source_url": post.source_url,
        "captured_at": post.captured_at or (fetch and fetch.began_at),
        "note": note[:2000] or None,
    }
    claims = {
        "source_url": _address(page.url),
        "captured_at": _moment(page.at, received) or _moment(image.at, received),
        "note": named[:2000] or None,
    }
    sighting = PostDetails(
        platform=post.platform or platform_of(post.source_url)[:200] or None,
        account=post.account,
        **{name: stated[name] or claims[name] for name in stated},
    )
    return sighting, tuple(name for name in claims if claims[name] and not stated[name])


def _with(work: Work, **changed: CaptureFindings | str) -> Work:
    return replace(work, content=work.content.model_copy(update=changed))


def _address(text: str | None) -> str | None:
    is_web = text and text.startswith(("http://", "https://")) and text.isprintable()
    return text if is_web and host_of(text) else None


def _printable(text: str | None) -> str:
    return "".join(c if c.isprintable() else " " for c in text or "").strip()


def _moment(text: str | None, received: datetime) -> str | None:
    at = instant(text or "")
    return at.isoformat() if at and at <= received else None
