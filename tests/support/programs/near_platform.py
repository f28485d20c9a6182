"""``deepfake`` beside a fake platform: links to it are opened although it is on loopback, and
another worker soon takes over the links of a dead one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from deepfake_service.examination import workers
from tests.support.fake_platform import resolving
from tests.support.programs.short_leases import BEAT_S, LEASE_S

AUTHORITY = "TEST_PLATFORM_AUTHORITY"
"""Names the file with the certificate of the platform's authority."""


def main() -> None:
    """Run the command that the arguments name."""
    workers.BEAT_S, workers.LEASE_S = BEAT_S, LEASE_S
    from deepfake_service import worker
    from deepfake_service.capture.fetches import Way
    from deepfake_service.cli.app import main as run
    from deepfake_service.platform.networks import CallbackHosts

    authority = Path(os.environ[AUTHORITY]).read_text()
    way = Way("KR", CallbackHosts.of("127.0.0.1"), authority)
    worker.Way = lambda browser, **_: replace(way, browser=browser)  # type: ignore[misc, assignment]
    with resolving({}):
        run()


if __name__ == "__main__":
    main()
