"""Notices are marked for withdrawal while reviewers are against any file that they are about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_service.notices import documents
from deepfake_service.notices.compose import notice_pdf
from deepfake_service.platform.db import Job, Notice, NoticeEvent, Occurrence, new_id
from deepfake_service.platform.enums import JobState, NoticeState, Role
from deepfake_service.platform.findings import Decision
from tests.support.jobs import VIDEO, headers, submit
from tests.support.notices import GOOD, decide, look_manipulated, updated
from tests.unit.service.conftest import Service

CONFIRMED, REJECTED, UNDECIDED = Decision.CONFIRMED, Decision.REJECTED, Decision.UNDECIDED


async def noticed(service: Service, *files: bytes) -> tuple[str, list[str]]:
    """Create a notice about files of one case; return its id and the ids of the files' jobs."""
    place = {"case_reference": "R", "source_url": "https://example.org/1", "platform": "Example"}
    jobs = [(await submit(service, file, **place)) for file in files]
    with service.database.write() as session:
        for job in jobs:
            look_manipulated(service, session, job["id"])
            session.get_one(Job, job["id"]).evidence_expired_at = service.clock()
        seen = list(session.scalars(select(Occurrence.id)))
    for job in jobs:
        decide(service, job["id"], CONFIRMED)
    content = {
        "kind": "kr-d4u", "language": "en", "occurrence_ids": seen, "fields": GOOD["kr-d4u"],
        "recipient": "D4U",
    }  # fmt: skip
    path = f"/v1/cases/{jobs[0]['case_id']}/notices"
    answer = await service.client.post(path, json=content)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], [job["id"] for job in jobs]


def assert_refused(answer: Any) -> None:
    assert answer.status_code == 409, answer.text
    assert answer.json()["type"].endswith(":notice_refused")


def events_of(service: Service, notice_id: str) -> list[str]:
    with service.database.read() as session:
        of_notice = select(NoticeEvent).where(NoticeEvent.notice_id == notice_id)
        return [str(e.kind) for e in session.scalars(of_notice.order_by(NoticeEvent.number))]


def repeated(service: Service, job_id: str) -> str:
    """Store another examination of the same medium, and return its id."""
    with service.database.write() as session:
        first = session.get_one(Job, job_id)
        values: dict[str, Any] = {
            name: getattr(first, name)
            for name in ("case_id", "media_id", "account_id", "kind", "priority", "bundle_sha256",
                         "retention", "state", "verdict", "finished_at", "evidence_expired_at")
        }  # fmt: skip
        created_at = first.created_at + timedelta(seconds=1)
        again = Job(id=new_id(), frames=32, created_at=created_at, **values)
        session.add(again)
    return again.id


def is_marked(service: Service, notice_id: str) -> bool:
    with service.database.read() as session:
        return session.get_one(Notice, notice_id).withdraw_at is not None


async def test_the_mark_stays_until_all_files_of_the_notice_are_confirmed(service: Service) -> None:
    notice, (first, second) = await noticed(service, VIDEO, VIDEO + b"2")
    decide(service, second, CONFIRMED)
    decide(service, first, REJECTED)
    assert is_marked(service, notice)
    decide(service, second, CONFIRMED)
    assert is_marked(service, notice)
    decide(service, first, UNDECIDED)
    decide(service, second, CONFIRMED)
    assert is_marked(service, notice)
    decide(service, first, CONFIRMED)
    assert not is_marked(service, notice)


async def test_the_recipient_of_a_sent_notice_has_to_be_told(service: Service) -> None:
    notice, (job,) = await noticed(service, VIDEO)
    decide(service, job, REJECTED)
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.ADMIN)
    told = "tell them yourself that you withdraw the notice"
    assert told not in (await service.client.get(f"/notices/{notice}")).text
    with service.database.write() as session:
        row = session.get_one(Notice, notice)
        row.state, row.sent_at = NoticeState.SENT, service.database.clock()
    assert told in (await service.client.get(f"/notices/{notice}")).text


@pytest.mark.parametrize("confirmation", [CONFIRMED, Decision.BODY_GENERATED])
async def test_an_undecided_review_marks_a_notice_until_it_is_confirmed_again(
    service: Service, confirmation: Decision
) -> None:
    notice, (job,) = await noticed(service, VIDEO)
    decide(service, job, UNDECIDED)
    assert is_marked(service, notice)
    decide(service, job, confirmation)
    assert not is_marked(service, notice)


async def test_a_rejected_repetition_of_the_examination_marks_the_notice(service: Service) -> None:
    notice, (first,) = await noticed(service, VIDEO)
    again = repeated(service, first)
    decide(service, again, REJECTED)
    assert is_marked(service, notice)
    decide(service, first, CONFIRMED)
    assert is_marked(service, notice)
    decide(service, again, CONFIRMED)
    assert not is_marked(service, notice)


