"""Submit a video, decide on it, and read the editions of its evidence."""

from __future__ import annotations

import json
from typing import Any

import httpx

from deepfake_service.evidence.bundle.builder import VERDICT
from deepfake_service.evidence.bundle.zip_format import member
from deepfake_service.platform.db.enums import Role
from tests.support import evidencekit as kit
from tests.support.jobkit import headers

# ``conftest.Service`` of the unit tests.
Service = Any


async def submit(service: Service, **fields: str) -> dict[str, Any]:
    files = {"file": ("v.mp4", kit.video())}
    answer = await service.client.post("/v1/videos", files=files, data=fields)
    assert answer.status_code in (200, 202), answer.text
    job: dict[str, Any] = answer.json()
    return job


async def decide(service: Service, job: dict[str, Any], decision: str) -> httpx.Response:
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
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = json.loads(member(answer.content, VERDICT))
    return content
