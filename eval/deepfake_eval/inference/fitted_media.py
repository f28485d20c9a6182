"""``fitted.json`` of a bundle: keyed digests of the media that its weights were fitted on.

A medium is recognised by its bytes, or else by its first frame. Digests are keyed by a value in
the file, so that they cannot be looked up in lists of known SHA-256s, and different bundles have
nothing in common. Whoever has a medium can still find out whether it is listed: that is what the
list is for.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from deepfake_eval.inference.frame_folders import open_medium
from deepfake_models.bundle.bundle import Bundle
from deepfake_models.errors import MediaError
from deepfake_models.machine import atomic_write_text
from deepfake_models.media.interface import frame_at
from deepfake_models.sandbox.decoder import Decoder

FITTED = "fitted.json"
SAME_FILE, SAME_PICTURE, NOT_FITTED = "file", "picture", "no"
"""What ``FittedMedia.find`` says of a medium."""

_SIDE = 10
"""A picture has the signs of 10 x 10 differences of brightness. 8 x 8 took a tenth of portraits for
one another; with 12 x 12, a third of pictures at JPEG quality 40 were missed."""
_DOUBTFUL = 12
"""Signs of the smallest differences, which a copy may have turned: of JPEGs of quality 40, 93% were
found, and of halved pictures 85%."""
_FLAT = 2.0
"""Mean difference, of 255, below which a picture is too plain to tell: a black first frame."""


@dataclass(frozen=True, slots=True)
class FittedMedia:
    """The digests of the media that a bundle was fitted on: of files and of first frames."""

    key: bytes
    files: frozenset[str]
    pictures: frozenset[str]

    @classmethod
    def of(cls, bundle: Bundle) -> FittedMedia | None:
        """Return the list in ``bundle``; ``None`` for a bundle that has none."""
        if FITTED not in bundle.spec.files:
            return None
        content = json.loads(bundle.read(FITTED))
        key = bytes.fromhex(content["key"])
        return cls(key, frozenset(content["files"]), frozenset(content["pictures"]))

    def find(self, path: Path, decoder: Decoder) -> str:
        """Return ``file`` if the bundle was fitted on the bytes of the file at ``path``,
        ``picture`` if on a medium that begins with nearly the same picture, and ``no`` otherwise.

        Such a medium is a copy in another encoding, an excerpt, or a manipulation of the same
        footage.
        """
        try:
            if path.is_file() and _digest(self.key, _sha256(path)) in self.files:
                return SAME_FILE
        except OSError:
            return NOT_FITTED
        found = any(_digest(self.key, s) in self.pictures for s in _signs(path, decoder, _DOUBTFUL))
        return SAME_PICTURE if found else NOT_FITTED


def write_fitted(folder: Path, media: Iterable[tuple[str, Path]], decoder: Decoder) -> None:
    """Write ``fitted.json`` into ``folder`` for ``media``, each with the SHA-256 of its file.

    A file that can no longer be read is listed by its SHA-256 alone.
    """
    key = secrets.token_bytes(16)
    files: set[str] = set()
    pictures: set[str] = set()
    for sha256, path in media:
        files.add(_digest(key, bytes.fromhex(sha256)))
        pictures.update(_digest(key, signs) for signs in _signs(path, decoder))
    # Sorted, so that the order does not tell which picture belongs to which file.
    content = {"key": key.hex(), "files": sorted(files), "pictures": sorted(pictures)}
    atomic_write_text(folder / FITTED, json.dumps(content, indent=0) + "\n")


def _digest(key: bytes, content: bytes) -> str:
    return hmac.digest(key, content, "sha256")[:10].hex()


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _signs(path: Path, decoder: Decoder, doubtful: int = 0) -> list[bytes]:
    """Return the signs of the differences between neighbouring parts of the first frame, as bytes.

    With ``doubtful``, all that the signs of so many of the smallest differences may have been too.
    The list is empty if the medium cannot be decoded, or is too plain to be told from others.
    """
    try:
        with open_medium(path, decoder) as media:
            frame = frame_at(media)
    except MediaError:
        return []
    grey = Image.fromarray(frame.pixels).convert("L")
    small = grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX)
    steps = np.diff(np.asarray(small, np.float32), axis=1).ravel()
    if np.abs(steps).mean() < _FLAT:
        return []
    turned = np.arange(2**doubtful)[:, None] >> np.arange(doubtful) & 1
    signs = np.tile(steps > 0, (len(turned), 1))
    signs[:, np.argsort(np.abs(steps), kind="stable")[:doubtful]] ^= turned.astype(bool)
    return [row.tobytes() for row in np.packbits(signs, axis=1)]
