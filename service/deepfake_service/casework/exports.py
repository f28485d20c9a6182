"""Originals for an authority: opened in memory and sealed to its public key as they are written."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pyrage

from deepfake_service.errors import FieldError, InvalidRequest
from deepfake_service.files import private_folder
from deepfake_service.storage import Vault

EXPORT_FOLDER = "exports"
KEPT_S = 3600.0
"""After which an export that nobody fetched to its end is deleted."""


class Exports:
    """Writes exports into a folder: what lies there only its recipient can open."""

    def __init__(self, vault: Vault, folder: Path) -> None:
        self._vault = vault
        self._folder = folder

    def sealed(self, blob: str, key: bytes, recipient: str) -> Path:
        """A file with the medium encrypted to ``recipient``, an age public key.

        Raises:
            InvalidRequest: the recipient is none.
        """
        try:
            to = pyrage.x25519.Recipient.from_str(recipient)
        except pyrage.RecipientError as error:
            wrong = FieldError("recipient", "not an age public key (age1...)")
            raise InvalidRequest("The recipient is no public key.", errors=[wrong]) from error
        private_folder(self._folder)
        self._tidy()
        path = self._folder / f"{secrets.token_hex(16)}.age"
        try:
            with self._vault.open(blob, key) as medium, path.open("xb") as out:
                pyrage.encrypt_io(medium, out, [to])
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _tidy(self) -> None:
        for path in self._folder.glob("*.age"):
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink(missing_ok=True)
