"""How much space the data directory has left, for what is about to be stored there."""

from __future__ import annotations

import shutil

from deepfake_service.platform.errors import Code, Overloaded
from deepfake_service.platform.settings import Settings

MIN_FREE_BYTES = 2 << 30
"""What must stay free. Below it, submissions and exports are refused, and links and the media of
captures wait, so that a long video cannot fill the disk: everything else still works."""
SHORT = "The server is short of disk space. The work goes on by itself once there is room."
"""Why something waits, as a sentence."""


class DiskSpace:
    """The space on the disk of the data directory. Where the database and the blobs are elsewhere,
    only exports are written there."""

    def __init__(self, settings: Settings) -> None:
        self._is_elsewhere = settings.database_url is not None and settings.blob_url is not None
        self._folder = settings.data_dir
        self._must_stay = 0 if self._is_elsewhere else MIN_FREE_BYTES

    def free_bytes(self) -> int:
        """Return the free space."""
        return shutil.disk_usage(self._folder).free

    def has_room(self, upcoming: int = 0) -> bool:
        """Return whether ``require`` would pass."""
        return self._is_elsewhere or self.free_bytes() >= self._must_stay + upcoming

    def require(self, upcoming: int = 0, *, exporting: bool = False) -> None:
        """Raise ``Overloaded`` if less than must stay free is left, or would be after ``upcoming``
        bytes were stored, or written to the data directory while ``exporting``."""
        if self._is_elsewhere and not exporting:
            return
        free = self.free_bytes()
        if free < self._must_stay:
            raise Overloaded(code=Code.DISK_FULL)
        if free < self._must_stay + upcoming:
            raise Overloaded(
                f"The disk of the service is nearly full: {upcoming} bytes are to be written, and "
                f"{self._must_stay} must stay free.",
                code=Code.DISK_FULL,
            )
