"""The signed PDF of a notice: made when it is first requested, and the same bytes ever after."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy.orm import Session

from deepfake_service.casework.contacts import Sender
from deepfake_service.casework.core.case_lock import lock_open_case
from deepfake_service.casework.core.cases import folder_of
from deepfake_service.casework.core.missing_blobs import missing_as
from deepfake_service.casework.core.notice_history import Happening, NoticeHistory
from deepfake_service.casework.notice_captures import NoticeCaptures
from deepfake_service.db import Case, Database, Notice, NoticeEvent, new_id
from deepfake_service.db.enums import NoticeEventKind
from deepfake_service.errors import ImageryWithheld, NotFound, RecordAltered
from deepfake_service.evidence.timestamps import PostQuery
from deepfake_service.notices.pdf import Imprint, notice_pdf
from deepfake_service.notices.render import composed_of
from deepfake_service.security.audit_log import Actor
from deepfake_service.security.signing_keys import SigningKeys
from deepfake_service.storage import Vault, open_json


class NoticeDocuments:
    """Makes, signs and stores the PDFs of notices."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        keys: SigningKeys,
        captures: NoticeCaptures,
        *,
        sender: Sender,
        post: PostQuery | None = None,
    ) -> None:
        """Create a maker of the documents of notices.

        Args:
            post: sends a query to a time-stamp authority, if there is one.
        """
        self._database = database
        self._vault = vault
        self._keys = keys
        self._captures = captures
        self._sender = sender
        self._post = post

    def pdf(self, actor: Actor, notice: Notice, key: bytes) -> bytes:
        """Return the signed PDF of a notice. It is made if there is none.

        Args:
            key: the key of the notice's case.

        Raises:
            NotFound: the notice was deleted meanwhile. RecordAltered: the PDF is not the one that
                the history of the notice has. ImageryWithheld: it encloses captures, and a person
                shown was flagged as a possible minor since.
        """
        content = open_json(key, notice)
        with self._database.read() as session:
            _require_showable(session, notice, content)
            signed = NoticeHistory(session, key, notice).signed()
        if signed is None:
            return self._make(actor, notice, key, content)
        return self._stored(notice, signed, key)

    def _make(self, actor: Actor, notice: Notice, key: bytes, content: dict[str, Any]) -> bytes:
        from deepfake_service.evidence import pdf_signature

        composed = composed_of(content["composed"])
        issuer = self._sender.issuer
        imprint = Imprint(issuer, notice.created_at, self._sender.organisation())
        # Not in a transaction: decoding and an authority may take their time.
        captures = self._captures.of(actor, notice, key, content)
        pdf = notice_pdf(notice.kind, composed, notice.language, imprint, captures)
        pdf = pdf_signature.sign(pdf, self._keys.current(), issuer, self._post, field="Notice")
        event_id = new_id()
        name = _blob_of(notice, event_id)
        self._vault.write(name, key, pdf)
        with self._database.write() as session:
            lock_open_case(session, notice.case_id)
            current = session.get(Notice, notice.id)
            if current is None:
                raise NotFound
            _require_showable(session, current, content)
            history = NoticeHistory(session, key, current)
            signed = history.signed()
            if signed is None:
                history.begin(content["receipt"])
                digest = hashlib.sha256(pdf).hexdigest()
                history.append(
                    Happening(
                        NoticeEventKind.SIGNED, actor, document_sha256=digest, event_id=event_id
                    )
                )
                return pdf
        self._vault.blobs.delete(name)  # another request made it at the same time
        return self._stored(notice, signed, key)

    def _stored(self, notice: Notice, signed: NoticeEvent, key: bytes) -> bytes:
        with missing_as(NotFound, case_id=notice.case_id, notice_id=notice.id):
            pdf = self._vault.read(_blob_of(notice, signed.id), key)
        if hashlib.sha256(pdf).hexdigest() != open_json(key, signed)["document_sha256"]:
            raise RecordAltered
        return pdf


def _require_showable(session: Session, notice: Notice, content: dict[str, Any]) -> None:
    """Raise ``ImageryWithheld`` if the notice encloses captures and a minor may be shown."""
    if content.get("captures") and session.get_one(Case, notice.case_id).minor_at is not None:
        raise ImageryWithheld


def _blob_of(notice: Notice, event_id: str) -> str:
    """Return the name of the blob of a notice's PDF, by the id of the event that made it."""
    return f"{folder_of(notice.case_id)}notice-{event_id}"
