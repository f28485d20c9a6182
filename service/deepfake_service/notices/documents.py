"""The PDF of a notice: made when it is first requested, and the same bytes ever after.

It shows the screenshots of posts where its kind needs them: decoded in the sandbox, scaled, and
blurred if that was chosen.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from sqlalchemy.orm import Session

from deepfake_models.errors import MediaError
from deepfake_models.media.interface import frame_at
from deepfake_models.sandbox.decoder import Decoder
from deepfake_service.accounts.organisation import Sender
from deepfake_service.audit.log import Action, Actor, append_entry
from deepfake_service.cases.case_lock import lock_open_case
from deepfake_service.cases.cases import folder_of, open_post, screenshot_of
from deepfake_service.cases.notice_history import NoticeHistory
from deepfake_service.evidence.signing_keys import SigningKeys
from deepfake_service.notices.compose import MAX_CAPTURES, Capture, notice_data, notice_pdf
from deepfake_service.notices.kinds import kind_of
from deepfake_service.notices.shapes import NoticeContent, content_of
from deepfake_service.platform.db import Case, Database, Notice, NoticeEvent, Occurrence, new_id
from deepfake_service.platform.enums import NoticeEventKind, NoticeState
from deepfake_service.platform.errors import Code, Conflict, Forbidden, NotFound, RecordAltered
from deepfake_service.platform.storage import BlobMissing, Vault, open_json
from deepfake_service.platform.storage.blobs import missing_as

MAX_SIDE = 1800
"""Longer side of a capture in the PDF, in pixels: 190 dots an inch on the height of a page."""
BLUR_SHARE = 0.02
"""Radius of the blur, as a share of the longer side: faces and words cannot be recognised."""
JPEG_QUALITY = 85


@dataclass
class NoticeDocuments:
    """Makes, signs and stores the PDFs of notices."""

    _database: Database
    _vault: Vault
    _keys: SigningKeys
    _decoder: Decoder
    sender: Sender

    def pdf(self, actor: Actor, notice: Notice, key: bytes) -> bytes:
        """Return the PDF of a notice of the case with this ``key``. It is made if there is
        none.

        Raises:
            NotFound: the notice was deleted meanwhile. RecordAltered: the PDF is not the one that
                the history of the notice has. Forbidden: it encloses captures, and a person
                shown was flagged as a possible minor since. Conflict: there is none, and the
                notice was withdrawn or its basis has changed.
        """
        content = content_of(key, notice)
        with self._database.read() as session:
            _require_showable(session, notice, content)
            signed = NoticeHistory(session, key, notice).signed()
        if signed is None:
            _require_basis(notice)
            return self._make(actor, notice, key, content)
        return self._stored(notice, signed, key)

    def _make(self, actor: Actor, notice: Notice, key: bytes, content: NoticeContent) -> bytes:
        from deepfake_service.evidence.bundle import pdf_signature

        issuer, kind, at = self.sender.issuer, kind_of(notice.kind), notice.created_at
        # Not in a transaction: decoding and an authority may take their time.
        captures = self.captures(actor, notice, key, content)
        composed, sender = content.composed, content.sender
        data = notice_data(kind, composed, notice.language, at, sender, captures)
        pdf = notice_pdf(kind, data, at)
        pdf = pdf_signature.sign(pdf, self._keys.current(), issuer, field="Notice")
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
                _require_basis(current)  # a review or a flag may have come meanwhile
                digest = hashlib.sha256(pdf).hexdigest()
                history.append(
                    NoticeEventKind.SIGNED, actor, document_sha256=digest, event_id=event_id
                )
                return pdf
        self._vault.blobs.delete(name)  # another request made it at the same time
        return self._stored(notice, signed, key)

    def captures(
        self, actor: Actor, notice: Notice, key: bytes, content: NoticeContent
    ) -> list[Capture]:
        """Return the captures that a notice encloses, and audit that they were read."""
        if content.captures is None:
            return []
        with self._database.read() as session:
            rows = [session.get(Occurrence, i) for i in dict.fromkeys(content.occurrence_ids)]
        shown = [o for o in rows if o is not None and o.case_id == notice.case_id][:MAX_CAPTURES]
        is_blurred = content.captures == "blurred"
        return [self._capture(actor, occurrence, key, blurred=is_blurred) for occurrence in shown]

    def _capture(
        self, actor: Actor, occurrence: Occurrence, key: bytes, *, blurred: bool
    ) -> Capture:
        post = open_post(key, occurrence)
        capture = Capture(post)
        if not post.screenshot:
            return capture
        try:
            file = self._vault.read(screenshot_of(occurrence.case_id, occurrence.id), key)
        except BlobMissing:
            return capture
        with self._database.write() as session:
            append_entry(session, actor, Action.SCREENSHOT_READ, occurrence.id)
        capture = replace(capture, sha256=hashlib.sha256(file).hexdigest())
        try:
            with self._decoder.open(io.BytesIO(file), stills_only=True) as media:
                pixels = frame_at(media).pixels
        except MediaError:
            return capture
        jpeg, size = _jpeg(pixels, blurred=blurred)
        return replace(capture, jpeg=jpeg, size=size, blurred=blurred)

    def _stored(self, notice: Notice, signed: NoticeEvent, key: bytes) -> bytes:
        with missing_as(NotFound, case_id=notice.case_id, notice_id=notice.id):
            pdf = self._vault.read(_blob_of(notice, signed.id), key)
        if hashlib.sha256(pdf).hexdigest() != open_json(key, signed)["document_sha256"]:
            raise RecordAltered
        return pdf


def _require_showable(session: Session, notice: Notice, content: NoticeContent) -> None:
    if content.captures and session.get_one(Case, notice.case_id).minor_at is not None:
        raise Forbidden(code=Code.IMAGERY_WITHHELD)


def _require_basis(notice: Notice) -> None:
    """Require that what a notice says still holds, before its PDF is made."""
    if notice.withdraw_at is not None or notice.state == NoticeState.WITHDRAWN:
        raise Conflict(
            "The notice was withdrawn or its basis has changed before its PDF was made, so none is "
            "made. Create a new notice if one is needed.",
            code=Code.NOTICE_REFUSED,
        )


def _blob_of(notice: Notice, event_id: str) -> str:
    return f"{folder_of(notice.case_id)}notice-{event_id}"


def _jpeg(pixels: NDArray[np.uint8], *, blurred: bool) -> tuple[bytes, tuple[int, int]]:
    picture = Image.fromarray(pixels)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    if blurred:
        picture = picture.filter(ImageFilter.GaussianBlur(BLUR_SHARE * max(picture.size)))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return encoded.getvalue(), picture.size
