"""Lists of jobs and cases: their filters, their order, and the values by which jobs are ranked."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from deepfake_service.accounts.read_audit import WINDOW
from deepfake_service.evidence.listings import ListEntry
from deepfake_service.examination.steps import end_job
from deepfake_service.platform.db import AuditEntry, Case, Job
from deepfake_service.platform.enums import Role
from deepfake_service.platform.pagination import cursor_of
from tests.support import exhibits, footage
from tests.support.jobs import examined, headers, post_video
from tests.unit.service.conftest import Service


async def listed(
    service: Service, what: str = "jobs", role: Role = Role.PIPELINE, **query: str
) -> list[dict[str, Any]]:
    answer = await service.client.get(f"/v1/{what}", params=query, headers=headers(service, role))
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()[what]
    return items


def readings(service: Service) -> int:
    with service.database.read() as session:
        entries = select(func.count()).where(
            AuditEntry.action == "result.read", AuditEntry.detail == "list"
        )
        return session.scalar(entries) or 0


async def test_a_list_has_the_values_of_results_and_is_audited_once_a_window(
    service: Service,
) -> None:
    done = await examined(service, exhibits.video(), case_reference="A")
    waiting = (await post_video(service, b"another", case_reference="B")).json()
    jobs = {job["id"]: job for job in await listed(service)}
    result = (await service.client.get(f"/v1/jobs/{done['id']}")).json()["result"]
    assert result["score"] is not None
    assert (jobs[done["id"]]["kind"], jobs[done["id"]]["media_kind"]) == ("video", "video")
    assert jobs[waiting["id"]]["media_kind"] is None
    for name in ("score", "log_likelihood_ratio"):
        assert jobs[done["id"]][name] == result[name]
        assert jobs[waiting["id"]][name] is None
    await listed(service)
    assert readings(service) == 1
    await listed(service, role=Role.ANALYST)  # another key
    assert readings(service) == 2
    service.clock.advance(WINDOW + timedelta(seconds=1))
    await listed(service)
    assert readings(service) == 3


async def test_a_picture_sent_as_a_video_is_listed_as_a_picture(service: Service) -> None:
    sent = await examined(service, footage.picture(footage.grace_hopper(), "PNG"))
    done = (await service.client.get(f"/v1/jobs/{sent['id']}")).json()
    (listed_job,) = await listed(service)
    for job in (done, listed_job):
        assert (job["kind"], job["media_kind"]) == ("video", "image")


async def test_a_list_without_results_is_not_a_reading_of_results(service: Service) -> None:
    await post_video(service, b"one")
    assert len(await listed(service)) == 1
    assert readings(service) == 0


async def test_jobs_are_found_by_case_bytes_time_finding_and_leaning(service: Service) -> None:
    first = await examined(service, exhibits.video(), case_reference="CASE-A")
    service.clock.advance(timedelta(hours=1))
    between = service.clock().isoformat()
    service.clock.advance(timedelta(hours=1))
    second = (await post_video(service, b"another", case_reference="CASE-B")).json()
    review = {"decision": "rejected", "reason": "compared with the original"}
    decided = await service.client.post(
        f"/v1/jobs/{first['id']}/reviews", json=review, headers=headers(service, Role.ANALYST)
    )
    assert decided.status_code == 201
    for query, found in (
        ({"case_reference": "CASE-A"}, [first]),
        ({"case_reference": "CASE"}, []),
        ({"sha256": second["sha256"]}, [second]),
        ({"sha256": second["sha256"].upper()}, [second]),
        ({"created_before": between}, [first]),
        ({"created_after": between}, [second]),
        ({"finding": "rejected"}, [first]),
        ({"finding": "none"}, []),
        ({"leaning": "towards_manipulated"}, []),
        ({"case_id": first["case_id"], "state": "queued"}, []),
    ):
        for role in (Role.PIPELINE, Role.ANALYST):  # the analyst sees cases of all accounts
            jobs = await listed(service, "jobs", role, **query)
            assert [job["id"] for job in jobs] == [job["id"] for job in found], query
    for query, cases in (
        ({"case_reference": "CASE-B"}, [second]),
        ({"created_before": between}, [first]),
        ({"created_after": between}, [second]),
        ({"finding": "rejected"}, [first]),
        ({"finding": "confirmed"}, []),
    ):
        answered = await listed(service, "cases", **query)
        assert [case["id"] for case in answered] == [job["case_id"] for job in cases], query


@pytest.mark.parametrize("what", ["jobs", "cases"])
async def test_a_list_is_read_from_either_end_to_the_other(service: Service, what: str) -> None:
    for number in range(5):  # two of each pair at the same time
        await post_video(service, b"%d" % number, case_reference=str(number))
        service.clock.advance(timedelta(seconds=number % 2))
    pages: dict[str, list[str]] = {}
    first = (await service.client.get(f"/v1/{what}", params={"limit": "2"})).json()["next"]
    for other, order in ((what, "oldest"), ("cases" if what == "jobs" else "jobs", "newest")):
        mixed = {"order": order, "cursor": first}
        refused = await service.client.get(f"/v1/{other}", params=mixed)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "cursor")
    for order in ("newest", "oldest"):
        pages[order], cursor = [], None
        while cursor is not None or not pages[order]:
            query = {"limit": "2", "order": order} | ({"cursor": cursor} if cursor else {})
            page = (await service.client.get(f"/v1/{what}", params=query)).json()
            pages[order] += [item["id"] for item in page[what]]
            cursor = page["next"]
    assert len(pages["oldest"]) == 5
    assert pages["oldest"] == pages["newest"][::-1]


async def ended(service: Service, number: int, ratio: float | None) -> str:
    """Submit a file, end its job with this log10 likelihood ratio, and return the job's id."""
    job_id: str = (await post_video(service, b"%d" % number)).json()["id"]
    result = {
        **exhibits.material(exhibits.video()).examination.result.to_json(),
        "log_likelihood_ratio": ratio,
    }
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        vault = service.app.state.shared.services.vault
        key = vault.case_key(session.get_one(Case, job.case_id))
        end_job(session, job, key, result, (ListEntry(llr=ratio), None), WINDOW)
    service.clock.advance(timedelta(seconds=1))
    return job_id


