"""Hand captures in, and have them read, in the process of a test."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio.to_thread
import httpx

from deepfake_service.capture.imports import Imports
from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.platform.db.enums import Role
from tests.support.jobs import headers

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any
WEEK = timedelta(days=7)


def worker(service: Service, readers: CaptureReaders, name: str = "worker-1") -> Imports:
    services = service.app.state.shared.services
    return Imports(
        service.database,
        services.captures._vault,
        readers,
        services.evidence_store,
        services.submissions,
        executor_id=name,
        kept_for=WEEK,
    )


async def work(service: Service, readers: CaptureReaders) -> None:
    """Do what the worker's chore does once."""
    await anyio.to_thread.run_sync(worker(service, readers).work_off)


async def hand_in(
    service: Service,
    content: bytes | None = None,
    screenshots: tuple[bytes, ...] = (),
    role: Role = Role.ANALYST,
    **fields: str,
) -> httpx.Response:
    files = [("file", ("secret-name.wacz", content))] if content is not None else []
    files += [("screenshots", (f"{n}.png", shot)) for n, shot in enumerate(screenshots)]
    answer: httpx.Response = await service.client.post(
        "/v1/captures",
        files=files or None,
        data={"case_reference": "R", **fields},
        headers=headers(service, role),
    )
    return answer


async def get(service: Service, path: str, role: Role = Role.ANALYST) -> httpx.Response:
    answer: httpx.Response = await service.client.get(path, headers=headers(service, role))
    return answer
