"""Exports of original media, encrypted to the public key of the authority that receives them."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import BinaryIO

import pyrage

from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.platform.db import Database
from deepfake_service.platform.disk_space import DiskSpace
from deepfake_service.platform.errors import NotFound, invalid_field
from deepfake_service.platform.files import private_folder
from deepfake_service.platform.storage import Vault
from deepfake_service.platform.storage.blobs import missing_as
from deepfake_service.review.queries import Queries

EXPORT_FOLDER = "exports"


class Exports:
    """Writes exports, which only their recipients can decrypt, to files in a folder. The files have
    no names: their space is free once they are closed, even if the process dies."""

    def __init__(
        self, database: Database, vault: Vault, disk: DiskSpace, queries: Queries, folder: Path
    ) -> None:
        self._database = database
        self._vault = vault
        self._disk = disk
        self._queries = queries
        self._folder = folder

    def export(self, caller: Caller, case_id: str, media_id: str, recipient: str) -> BinaryIO:
        """Return a file with a medium encrypted to ``recipient``, an age public key.

        The export is audited when the file is complete: the chain of custody must not name one that
        failed, and nothing leaves without its entry. Raises the errors of ``DiskSpace.require``,
        ``Queries.medium`` and ``recipient_of``.
        """
        _, blob, key = self._queries.medium(caller, case_id, media_id, for_export=True)
        public_key = recipient_of(recipient)
        with contextlib.ExitStack() as stack:
            with missing_as(NotFound, case_id=case_id, media_id=media_id):
                self._disk.require(self._vault.blobs.open(blob).size, exporting=True)
                private_folder(self._folder)
                file = stack.enter_context(tempfile.TemporaryFile(dir=self._folder))
                with self._vault.open(blob, key) as medium:
                    pyrage.encrypt_io(medium, file, [public_key])
            file.seek(0)
            with self._database.write() as session:
                append_entry(session, caller.actor, Action.MEDIA_EXPORTED, media_id)
            stack.pop_all()  # the answer closes the file
        return file


def recipient_of(text: str) -> pyrage.x25519.Recipient:
    """Return an age public key; ``InvalidRequest`` if ``text`` is none."""
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise invalid_field("recipient", "not an age public key (age1...)") from error
