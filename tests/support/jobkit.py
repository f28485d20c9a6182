"""Jobs of the unit tests' service, which has no worker, and the end of their examinations."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from deepfake_service.evidence.bundle.artifacts import Material
from deepfake_service.evidence.listings import listed_result
from deepfake_service.examination.steps import end_job
from deepfake_service.platform.db import Case, Job
from deepfake_service.platform.db.enums import JobState, Role
from tests.support import evidencekit as kit

# ``conftest.Service`` of the unit tests; conftest modules cannot be imported.
Service = Any


def headers(service: Service, role: Role) -> dict[str, str]:
    """Return the headers of a request by the account with this role."""
    return {"Authorization": f"Bearer {service.keys[role]}"}


def blobs(service: Service) -> list[Path]:
    """Return the files in the store of media and results."""
    folder = service.app.state.shared.settings.data_dir / "blobs"
    return [path for path in folder.rglob("*") if path.is_file()]


async def post_video(
    service: Service, video: bytes, role: Role = Role.PIPELINE, **fields: str
) -> httpx.Response:
    """Submit a video and return the answer."""
    answer: httpx.Response = await service.client.post(
        "/v1/videos", files={"file": ("v", video)}, data=fields, headers=headers(service, role)
    )
    return answer


async def examined(
    service: Service,
    video: bytes,
    pictures: bytes | None = None,
    role: Role = Role.PIPELINE,
    **fields: str,
) -> dict[str, Any]:
    """Submit ``video``, and end its job as a worker does that sees the ``pictures`` in it."""
    answer = await post_video(service, video, role, **fields)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    if job["state"] != JobState.SUCCEEDED:  # an equal submission, which has ended
        end(service, job["id"], kit.material(pictures or video))
    return job


def end(service: Service, job_id: str, material: Material) -> None:
    """End a job as a worker does that gathers this material."""
    services = service.app.state.shared.services
    with service.database.read() as session:
        row = session.get_one(Job, job_id)
        key = services.queries._vault.case_key(session.get_one(Case, row.case_id))
    services.evidence_store.store_material(row, key, material)
    services.minor_flags.compare_job(row, material.examination["hashes"])
    result = material.examination["result"]
    listed = listed_result(result, material)
    with service.database.write() as session:
        row = session.get_one(Job, job_id)
        end_job(session, row, key, result, listed, timedelta(days=7))
