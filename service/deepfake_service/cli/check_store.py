"""``deepfake check-store``: try the store of encrypted media and results, and show what it says."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from deepfake_service.clock import utc_now
from deepfake_service.db import new_id
from deepfake_service.errors import StorageError
from deepfake_service.security.records import require_records
from deepfake_service.settings import Settings
from deepfake_service.storage import BLOB_FOLDER, open_blobs

_FOLDER = "checks/"
_CONTENT = b"written by deepfake check-store\n"


class StoreUnusable(StorageError):
    """The store cannot be used. The message has what it, or the network, reported."""


def check_store(settings: Settings) -> None:
    """Write, list, read and delete a small blob.

    Raises:
        SettingsError: there is no store in the data directory. StorageError: the URL is invalid.
        StoreUnusable: a step failed.
    """
    if settings.blob_url is None:
        require_records(settings)
    blobs = open_blobs(settings.blob_url, settings.data_dir / BLOB_FOLDER)
    name, step = _FOLDER + new_id(), "written"
    try:
        blobs.put_bytes(name, _CONTENT)
        step = "listed"
        is_listed = name in list(blobs.older_than(_FOLDER, utc_now() + timedelta(days=365)))
        step = "read"
        blob = blobs.open(name)
        content = blob.read_at(0, blob.size)
        step = "deleted"
        blobs.delete(name)
    except StorageError as error:
        if step in ("listed", "read"):
            with contextlib.suppress(StorageError):
                blobs.delete(name)
        # Unlike the log, a terminal may show the text, which names the address and the bucket.
        raise StoreUnusable(
            f"A blob could not be {step}. The store or the network reported: "
            f"{error.__cause__ or error}"
        ) from error
    if content != _CONTENT or not is_listed:
        raise StoreUnusable("The store does not return what was written to it.")
