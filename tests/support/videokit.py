"""Send videos to ``/v1/videos`` of an app under test, end their jobs, and sweep what is due."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx

from deepfake_service.platform.db import Job, Media
from deepfake_service.platform.db.enums import JobState

# ``conftest.Service`` of the unit tests.
Service = Any

VIDEO = b"still 1 120 " + bytes(range(256)) * 300


async def submit(service: Service, video: bytes = VIDEO, **fields: str) -> httpx.Response:
    headers = (
        {"Idempotency-Key": fields.pop("idempotency_key")} if "idempotency_key" in fields else {}
    )
    return await service.client.post(
        "/v1/videos", files={"file": ("secret-name.mp4", video)}, data=fields, headers=headers
    )


def sweep(service: Service) -> None:
    service.app.state.shared.services.sweeps.sweep()
    service.app.state.shared.services.orphans.delete()


def end(service: Service, job_id: str, expires_at: datetime) -> None:
    """End a job as a worker would, with media that expire at ``expires_at``."""
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        job.state = JobState.SUCCEEDED
        session.get_one(Media, job.media_id).expires_at = expires_at
