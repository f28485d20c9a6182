"""Screenshots of posts in a notice: decoded in the sandbox, scaled, blurred if chosen."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from deepfake_models.errors import MediaError
from deepfake_models.media.interface import Frame
from deepfake_models.sandbox.decoder import Decoder
from deepfake_service.casework.core.cases import open_occurrence, screenshot_of
from deepfake_service.casework.core.queries import iso_time
from deepfake_service.db import Database, Notice, Occurrence
from deepfake_service.notices.pdf import Capture, Post
from deepfake_service.notices.render import MAX_CAPTURES
from deepfake_service.security.audit_log import Action, Actor, append_entry
from deepfake_service.storage import BlobMissing, Vault

MAX_SIDE = 1800
"""Longer side of a capture in the PDF, in pixels: 190 dots an inch on the height of a page."""
BLUR_SHARE = 0.02
"""Radius of the blur, as a share of the longer side: faces and words cannot be recognised."""
JPEG_QUALITY = 85


class NoticeCaptures:
    """Reads the screenshots of a notice's posts."""

    def __init__(self, database: Database, vault: Vault, decoder: Decoder) -> None:
        """Create a reader of the screenshots in ``vault``.

        Args:
            decoder: decodes screenshots, which are files of unknown origin.
        """
        self._database = database
        self._vault = vault
        self._decoder = decoder

    def of(
        self, actor: Actor, notice: Notice, key: bytes, content: dict[str, Any]
    ) -> list[Capture]:
        """Return the captures that a notice encloses, and audit that they were read.

        Args:
            key: the key of the notice's case.
            content: the sealed content of the notice.
        """
        choice = content.get("captures")
        if choice is None:
            return []
        occurrences = self._occurrences(notice, content["occurrence_ids"])
        return [
            self._capture(actor, occurrence, key, blurred=choice == "blurred")
            for occurrence in occurrences
        ]

    def _occurrences(self, notice: Notice, ids: Sequence[str]) -> list[Occurrence]:
        with self._database.read() as session:
            rows = [session.get(Occurrence, each) for each in dict.fromkeys(ids)]
        return [o for o in rows if o is not None and o.case_id == notice.case_id][:MAX_CAPTURES]

    def _capture(
        self, actor: Actor, occurrence: Occurrence, key: bytes, *, blurred: bool
    ) -> Capture:
        content = open_occurrence(key, occurrence)
        post = Post(
            content["source_url"], content["captured_at"], str(iso_time(occurrence.created_at))
        )
        if not content["screenshot"]:
            return Capture(post)
        try:
            file = self._vault.read(screenshot_of(occurrence.case_id, occurrence.id), key)
        except BlobMissing:
            return Capture(post)
        with self._database.write() as session:
            append_entry(session, actor, Action.SCREENSHOT_READ, occurrence.id)
        sha256 = hashlib.sha256(file).hexdigest()
        try:
            pixels = self._decoded(file)
        except MediaError:
            return Capture(post, sha256)
        jpeg, size = _jpeg(pixels, blurred=blurred)
        return Capture(post, sha256, jpeg, size, blurred)

    def _decoded(self, file: bytes) -> NDArray[np.uint8]:
        with self._decoder.open(io.BytesIO(file), stills_only=True) as media:
            for frame in media.frames([0]):
                if isinstance(frame, Frame):
                    return frame.pixels
        raise MediaError


def _jpeg(pixels: NDArray[np.uint8], *, blurred: bool) -> tuple[bytes, tuple[int, int]]:
    """Return a picture as a JPEG of at most ``MAX_SIDE``, and its size."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    if blurred:
        picture = picture.filter(ImageFilter.GaussianBlur(BLUR_SHARE * max(picture.size)))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return encoded.getvalue(), picture.size
