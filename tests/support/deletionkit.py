"""End jobs, delete cases, sweep, and read the audit log of a service under test."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from deepfake_service.platform.db import AuditEntry, Job, Media
from deepfake_service.platform.db.enums import JobState, Role

# ``conftest.Service`` of the unit tests.
Service = Any


def finish(service: Service, job_id: str) -> None:
    """End a job as a worker would."""
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        job.state, job.finished_at = JobState.SUCCEEDED, service.clock()


async def delete_case(service: Service, job: dict[str, Any]) -> httpx.Response:
    return await service.client.delete(f"/v1/cases/{job['case_id']}")


def path_of(service: Service) -> Path:
    """Return the file of the service's database."""
    return Path(str(service.database.engine.url.database))


def admin(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.keys[Role.ADMIN]}"}


def all_entries(service: Service) -> list[AuditEntry]:
    with service.database.read() as session:
        return list(session.scalars(select(AuditEntry)))


def sweep(service: Service) -> None:
    """Do what the worker's chores do once."""
    services = service.app.state.shared.services
    services.sweeps.sweep()
    services.orphans.delete()
    services.hash_bank.forget_expired()


def examined(service: Service, job: dict[str, Any]) -> None:
    """End a job as a worker would, with media that expire a week later."""
    finish(service, job["id"])
    with service.database.write() as session:
        media = session.get_one(Media, job["media_id"])
        media.expires_at = service.clock() + timedelta(days=7)
