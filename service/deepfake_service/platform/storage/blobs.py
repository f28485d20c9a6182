"""The blob store: encrypted bytes by name, in a folder or an object store."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from deepfake_service.platform.errors import (
    ServiceError,
    StorageError,
    StorageUnavailable,
)
from deepfake_service.platform.files import private_folder
from deepfake_service.platform.logs import logger
from deepfake_service.platform.settings import CREDENTIALS

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

BLOB_FOLDER = "blobs"
"""The folder of the data directory that holds blobs unless a URL names another store."""
STORE_MISSING = (
    "The bucket or folder of file storage is missing. Create it, or mount what it is on."
)
PART_BYTES = 8 * 1024 * 1024
"""Size of a part of an upload to an object store. S3 requires at least 5 MiB and accepts at most
10,000 parts."""
CONCURRENT_PARTS = 2
"""Parts of one upload that are in memory at a time."""

# The library waits for three minutes by default. A store that does not answer must not block a
# request for that long.
_CLIENT: ClientConfig = {"timeout": timedelta(seconds=30), "connect_timeout": timedelta(seconds=5)}
_RETRY: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
_PREFIXES = {"s3": "aws_", "gs": "google_", "az": "azure_"}
"""How the names of each provider's credentials begin."""

_log = logger("deepfake_service.records")


class BlobMissing(StorageError):
    """A file is missing from the blob store."""


class Blobs:
    """Encrypted bytes by name, in any store that obstore supports. Names are generated ids,
    separated by slashes."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Store ``chunks`` as ``name``, or nothing if they end with an error."""
        with _writing():
            await obstore.put_async(
                self._store,
                name,
                chunks,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=CONCURRENT_PARTS,
            )

    def put_bytes(self, name: str, content: bytes) -> None:
        """Store ``content`` as ``name``, replacing a blob of that name."""
        with _writing():
            obstore.put(self._store, name, content)

    def create_bytes(self, name: str, content: bytes) -> None:
        """Store ``content`` as ``name``, unless there is a blob of that name."""
        with _writing():
            try:
                obstore.put(self._store, name, content, mode="create")
            except (AlreadyExistsError, FileExistsError):
                return

    def open(self, name: str) -> Blob:
        """Return the blob ``name`` for reading at any position; ``BlobMissing`` if there is no such
        blob."""
        with _translating():
            return Blob(self._store, name, int(obstore.head(self._store, name)["size"]))

    def delete(self, *names: str) -> None:
        """Delete those of the blobs ``names`` that exist."""
        with _translating():
            for name in names:
                # Folders raise this for a missing file, object stores do not.
                with suppress(NotFoundError, FileNotFoundError):
                    obstore.delete(self._store, name)

    def older_than(self, prefix: str, moment: datetime) -> Iterator[str]:
        """Yield the names below ``prefix`` that were last written before ``moment``."""
        with _translating():
            for page in obstore.list(self._store, prefix):
                yield from (m["path"] for m in page if m["last_modified"] < moment)

    def delete_unfinished(self, moment: datetime) -> None:
        """Delete the remains of uploads that were interrupted before ``moment``. This concerns
        folders only: object stores have lifecycle rules for it."""
        # The folder store writes NAME#1 and renames it, and does not list these files.
        for path in self._folder.rglob("*#*") if self._folder else ():
            try:
                if path.stat().st_mtime < moment.timestamp():
                    path.unlink()
            except FileNotFoundError:
                continue


_UNREADABLE = f"(os error {errno.EIO})"
"""How the library's errors end that have this cause. They have no number."""


class Blob:
    """A blob that is read at any position."""

    def __init__(self, store: ObjectStore, name: str, size: int) -> None:
        self._store = store
        self._name = name
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``. The range must be inside."""
        with _translating():
            part = obstore.get_range(self._store, self._name, start=offset, length=length)
        return bytes(part)  # obstore returns its own buffer type


@contextmanager
def _translating() -> Iterator[None]:
    """Translate the library's errors, and drop their texts, which name buckets and paths."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise BlobMissing from error
    except (OSError, BaseError) as error:
        if _UNREADABLE in str(error):  # waiting does not help: it is this file, not the store
            raise StorageError(
                "A file of the blob store cannot be read: the disk reports an error (EIO)."
            ) from error
        raise StorageUnavailable from error


