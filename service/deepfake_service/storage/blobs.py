"""The blob store: sealed bytes by name, in a folder or an object store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from deepfake_service.errors import StorageError, StorageUnavailable
from deepfake_service.files import private_folder

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

BLOB_FOLDER = "blobs"
"""In the data directory, where no URL names another store."""
PART_BYTES = 8 * 1024 * 1024
"""Of an upload to an object store: S3 takes at least 5 MiB, and at most 10,000 parts."""
CONCURRENT_PARTS = 2
"""Parts held in memory at a time, so that one upload takes a few of ``PART_BYTES`` and no more."""

# An object store that does not answer must not hold a request for the three minutes that the
# library takes by default.
_CLIENT: ClientConfig = {"timeout": timedelta(seconds=30), "connect_timeout": timedelta(seconds=5)}
_RETRY: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}


class Blobs(Protocol):
    """Sealed bytes by name. Names are ids of ours with slashes between."""

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep ``chunks`` under ``name``: wholly, or not at all where they end with an error."""
        ...

    def put_bytes(self, name: str, content: bytes) -> None:
        """Keep ``content`` under ``name``, in place of what was there."""
        ...

    def open(self, name: str) -> Blob:
        """What lies under ``name``, to be read anywhere.

        Raises:
            BlobMissing: nothing does.
        """
        ...

    def delete(self, name: str) -> None:
        """Forget ``name``, whether or not there is something."""
        ...

    def older_than(self, prefix: str, moment: datetime) -> Iterator[str]:
        """Names below ``prefix`` that were last written before ``moment``."""
        ...

    def delete_unfinished(self, moment: datetime) -> None:
        """Delete what uploads left that were broken off before ``moment``, where that is ours to
        do: an object store has rules for it."""
        ...


class Blob(Protocol):
    """See ``crypto.RandomAccess``."""

    @property
    def size(self) -> int: ...

    def read_at(self, offset: int, length: int) -> bytes: ...


class BlobMissing(StorageError):
    """What should be in the blob store is not there."""


class ObjectBlobs:
    """Blobs in any store that obstore knows."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        with _translating():
            await obstore.put_async(
                self._store,
                name,
                chunks,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=CONCURRENT_PARTS,
            )

    def put_bytes(self, name: str, content: bytes) -> None:
        with _translating():
            obstore.put(self._store, name, content)

    def open(self, name: str) -> _ObjectBlob:
        with _translating():
            return _ObjectBlob(self._store, name, int(obstore.head(self._store, name)["size"]))

    def delete(self, name: str) -> None:
        with _translating():
            try:
                obstore.delete(self._store, name)
            except (NotFoundError, FileNotFoundError):
                return  # a folder says so, an object store does not

    def older_than(self, prefix: str, moment: datetime) -> Iterator[str]:
        with _translating():
            for page in obstore.list(self._store, prefix):
                yield from (m["path"] for m in page if m["last_modified"] < moment)

    def delete_unfinished(self, moment: datetime) -> None:
        # A folder's store writes NAME#1 and renames it; it does not list these.
        for path in self._folder.rglob("*#*") if self._folder else ():
            try:
                if path.stat().st_mtime < moment.timestamp():
                    path.unlink()
            except FileNotFoundError:
                continue


class _ObjectBlob:
    def __init__(self, store: ObjectStore, name: str, size: int) -> None:
        self._store = store
        self._name = name
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        with _translating():
            part = obstore.get_range(self._store, self._name, start=offset, length=length)
        return bytes(part)  # obstore's own type is not one that others take


@contextmanager
def _translating() -> Iterator[None]:
    """The library's errors as ours, without their texts, which name buckets and paths."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise BlobMissing from error
    except OSError as error:
        raise StorageUnavailable from error
    except BaseError as error:
        raise StorageUnavailable from error


def _client() -> ClientConfig:
    # Options that are given replace those of the environment, this one too: a store of one's own
    # on a private network may speak plain HTTP, for what goes there is sealed.
    if os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"):
        return {**_CLIENT, "allow_http": True}
    return _CLIENT


def open_blobs(url: str | None, folder: Path) -> ObjectBlobs:
    """The store at ``url`` (``s3://bucket/prefix``, ``gs://``, ``az://``, ``file:///``), or the
    local ``folder``.

    Raises:
        StorageError: the URL cannot be read; DataDirError: the folder cannot be made.
    """
    if url is None:
        private_folder(folder)
        return ObjectBlobs(LocalStore(folder, automatic_cleanup=True), folder)
    try:
        if url.startswith("file:"):
            return ObjectBlobs(from_url(url))
        return ObjectBlobs(from_url(url, client_options=_client(), retry_config=_RETRY))
    except (BaseError, ValueError, OSError) as error:
        raise StorageError("the URL of the blob store cannot be read") from error
