"""Cases and their occurrences: where and when a medium was seen, and who recorded it."""

from __future__ import annotations

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible, is_kept
from deepfake_service.audit.log import Action, Actor, append_entry
from deepfake_service.cases.case_lock import lock_case, lock_open_case
from deepfake_service.cases.posts import Post
from deepfake_service.platform.db import (
    Account,
    Capture,
    Case,
    Database,
    Job,
    Media,
    Notice,
    Occurrence,
    current_time,
    new_id,
)
from deepfake_service.platform.errors import (
    Code,
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    InvalidRequest,
    NotFound,
    invalid_field,
)
from deepfake_service.platform.storage import (
    Vault,
    context_of,
    installation_secret,
    open_json,
    seal_json,
)
from deepfake_service.platform.storage.blobs import missing_as
from deepfake_service.platform.storage.envelope import KeyWrapper, unseal
from deepfake_service.platform.storage.sealed_columns import opened_rows


@dataclass(frozen=True, slots=True, repr=False)
class PostDetails:
    """Where and when a medium was seen, according to its submitter or to a capture."""

    source_url: str | None = None
    platform: str | None = None
    account: str | None = None
    captured_at: str | None = None
    """ISO 8601 in UTC."""
    note: str | None = None


_DISTINGUISHING = tuple(f.name for f in fields(PostDetails))
OCCURRENCE_FIELDS = (
    *_DISTINGUISHING, "case_reference", "tool", "capture", "capture_sha256", "claimed",
)  # fmt: skip
"""The fields of an occurrence, beside its collector and a screenshot. The last three are the id and
the SHA-256 of the capture that it comes from, and the fields that this capture claims and no one
stated."""
MAX_OCCURRENCES = 500
"""Occurrences of one medium. Each has up to 18 kB, and all of them are listed in every edition of
the evidence, beside up to 48 MB of faces: without a limit, they could make it too large to read."""


@dataclass(frozen=True, slots=True)
class Screenshot:
    """A screenshot in the vault, and the occurrence that it will belong to."""

    occurrence_id: str
    sha256: str
    completes: bool
    """Whether that occurrence exists already, without a screenshot."""


@dataclass(frozen=True, slots=True)
class RecordedPost:
    """An occurrence, and whether it was recorded just now."""

    occurrence_id: str
    is_new: bool


OF_CASE = (Job, Media, Occurrence, Notice, Capture)
"""What is in a case and has an id in the audit log."""


def canonical_reference(text: str) -> str | None:
    """Return the reference of a case as it is stored and compared; ``None`` if it is blank.

    White space around it does not count, and letters that are written in several ways are the same:
    Korean text from macOS often has its syllables in parts (Unicode normalization form D, UAX 15).
    """
    return unicodedata.normalize("NFC", text).strip() or None