@contextmanager
def _writing() -> Iterator[None]:
    """Translate errors as ``_translating`` does. What is not found while a blob is written is the
    store itself."""
    try:
        with _translating():
            yield
    except BlobMissing as error:
        raise StorageUnavailable(STORE_MISSING) from error.__cause__


def _credentials(url: str) -> dict[str, str]:
    """Return the credentials of a provider that are files in the folder of secrets.

    As with settings, a variable that is set comes before the file of its name. ``StorageError`` if
    a file cannot be read.
    """
    folder, prefix = os.environ.get(CREDENTIALS), _PREFIXES.get(url.partition(":")[0])
    if not folder or prefix is None:
        return {}
    try:
        return {
            path.name.lower(): path.read_text(encoding="utf-8").strip()
            for path in Path(folder).iterdir()
            if path.name.lower().startswith(prefix) and path.name.upper() not in os.environ
        }
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"The credentials of the blob store cannot be read. Check that the files in "
            f"{CREDENTIALS} are text, and who may read them."
        ) from error


def _client() -> ClientConfig:
    # Options passed here replace those of the environment, so this one is passed on. A store on a
    # private network may use plain HTTP, because blobs are encrypted before they are sent.
    if os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"):
        return {**_CLIENT, "allow_http": True}
    return _CLIENT


def _remote(url: str, config: S3Config | None = None) -> Blobs:
    options = cast("S3Config", {**_credentials(url), **(config or {})})
    return Blobs(from_url(url, config=options, client_options=_client(), retry_config=_RETRY))


def open_blobs(url: str | None, folder: Path) -> Blobs:
    """Open the store at ``url``, or the local ``folder`` if there is no URL.

    URLs have the forms ``s3://bucket/prefix``, ``gs://``, ``az://`` and ``file:///``.
    ``StorageError`` if the URL is invalid, or its folder does not exist; ``DataDirError`` if
    ``folder`` cannot be created.
    """
    if url is None:
        return _local(private_folder(folder))
    try:
        if not url.startswith("file:"):
            return _remote(url)
        parts = urlsplit(url)  # of this machine, by RFC 8089
        given = Path(unquote(parts.path))
        if parts.netloc not in ("", "localhost") or not given.is_absolute():
            raise ValueError(url)
    except (BaseError, ValueError, OSError) as error:
        raise StorageError(
            "The URL in DEEPFAKE_BLOB_URL is invalid. Give one such as s3://bucket/prefix, "
            "gs://bucket, az://container or file:///folder."
        ) from error
    if not given.is_dir():  # not created: what is to be mounted there would hide it, or be missed
        raise StorageError(
            "The folder of DEEPFAKE_BLOB_URL does not exist. Create it, or mount what it is on."
        )
    return _local(given)


def _local(folder: Path) -> Blobs:
    return Blobs(LocalStore(folder, automatic_cleanup=True), folder)


def open_checkpoint_store(url: str) -> Blobs:
    """Open the object store at ``url`` for checkpoints of the audit log.

    S3 requires a checksum of objects that a lock protects, which is sent with each.
    ``StorageError`` if the URL is invalid.
    """
    try:
        if url.startswith("file:"):
            return Blobs(from_url(url))
        return _remote(url, {"checksum_algorithm": "sha256"} if url.startswith("s3:") else None)
    except (BaseError, ValueError, OSError) as error:
        raise StorageError(
            "A URL in DEEPFAKE_AUDIT_CHECKPOINTS is invalid. Give URLs such as s3://bucket/prefix, "
            "separated by commas."
        ) from error


@contextmanager
def missing_as(error: ServiceError | type[ServiceError], **ids: str) -> Iterator[None]:
    """Raise ``error`` where a file is missing. Most often it was deleted after its row was read. It
    may also have been lost, so ``ids``, which say whose it was, are logged."""
    try:
        yield
    except BlobMissing as missing:
        _log.warning("file_missing", **ids)
        raise error from missing
