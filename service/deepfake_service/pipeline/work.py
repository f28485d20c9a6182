"""What jobs are made, read and ended with, together."""

from __future__ import annotations

from dataclasses import dataclass

from deepfake_service.pipeline.cases import Cases
from deepfake_service.pipeline.deliveries import WebhookSecrets
from deepfake_service.pipeline.evidence import Evidence
from deepfake_service.pipeline.exports import Exports
from deepfake_service.pipeline.intake import Intake
from deepfake_service.pipeline.known import Known
from deepfake_service.pipeline.lifecycle import Lifecycle
from deepfake_service.pipeline.notices import Notices
from deepfake_service.pipeline.reading import Reading
from deepfake_service.pipeline.reviews import Reviews


@dataclass(frozen=True, slots=True)
class Work:
    """What jobs are made, read and ended with."""

    intake: Intake
    cases: Cases
    reading: Reading
    lifecycle: Lifecycle
    webhook_secrets: WebhookSecrets
    exports: Exports
    evidence: Evidence
    notices: Notices
    known: Known
    reviews: Reviews