class Cases:
    """Creates cases and records occurrences. What does not exist or is not the caller's to see
    raises ``NotFound``."""

    def __init__(self, database: Database, vault: Vault, blind_index: BlindIndex) -> None:
        self._database = database
        self._vault = vault
        self._blind_index = blind_index

    def open(self, caller: Caller, reference: str | None) -> tuple[str, bool]:
        """Return the id of the account's case with this reference, and whether it is new."""
        with self._database.write() as session:
            self._database.one_at_a_time(session, caller.account_id)
            case, _, is_new = self.of_reference(session, caller, reference)
            if is_new:
                append_entry(session, caller.actor, Action.CASE_CREATED, case.id)
        return case.id, is_new

    def digests_of(self, account_ids: Iterable[str], reference: str) -> tuple[str, ...]:
        """Return the digests by which the cases of these accounts with a reference are found."""
        canonical = canonical_reference(reference) or reference
        return tuple(self._blind_index.of("reference", i, canonical) for i in account_ids)

    def named(self, session: Session, text: str) -> list[str]:
        """Return the ids of the cases, of all accounts, whose id or reference is ``text``."""
        digests = self.digests_of(session.scalars(select(Account.id)), text)
        found = select(Case.id).where(or_(Case.id == text, Case.reference.in_(digests)))
        return list(session.scalars(found))

    def references(self, session: Session, ids: Collection[str]) -> dict[str, str]:
        """Return the references of the cases that these ids are of, or of something in, by id."""
        of_case: dict[str, str] = {}
        for model in OF_CASE:
            rows = session.execute(select(model.id, model.case_id).where(model.id.in_(ids)))
            of_case.update((row.id, row.case_id) for row in rows)
        wanted = Case.id.in_({*ids, *of_case.values()})
        cases = session.execute(select(Case).where(wanted, Case.sealed.is_not(None)))
        opened = opened_rows(cases, lambda row: open_json(self._vault.case_key(row[0]), row[0]))
        names = {case.id: content["reference"] for (case,), content in opened}
        return {i: names[c] for i in ids if names.get(c := of_case.get(i, i))}

    def lock_chosen(
        self, session: Session, caller: Caller, case_id: str | None, reference: str | None
    ) -> tuple[Case, bytes]:
        """Lock the open case with this id, or else the account's with this reference, a new one if
        there is none; return it and its key."""
        if case_id is None:
            return self.of_reference(session, caller, reference)[:2]
        find_visible(session, caller, Case, case_id)
        case = lock_open_case(session, case_id)
        return case, self._vault.case_key(case)

    def of_reference(
        self, session: Session, caller: Caller, reference: str | None
    ) -> tuple[Case, bytes, bool]:
        """Find the account's case with this reference and lock it, or create one; return the case,
        its key, and whether it is new."""
        digest = None
        if reference is not None:
            (digest,) = self.digests_of([caller.account_id], reference)
            case = session.scalars(
                select(Case).where(
                    Case.account_id == caller.account_id,
                    Case.reference == digest,
                    Case.wrapped_key.is_not(None),
                )
            ).first()
            case = lock_case(session, case.id) if case is not None else None
            if case is not None and case.wrapped_key is not None:  # it has not just expired
                return case, self._vault.case_key(case), False
        case_id = new_id()
        key, wrapped = self._vault.new_case_key(case_id)
        case = Case(
            id=case_id,
            account_id=caller.account_id,
            wrapped_key=wrapped,
            reference=digest,
            created_at=current_time(session),
        )
        seal_json(key, case, {"reference": reference})
        session.add(case)
        session.flush()
        return case, key, True

    def record_post(
        self,
        session: Session,
        caller: Caller,
        media: Media,
        sighting: Mapping[str, str | None],
        screenshot: Screenshot | None = None,
    ) -> RecordedPost | None:
        """Record an occurrence of a medium, unless it is known or empty.

        The first occurrence of a medium is recorded even if it is empty, because it says who
        submitted the medium. A screenshot of a post that is recorded without one is added to that
        record, so that no post is listed twice.

        Returns:
            The new or the known occurrence, or ``None`` if this one is empty.

        Raises:
            Conflict: the medium has ``MAX_OCCURRENCES`` already.
        """
        of_medium = select(Occurrence).where(Occurrence.media_id == media.id)
        is_first = session.scalars(of_medium.limit(1)).first() is None
        is_empty = screenshot is None and not any(sighting.get(n) for n in _DISTINGUISHING)
        if is_empty and not is_first:
            return None
        key = self._vault.case_key(session.get_one(Case, media.case_id))
        digest = self._digest(sighting)
        known = session.scalars(of_medium.where(Occurrence.digest == digest)).first()
        if known is not None and screenshot is not None:
            if screenshot.completes and _lacks_screenshot(key, known):
                content = {**open_json(key, known), "screenshot": screenshot.sha256}
                seal_json(key, known, content)
                action = Action.SCREENSHOT_ADDED
                append_entry(session, caller.actor, action, known.case_id, known.id)
            elif open_json(key, known)["screenshot"] != screenshot.sha256:
                digest = self._digest(sighting, screenshot)
                known = session.scalars(of_medium.where(Occurrence.digest == digest)).first()
        if known is not None:
            _drop_claims(session, caller, key, known, sighting)
            return RecordedPost(known.id, is_new=False)
        counted = select(func.count(Occurrence.id)).where(Occurrence.media_id == media.id)
        if (session.scalar(counted) or 0) >= MAX_OCCURRENCES:
            raise Conflict(code=Code.TOO_MANY_OCCURRENCES)
        occurrence = Occurrence(
            id=screenshot.occurrence_id if screenshot else new_id(),
            case_id=media.case_id,
            media_id=media.id,
            digest=digest,
            created_at=current_time(session),
        )
        content = {
            **{name: sighting.get(name) for name in OCCURRENCE_FIELDS},
            "collector": sighting.get("collector") or caller.account_id,
            "screenshot": screenshot and screenshot.sha256,
        }
        seal_json(key, occurrence, content)
        session.add(occurrence)
        if not is_first:
            action = Action.OCCURRENCE_ADDED
            append_entry(session, caller.actor, action, media.case_id, occurrence.id)
        return RecordedPost(occurrence.id, is_new=True)

    def add_occurrence(
        self,
        caller: Caller,
        case_id: str,
        media_id: str | None,
        sighting: Mapping[str, str | None],
        screenshot: bytes | None,
    ) -> RecordedPost:
        """Record where else a medium of a case was seen, unless it is known.

        ``media_id`` may be ``None`` if the case has one medium only. ``InvalidRequest`` if the
        medium does not belong to the case, or none is named and the case has several, or the
        occurrence is empty; ``Conflict`` as
        ``record_post``.
        """
        # Stored before the transaction, so that a slow store does not block other writers.
        stored = None
        if screenshot is not None:
            stored = self._store_screenshot(caller, case_id, media_id, sighting, screenshot)
        try:
            with self._database.write() as session:
                case, _ = find_visible(session, caller, Case, case_id)
                self._database.one_at_a_time(session, case.account_id)
                lock_open_case(session, case_id)
                medium = self._medium(session, case_id, media_id)
                recorded = self.record_post(session, caller, medium, sighting, stored)
        except DatabaseUnavailable:
            # The transaction may have been committed all the same. If it was not, the sweep of
            # orphans deletes the screenshot.
            raise
        except BaseException:
            self._discard(case_id, stored)
            raise
        if recorded is None or not recorded.is_new:
            self._discard(case_id, stored)
        if recorded is None:
            raise InvalidRequest("The occurrence is empty. Send a field or a screenshot with it.")
        return recorded

    def _store_screenshot(
        self,
        caller: Caller,
        case_id: str,
        media_id: str | None,
        sighting: Mapping[str, str | None],
        content: bytes,
    ) -> Screenshot:
        with self._database.read() as session:
            case, _ = find_visible(session, caller, Case, case_id)
            key = self._vault.case_key(case)
            medium = self._medium(session, case_id, media_id)
            same = (Occurrence.media_id == medium.id, Occurrence.digest == self._digest(sighting))
            known = session.scalars(select(Occurrence).where(*same)).first()
            completed = known.id if known is not None and _lacks_screenshot(key, known) else None
        digest = hashlib.sha256(content).hexdigest()
        screenshot = Screenshot(completed or new_id(), digest, completed is not None)
        self._vault.write(screenshot_of(case_id, screenshot.occurrence_id), key, content)
        return screenshot

    def _discard(self, case_id: str, screenshot: Screenshot | None) -> None:
        # The screenshot of an occurrence that exists may be another request's by now. It is deleted
        # with the medium.
        if screenshot is not None and not screenshot.completes:
            self._vault.blobs.delete(screenshot_of(case_id, screenshot.occurrence_id))

    @staticmethod
    def _medium(session: Session, case_id: str, media_id: str | None) -> Media:
        of_posts = select(Media).where(
            Media.case_id == case_id, Media.capture_id.is_(None), is_kept(Media.id)
        )
        media = {m.id: m for m in session.scalars(of_posts)}
        if media_id is None and len(media) == 1:
            (media_id,) = media
        if media_id not in media:
            detail = "not a medium of this case" if media_id else "required for this case"
            raise invalid_field("media_id", detail)
        return media[media_id]

    def _digest(
        self, sighting: Mapping[str, str | None], screenshot: Screenshot | None = None
    ) -> str:
        """Return the digest by which a post is recognised; another screenshot of it has its own."""
        content: dict[str, object] = {name: sighting.get(name) for name in _DISTINGUISHING}
        content["screenshot"] = screenshot and screenshot.sha256
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        return self._blind_index.of("occurrence", text)

    def screenshot(self, caller: Caller, case_id: str, occurrence_id: str) -> bytes:
        """Return the screenshot of an occurrence, and audit that it was read; ``Forbidden``
        if a person shown may be a minor."""
        with self._database.read() as session:
            occurrence, case = find_visible(session, caller, Occurrence, occurrence_id)
        if occurrence.case_id != case_id:
            raise NotFound
        if not open_post(self._vault.case_key(case), occurrence).screenshot:
            raise NotFound
        name = screenshot_of(case_id, occurrence_id)
        return read_screenshot(self._database, self._vault, caller.actor, case, occurrence_id, name)


