"""Submit videos to an app under test, whose decoder reads texts in place of media."""

from __future__ import annotations

from typing import Any

VIDEO = b"still 1 120 " + bytes(range(256)) * 30


async def submit(service: Any, video: bytes = VIDEO, **fields: str) -> dict[str, Any]:
    """Submit a video to ``conftest.Service`` and return its job."""
    answer = await service.client.post("/v1/videos", files={"file": ("v.mp4", video)}, data=fields)
    assert answer.is_success, answer.text
    job: dict[str, Any] = answer.json()
    return job
