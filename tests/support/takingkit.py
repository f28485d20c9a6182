"""A worker that takes over jobs, without a model."""

from __future__ import annotations

from typing import Any

from deepfake_service.examination.steps import Examination

OF_TAKER = "f" * 64
"""SHA-256 of its model bundle."""
TAKE_OVER_S = 60.0


class Steps(Examination):
    """The real step that begins a job anew; the others need a model."""

    def __init__(self, bundle_sha256: str) -> None:
        class Bundle:
            sha256 = bundle_sha256

        self._scorer: Any = type("Scorer", (), {"bundle": Bundle})()
