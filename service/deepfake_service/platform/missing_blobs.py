"""Files that a row names and that the store does not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deepfake_service.platform.errors import ServiceError
from deepfake_service.platform.logs import logger
from deepfake_service.platform.storage import BlobMissing

_log = logger("deepfake_service.records")


@contextmanager
def missing_as(error: type[ServiceError], **ids: str) -> Iterator[None]:
    """Raise ``error`` where a file is missing.

    Most often it was deleted after its row was read. It may also have been lost, so ``ids``, which
    say whose it was, are logged.
    """
    try:
        yield
    except BlobMissing as missing:
        _log.warning("file_missing", **ids)
        raise error from missing
