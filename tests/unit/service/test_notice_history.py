"""Notices cannot be made to say something else: hidden characters, history, signed PDF."""

from __future__ import annotations

import asyncio
import hashlib
import html
import io
import json
import os
import re
import threading
import tracemalloc
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from fastapi import Request
from sqlalchemy import delete, select, text, update

from deepfake_models.results import VerdictCode
from deepfake_service.app import PACKAGES_PER_ACCOUNT
from deepfake_service.casework.core.notice_history import digest_of
from deepfake_service.casework.core.notice_states import NoticeUpdate
from deepfake_service.casework.notice_package import package_of
from deepfake_service.db import AuditEntry, Case, Job, Notice, NoticeEvent, Occurrence, new_id
from deepfake_service.db.enums import JobState, NoticeState, Role
from deepfake_service.documents.characters import hidden, revealed, revealed_url
from deepfake_service.errors import InvalidRequest, RecordAltered
from deepfake_service.evidence import pdf_signature
from deepfake_service.http.auth import check_still_authenticated
from deepfake_service.notices.kinds import KINDS, checked
from deepfake_service.notices.render import NoticeSubject, compose
from deepfake_service.security.accounts import Caller
from tests.support import evidencekit as kit
from tests.support.jobkit import examined, headers
from tests.support.noticekit import BASIS, GOOD, LONG, SEEN, confirmed
from tests.support.submitting import VIDEO, submit
from tests.unit.service.conftest import Service, Starter

RLO = "\u202e"
NAMES = {
    "Korean": "김신고",
    "Hebrew": "דוד לוי",
    "Arabic": "محمد الفاسي",
    "Persian, with a non-joiner": "می\u200cخواهم",
    "Hindi, with a joiner": "क्\u200dष",
    "Sinhala, with a joiner": "ශ්\u200dරී",
    "emoji, with a joiner": "👩\u200d💻 desk",
    "an accent of its own": "Jose\u0301",
    "hanja, with a selector": "葛\U000e0100城",
}
HIDDEN = {
    "a reversal": "\u202e", "an isolate": "\u2066", "a mark": "\u200f", "the Arabic mark": "\u061c",
    "a zero width space": "\u200b", "a soft hyphen": "\u00ad", "a byte order mark": "\ufeff",
    "a tag": "\U000e0041", "a Hangul filler": "\u3164", "a blank Braille cell": "\u2800",
    "a line separator": "\u2028", "a null": "\x00", "a private character": "\ue000",
    "a joiner between Latin letters": "\u200d", "a non-joiner between Latin letters": "\u200c",
}  # fmt: skip


@pytest.mark.parametrize("language", NAMES)
def test_names_in_any_language_are_accepted(language: str) -> None:
    assert not list(hidden(NAMES[language], lines=False))
    given = {**GOOD["eu-dsa-16"], "notifier_name": NAMES[language]}
    fields = checked(KINDS["eu-dsa-16"], given, SEEN, minor=False)
    letter = compose(KINDS["eu-dsa-16"], fields, NoticeSubject(SEEN, BASIS), language="en")
    assert NAMES[language] in letter.text()


@pytest.mark.parametrize("what", HIDDEN)
def test_l4_a_hidden_character_is_refused_by_its_code_point(what: str) -> None:
    char = HIDDEN[what]
    given = {**GOOD["eu-dsa-16"], "explanation": f"{LONG}a{char}b"}
    with pytest.raises(InvalidRequest) as error:
        checked(KINDS["eu-dsa-16"], given, SEEN, minor=False)
    (found,) = error.value.errors
    assert found.field == "fields.explanation"
    assert f"U+{ord(char):04X} at position {len(LONG) + 2}" in found.detail


