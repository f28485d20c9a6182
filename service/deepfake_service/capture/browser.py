"""Pictures of whole pages: the worker's part, which runs a browser beside the fetcher of a link.

``renderer.py`` draws the page with Chromium in an enclosure, whose only way out is a gate. That
counts for the same link, and writes to the same log. What comes back is as hostile as the page:
its words are bounded, and the picture is decoded in the sandbox before it counts as one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from io import BytesIO
from pathlib import Path
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepfake_models.errors import DecoderFailed, DeepfakeError
from deepfake_models.media.interface import frame_at
from deepfake_models.sandbox.decoder import Decoder
from deepfake_service.capture.captures import UNPICTURED
from deepfake_service.capture.programs import OpenGate, Programs
from deepfake_service.capture.shapes import MissingPicture, PagePicture
from deepfake_service.capture.warc import record
from deepfake_service.platform.errors import SettingsError
from deepfake_service.platform.settings import PREFIX

USUAL_PATH = "/usr/lib/chromium/chromium-headless-shell"
SECONDS, START_S = 60.0, 60.0
"""For one page, and until the browser begins with it."""
MEMORY_BYTES = 1536 << 20
"""Of all processes of the browser. A page of a large platform takes a third."""
MAX_BYTES = 48 << 20

Text = Annotated[str, Field(max_length=500)]


class _DrawingReport(BaseModel):
    """What the renderer says of a picture, in bounds. Nothing rests on it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Annotated[str, Field(max_length=32)] | None = None
    detail: Text = ""
    url: Annotated[str, Field(max_length=4096)] = ""
    """Of the page that was drawn, after redirects."""
    browser: Text = ""
    user_agent: Text = ""
    is_cut: bool = False
    """Whether the page is longer than the picture."""


class PageBrowser:
    """Takes pictures of pages, one at a time: a browser may take much memory."""

    def __init__(self, program: Path, decoder: Decoder) -> None:
        """Raise ``SettingsError`` if ``program`` is none, but perhaps a script that starts one."""
        try:
            with program.open("rb") as file:
                is_program = file.read(4) == b"\x7fELF"
        except OSError:
            is_program = False
        if not is_program:
            raise SettingsError(
                f"{PREFIX}CAPTURE_BROWSER must be the path of Chromium's headless shell: "
                f"{USUAL_PATH} once the package chromium-headless-shell of Debian is installed."
            )
        # Its real folder, which is all that the enclosure has of it.
        self._program = program.resolve()
        self._decoder = decoder
        self._one = threading.Lock()
        self._programs = Programs()

    def close(self) -> None:
        """End the browser, if one runs. A picture that is being taken fails."""
        self._programs.close()

    def take(
        self, url: str, open_gate: OpenGate, authorities: str = ""
    ) -> tuple[PagePicture | MissingPicture, bytes]:
        """Take a picture of a page; return what the record says of it, and its WARC record, or
        nothing. ``DecoderFailed`` if the browser was closed.

        Args:
            open_gate: makes the gate for the browser, which asks for connections on the socket.
            authorities: certificates in PEM that are trusted beside the public ones, for tests.
        """
        asked = {
            "program": str(self._program),
            "url": url,
            "flags": _trusting(authorities),
            "seconds": SECONDS,
            "memory_bytes": MEMORY_BYTES,
        }
        head = picture = b""
        with (
            self._one,
            self._programs.run(
                "deepfake_service.capture.renderer", open_gate, START_S + SECONDS
            ) as running,
        ):
            gate = running.gate
            first = len(gate.log) + 1
            try:
                head = running.ask(json.dumps(asked).encode())
                picture = b"".join(running.rest(MAX_BYTES))
            except DecoderFailed:
                if self._programs.is_closed:
                    raise
        at = gate.clock().isoformat(timespec="microseconds").replace("+00:00", "Z")
        try:
            told = _DrawingReport.model_validate_json(head)
        except ValidationError:
            told = _DrawingReport(reason="failed")
        size = self._size(picture) if told.reason is None else None
        if size is None:
            reason = told.reason if told.reason and told.reason in UNPICTURED else "failed"
            missing = MissingPicture(
                reason=reason, detail=told.detail, first_connection=first, limit=gate.limit
            )
            return missing, b""
        about = PagePicture(
            reason=None,
            taken_at=at,
            width=size[0],
            height=size[1],
            first_connection=first,
            limit=gate.limit,
            **told.model_dump(exclude={"reason", "detail"}),
        )
        fields = {
            "WARC-Target-URI": f"urn:fullPage:{url}",
            "WARC-Date": at,
            "Content-Type": "image/png",
        }
        return about, b"".join(record("resource", fields, picture))

    def _size(self, picture: bytes) -> tuple[int, int] | None:
        """Return the width and height of a picture, or nothing if it cannot be decoded."""
        try:
            with self._decoder.open(BytesIO(picture), stills_only=True) as media:
                height, width, _ = frame_at(media).pixels.shape
        except DeepfakeError:
            return None
        return width, height


def _trusting(authorities: str) -> list[str]:
    if not authorities:
        return []
    keys = (
        certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for certificate in x509.load_pem_x509_certificates(authorities.encode())
    )
    digests = (base64.b64encode(hashlib.sha256(key).digest()).decode() for key in keys)
    return [f"--ignore-certificate-errors-spki-list={','.join(digests)}"]
