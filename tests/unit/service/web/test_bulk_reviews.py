"""One decision on several items in the console."""

from __future__ import annotations

from sqlalchemy import select

from deepfake_service.audit.log import Action
from deepfake_service.platform.db import AuditEntry, Job, Review, new_id
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.findings import Finding
from tests.support import exhibits
from tests.support.answers import browse, csrf_of
from tests.support.jobs import VIDEO, examined, headers, submit
from tests.support.notices import GOOD
from tests.unit.service.conftest import Service


async def items(service: Service, count: int, *, ended: int) -> list[str]:
    """Submit some items, end the first of them and sign the analyst in."""
    jobs = [(await submit(service, VIDEO + bytes([n])))["id"] for n in range(count)]
    with service.database.write() as session:
        for job_id in jobs[:ended]:
            job = session.get_one(Job, job_id)
            job.state, job.finished_at = JobState.SUCCEEDED, service.clock()
    await browse(service, Role.ANALYST)
    return jobs


async def test_a_decision_on_several_items_is_a_review_of_each_and_refusals_are_listed(
    service: Service,
) -> None:
    jobs = await items(service, 3, ended=2)
    page = await service.client.get("/reviews", params={"job": jobs})
    with service.database.read() as session:
        cases = [session.get_one(Job, job_id).case_id[-8:] for job_id in jobs]
    for case in cases:  # files of several cases can have the same name
        assert f"Case <bdi>{case}</bdi>" in page.text
    form = {
        "csrf": csrf_of(page.text), "job": [*jobs, jobs[0], new_id()], "decision": "undecided",
        "reason": "satire", "sure": "yes",
    }  # fmt: skip
    answer = await service.client.post("/reviews", data=form)
    assert answer.status_code == 200
    assert "Recorded: 2" in answer.text
    assert "Not recorded: 2" in answer.text
    assert "There is no verdict to review." in answer.text
    assert all(f"Case <bdi>{case}</bdi>" in answer.text for case in cases)
    with service.database.read() as session:
        assert sorted(session.scalars(select(Review.job_id))) == sorted(jobs[:2])
        audited = select(AuditEntry.subject).where(AuditEntry.action == str(Action.CASE_REVIEWED))
        assert sorted(session.scalars(audited)) == sorted(jobs[:2])
        assert {session.get_one(Job, j).finding for j in jobs[:2]} == {Finding.UNDECIDED}


async def test_only_items_that_the_reviewer_has_opened_are_cleared_together(
    service: Service,
) -> None:
    jobs = [await examined(service, exhibits.video() + bytes([n])) for n in range(2)]
    form = await browse(service, Role.ANALYST)
    ids = [job["id"] for job in jobs]
    await service.client.get(f"/items/{ids[0]}")
    page = (await service.client.get("/reviews", params={"job": ids})).text
    assert all(f'src="/items/{job_id}/thumbnail.jpg"' in page for job_id in ids)
    assert "Faces alone were examined, not bodies" in page
    form |= {"decision": "rejected", "reason": "satire", "sure": "yes"}
    answer = await service.client.post("/reviews", data={**form, "job": ids})
    assert "Recorded: 1" in answer.text
    assert "Open this item before you decide that it is not manipulated." in answer.text
    with service.database.read() as session:
        findings = [session.get_one(Job, job_id).finding for job_id in ids]
    assert findings == [Finding.REJECTED, None]


async def test_a_second_person_rejects_what_the_person_shown_says_otherwise(
    service: Service,
) -> None:
    job = await examined(service, exhibits.video(), source_url="https://example.org/1")
    case = f"/v1/cases/{job['case_id']}"
    (post,) = (await service.client.get(f"{case}/occurrences")).json()["occurrences"]
    stated = {"stated_by": "person", "stated_on": "2026-01-02", "record": "Statement 2026-17"}
    notice = {
        "kind": "eu-dsa-16", "occurrence_ids": [post["id"]], "fields": GOOD["eu-dsa-16"],
        "without_consent": stated,
    }  # fmt: skip
    assert (await service.client.post(f"{case}/notices", json=notice)).status_code == 201
    review = {"decision": "rejected", "reason": "satire"}
    for role, finding in ((Role.ANALYST, "awaiting_second"), (Role.ADMIN, "rejected")):
        path, by = f"/v1/jobs/{job['id']}/reviews", headers(service, role)
        answer = await service.client.post(path, json=review, headers=by)
        assert answer.json()["finding"] == finding
    answer = await service.client.get(f"/v1/jobs/{job['id']}/evidence")
    assert answer.status_code == 200, answer.text


async def test_a_reviewer_who_selected_too_many_is_told_how_many(service: Service) -> None:
    await items(service, 1, ended=1)
    answer = await service.client.get("/reviews", params={"job": [new_id() for _ in range(51)]})
    assert answer.status_code == 422
    assert "51 items are selected, and at most 50 can be reviewed at once" in answer.text
    assert "<textarea" not in answer.text


async def test_nothing_is_recorded_without_a_confirmation_and_what_was_typed_stays(
    service: Service,
) -> None:
    jobs = await items(service, 2, ended=2)
    token = csrf_of((await service.client.get("/reviews", params={"job": jobs})).text)
    form = {"csrf": token, "job": jobs, "decision": "confirmed", "reason": "seen before"}
    answer = await service.client.post("/reviews", data=form)
    assert answer.status_code == 422
    assert ">seen before</textarea>" in answer.text
    assert 'value="confirmed" required checked' in answer.text
    assert all(f'name="job" value="{job}"' in answer.text for job in jobs)
    with service.database.read() as session:
        assert session.scalars(select(Review.id)).all() == []


async def test_the_queue_offers_ended_items_to_reviewers(service: Service) -> None:
    jobs = await items(service, 2, ended=1)
    page = (await service.client.get("/?tab=all")).text
    assert f'form="bulk" name="job" value="{jobs[0]}"' in page
    assert f'form="bulk" name="job" value="{jobs[1]}"' not in page


async def test_korean_pages_name_fields_and_details_in_korean(service: Service) -> None:
    jobs = await items(service, 1, ended=1)
    service.client.headers["Accept-Language"] = "ko"
    form = {"csrf": csrf_of((await service.client.get("/")).text), "job": jobs, "sure": "yes"}
    refused = (await service.client.post("/reviews", data=form)).text
    assert "<li>검토 결론: " in refused
    assert "<li>사유: " in refused
    await service.client.post("/reviews", data={**form, "decision": "confirmed", "reason": "봄"})
    await service.sign_in(Role.ADMIN)
    entry = (await service.client.get("/audit?action=case.reviewed")).text
    assert "조작으로 확인됨" in entry[entry.index("<tbody>") :]
    assert "confirmed" not in entry[entry.index("<tbody>") :]
