"""``deepfake`` beside a fake platform: links to it are opened although it is on loopback, and
another worker soon takes over the links of a dead one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from deepfake_service.examination import workers
from tests.support.fake_platform import resolving
from tests.support.programs.short_leases import BEAT_S, LEASE_S

AUTHORITY = "TEST_PLATFORM_AUTHORITY"
"""Names the file with the certificate of the platform's authority."""


def main() -> None:
    """Run the command that the arguments name."""
    workers.BEAT_S, workers.LEASE_S = BEAT_S, LEASE_S
    from deepfake_service import worker
    from deepfake_service.capture.fetches import Fetches
    from deepfake_service.cli.app import main as run
    from deepfake_service.platform.networks import CallbackHosts

    authority = Path(os.environ[AUTHORITY]).read_text()

    def fetches(*given: Any) -> Fetches:
        *common, _, _, browser = given  # registries are not asked
        here = CallbackHosts.of("127.0.0.1")
        return Fetches(*common, "KR", None, browser, here, authority)

    worker.Fetches = fetches  # type: ignore[misc, assignment]
    with resolving({}):
        run()


if __name__ == "__main__":
    main()