@pytest.mark.parametrize("kind", KINDS)
def test_l4_a_reversal_is_refused_in_every_field_of_words(kind: str) -> None:
    for name, value in GOOD[kind].items():
        if not isinstance(value, str) or name in ("signed_on",):
            continue
        with pytest.raises(InvalidRequest) as error:
            checked(KINDS[kind], {**GOOD[kind], name: f"{value[:3]}{RLO}{value[3:]}"}, SEEN,
                    minor=False)  # fmt: skip
        assert [e.field for e in error.value.errors] == [f"fields.{name}"]


def test_l4_what_others_wrote_shows_its_hidden_characters_in_text_and_pdf_alike() -> None:
    place = {**SEEN[0], "account": f"good{RLO}lanosrep", "source_url": f"https://a.example/{RLO}x"}
    fields = checked(KINDS["eu-dsa-16"], GOOD["eu-dsa-16"], [place], minor=False)
    letter = compose(KINDS["eu-dsa-16"], fields, NoticeSubject([place], BASIS), language="en")
    assert "good[U+202E]lanosrep" in letter.text()
    assert "https://a.example/%E2%80%AEx" in letter.text()
    assert not list(hidden(letter.text()))
    assert revealed("a\nb") == "a[U+000A]b"
    assert revealed_url("https://a.example/ㅤ") == "https://a.example/%E3%85%A4"


async def drafted(service: Service, **changes: Any) -> dict[str, Any]:
    """Create a notice about a file that looks manipulated."""
    case_id, seen = await confirmed(service)
    content = {
        "kind": "kr-d4u", "language": "en", "occurrence_ids": [seen], "fields": GOOD["kr-d4u"],
        "recipient": "D4U", **changes,
    }  # fmt: skip
    answer = await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def updated(service: Service, notice_id: str, **changes: Any) -> dict[str, Any]:
    answer = await service.client.patch(f"/v1/notices/{notice_id}", json=changes)
    assert answer.status_code == 200, answer.text
    notice: dict[str, Any] = answer.json()
    return notice


def audited(service: Service) -> list[str]:
    """Return the actions of the audit log."""
    with service.database.read() as session:
        return [str(action) for action in session.scalars(select(AuditEntry.action))]


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


async def test_l4_the_pdf_of_a_notice_is_signed_once_and_its_digest_is_on_record(
    service: Service,
) -> None:
    notice = await drafted(service)
    path = f"/v1/notices/{notice['id']}"
    pdf = (await service.client.get(f"{path}/notice.pdf")).content
    assert (await service.client.get(f"{path}/notice.pdf")).content == pdf
    digest = hashlib.sha256(pdf).hexdigest()
    event = (await service.client.get(path)).json()["history"][-1]
    assert (event["event"], event["document_sha256"]) == ("signed", digest)
    assert logged(service, notice["id"])[-1] == f"notice.signed {digest} {event['digest']}"
    keys = (await service.client.get("/.well-known/jwks.json")).json()["keys"]
    (chain,) = (k["x5c"] for k in keys if "x5c" in k)
    certificate = x509.load_pem_x509_certificate(
        f"-----BEGIN CERTIFICATE-----\n{chain[0]}\n-----END CERTIFICATE-----\n".encode()
    )
    forged = pdf.replace(b"/Title", b"/Tutle")
    assert forged != pdf
    for content, is_intact in ((pdf, True), (forged, False)):
        assert await asyncio.to_thread(intact, content, certificate) is is_intact


def intact(pdf: bytes, certificate: x509.Certificate) -> bool:
    try:
        pdf_signature.verify(pdf, [certificate], datetime.now(UTC))
    except pdf_signature.InvalidReport:
        return False
    return True


async def test_a_notice_of_an_earlier_version_begins_its_history_with_what_was_known(
    service: Service,
) -> None:
    notice = await drafted(service)
    await updated(service, notice["id"], receipt="first")
    with service.database.write() as session:
        session.execute(delete(NoticeEvent))
        session.execute(text("UPDATE audit SET detail = 'drafted' WHERE action LIKE 'notice.%'"))
    history = (await updated(service, notice["id"], receipt="second"))["history"]
    assert [(e["event"], e["receipt"]) for e in history] == [
        ("recorded", "first"), ("receipt", "second"),
    ]  # fmt: skip


