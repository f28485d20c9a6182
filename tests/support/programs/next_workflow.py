"""A later ``deepfake``, whose workflow has other steps, with the pauses of ``short_leases``."""

from __future__ import annotations

from deepfake_service.examination import queue
from tests.support.programs import short_leases

if __name__ == "__main__":
    queue.WORKFLOW_VERSION = "2"
    short_leases.main()
