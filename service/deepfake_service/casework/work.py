"""What jobs are made, read and ended with, together."""

from __future__ import annotations

from dataclasses import dataclass

from deepfake_service.casework.core.cases import Cases
from deepfake_service.casework.core.queries import Reading
from deepfake_service.casework.evidence_store import Evidence
from deepfake_service.casework.exports import Exports
from deepfake_service.casework.hash_bank import Known
from deepfake_service.casework.notice_desk import Notices
from deepfake_service.casework.retention import Lifecycle
from deepfake_service.casework.reviews import Reviews
from deepfake_service.casework.submissions import Intake
from deepfake_service.casework.webhook_deliveries import WebhookSecrets


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