def read_screenshot(
    database: Database, vault: Vault, actor: Actor, case: Case, row_id: str, name: str
) -> bytes:
    """Return the screenshot of an occurrence or a look, and audit that it was read; ``NotFound`` if
    it was deleted, ``Forbidden`` if a person shown may be a minor."""
    if case.minor_at is not None:
        raise Forbidden(code=Code.IMAGERY_WITHHELD)
    with missing_as(NotFound, case_id=case.id, row_id=row_id):
        content = vault.read(name, vault.case_key(case))
    with database.write() as session:
        append_entry(session, actor, Action.SCREENSHOT_READ, row_id)
    return content


def media_key(media: Media, case_key: bytes) -> bytes:
    """Return the key of a medium that has not been deleted."""
    assert media.wrapped_key is not None
    return unseal(case_key, media.wrapped_key, context_of("media-key", media.id))


def open_post(key: bytes, occurrence: Occurrence) -> Post:
    """Return an occurrence, opened with the key of its case. A screenshot that has expired is not
    in it any more."""
    content = {"claimed": None, **open_json(key, occurrence)}  # 0.3.0 wrote none
    is_kept = occurrence.screenshot_expired_at is None
    content["screenshot"] = content["screenshot"] is not None and is_kept
    return Post(
        id=occurrence.id,
        media_id=occurrence.media_id,
        recorded_at=occurrence.created_at,
        **content,
    )


