"""Cases are walls: nothing of one case reaches another, whatever a submitter or reviewer does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from deepfake_service.platform.db import Case, Notice, new_id
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import DatabaseUnavailable
from deepfake_service.platform.storage import seal_json
from tests.support.jobs import VIDEO, blobs, headers, post_video
from tests.unit.service.conftest import Service


async def test_h2_the_note_of_one_victim_does_not_reach_the_case_of_another(
    service: Service,
) -> None:
    first = await post_video(service, case_reference="CASE-A", note="victim A")
    second = await post_video(
        service, case_reference="CASE-B", note="victim B lives in Busan",
        source_url="https://other.example/victimB",
    )  # fmt: skip
    third = await post_video(service, note="no case was named")
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
    first = (await post_video(service, case_reference="CASE-A")).json()
    second = (await post_video(service, case_reference="CASE-B")).json()
    assert (await service.client.delete(f"/v1/cases/{first['case_id']}")).status_code == 204
    left = await service.client.get(f"/v1/jobs/{second['id']}")
    assert left.status_code == 200
    assert left.json()["media_kept"]
    assert len(blobs(service)) == 1
    # Equality within the case remains.
    again = await post_video(service, case_reference="CASE-B")
    assert (again.status_code, again.json()["id"]) == (200, second["id"])


async def test_h2_a_hold_on_one_case_is_not_a_hold_on_another(service: Service) -> None:
    first = (await post_video(service, case_reference="CASE-A")).json()
    second = (await post_video(service, case_reference="CASE-B")).json()
    hold = await service.client.put(
        f"/v1/cases/{second['case_id']}/hold", headers=headers(service, Role.ANALYST)
    )
    assert hold.status_code == 204
    assert (await service.client.delete(f"/v1/cases/{second['case_id']}")).status_code == 409
    assert (await service.client.delete(f"/v1/cases/{first['case_id']}")).status_code == 204


async def test_m14_the_answer_about_a_flooded_case_is_bounded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.review.queries.CASE_PAGE", 3)
    job = (await post_video(service, case_reference="R", note="0")).json()
    path = f"/v1/cases/{job['case_id']}"
    for number in range(1, 8):
        fields = {"note": (None, str(number))}
        added = await service.client.post(f"{path}/occurrences", files=fields)
        assert added.status_code == 201
        assert added.json()["note"] == str(number)  # and nothing of the others
        assert "occurrences" not in added.json()
    again = await service.client.post(f"{path}/occurrences", files={"note": (None, "7")})
    assert (again.status_code, again.json()) == (200, added.json())
    empty = await service.client.post(f"{path}/occurrences", files={"tool": (None, "x")})
    assert empty.status_code == 422
    for number in range(4):
        await post_video(service, VIDEO + bytes([number]), case_reference="R")

    case = (await service.client.get(path)).json()
    assert [o["note"] for o in case["occurrences"]] == [None, None, None]
    assert len(case["jobs"]) == 3
    notes: list[str | None] = []
    cursor = case["occurrences_next"]
    while cursor is not None:
        query = {"limit": "2", "cursor": cursor}
        page = (await service.client.get(f"{path}/occurrences", params=query)).json()
        notes += [o["note"] for o in page["occurrences"]]
        assert len(page["occurrences"]) <= 2
        cursor = page["next"]
    assert notes == [None, "7", "6", "5", "4", "3", "2", "1", "0"]
    query = {"case_id": job["case_id"], "cursor": case["jobs_next"]}
    older = (await service.client.get("/v1/jobs", params=query)).json()
    assert older["jobs"][-1]["id"] == job["id"]
    assert len(older["jobs"]) == 2


async def test_m14_the_notices_of_a_case_are_paged(service: Service) -> None:
    job = (await post_video(service)).json()
    vault = service.app.state.shared.require_services().vault
    with service.database.write() as session:
        case = session.get_one(Case, job["case_id"])
        for _ in range(5):
            notice = Notice(
                id=new_id(),
                case_id=case.id,
                account_id=case.account_id,
                kind="eu-dsa-16",
                language="en",
                state="drafted",
                created_at=datetime.now(UTC),
            )
            seal_json(vault.case_key(case), notice, {"recipient": "A platform"})
            session.add(notice)
    path = f"/v1/cases/{job['case_id']}/notices"
    first = (await service.client.get(f"{path}?limit=3")).json()
    query = {"limit": "3", "cursor": first["next"]}
    second = (await service.client.get(path, params=query)).json()
    assert len({n["id"] for n in first["notices"] + second["notices"]}) == 5
    assert second["next"] is None


async def test_occurrences_of_a_case_are_listed_for_those_who_may_see_it(service: Service) -> None:
    job = (await post_video(service)).json()
    path = f"/v1/cases/{job['case_id']}/occurrences"
    for role, status in ((Role.PIPELINE, 200), (Role.ANALYST, 200), (Role.AUDITOR, 403)):
        answer = await service.client.get(path, headers=headers(service, role))
        assert answer.status_code == status
    other = (await post_video(service, role=Role.ANALYST)).json()
    theirs = await service.client.get(f"/v1/cases/{other['case_id']}/occurrences")
    assert theirs.status_code == 404


async def test_a_screenshot_is_kept_if_the_connection_fails_after_its_record_was_stored(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = (await post_video(service)).json()
    path = f"/v1/cases/{job['case_id']}/occurrences"
    picture = b"\x89PNG\r\n\x1a\n" + bytes(100)
    cases = service.app.state.shared.services.cases
    real = service.database

    @contextlib.contextmanager
    def write() -> Iterator[Any]:
        with real.write() as session:
            yield session
        raise DatabaseUnavailable  # the answer to the commit is lost

    with monkeypatch.context() as patch:
        cut_off = SimpleNamespace(read=real.read, write=write, one_at_a_time=real.one_at_a_time)
        patch.setattr(cases, "_database", cut_off)
        failed = await service.client.post(path, files={"screenshot": ("s.png", picture)})
        assert failed.status_code == 503
    (seen,) = [o for o in (await service.client.get(path)).json()["occurrences"] if o["screenshot"]]
    shown = await service.client.get(f"{path}/{seen['id']}/screenshot")
    assert shown.content == picture
    # A client that sends it again finds it recorded.
    again = await service.client.post(path, files={"screenshot": ("s.png", picture)})
    assert (again.status_code, again.json()["id"]) == (200, seen["id"])
    assert (await service.client.get(f"{path}/{seen['id']}/screenshot")).content == picture
