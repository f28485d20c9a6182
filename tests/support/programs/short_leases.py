"""``deepfake`` with shorter pauses, which tests would otherwise wait for: another worker takes over
the jobs of a dead one sooner, and a webhook that failed is soon sent again."""

from __future__ import annotations

from datetime import timedelta

from deepfake_service.examination import workers
from deepfake_service.platform import webhooks
from tests.support.programs.constants import replace_constants

BEAT_S, LEASE_S = 0.8, 4.0
"""As many beats as in production. A living worker must not look dead on a busy machine: its thread
that renews the lease needs some milliseconds within these seconds."""
FIRST_BACK_OFF = timedelta(seconds=1)


def main() -> None:
    """Run the command that the arguments name."""
    workers.BEAT_S, workers.LEASE_S = BEAT_S, LEASE_S
    webhooks.BACK_OFF = (FIRST_BACK_OFF, *webhooks.BACK_OFF[1:])
    from deepfake_service.cli.app import main as run

    replace_constants()
    run()


if __name__ == "__main__":
    main()
