"""Cases and their occurrences: where and when a medium was seen, and who noted it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.casework.core.blind_index import BlindIndex
from deepfake_service.casework.core.permissions import may_see
from deepfake_service.db import Case, Database, Media, Occurrence, current_time, new_id
from deepfake_service.errors import FieldError, ImageryWithheld, InvalidRequest, NotFound
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action, append_entry
from deepfake_service.storage import Vault, context_of
from deepfake_service.storage.envelope import seal, unseal

NOTED = ("source_url", "platform", "account", "captured_at", "note", "case_reference", "tool")
"""What an occurrence states, beside its collector and a screenshot."""
_TELLING = NOTED[:-1]


@dataclass(frozen=True, slots=True)
class Screenshot:
    """One that lies sealed in the vault, and the occurrence that it will be of."""

    occurrence_id: str
    sha256: str


class Cases:
    """Makes cases and notes occurrences."""

    def __init__(self, database: Database, vault: Vault, blind_index: BlindIndex) -> None:
        self._database = database
        self._vault = vault
        self._blind_index = blind_index

    def open(self, caller: Caller, reference: str | None) -> tuple[str, bool]:
        """The id of the account's case of this reference, and whether it was made now."""
        with self._database.write() as session:
            self._database.one_at_a_time(session, caller.account_id)
            case, _, made = self.of_reference(session, caller, reference)
            if made:
                append_entry(session, caller.actor, Action.CASE_CREATED, case.id)
        return case.id, made

    def of_reference(
        self, session: Session, caller: Caller, reference: str | None
    ) -> tuple[Case, bytes, bool]:
        """The account's case of this reference, or a new one; its key; whether it is new."""
        digest = None
        if reference is not None:
            digest = self._blind_index.of("reference", caller.account_id, reference)
            found = session.scalars(
                select(Case).where(
                    Case.account_id == caller.account_id,
                    Case.reference == digest,
                    Case.wrapped_key.is_not(None),
                )
            ).first()
            if found is not None:
                return found, self._vault.case_key(found.id, found.wrapped_key), False
        case_id = new_id()
        key, wrapped = self._vault.new_case_key(case_id)
        about = json.dumps({"reference": reference}).encode()
        case = Case(
            id=case_id,
            account_id=caller.account_id,
            wrapped_key=wrapped,
            reference=digest,
            sealed=seal(key, about, context_of("case", case_id)),
            created_at=current_time(session),
        )
        session.add(case)
        session.flush()
        return case, key, True

    def note(
        self,
        session: Session,
        caller: Caller,
        case: Case,
        media_id: str,
        seen: Mapping[str, str | None],
        screenshot: Screenshot | None = None,
    ) -> bool:
        """Note an occurrence of a medium, unless it is known or says nothing; whether it was.

        The first one of a medium is noted even if it says nothing but who submitted it.
        """
        about: dict[str, Any] = {name: seen.get(name) for name in NOTED}
        of_medium = select(Occurrence.id).where(Occurrence.media_id == media_id).limit(1)
        first = session.scalars(of_medium).first() is None
        if not first and screenshot is None and not any(about[name] for name in _TELLING):
            return False
        told = {**about, "tool": None, "screenshot": screenshot.sha256 if screenshot else None}
        digest = self._blind_index.of_content("occurrence", told)
        if session.scalars(of_medium.where(Occurrence.digest == digest)).first() is not None:
            return False
        occurrence_id = screenshot.occurrence_id if screenshot else new_id()
        key = self._vault.case_key(case.id, case.wrapped_key)
        content = {**about, "collector": caller.account_id, "screenshot": screenshot is not None}
        session.add(
            Occurrence(
                id=occurrence_id,
                case_id=case.id,
                media_id=media_id,
                digest=digest,
                sealed=seal(
                    key, json.dumps(content).encode(), context_of("occurrence", occurrence_id)
                ),
                created_at=current_time(session),
            )
        )
        if not first:
            append_entry(session, caller.actor, Action.OCCURRENCE_ADDED, case.id, occurrence_id)
        return True

    def add_occurrence(
        self,
        caller: Caller,
        case_id: str,
        media_id: str | None,
        seen: Mapping[str, str | None],
        screenshot: bytes | None,
    ) -> None:
        """Note where a medium of a case was seen as well; its only medium, if none is named.

        Raises:
            NotFound: there is no such case that the caller may see.
            InvalidRequest: the medium is not one of the case, or none is named among several.
        """
        # Sealed before the transaction: a slow store must not hold the one writer's place.
        shot = self._sealed(caller, case_id, screenshot) if screenshot is not None else None
        noted = False
        try:
            noted = self._add(caller, case_id, media_id, seen, shot)
        finally:
            if shot is not None and not noted:
                self._vault.blobs.delete(screenshot_of(case_id, shot.occurrence_id))

    def _sealed(self, caller: Caller, case_id: str, content: bytes) -> Screenshot:
        with self._database.read() as session:
            case = session.get(Case, case_id)
        if case is None or not may_see(caller, case):
            raise NotFound
        shot = Screenshot(new_id(), hashlib.sha256(content).hexdigest())
        key = self._vault.case_key(case.id, case.wrapped_key)
        self._vault.keep(screenshot_of(case_id, shot.occurrence_id), key, content)
        return shot

    def _add(
        self,
        caller: Caller,
        case_id: str,
        media_id: str | None,
        seen: Mapping[str, str | None],
        shot: Screenshot | None,
    ) -> bool:
        with self._database.write() as session:
            case = session.get(Case, case_id)
            if case is None or not may_see(caller, case):
                raise NotFound
            self._database.one_at_a_time(session, case.account_id)
            session.refresh(case)
            media = list(session.scalars(select(Media.id).where(Media.case_id == case_id)))
            if media_id is None and len(media) == 1:
                media_id = media[0]
            if media_id not in media:
                detail = "not a medium of this case" if media_id else "missing: which medium is it?"
                raise InvalidRequest(
                    f'The field "media_id": {detail}.', errors=[FieldError("media_id", detail)]
                )
            return self.note(session, caller, case, str(media_id), seen, shot)

    def screenshot(self, caller: Caller, case_id: str, occurrence_id: str) -> bytes:
        """The screenshot of an occurrence; reading it is audited.

        Raises:
            NotFound: there is none that the caller may see.
        """
        with self._database.read() as session:
            case, seen = session.get(Case, case_id), session.get(Occurrence, occurrence_id)
        if case is None or seen is None or seen.case_id != case_id:
            raise NotFound
        if not may_see(caller, case):
            raise NotFound
        if case.minor_at is not None:
            raise ImageryWithheld
        key = self._vault.case_key(case.id, case.wrapped_key)
        about = json.loads(unseal(key, seen.sealed, context_of("occurrence", seen.id)))
        if not about["screenshot"]:
            raise NotFound
        with self._database.write() as session:
            append_entry(session, caller.actor, Action.SCREENSHOT_READ, occurrence_id)
        return self._vault.kept(screenshot_of(case_id, occurrence_id), key)


def media_key(media: Media, case_key: bytes) -> bytes:
    """The key of a medium that is still kept."""
    assert media.wrapped_key is not None
    return unseal(case_key, media.wrapped_key, context_of("media-key", media.id))


def folder_of(case_id: str) -> str:
    """Below which a case's blobs lie that are neither media nor work."""
    return f"cases/{case_id}/"


def screenshot_of(case_id: str, occurrence_id: str) -> str:
    """The blob of an occurrence's screenshot."""
    return f"{folder_of(case_id)}screenshot-{occurrence_id}"
