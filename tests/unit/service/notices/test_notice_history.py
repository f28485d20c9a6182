"""The history of a notice: what was stated stays on record, and is signed."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import delete, select, update

from deepfake_service.cases.notice_history import digest_of
from deepfake_service.evidence.bundle import pdf_signature
from deepfake_service.evidence.bundle.documents import Failed
from deepfake_service.platform.db import AuditEntry, NoticeEvent
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import RecordAltered
from tests.support.answers import check_problem
from tests.support.certificates import own_certificate
from tests.support.notices import GOOD, RLO, drafted, updated
from tests.unit.service.conftest import Service, Starter


def logged(service: Service, notice_id: str) -> list[str]:
    """Return the actions and details of the audit log about a notice, but of readings."""
    with service.database.read() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.subject == notice_id).order_by(AuditEntry.number)
        )
        return [f"{e.action} {e.detail}" for e in entries if e.action != "notice.read"]


async def test_l4_a_receipt_overwritten_and_an_outcome_flipped_stay_on_record(
    service: Service,
) -> None:
    notice = await drafted(service)
    path = f"/v1/notices/{notice['id']}"
    now = service.database.clock().isoformat()
    await updated(service, notice["id"], sent_at=now, receipt="we refuse")
    await updated(service, notice["id"], outcome="refused")
    await updated(service, notice["id"], receipt="removed, thank you", outcome="removed")
    history = (await service.client.get(path)).json()["history"]
    assert [(e["event"], e["state"], e["receipt"]) for e in history] == [
        ("created", "drafted", None), ("sent", "sent", None), ("receipt", "sent", "we refuse"),
        ("outcome", "refused", None), ("receipt", "refused", "removed, thank you"),
        ("outcome", "removed", None),
    ]  # fmt: skip
    for event, entry in zip(history, logged(service, notice["id"]), strict=True):
        assert entry.endswith(event["digest"])
        assert digest_of(event) == event["digest"]
    assert [e["previous"] for e in history] == [None, *(e["digest"] for e in history[:-1])]
    await service.sign_in(Role.PIPELINE)
    page = (await service.client.get(f"/notices/{notice['id']}")).text
    assert "we refuse" in page
    assert page.index("we refuse") < page.rindex("removed, thank you")


@pytest.mark.parametrize("attack", ["removed", "altered", "last removed", "all removed"])
async def test_l4_a_history_that_contradicts_the_audit_log_is_refused(
    service: Service, attack: str
) -> None:
    notice = await drafted(service)
    await updated(service, notice["id"], receipt="we refuse")
    await updated(service, notice["id"], receipt="removed")
    statements = {
        "removed": delete(NoticeEvent).where(NoticeEvent.number == 2),
        "altered": update(NoticeEvent).where(NoticeEvent.number == 2).values(state="removed"),
        "last removed": delete(NoticeEvent).where(NoticeEvent.number == 3),
        "all removed": delete(NoticeEvent),
    }
    with service.database.write() as session:
        session.connection().execute(statements[attack])
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    with pytest.raises(RecordAltered):
        service.app.state.shared.services.notice_desk.read(caller, notice["id"])


async def test_l4_the_pdf_of_a_notice_is_made_once_and_its_digest_is_on_record(
    start: Starter, tmp_path: Path
) -> None:
    files = own_certificate(tmp_path, datetime.now(UTC))
    (certificate,) = x509.load_pem_x509_certificates(files[0].read_bytes())
    async with start(report_certificate=files[0], report_key=files[1]) as service:
        pdf = await recorded_pdf(service)
    forged = pdf.replace(b"/Title", b"/Tutle")
    assert forged != pdf
    for content, is_intact in ((pdf, True), (forged, False)):
        assert await asyncio.to_thread(intact, content, certificate) is is_intact


async def test_the_pdf_of_a_notice_is_not_signed_without_a_certificate(service: Service) -> None:
    assert b"/ByteRange" not in await recorded_pdf(service)


async def recorded_pdf(service: Service) -> bytes:
    """Return the PDF of a new notice, whose digest is on record."""
    notice = await drafted(service)
    path = f"/v1/notices/{notice['id']}"
    pdf = (await service.client.get(f"{path}/notice.pdf")).content
    assert (await service.client.get(f"{path}/notice.pdf")).content == pdf
    digest = hashlib.sha256(pdf).hexdigest()
    event = (await service.client.get(path)).json()["history"][-1]
    assert (event["event"], event["document_sha256"]) == ("signed", digest)
    assert logged(service, notice["id"])[-1] == f"notice.signed {digest} {event['digest']}"
    return pdf


def intact(pdf: bytes, certificate: x509.Certificate) -> bool:
    try:
        pdf_signature.verify(pdf, [certificate], datetime.now(UTC))
    except Failed:
        return False
    return True


async def test_a_notice_recorded_as_sent_by_mistake_can_be_taken_back_for_ten_minutes(
    service: Service,
) -> None:
    notice = await drafted(service)
    now = service.database.clock()
    sent = await updated(service, notice["id"], sent_at=now.isoformat())
    assert sent["undo_until"] is not None
    undone = await updated(service, notice["id"], undo_sent=True)
    assert (undone["state"], undone["sent_at"], undone["due_at"]) == ("drafted", None, None)
    assert [e["event"] for e in undone["history"]] == ["created", "sent", "send_undone"]
    await updated(service, notice["id"], sent_at=now.isoformat())
    service.clock.advance(timedelta(minutes=11))
    path = f"/v1/notices/{notice['id']}"
    late = await service.client.patch(path, json={"undo_sent": True})
    assert late.json()["errors"][0]["field"] == "undo_sent"
    assert (await service.client.get(path)).json()["state"] == "sent"


@pytest.mark.parametrize("said", [{}, {"undo_sent": False}, {"receipt": None}])
async def test_an_update_that_says_nothing_is_refused(
    service: Service, said: dict[str, Any]
) -> None:
    """It would answer with the whole notice, and leave no entry."""
    notice = await drafted(service)
    answer = await service.client.patch(f"/v1/notices/{notice['id']}", json=said)
    problem = check_problem(answer, 422, "invalid_request")
    assert problem["detail"].startswith("Say what happened: send sent_at,")


@pytest.mark.parametrize("name", ["sent_at", "answered_at"])
@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"])
async def test_a_time_outside_the_calendar_in_utc_is_refused(
    service: Service, name: str, time: str
) -> None:
    notice = await drafted(service)
    answer = await service.client.patch(f"/v1/notices/{notice['id']}", json={name: time})
    assert answer.status_code == 422, answer.text
    (invalid,) = answer.json()["errors"]
    assert invalid == {"field": name, "detail": "send a time from the year 1 to 9999"}


async def test_a_notice_that_was_sent_before_it_was_made_states_when_and_why(
    service: Service,
) -> None:
    notice = await drafted(service, kind="us-take-it-down", fields=GOOD["us-take-it-down"])
    path = f"/v1/notices/{notice['id']}"
    sent_at = service.database.clock() - timedelta(hours=3)
    change = {"sent_at": sent_at.isoformat()}
    for wrong in (
        change,
        {**change, "sent_reason": " "},
        {**change, "sent_reason": f"a{RLO}b"},
        {"sent_reason": "by telephone"},
        {"sent_at": service.database.clock().isoformat(), "sent_reason": "by telephone"},
    ):
        answer = await service.client.patch(path, json=wrong)
        assert answer.status_code == 422
        assert [e["field"] for e in answer.json()["errors"]] == ["sent_reason"]
    sent = await updated(service, notice["id"], **change, sent_reason="by telephone")
    assert datetime.fromisoformat(sent["sent_at"]) == sent_at.replace(
        microsecond=sent_at.microsecond // 1000 * 1000
    )
    due = datetime.fromisoformat(sent["due_at"]) - datetime.fromisoformat(sent["sent_at"])
    assert due == timedelta(hours=48)  # the clock runs from the time that was stated
    event = sent["history"][-1]
    assert (event["event"], event["reason"]) == ("sent", "by telephone")
    assert digest_of(event) == event["digest"]
    assert "reason" not in sent["history"][0]
    assert (
        logged(service, notice["id"])[-1] == f"notice.updated sent sent earlier {event['digest']}"
    )
    await service.sign_in(Role.PIPELINE)
    assert "by telephone" in (await service.client.get(f"/notices/{notice['id']}")).text
