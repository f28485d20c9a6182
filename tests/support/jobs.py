"""Jobs of the app under test, which has no worker: submit, end, decide, delete and sweep."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from deepfake_service.cases.cases import material_of
from deepfake_service.cli.app import app as command
from deepfake_service.evidence.bundle.artifacts import Material
from deepfake_service.evidence.bundle.builder import VERDICT
from deepfake_service.evidence.bundle.perceptual_hashes import MediaHashes
from deepfake_service.evidence.bundle.zip_format import member
from deepfake_service.evidence.listings import listed_result
from deepfake_service.examination.steps import end_job
from deepfake_service.platform.db import AuditEntry, Case, Job, Media
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.settings import Settings
from deepfake_service.retention.orphans import delete_orphans
from tests.support import exhibits
from tests.support.servers import files_in

# ``conftest.Service`` of the unit tests; conftest modules cannot be imported.
Service = Any

VIDEO = b"still 1 120 " + bytes(range(256)) * 300
"""What the decoder of an app under test reads as a video."""
WEEK = timedelta(days=7)
OF_TAKER = "f" * 64
"""SHA-256 of the model bundle of a worker that takes over jobs."""


def headers(service: Service, role: Role) -> dict[str, str]:
    """Return the headers of a request by the account with this role."""
    return {"Authorization": f"Bearer {service.keys[role]}"}


async def post_video(
    service: Service, video: bytes = VIDEO, role: Role = Role.PIPELINE, **fields: str
) -> httpx.Response:
    """Submit a video and return the answer."""
    answer: httpx.Response = await service.client.post(
        "/v1/videos",
        files={"file": ("secret-name.mp4", video)},
        data=fields,
        headers=headers(service, role),
    )
    return answer


async def submit(service: Service, video: bytes = VIDEO, **fields: str) -> dict[str, Any]:
    """Submit a video as whoever the client is, and return its job."""
    answer = await service.client.post("/v1/videos", files={"file": ("v.mp4", video)}, data=fields)
    assert answer.is_success, answer.text
    job: dict[str, Any] = answer.json()
    return job


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
        end(service, job["id"], exhibits.material(pictures or video))
    return job


def end(service: Service, job_id: str, material: Material) -> None:
    """End a job as a worker does that gathers this material."""
    services = service.app.state.shared.services
    with service.database.read() as session:
        row = session.get_one(Job, job_id)
        key = services.vault.case_key(session.get_one(Case, row.case_id))
    found = material.examination
    services.vault.write(material_of(row), key, material.pack())
    hashes = MediaHashes.of(found.hashes, found.likeness)
    services.minor_flags.compare_job(row, hashes)
    services.hash_bank.link_similar(row, hashes)
    result, listed = found.result.to_json(), listed_result(material)
    with service.database.write() as session:
        row = session.get_one(Job, job_id)
        end_job(session, row, key, result, listed, WEEK)


def finish(service: Service, job_id: str, expires_at: datetime | None = None) -> None:
    """End a job without a result, with media that expire at ``expires_at``."""
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        job.state, job.finished_at = JobState.SUCCEEDED, service.clock()
        if expires_at is not None:
            session.get_one(Media, job.media_id).expires_at = expires_at


async def decide(service: Service, job: dict[str, Any], decision: str) -> httpx.Response:
    """Review a job as an analyst."""
    answer: httpx.Response = await service.client.post(
        f"/v1/jobs/{job['id']}/reviews",
        json={"decision": decision, "reason": "seen"},
        headers=headers(service, Role.ANALYST),
    )
    return answer


async def evidence(service: Service, job: dict[str, Any], query: str = "") -> httpx.Response:
    answer: httpx.Response = await service.client.get(f"/v1/jobs/{job['id']}/evidence{query}")
    return answer


def document(answer: httpx.Response) -> dict[str, Any]:
    """Return the verdict in the evidence that was downloaded."""
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = json.loads(member(answer.content, VERDICT))
    return content


async def delete_case(service: Service, job: dict[str, Any]) -> httpx.Response:
    return await service.client.delete(f"/v1/cases/{job['case_id']}")


def sweep(service: Service) -> None:
    """Do what the worker's chores do once."""
    services = service.app.state.shared.services
    services.sweeps.sweep()
    delete_orphans(services.database, services.vault)
    services.hash_bank.forget_expired()


def all_entries(service: Service) -> list[AuditEntry]:
    with service.database.read() as session:
        return list(session.scalars(select(AuditEntry)))


def blobs(service: Service) -> list[Path]:
    """Return the files in the store of media and results."""
    return files_in(service.app.state.shared.settings.data_dir / "blobs")


def run_command(settings: Settings, *words: object) -> Result:
    """Run ``deepfake WORDS`` on a data directory, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPFAKE_DATA_DIR", str(settings.data_dir))
        return CliRunner().invoke(command, [str(w) for w in words])


def with_master_key_of(settings: Settings, folder: Path) -> Settings:
    """Return a data directory with the master key of another one, and nothing else."""
    folder.mkdir()
    shutil.copy(settings.data_dir / "master-key", folder)
    return Settings(data_dir=folder)
