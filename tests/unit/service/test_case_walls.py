"""Cases are walls: nothing of one case reaches another, whatever a submitter or reviewer does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx

from deepfake_service.db.enums import Role

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any
Starter = Callable[..., AbstractAsyncContextManager[Service]]

VIDEO = b"still 1 120 " + bytes(range(256)) * 300


async def submit(
    service: Service, video: bytes = VIDEO, role: Role = Role.PIPELINE, **fields: str
) -> httpx.Response:
    return await service.client.post(
        "/v1/videos", files={"file": ("v.mp4", video)}, data=fields, headers=headers(service, role)
    )


def headers(service: Service, role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.keys[role]}"}


def blobs(service: Service) -> list[Path]:
    folder = service.app.state.shared.settings.data_dir / "blobs"
    return [p for p in folder.rglob("*") if p.is_file()]


async def test_h2_the_note_of_one_victim_does_not_reach_the_case_of_another(
    service: Service,
) -> None:
    first = await submit(service, case_reference="CASE-A", note="victim A")
    second = await submit(
        service, case_reference="CASE-B", note="victim B lives in Busan",
        source_url="https://other.example/victimB",
    )  # fmt: skip
    third = await submit(service, note="no case was named")
    assert [r.status_code for r in (first, second, third)] == [202, 202, 202]
    jobs = [r.json() for r in (first, second, third)]
    for field in ("id", "case_id", "media_id"):
        assert len({job[field] for job in jobs}) == 3
    assert len(blobs(service)) == 3
    for job, note in zip(jobs, ("victim A", "victim B lives in Busan", "no case was named"),
                         strict=True):  # fmt: skip
        case = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()
        assert [o["note"] for o in case["occurrences"]] == [note]


async def test_h2_deleting_one_case_does_not_delete_the_same_bytes_in_another(
    service: Service,
) -> None:
    first = (await submit(service, case_reference="CASE-A")).json()
    second = (await submit(service, case_reference="CASE-B")).json()
    assert (await service.client.delete(f"/v1/cases/{first['case_id']}")).status_code == 204
    left = await service.client.get(f"/v1/jobs/{second['id']}")
    assert left.status_code == 200
    assert left.json()["media_kept"]
    assert len(blobs(service)) == 1
    # Equality within the case remains.
    again = await submit(service, case_reference="CASE-B")
    assert (again.status_code, again.json()["id"]) == (200, second["id"])


async def test_h2_a_hold_on_one_case_is_not_a_hold_on_another(service: Service) -> None:
    first = (await submit(service, case_reference="CASE-A")).json()
    second = (await submit(service, case_reference="CASE-B")).json()
    hold = await service.client.put(
        f"/v1/cases/{second['case_id']}/hold", headers=headers(service, Role.ANALYST)
    )
    assert hold.status_code == 204
    assert (await service.client.delete(f"/v1/cases/{second['case_id']}")).status_code == 409
    assert (await service.client.delete(f"/v1/cases/{first['case_id']}")).status_code == 204
