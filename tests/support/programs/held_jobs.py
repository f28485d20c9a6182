"""``deepfake`` with the pauses of ``short_leases``, whose examinations have small chunks, and stop
before the second one as long as a test holds them (``Site.hold``). Captures stop before what was
made of them is recorded.

So a test can kill a worker in the middle of its work without a video or an archive that takes long.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tests.support.programs import short_leases

CHUNK_FRAMES = 4
HOLD = "hold"
"""A file in the folder for temporary files. The work goes on when it is deleted."""
POLL_S = 0.05


def main() -> None:
    """Run the command that the arguments name."""
    from deepfake_service.capture.imports import Imports
    from deepfake_service.examination import steps as examination

    hold = Path(os.environ["TMPDIR"]) / HOLD
    examine_chunk = examination.Examination.examine_chunk

    def held(self: examination.Examination, job_id: str, number: int) -> None:
        while number > 0 and hold.exists() and not self.stopping.wait(POLL_S):
            pass
        examine_chunk(self, job_id, number)

    end = Imports._end

    def held_end(self: Imports, *arguments: Any, **options: Any) -> bool:
        while hold.exists():
            time.sleep(POLL_S)
        return end(self, *arguments, **options)

    examination.CHUNK_FRAMES = CHUNK_FRAMES
    examination.Examination.examine_chunk = held  # type: ignore[method-assign]
    Imports._end = held_end  # type: ignore[method-assign]
    short_leases.main()


if __name__ == "__main__":
    main()