async def test_l4_a_reversal_in_the_recipient_is_refused(service: Service) -> None:
    case_id, seen = await confirmed(service)
    content = {"kind": "kr-d4u", "occurrence_ids": [seen], "fields": GOOD["kr-d4u"],
               "recipient": f"a{RLO}b"}  # fmt: skip
    answer = await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    assert answer.status_code == 422
    (found,) = answer.json()["errors"]
    assert found["field"] == "recipient"
    assert "U+202E" in found["detail"]


async def test_l4_a_reversal_in_a_receipt_is_refused(service: Service) -> None:
    notice = await drafted(service)
    receipt = {"receipt": f"\u2066denied{RLO}"}
    answer = await service.client.patch(f"/v1/notices/{notice['id']}", json=receipt)
    assert answer.status_code == 422
    assert "U+2066" in answer.json()["errors"][0]["detail"]
    with service.database.read() as session:
        assert len(session.scalars(select(NoticeEvent)).all()) == 1
        assert session.get_one(Notice, notice["id"]).state == "drafted"


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


async def test_notices_are_listed_by_what_is_to_be_done(service: Service) -> None:
    notice = await drafted(service)
    await service.sign_in(Role.PIPELINE)

    async def sections() -> list[str]:
        page = (await service.client.get("/notices")).text
        link = f'href="/notices/{notice["id"]}"'
        return [s.partition('"')[0] for s in page.split('aria-labelledby="') if link in s]

    assert await sections() == ["drafts"]
    await updated(service, notice["id"], sent_at=service.database.clock().isoformat())
    assert await sections() == ["running"]
    with service.database.write() as session:
        session.get_one(Notice, notice["id"]).withdraw_at = service.database.clock()
    assert await sections() == ["withdraw"]
    assert 'href="/?tab=withdraw"' in (await service.client.get("/")).text
    page = (await service.client.get(f"/notices/{notice['id']}")).text
    crumbs = re.findall(r'<p class="crumbs">(.*?)</p>', page)
    assert f"<bdi>{notice['case_id']}</bdi>" in crumbs[0]  # a case without a reference
    await updated(service, notice["id"], outcome="withdrawn")
    assert await sections() == ["closed"]


async def test_a_part_with_many_notices_is_shown_in_pages(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.casework.notice_clock.MAX_PAGE", 2)
    drafts = [(await drafted(service))["id"] for _ in range(3)]
    sent = await drafted(service)
    await updated(service, sent["id"], sent_at=service.database.clock().isoformat())
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.PIPELINE)

    async def shown(address: str) -> tuple[list[str], list[str], str]:
        answer = await service.client.get(html.unescape(address))
        assert answer.status_code == 200
        links = re.findall(r'href="/notices/(\w+)"', answer.text)
        further = re.findall(r'<a class="button" href="(/notices[^"]*)"', answer.text)
        return links, further, answer.text

    links, further, page = await shown("/notices")
    assert links == [sent["id"], *drafts[:2]]
    assert 'Not sent <span class="count">3</span>' in page
    assert "1 to 2 of 3" in page
    assert len(further) == 1
    links, further, page = await shown(further[0])
    assert (links, further) == (drafts[2:], [])
    assert 'Not sent <span class="count">3</span>' in page
    assert "3 to 3 of 3" in page
    assert 'href="/notices?part=drafts"' in page
    links, further, _ = await shown("/notices?part=drafts")
    assert links == drafts[:2]
    assert (await shown("/notices?part=withdraw"))[0] == []
    assert (await service.client.get("/notices?part=all")).status_code == 422


