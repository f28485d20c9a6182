"""Exports of original media, encrypted to the public key of the authority that receives them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pyrage

from deepfake_service.casework.core.missing_blobs import missing_as
from deepfake_service.casework.core.queries import Queries
from deepfake_service.db import Database
from deepfake_service.errors import FieldError, InvalidRequest, NotFound
from deepfake_service.files import private_folder
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action, append_entry
from deepfake_service.storage import Vault

EXPORT_FOLDER = "exports"
KEPT_FOR = timedelta(hours=1)
"""Age at which an export that was never sent is deleted."""
DELETED_EVERY_S = 60.0
"""How often each service looks for such exports in its own data directory."""
PIECE_BYTES = 256 * 1024


def open_once(export: Path) -> BinaryIO:
    """Open a written export, and delete its name: its space is free once the file is closed.

    A client may leave before the first piece is asked for, and nothing would be deleted after that.
    """
    file = export.open("rb")
    export.unlink(missing_ok=True)
    return file


def pieces_of(export: BinaryIO) -> Iterator[bytes]:
    """Yield an opened export, and close it."""
    with export:
        while piece := export.read(PIECE_BYTES):
            yield piece


class Exports:
    """Writes exports to a folder. Only their recipients can decrypt them."""

    def __init__(self, database: Database, vault: Vault, queries: Queries, folder: Path) -> None:
        self._database = database
        self._vault = vault
        self._queries = queries
        self._folder = folder

    def export(
        self,
        caller: Caller,
        case_id: str,
        media_id: str,
        recipient: str,
        *,
        check_space: Callable[[int], object],
    ) -> Path:
        """Write a medium encrypted to ``recipient``, an age public key, and return the file.

        The export is audited when the file is complete: the chain of custody must not name one that
        failed, and nothing leaves without its entry.

        Args:
            check_space: raises an error if there is no space for so many bytes.

        Raises:
            NotFound, ImageryWithheld: see ``Queries.medium``.
            InvalidRequest: the recipient is not an age public key.
        """
        blob, key = self._queries.medium(caller, case_id, media_id)
        with missing_as(NotFound, case_id=case_id, media_id=media_id):
            check_space(self._vault.blobs.open(blob).size)
            path = self._written(blob, key, recipient)
        try:
            with self._database.write() as session:
                append_entry(session, caller.actor, Action.MEDIA_EXPORTED, media_id)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _written(self, blob: str, key: bytes, recipient: str) -> Path:
        try:
            public_key = pyrage.x25519.Recipient.from_str(recipient)
        except pyrage.RecipientError as error:
            invalid = FieldError("recipient", "not an age public key (age1...)")
            raise InvalidRequest(
                "The recipient is not an age public key. Send one that begins with age1.",
                errors=[invalid],
            ) from error
        private_folder(self._folder)
        path = self._folder / f"{secrets.token_hex(16)}.age"
        try:
            with self._vault.open(blob, key) as medium, path.open("xb") as out:
                pyrage.encrypt_io(medium, out, [public_key])
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def delete_old(self) -> None:
        """Delete exports that were begun long ago, whose process died before it sent them."""
        before = (self._database.clock() - KEPT_FOR).timestamp()
        for path in self._folder.glob("*.age"):
            try:
                if path.stat().st_mtime < before:
                    path.unlink()
            except FileNotFoundError:
                continue  # it was sent meanwhile
