"""How far a job is, and when the service says how long it still takes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from deepfake_service.platform.db import Job
from deepfake_service.platform.enums import JobState, Role
from tests.support.jobs import submit
from tests.unit.service.conftest import Service


async def began(service: Service) -> str:
    """Submit a video, and return the id of its job."""
    service.client.headers["Authorization"] = f"Bearer {service.keys[Role.ANALYST]}"
    job = await submit(service)
    return str(job["id"])


def store(service: Service, job_id: str, spent_s: float, **values: Any) -> None:
    """Store how far an examination is after ``spent_s`` seconds."""
    usual = {"state": JobState.RUNNING, "overview": None, "frames": None,
             "started_at": service.database.clock() - timedelta(seconds=spent_s)}  # fmt: skip
    with service.database.write() as session:
        row = session.get_one(Job, job_id)
        for name, value in {**usual, **values}.items():
            setattr(row, name, value)


async def bars(service: Service, path: str) -> tuple[list[tuple[int, int]], str]:
    """Return value and maximum of each bar on a page, and what the page says beside them."""
    page = (await service.client.get(path)).text
    found = [
        (int(value), int(most))
        for most, value in re.findall(r'<progress [^>]*max="(\d+)" value="(\d+)"', page)
    ]
    (text,) = re.findall(r'(?s)class="hint stage">(.*?)</span>', page)
    return found, " ".join(text.split())


LEFT: list[tuple[float, dict[str, Any], int | None]] = [
    (600, {"stage": "overview", "done": 16, "total": 32}, 600),
    (600, {"stage": "overview", "done": 7, "total": 32}, None),  # too few frames
    (1, {"stage": "overview", "done": 10, "total": 32}, None),  # too soon
    (600, {"stage": "overview", "done": 32, "total": 32}, None),  # what follows is not known
    (600, {"stage": "dense", "done": 40, "total": 96}, 840),
    (600, {"stage": "evidence", "done": 96, "total": 96}, None),
    (600, {"stage": None, "done": 0, "total": None}, None),
    (600, {"stage": "overview", "done": 10, "total": 32, "state": JobState.QUEUED}, None),
    (600, {"stage": "overview", "done": 10, "total": 32, "started_at": None}, None),
    (600, {"stage": "dense", "done": 600, "total": 601}, 10),  # never nothing
]


async def test_the_time_left_follows_from_the_frames_that_are_finished(service: Service) -> None:
    job_id = await began(service)
    for spent_s, values, left_s in LEFT:
        store(service, job_id, spent_s, **values)
        told = (await service.client.get(f"/v1/jobs/{job_id}")).json()
        assert told["progress"]["remaining_s"] == left_s, values
    store(service, job_id, 600, stage="overview", done=16, total=32)
    service.clock.advance(timedelta(minutes=10))  # in which nothing was finished
    told = (await service.client.get(f"/v1/jobs/{job_id}")).json()
    assert told["progress"]["remaining_s"] == 1200


SHOWN: list[tuple[dict[str, Any], list[tuple[int, int]], str]] = [
    ({"stage": None, "done": 0, "total": None}, [(0, 1), (0, 1)], "in progress"),
    ({"stage": "overview", "done": 16, "total": 32, "overview": 32}, [(16, 32), (0, 1)],
     "examining frames 16 / 32 · at least 10 min left"),
    ({"stage": "overview", "done": 16, "total": 32, "overview": 32, "frames": 32}, [(16, 32)],
     "examining frames 16 / 32 · about 10 min left"),
    ({"stage": "dense", "done": 40, "total": 96, "overview": 32}, [(32, 32), (8, 64)],
     "examining suspect moments closely 8 / 64 · about 14 min left"),
    ({"stage": "evidence", "done": 96, "total": 96, "overview": 32}, [(32, 32), (64, 64)],
     "creating the evidence"),
    # No moment was suspect.
    ({"stage": "evidence", "done": 32, "total": 32, "overview": 32}, [(32, 32), (1, 1)],
     "creating the evidence"),
    # Begun by an earlier version.
    ({"stage": "overview", "done": 16, "total": 32}, [(16, 32), (0, 1)],
     "examining frames 16 / 32 · at least 10 min left"),
]  # fmt: skip


async def test_all_pages_show_the_same_two_bars(service: Service) -> None:
    service.client.headers["Accept-Language"] = "en"
    job_id = await began(service)
    service.client.headers.pop("Authorization")
    await service.sign_in(Role.ANALYST)
    for values, shown, says in SHOWN:
        for path in (f"/items/{job_id}", f"/items/{job_id}/progress",
                     f"/submit/jobs?job={job_id}", "/?tab=waiting"):  # fmt: skip
            store(service, job_id, 600, **values)
            assert await bars(service, path) == (shown, says), path