async def test_a_case_that_cannot_be_opened_does_not_hide_the_notices_of_others(
    service: Service,
) -> None:
    kept = await drafted(service)
    place = {"source_url": "https://example.org/2", "platform": "Example", "case_reference": "B"}
    job = await submit(service, VIDEO + b"2", **place)
    with service.database.write() as session:
        row = session.get_one(Job, job["id"])
        row.state, row.verdict = JobState.SUCCEEDED, VerdictCode.LIKELY_MANIPULATED
        row.finished_at = row.evidence_expired_at = service.clock()
        there = select(Occurrence.id).where(Occurrence.case_id == job["case_id"])
        seen = session.scalars(there).one()
    content = {
        "kind": "kr-d4u", "language": "en", "occurrence_ids": [seen], "fields": GOOD["kr-d4u"],
        "recipient": "D4U",
    }  # fmt: skip
    made = await service.client.post(f"/v1/cases/{job['case_id']}/notices", json=content)
    lost = made.json()
    with service.database.engine.begin() as connection:
        statement = text("UPDATE cases SET wrapped_key = :other WHERE id = :id")
        connection.execute(statement, {"other": b"not a key", "id": lost["case_id"]})
    await service.sign_in(Role.PIPELINE)
    page = await service.client.get("/notices")
    assert page.status_code == 200
    assert f'href="/notices/{kept["id"]}"' in page.text
    assert f'href="/notices/{lost["id"]}"' not in page.text
    assert f"<code>{lost['id']}</code>" in page.text


async def test_overdue_notices_come_in_pages_that_name_what_was_altered(service: Service) -> None:
    notices = [await drafted(service) for _ in range(3)]
    with service.database.write() as session:
        for number, notice in enumerate(notices):
            row = session.get_one(Notice, notice["id"])
            row.state = NoticeState.SENT
            # The second and the third have the same deadline.
            row.due_at = service.clock() - timedelta(hours=3 if number == 0 else 2)
    first, *others = [notice["id"] for notice in notices]
    second, third = sorted(others)
    with service.database.engine.begin() as connection:
        statement = text("UPDATE notices SET sent_at = due_at WHERE id = :id")
        connection.execute(statement, {"id": second})
    listed = (await service.client.get("/v1/notices/overdue")).json()
    assert [n["id"] for n in listed["notices"]] == [first, third]
    assert (listed["altered"], listed["next"]) == ([second], None)
    pages, cursor = [], ""
    for _ in notices:
        answer = await service.client.get(f"/v1/notices/overdue?limit=1{cursor}")
        page = answer.json()
        pages.append(([n["id"] for n in page["notices"]], page["altered"]))
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert pages == [([first], []), ([], [second]), ([third], [])]
    refused = await service.client.get("/v1/notices/overdue?cursor=x")
    assert refused.status_code == 422
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.PIPELINE)
    shown, address = [], "/overdue?limit=1"
    for _ in notices:
        page = (await service.client.get(address)).text
        shown.append(re.findall(r'<a href="/notices/(\w+)"', page))
        (address,) = re.findall(r'<a class="button" href="(/overdue[^"]*)"', page) or [""]
        address = html.unescape(address)
    assert (shown, address) == ([[first], [], [third]], "")
    assert "No notice is overdue." not in page
    case_id = notices[0]["case_id"]
    of_case = (await service.client.get(f"/v1/cases/{case_id}/notices")).json()
    assert {n["id"] for n in of_case["notices"]} == {first, third}
    assert of_case["altered"] == [second]
    for path in ("/overdue", f"/cases/{case_id}"):
        shown = await service.client.get(path)
        assert shown.status_code == 200, path
        assert f"<code>{second}</code>" in shown.text


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