async def test_jobs_are_ranked_by_likelihood_from_page_to_page(service: Service) -> None:
    ratios = [0.3, -1.0, 0.1, None, 1.4, 0.45]  # three of them in one step of half a decade
    jobs = {await ended(service, n, ratio): ratio for n, ratio in enumerate(ratios)}
    (await post_video(service, b"waiting")).raise_for_status()
    whole = await listed(service, order="likelihood")
    known = [job["log_likelihood_ratio"] for job in whole]
    assert known == [1.4, 0.45, 0.3, 0.1, -1.0, None, None]
    assert [jobs.get(job["id"]) for job in whole] == known
    seen, cursor = [], ""
    while cursor is not None:
        query = {"limit": "2", "order": "likelihood"} | ({"cursor": cursor} if cursor else {})
        page = (await service.client.get("/v1/jobs", params=query)).json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
    assert sorted(seen) == sorted(job["id"] for job in whole)
    steps = [-9.0 if (v := jobs.get(i)) is None else math.floor(2 * v) for i in seen]
    assert steps == sorted(steps, reverse=True)
    other = await service.client.get("/v1/jobs", params={"order": "likelihood", "limit": "2"})
    mixed = {"order": "newest", "cursor": other.json()["next"]}
    assert (await service.client.get("/v1/jobs", params=mixed)).status_code == 422


@pytest.mark.parametrize("rank", [2**15, -(2**63), 10**30])
async def test_a_cursor_with_a_rank_that_no_column_holds_is_refused(
    service: Service, rank: int
) -> None:
    await service.sign_in(Role.ANALYST)
    forged = cursor_of("jobs likelihood", (rank, service.clock(), "x"))
    query = {"order": "likelihood", "cursor": forged}
    answer = await service.client.get("/v1/jobs", params=query)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")
    forged = cursor_of("review", (rank, rank, service.clock(), "x"))
    assert (await service.client.get("/", params={"cursor": forged})).status_code == 422
    # The last rank of what waits is a turn, in 64 bits.
    for ranks in ((0, 0, rank * 2**49), (rank, 0, 0), (0, rank, 0)):
        forged = cursor_of("waiting", (*ranks, service.clock(), "x"))
        query = {"tab": "waiting", "cursor": forged}
        assert (await service.client.get("/", params=query)).status_code == 422


WRONG: list[tuple[str, str]] = [
    ("sha256", "9F86"),
    ("created_after", "2026-01-31"),
    ("created_after", "2026-01-31T12:00:00"),
    ("created_before", "0001-01-01T00:00:00+01:00"),
    ("finding", "maybe"),
    ("order", "score"),
    ("leaning", "left"),
]


async def test_a_wrong_filter_is_named(service: Service) -> None:
    for name, value in WRONG:
        answer = await service.client.get("/v1/jobs", params={name: value})
        assert answer.status_code == 422
        assert {error["field"] for error in answer.json()["errors"]} == {name}