async def test_notices_about_other_files_of_the_case_are_not_marked(service: Service) -> None:
    notice, _ = await noticed(service, VIDEO)
    other = await submit(service, VIDEO + b"2", case_reference="R")
    with service.database.write() as session:
        session.get_one(Job, other["id"]).state = JobState.SUCCEEDED
    decide(service, other["id"], REJECTED)
    assert not is_marked(service, notice)


@pytest.mark.parametrize("gone", ["rejected", "flagged", "withdrawn"])
async def test_a_notice_whose_basis_is_gone_gets_no_signature(service: Service, gone: str) -> None:
    admin = headers(service, Role.ADMIN)
    notice, (job,) = await noticed(service, VIDEO)
    path = f"/v1/notices/{notice}"
    if gone == "rejected":
        decide(service, job, REJECTED)
    elif gone == "flagged":
        case = (await service.client.get(path)).json()["case_id"]
        assert (await service.client.put(f"/v1/cases/{case}/minor", headers=admin)).is_success
    else:
        await updated(service, notice, outcome="withdrawn")
    refused = await service.client.get(f"{path}/notice.pdf", headers=admin)
    assert_refused(refused)
    assert "signed" not in events_of(service, notice)
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.ADMIN)
    page = (await service.client.get(f"/notices/{notice}")).text
    assert "There is no PDF and no package" in page
    for download in (f"{path}/notice.pdf", f"/notices/{notice}/package.zip"):
        assert f'href="{download}"' not in page
        assert (await service.client.get(download)).status_code == 409


async def test_a_review_while_the_letter_is_set_prevents_its_signature(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice, (job,) = await noticed(service, VIDEO)

    def rejected_meanwhile(*given: Any) -> bytes:
        decide(service, job, REJECTED)
        return notice_pdf(*given)

    monkeypatch.setattr(documents, "notice_pdf", rejected_meanwhile)
    refused = await service.client.get(f"/v1/notices/{notice}/notice.pdf")
    assert_refused(refused)
    assert events_of(service, notice) == ["created", "to_withdraw"]


async def test_a_letter_that_was_signed_before_its_basis_was_gone_stays_readable(
    service: Service,
) -> None:
    notice, (job,) = await noticed(service, VIDEO)
    path = f"/v1/notices/{notice}/notice.pdf"
    signed = await service.client.get(path)
    decide(service, job, REJECTED)
    assert (await service.client.get(path)).content == signed.content
    await updated(service, notice, outcome="withdrawn")
    assert (await service.client.get(path)).content == signed.content
    assert events_of(service, notice) == ["created", "signed", "to_withdraw", "outcome"]


async def test_a_marked_notice_was_sent_before_that_or_not_at_all(service: Service) -> None:
    notice, (job,) = await noticed(service, VIDEO)
    before = service.database.clock()
    service.clock.advance(timedelta(minutes=1))
    decide(service, job, REJECTED)

    async def refused_field(**update: str) -> str:
        answer = await service.client.patch(f"/v1/notices/{notice}", json=update)
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        return str(error["field"])

    now, reason = service.database.clock().isoformat(), "Recorded late."
    assert await refused_field(sent_at=now) == "sent_at"
    assert await refused_field(sent_at=now, sent_reason=reason) == "sent_at"
    assert await refused_field(sent_at=before.isoformat()) == "sent_reason"
    sent = await updated(service, notice, sent_at=before.isoformat(), sent_reason=reason)
    assert (sent["state"], sent["withdraw"]) == ("sent", True)
    assert sent["history"][-1]["reason"] == reason


async def test_a_draft_keeps_its_sender_when_the_organisation_changes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = headers(service, Role.ADMIN)
    centre = {"name_en": "First Centre", "phone": "02-815-0382"}
    assert (await service.client.put("/v1/organisation", json=centre, headers=admin)).is_success
    notice, _ = await noticed(service, VIDEO)
    other = {"name_en": "Other Centre"}
    assert (await service.client.put("/v1/organisation", json=other, headers=admin)).is_success
    shown: list[dict[str, Any]] = []

    def seen(kind: Any, data: dict[str, Any], at: Any) -> bytes:
        shown.append(data)
        return notice_pdf(kind, data, at)

    monkeypatch.setattr(documents, "notice_pdf", seen)
    assert (await service.client.get(f"/v1/notices/{notice}/notice.pdf")).status_code == 200
    assert [(data["issuer"], data["sender"]) for data in shown] == [
        ("First Centre", ["02-815-0382"])
    ]