async def test_an_impossible_update_on_the_page_keeps_what_was_typed(service: Service) -> None:
    notice = await drafted(service)
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    answer = await service.client.get(f"/notices/{notice['id']}")
    assert answer.status_code == 200
    page = answer.text
    form = {
        "csrf": re.findall(r'name="csrf" value="([^"]+)"', page)[0],
        "what": "sent", "sent_at": "2001-01-01T00:00", "offset": "0", "sent_reason": "",
    }  # fmt: skip
    answer = await service.client.post(
        f"/notices/{notice['id']}", data=form, headers={"Origin": str(service.client.base_url)}
    )
    assert answer.status_code == 422
    assert 'value="2001-01-01T00:00"' in answer.text
    assert 'id="sent_reason-problem"' in answer.text
    for sent_at in ("2999-01-01T00:00", "soon"):
        answer = await service.client.post(
            f"/notices/{notice['id']}",
            data={**form, "sent_at": sent_at, "sent_reason": "by telephone"},
            headers={"Origin": str(service.client.base_url)},
        )
        assert answer.status_code == 422
        assert f'value="{sent_at}"' in answer.text
        assert 'value="by telephone"' in answer.text
        assert 'aria-describedby="sent_at-problem"' in answer.text


@pytest.mark.parametrize(
    ("language", "few_characters", "few_posts"),
    [
        ("en", "at most {} characters are allowed", "choose at most 200 posts"),
        ("ko", "{}자까지 쓸 수 있습니다", "게시물은 200개까지 고를 수 있습니다"),
    ],
)
async def test_the_forms_of_a_notice_have_the_limits_of_the_api(
    service: Service, language: str, few_characters: str, few_posts: str
) -> None:
    notice = await drafted(service)
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    address = f"/notices/{notice['id']}"
    page = (await service.client.get(address)).text
    csrf = {"csrf": re.findall(r'name="csrf" value="([^"]+)"', page)[0]}
    headers = {"Origin": str(service.client.base_url), "Accept-Language": language}

    async def refused(path: str, **values: Any) -> str:
        answer = await service.client.post(path, data={**csrf, **values}, headers=headers)
        assert answer.status_code == 422, path
        return answer.text

    told = await refused(address, what="receipt", receipt="1" * 2001)
    assert f'id="receipt-problem">{few_characters.format(2000)}<' in told
    assert f'value="{"1" * 2001}"' in told
    told = await refused(address, what="sent", sent_at="2001-01-01T00:00", sent_reason="x" * 501)
    assert f'id="sent_reason-problem">{few_characters.format(500)}<' in told
    form = f"/cases/{notice['case_id']}/notices/kr-d4u"
    fields = {**GOOD["kr-d4u"], "occurrences": notice["occurrence_ids"]}
    told = await refused(form, **fields, recipient="D" * 201)
    assert '<a href="#recipient">' in told
    assert f"</a>: {few_characters.format(200)}</li>" in told
    told = await refused(form, **{**fields, "occurrences": [new_id() for _ in range(201)]})
    assert f"</a>: {few_posts}</li>" in told
    read = (await service.client.get(f"/v1{address}")).json()
    assert (read["receipt"], read["state"]) == (None, "drafted")
    listed = (await service.client.get(f"/v1/cases/{notice['case_id']}/notices")).json()
    assert [n["id"] for n in listed["notices"]] == [notice["id"]]


