"""Exports of original media, encrypted to the public key of the authority that receives them."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path

import pyrage

from deepfake_service.clock import Clock, utc_now
from deepfake_service.errors import FieldError, InvalidRequest
from deepfake_service.files import private_folder
from deepfake_service.storage import Vault

EXPORT_FOLDER = "exports"
KEPT_FOR = timedelta(hours=1)
"""Age at which an export that was not fetched completely is deleted."""


class Exports:
    """Writes exports to a folder. Only their recipients can decrypt them."""

    def __init__(self, vault: Vault, folder: Path, clock: Clock = utc_now) -> None:
        self._vault = vault
        self._folder = folder
        self._clock = clock

    def sealed(self, blob: str, key: bytes, recipient: str) -> Path:
        """Write a medium encrypted to ``recipient``, an age public key, and return the file.

        Raises:
            InvalidRequest: the recipient is not an age public key.
        """
        try:
            public_key = pyrage.x25519.Recipient.from_str(recipient)
        except pyrage.RecipientError as error:
            invalid = FieldError("recipient", "not an age public key (age1...)")
            raise InvalidRequest("The recipient is not a public key.", errors=[invalid]) from error
        private_folder(self._folder)
        self._delete_old()
        path = self._folder / f"{secrets.token_hex(16)}.age"
        try:
            with self._vault.open(blob, key) as medium, path.open("xb") as out:
                pyrage.encrypt_io(medium, out, [public_key])
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _delete_old(self) -> None:
        before = (self._clock() - KEPT_FOR).timestamp()
        for path in self._folder.glob("*.age"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
