"""Tasks that tests run in confined processes, and their bounds."""

from __future__ import annotations

import io

from deepfake_models.sandbox.pool import ProcessPool, TaskBounds
from tests.support import attacks

TASKS = (
    attacks.PAYLOAD,
    attacks.CRASH,
    attacks.SPIN,
    attacks.SWELL,
    attacks.FOREIGN_CALL,
    attacks.MODULES,
    attacks.READ,
    attacks.KEEP,
)
BOUNDS = TaskBounds(timeout_s=60.0, memory_bytes=6 << 30)


def run(pool: ProcessPool, task: str, argument: bytes = b"", bounds: TaskBounds = BOUNDS) -> bytes:
    return pool.run(task, io.BytesIO(b"source"), argument, bounds)