async def test_a_notice_whose_draft_was_withdrawn_meanwhile_is_answered_as_made(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = await drafted(service)
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    desk = service.app.state.shared.services.notice_desk
    real = desk.create
    form = f"/cases/{draft['case_id']}/notices/kr-d4u?like={draft['id']}"
    page = (await service.client.get(form)).text
    fields = {
        **GOOD["kr-d4u"], "occurrences": draft["occurrence_ids"],
        "csrf": re.findall(r'name="csrf" value="([^"]+)"', page)[0],
    }  # fmt: skip

    def create(caller: Caller, *arguments: Any) -> dict[str, Any]:
        desk.update(caller, draft["id"], NoticeUpdate(outcome=NoticeState.WITHDRAWN))
        made: dict[str, Any] = real(caller, *arguments)
        return made

    monkeypatch.setattr(desk, "create", create)  # as when the form is sent twice
    headers = {"Origin": str(service.client.base_url)}
    answer = await service.client.post(form, data=fields, headers=headers)
    assert answer.status_code == 303, answer.text
    notice_id = answer.headers["location"].rpartition("/")[2]
    made = (await service.client.get(f"/v1/notices/{notice_id}")).json()
    assert made["state"] == "drafted"


async def test_the_package_of_a_notice_has_what_its_contents_say(service: Service) -> None:
    notice = await drafted(service)
    pdf = (await service.client.get(f"/v1/notices/{notice['id']}/notice.pdf")).content
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    package = await service.client.get(f"/notices/{notice['id']}/package.zip")
    with zipfile.ZipFile(io.BytesIO(package.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    contents = json.loads(files.pop("contents.json"))
    assert files["notice.pdf"] == pdf
    assert files["notice.txt"].decode() == notice["text"]
    assert contents["files"] == {n: hashlib.sha256(c).hexdigest() for n, c in files.items()}
    assert [e["job"] for e in contents["evidence"]] == [b["job"] for b in notice["basis"]]


async def test_a_notice_lists_the_reports_that_its_package_has(service: Service) -> None:
    expired = await drafted(service, language="ko")
    job = await examined(
        service, kit.video(), source_url="https://example.org/2", platform="Example"
    )
    decision = {"decision": "confirmed", "reason": "seen"}
    for method, what, given in (("POST", "reviews", decision), ("GET", "evidence", None)):
        answer = await service.client.request(
            method, f"/v1/jobs/{job['id']}/{what}", json=given,
            headers=headers(service, Role.ANALYST),
        )  # fmt: skip
        assert answer.is_success, answer.text
    path = f"/v1/cases/{job['case_id']}"
    seen = (await service.client.get(f"{path}/occurrences")).json()["occurrences"][0]["id"]
    content = {
        "kind": "kr-d4u", "language": "ko", "occurrence_ids": [seen], "fields": GOOD["kr-d4u"],
    }  # fmt: skip
    kept = (await service.client.post(f"{path}/notices", json=content)).json()
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)

    async def check(notice: dict[str, Any], reports: int) -> None:
        package = await service.client.get(f"/notices/{notice['id']}/package.zip")
        with zipfile.ZipFile(io.BytesIO(package.content)) as archive:
            assert sum(name.startswith("reports/") for name in archive.namelist()) == reports
        for said in ("첨부 보고서 참조", "얼굴 조작 여부 분석 보고서 1부"):
            assert (said in notice["text"]) == bool(reports)

    await check(kept, 1)
    await check(expired, 0)
    flagged = await service.client.put(f"{path}/minor", headers=headers(service, Role.ANALYST))
    assert flagged.is_success
    of_minor = await service.client.post(
        f"{path}/notices", json=content, headers=headers(service, Role.PIPELINE)
    )
    assert of_minor.status_code == 201, of_minor.text
    await check(of_minor.json(), 1)  # of the edition without faces, which the flag made

    unread = await examined(
        service, kit.video() + b"x", kit.video(), source_url="https://example.org/3",
        platform="Example", case_reference="UNREAD",
    )  # fmt: skip
    with service.database.write() as session:
        session.get_one(Job, unread["id"]).verdict = VerdictCode.LIKELY_MANIPULATED
        case = session.get_one(Case, unread["case_id"])
        assert case.minor_at is not None  # it resembles the other one
        seen = session.scalars(select(Occurrence.id).where(Occurrence.case_id == case.id)).one()
    without_edition = await service.client.post(
        f"/v1/cases/{unread['case_id']}/notices",
        json={**content, "occurrence_ids": [seen]},
        headers=headers(service, Role.PIPELINE),
    )
    assert without_edition.status_code == 201, without_edition.text
    await check(without_edition.json(), 1)  # which is made without faces as well


async def with_screenshots(service: Service, count: int, size: int) -> dict[str, Any]:
    """Create a notice about so many posts, each with a screenshot of ``size`` bytes, and sign in to
    the console."""
    case_id, _ = await confirmed(service)
    seen = []
    for number in range(count):
        picture = b"\x89PNG\r\n\x1a\n" + os.urandom(size)
        answer = await service.client.post(
            f"/v1/cases/{case_id}/occurrences",
            data={"source_url": f"https://example.org/{number}", "platform": "Example"},
            files={"screenshot": ("s.png", picture, "image/png")},
        )
        seen.append(answer.json()["id"])
    content = {
        "kind": "kr-d4u", "language": "en", "occurrence_ids": seen, "fields": GOOD["kr-d4u"],
    }  # fmt: skip
    made: dict[str, Any] = (
        await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    ).json()
    await service.client.get(f"/v1/notices/{made['id']}/notice.pdf")
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    return made


async def test_a_package_holds_one_screenshot_at_a_time(service: Service) -> None:
    size, count = 2 * 1024 * 1024, 12
    notice = await with_screenshots(service, count, size)
    services = service.app.state.shared.services
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    lengths, out = [], io.BytesIO()
    tracemalloc.start()
    try:
        pieces = package_of(
            services.notice_desk, services.cases, services.evidence_store, caller, notice["id"]
        )
        for piece in pieces:
            lengths.append(len(piece))
            out.write(hashlib.sha256(piece).digest())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(length > size for length in lengths) == count
    assert peak < 6 * size
    package = await service.client.get(f"/notices/{notice['id']}/package.zip")
    with zipfile.ZipFile(io.BytesIO(package.content)) as archive:
        assert archive.testzip() is None
        contents = json.loads(archive.read("contents.json"))["files"]
        assert sum(name.startswith("screenshots/") for name in contents) == count
        for name, digest in contents.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
    reads = [e for e in audited(service) if e == "screenshot.read"]
    assert len(reads) == 2 * count


async def test_an_account_downloads_few_packages_at_the_same_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = await with_screenshots(service, 1, 10)
    begun, go_on = threading.Semaphore(0), threading.Event()

    def held(request: Request) -> None:
        begun.release()
        assert go_on.wait(60)
        check_still_authenticated(request)

    monkeypatch.setattr("deepfake_service.web.notice_package.check_still_authenticated", held)
    path = f"/notices/{notice['id']}/package.zip"
    downloads = [asyncio.create_task(service.client.get(path)) for _ in range(PACKAGES_PER_ACCOUNT)]
    for _ in downloads:
        assert await asyncio.to_thread(begun.acquire, timeout=60)
    refused = await service.client.get(path, headers={"Accept-Language": "en"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert "as many packages as it may at once" in refused.text
    go_on.set()
    assert [(await task).status_code for task in downloads] == [200] * PACKAGES_PER_ACCOUNT
    assert (await service.client.get(path)).status_code == 200


async def test_a_package_is_cut_off_when_its_reader_signs_out(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = await with_screenshots(service, 1, 10)
    pieces = []

    def second(request: Request) -> None:
        pieces.append(1)
        if len(pieces) == 2:
            service.accounts.sign_out(service.client.cookies["session"])
        check_still_authenticated(request)

    monkeypatch.setattr("deepfake_service.web.notice_package.check_still_authenticated", second)
    with pytest.raises(AssertionError):  # of the transport: the answer has no end
        await service.client.get(f"/notices/{notice['id']}/package.zip")
    assert len(pieces) == 2


async def test_packages_count_as_reads(start: Starter) -> None:
    async with start(reads_per_account="5/minute") as service:
        await service.sign_in(Role.PIPELINE)
        statuses = [
            (await service.client.get("/notices/x/package.zip")).status_code for _ in range(7)
        ]
        assert statuses == [404] * 5 + [429] * 2
