"""Links in the console: pasted or as a table, what became of them, and what a person can do."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from sqlalchemy import select

from deepfake_service.capture.links import ENDS, Link, links_of
from deepfake_service.capture.registries import Operator
from deepfake_service.capture.shapes import Content
from deepfake_service.platform.db import Capture, Case
from deepfake_service.platform.disk_space import SHORT, DiskSpace
from deepfake_service.platform.enums import CaptureState, Role
from deepfake_service.platform.errors import InvalidRequest
from tests.support.answers import browse
from tests.support.captures import fetch
from tests.support.databases import caller_of
from tests.support.servers import statements
from tests.unit.service.conftest import Starter

ENGLISH = {"Accept-Language": "en"}


async def test_pasted_lines_of_a_table_wait_to_be_opened(start: Starter) -> None:
    async with start(capture_links=True) as service:
        csrf = await browse(service, Role.ANALYST)
        page = (await service.client.get("/submit", headers=ENGLISH)).text
        assert "Open the links" in page
        pasted = (
            "no\tlink\tremark\n1\thttps://a.example/1\tfound by search\n2\thttps://a.example/2\t\n"
        )
        form = {**csrf, "case_reference": "L-1", "links": pasted, "examine": "all"}
        answer = await service.client.post("/links", data=form)
        assert answer.status_code == 303, answer.text
        case = await service.client.get(answer.headers["Location"], headers=ENGLISH)
        assert case.text.count("The link waits to be opened.") == 2
        path = answer.headers["Location"].partition("?")[0]
        with statements(service.database.engine) as seen:
            table = await service.client.get(f"{path}/captures.csv")
        assert len([query for query in seen if "capture_id" in query or "captures" in query]) == 4
        assert table.headers["content-type"].startswith("text/csv")
        lines = table.content.decode("utf-8-sig").splitlines()
        assert lines[0].startswith("url,state,reason,next_step")
        assert [line.split(",")[:2] for line in lines[1:]] == [
            ["https://a.example/1", "queued"], ["https://a.example/2", "queued"],
        ]  # fmt: skip
        assert "1 · found by search" in lines[1]
        for wrong in ("nothing", "https://", "https://a.example/x y"):
            refused = await service.client.post("/links", data={**form, "links": wrong})
            assert refused.status_code == 422, wrong
        assert "Cancel the links that wait" in case.text
        cancelled = await service.client.post(f"{path}/links/cancel", data=csrf)
        case = await service.client.get(cancelled.headers["Location"], headers=ENGLISH)
        assert "The links that waited are not opened any more." in case.text
        assert case.text.count(ENDS["cancelled"]) == 2
        assert "Cancel the links that wait" not in case.text


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("https://a.example/1,2\n\nhttps://a.example/b;c\n", ["https://a.example/1,2 None",
                                                             "https://a.example/b;c None"]),
        ("link,note\nhttps://a.example/1,once; again\n", ["https://a.example/1 once; again"]),
        ("1;https://a.example/1;유포\n2;https://a.example/2;", ["https://a.example/1 1 · 유포",
                                                             "https://a.example/2 2"]),
        ("https://a.example/1\nhttps://a.example/2,유포", ["https://a.example/1 None",
                                                       "https://a.example/2 유포"]),
        ('https://a.example/1,"in\n two lines"\n', ["https://a.example/1 in two lines"]),
    ],
)  # fmt: skip
def test_no_link_is_cut_or_joined(text: str, links: list[str]) -> None:
    found, faults = links_of(text)
    assert [f"{link.url} {link.note}" for link in found] == links
    assert not faults


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https://a.example/1\nvideo.example/2", "line 2 has no URL"),
        ("www.video.example/1\nhttps://a.example/2", "line 1 has no URL"),
        ("https://a.example/1 x\nhttps://a.example/2", "line 1 has no host, or spaces"),
    ],
)
def test_a_line_that_would_be_lost_is_named_and_keeps_no_other(text: str, problem: str) -> None:
    (link,), (fault,) = links_of(text)
    assert problem in fault.error.detail
    assert {link.url, fault.text} == set(text.split("\n"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('https://a.example/1\t"said\nhttps://a.example/2\t', "quotation mark before line 2"),
        (f"https://a.example/1\t{'x' * 200_000}", "line 1"),
    ],
)
def test_a_table_whose_lines_cannot_be_told_apart_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        links_of(text)


async def test_a_wrong_line_keeps_no_other_and_stays_in_the_form(start: Starter) -> None:
    async with start(capture_links=True) as service:
        csrf = await browse(service, Role.ANALYST)
        lines = [f"https://a.example/{n}" for n in range(1, 501)]
        lines[36] = "https://a.example/37 메모"
        form = {**csrf, "case_reference": "L-9", "links": "\n".join(lines), "examine": "all"}
        answer = await service.client.post("/links", data=form, headers=ENGLISH)
        assert answer.status_code == 422
        assert "499 links wait to be opened" in answer.text
        assert "<li>the URL in line 37 has no host, or spaces in it</li>" in answer.text
        assert "autofocus>https://a.example/37 메모</textarea>" in answer.text
        (case_id,) = set(re.findall(r'name="case_id" value="(\w+)"', answer.text))
        with service.database.read() as session:
            captures = session.scalars(select(Capture)).all()
        assert (len(captures), {c.case_id for c in captures}) == (499, {case_id})
        again = {**csrf, "case_id": case_id, "links": "https://a.example/37"}
        corrected = await service.client.post("/links", data=again)
        assert corrected.headers["Location"].startswith(f"/cases/{case_id}?done=linked")
        asked = {"case_id": case_id, "urls": [{"url": line} for line in lines]}
        token = {"X-CSRF-Token": csrf["csrf"]}
        answer = await service.client.post("/v1/links", json=asked, headers=token)
        assert [e["field"] for e in answer.json()["errors"]] == ["urls.36.url"]
        # What was refused as a whole is still there.
        wrong = {**csrf, "case_reference": "x" * 201, "links": "https://a.example/1"}
        refused = (await service.client.post("/links", data=wrong, headers=ENGLISH)).text
        assert "Case reference: at most 200 characters" in refused
        assert ">https://a.example/1</textarea>" in refused
        assert "<code>" not in refused


async def test_what_became_of_a_link_is_said_in_korean_with_what_can_be_done(
    start: Starter,
) -> None:
    async with start(capture_links=True) as service:
        await browse(service, Role.ANALYST)
        queued = service.app.state.shared.services.links.add(
            caller_of(service), (None, "L-2"), [Link("https://a.example/1")], examine=False
        )
        case_id, (link,) = queued.case_id, queued.links
        vault = service.app.state.shared.services.vault
        with service.database.write() as session:
            capture = session.get_one(Capture, link.id)
            key = vault.case_key(session.get_one(Case, case_id))
            content = Content.opened(key, capture)
            capture.state, capture.reason = CaptureState.REFUSED, "login_required"
            content.model_copy(update={"detail": ENDS["login_required"]}).seal(key, capture)
        page = await service.client.get(f"/cases/{case_id}", headers={"Accept-Language": "ko"})
        assert "로그인이 필요한 사이트입니다." in page.text
        table = await service.client.get(
            f"/cases/{case_id}/captures.csv", headers={"Accept-Language": "ko"}
        )
        assert "로그인이 필요한 사이트입니다." in table.text


async def test_a_page_says_that_the_disk_has_no_room_for_a_link(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(capture_links=True) as service:
        await browse(service, Role.ANALYST)
        queued = service.app.state.shared.services.links.add(
            caller_of(service), (None, "L-3"), [Link("https://a.example/1")], examine=False
        )
        path = f"/cases/{queued.case_id}"
        assert SHORT not in (await service.client.get(path, headers=ENGLISH)).text
        monkeypatch.setattr(DiskSpace, "free_bytes", lambda _: 0)
        for page in (path, f"{path}/captures.csv"):
            assert SHORT in (await service.client.get(page, headers=ENGLISH)).text
            korean = await service.client.get(page, headers={"Accept-Language": "ko"})
            assert "서버의 디스크 공간이 부족합니다." in korean.text


async def test_no_links_are_asked_for_where_none_is_opened(start: Starter) -> None:
    async with start() as service:
        csrf = await browse(service, Role.ANALYST)
        page = (await service.client.get("/submit", headers=ENGLISH)).text
        assert "Open the links" not in page
        answer = await service.client.post("/links", data={**csrf, "links": "https://a.example/1"})
        assert answer.status_code == 409


async def test_whose_a_host_is_is_shown_with_a_warning_of_cdns_and_proposed_as_recipient(
    start: Starter,
) -> None:
    async with start(capture_links=True) as service:
        await browse(service, Role.ANALYST)
        queued = service.app.state.shared.services.links.add(
            caller_of(service), (None, "L-3"), [Link("https://a.example/1")], examine=False
        )
        case_id, (link,) = queued.case_id, queued.links
        vault = service.app.state.shared.services.vault
        network = {"name": "CLOUDFLARENET", "holder": "<b>C</b>", "country": "US",
                   "abuse": ["abuse@cdn.example"], "is_cdn": True, "source": ""}  # fmt: skip
        domain = {"name": "a.example", "registrar": "Names", "abuse": ["abuse@names.example"],
                  "source": ""}  # fmt: skip
        told = {"host": "a.example", "address": "8.8.8.8", "network": network, "domain": domain}
        changed = {"detail": ENDS["login_required"], "fetch": fetch(Operator.model_validate(told))}
        with service.database.write() as session:
            capture = session.get_one(Capture, link.id)
            key = vault.case_key(session.get_one(Case, case_id))
            content = Content.opened(key, capture)
            capture.state, capture.reason = CaptureState.REFUSED, "login_required"
            content.model_copy(update=changed).seal(key, capture)
        page = (await service.client.get(f"/cases/{case_id}", headers=ENGLISH)).text
        assert "Network of 8.8.8.8:" in page
        assert "This is a CDN, not the host" in page
        assert "&lt;b&gt;C&lt;/b&gt;" in page
        assert "abuse@names.example" in page
        form = f"/cases/{case_id}/notices"
        to_platform = (await service.client.get(f"{form}/eu-dsa-16", headers=ENGLISH)).text
        assert '<option value="abuse@names.example" label="a.example, registrar">' in to_platform
        assert "CDN, not the host" in to_platform
        to_authority = (await service.client.get(f"{form}/kr-d4u", headers=ENGLISH)).text
        assert "abuse@names.example" not in to_authority


async def test_forms_and_addresses_that_are_not_utf8_are_refused_with_the_field(
    start: Starter,
) -> None:
    async with start(capture_links=True) as service:
        csrf = await browse(service, Role.ANALYST)
        query = f"case_reference={quote('가-17', encoding='cp949')}"
        form = f"csrf={csrf['csrf']}&links=https://a.example/1&{query}"
        kind = {"Content-Type": "application/x-www-form-urlencoded", **ENGLISH}
        for answer in (
            await service.client.post("/links", content=form, headers=kind),
            await service.client.get(f"/?{query}", headers=ENGLISH),
        ):
            assert answer.status_code == 400
            assert "<li>case reference: not UTF-8" in answer.text
        damaged = {**csrf, "links": "https://a.example/1", "case_reference": "\ufffd-17"}
        answer = await service.client.post("/links", data=damaged, headers=ENGLISH)
        assert (answer.status_code, "U+FFFD" in answer.text) == (422, True)