def _drop_claims(
    session: Session,
    caller: Caller,
    key: bytes,
    known: Occurrence,
    sighting: Mapping[str, str | None],
) -> None:
    """Drop what a capture alone claimed of an occurrence, and a person now states as well."""
    content = open_json(key, known)
    before, claimed = content.get("claimed") or [], sighting.get("claimed") or ()
    still = [n for n in before if n in claimed or sighting.get(n) != content[n]]
    if still != before:
        seal_json(key, known, {**content, "claimed": still})
        append_entry(session, caller.actor, Action.OCCURRENCE_STATED, known.case_id, known.id)


def _lacks_screenshot(key: bytes, occurrence: Occurrence) -> bool:
    """Return whether a screenshot can be added to an occurrence."""
    expired = occurrence.screenshot_expired_at is not None
    return not expired and open_json(key, occurrence)["screenshot"] is None


def folder_of(case_id: str) -> str:
    """Return the prefix of a case's blobs, other than media and intermediate results."""
    return f"cases/{case_id}/"


def material_of(job: Job) -> str:
    """Return the name of the blob of what was gathered for a job's evidence."""
    return f"{folder_of(job.case_id)}material-{job.id}"


def screenshot_of(case_id: str, occurrence_id: str) -> str:
    """Return the name of the blob of an occurrence's screenshot."""
    return f"{folder_of(case_id)}screenshot-{occurrence_id}"


def screenshot_of_look(case_id: str, look_id: str) -> str:
    """Return the name of the blob of the screenshot of a look at a post."""
    return f"{folder_of(case_id)}look-{look_id}"


class BlindIndex:
    """HMAC-SHA256 (RFC 2104) under a secret of the installation. Without the secret, a copy of the
    database does not allow trying out references and URLs."""

    def __init__(self, database: Database, keys: KeyWrapper) -> None:
        self._key = installation_secret(database, keys, "lookup")

    def of(self, purpose: str, *parts: str) -> str:
        """Return the digest (64 hex digits) of ``parts`` for ``purpose``."""
        text = json.dumps([purpose, *parts], ensure_ascii=False)
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
