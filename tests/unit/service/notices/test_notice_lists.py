"""Lists of notices: by what is to be done, in pages, and without what cannot be opened."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from deepfake_service.platform.db import Job, Notice, Occurrence
from deepfake_service.platform.enums import NoticeState, Role
from deepfake_service.platform.findings import Decision
from tests.support.jobs import VIDEO, submit
from tests.support.notices import GOOD, decide, drafted, look_manipulated, updated
from tests.unit.service.conftest import Service


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
    assert 'href="/?tab=due"' in (await service.client.get("/")).text
    page = (await service.client.get(f"/notices/{notice['id']}")).text
    crumbs = re.findall(r'<p class="crumbs">(.*?)</p>', page)
    assert f"<bdi>{notice['case_id']}</bdi>" in crumbs[0]  # a case without a reference
    await updated(service, notice["id"], outcome="withdrawn")
    assert await sections() == ["closed"]


async def test_a_case_lists_what_was_sent_to_whom(service: Service) -> None:
    notice = await drafted(service, recipient="플랫폼 주식회사")
    listed = await service.client.get(f"/v1/cases/{notice['case_id']}/notices")
    assert [n["recipient"] for n in listed.json()["notices"]] == ["플랫폼 주식회사"]
    await service.sign_in(Role.PIPELINE)
    page = (await service.client.get(f"/cases/{notice['case_id']}")).text
    assert "<bdi>플랫폼 주식회사</bdi>" in page


async def test_a_part_with_many_notices_is_shown_in_pages(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.notices.desk.MAX_PAGE", 2)
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
        look_manipulated(service, session, job["id"])
        session.get_one(Job, job["id"]).evidence_expired_at = service.clock()
        there = select(Occurrence.id).where(Occurrence.case_id == job["case_id"])
        seen = session.scalars(there).one()
    decide(service, job["id"], Decision.CONFIRMED)
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


async def test_overdue_notices_come_in_pages(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices = [await drafted(service) for _ in range(3)]
    with service.database.write() as session:
        for number, notice in enumerate(notices):
            row = session.get_one(Notice, notice["id"])
            row.state = NoticeState.SENT
            # The second and the third have the same deadline.
            row.due_at = service.clock() - timedelta(hours=3 if number == 0 else 2)
    first, *others = [notice["id"] for notice in notices]
    second, third = sorted(others)
    listed = (await service.client.get("/v1/notices/overdue")).json()
    assert [n["id"] for n in listed["notices"]] == [first, second, third]
    assert listed["total"] == 3
    assert listed["notices"][0]["recipient"] == "D4U"
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.PIPELINE)
    monkeypatch.setattr("deepfake_service.notices.desk.MAX_PAGE", 1)
    shown, address = [], "/notices?part=overdue"
    for _ in notices:
        page = (await service.client.get(address)).text
        shown.append(re.findall(r'<a href="/notices/(\w+)"', page))
        (address,) = re.findall(r'<a class="button" href="(/notices[^"]*)"', page) or [""]
        address = html.unescape(address)
    assert (shown, address) == ([[first], [second], [third]], "")
    assert "There are none." not in page
    monkeypatch.undo()
    for path in ("/", "/notices?part=overdue"):  # of many notices of one kind, which is which
        page = (await service.client.get(path)).text
        table = page[page.index('<h2 id="overdue"') if path == "/" else 0 :]
        assert f'<a href="/cases/{notices[0]["case_id"]}"><bdi>' in table
        assert "<bdi>D4U</bdi>" in table
    case_id = notices[0]["case_id"]
    of_case = (await service.client.get(f"/v1/cases/{case_id}/notices")).json()
    assert {n["id"] for n in of_case["notices"]} == {first, *others}
