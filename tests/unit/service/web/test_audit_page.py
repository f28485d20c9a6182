"""The page of the audit log: its end first, filtered by subject and by day, in words."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.platform.enums import Role
from deepfake_service.platform.texts.i18n import words
from tests.support.jobs import all_entries, headers, submit
from tests.unit.service.conftest import Service


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_action_of_the_audit_log_has_words(language: str) -> None:
    said = {str(action): words(language).of("actions", str(action)) for action in Action}
    assert not {a for a, text in said.items() if text == a}
    assert len(set(said.values())) == len(said)


async def test_the_audit_log_opens_at_its_end(service: Service) -> None:
    with service.database.write() as session:
        for _ in range(450):
            append_entry(session, SERVICE, Action.CASE_READ, "x")
    await service.sign_in(Role.AUDITOR)
    path, pages = "/audit", []
    while path:
        page = (await service.client.get(path)).text
        pages.append([int(n) for n in re.findall(r"<tr><td[^>]*>(\d+)</td>", page)])
        older = re.search(r'href="(/audit\?before=\d+)">(?:더 이전 내역|Older entries)', page)
        path = older[1] if older else ""
    assert [len(p) for p in pages[:2]] == [200, 200]
    assert pages[0][0] > 250
    assert [n for p in pages for n in p] == list(range(pages[0][0], 0, -1))
    for before in ("-1", str(2**63), "x"):
        assert (await service.client.get(f"/audit?before={before}")).status_code == 422


async def test_the_audit_log_is_filtered_and_leads_administrators_to_items(
    service: Service,
) -> None:
    job = await submit(service)
    await service.sign_in(Role.ADMIN)
    page = (await service.client.get(f"/audit?action=media.submitted&subject={job['id']}")).text
    assert page.count("<tr><td") == 1
    assert f'href="/items/{job["id"]}"' in page
    assert re.search(r"data-seconds>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC<", page)
    nobody = (await service.client.get("/audit?account=x")).text
    assert "<tr><td" not in nobody
    await service.sign_in(Role.AUDITOR)
    page = (await service.client.get(f"/audit?subject={job['id']}")).text
    assert job["id"] in page
    assert "/items/" not in page


async def test_the_audit_log_is_filtered_by_the_number_of_a_case(service: Service) -> None:
    first = await submit(service, case_reference="2026-0117")
    other = await submit(service, case_reference="2026-0118")
    await service.client.get(f"/v1/jobs/{first['id']}", headers=headers(service, Role.ANALYST))
    await service.sign_in(Role.ADMIN)
    for asked in (" 2026-0117", first["case_id"]):
        page = (await service.client.get("/audit", params={"subject": asked})).text
        assert first["id"] in page
        assert first["case_id"] in page
        assert other["id"] not in page
        assert "2026-0118" not in page
        assert page.count("<bdi>2026-0117</bdi>") == page.count("<tr><td") > 1
    assert "<tr><td" not in (await service.client.get("/audit?subject=2026-0119")).text
    await service.sign_in(Role.AUDITOR)
    page = (await service.client.get("/audit?subject=2026-0117")).text
    assert first["id"] in page
    assert "<bdi>2026-0117</bdi>" not in page
    read = [e.subject for e in all_entries(service) if e.action == "audit.read"]
    assert read == [first["case_id"]] * 2 + [None, first["case_id"]]


# A day of an hour more and one of an hour less begin and end where the clocks say so.
DAYS: list[tuple[dict[str, str], str, str]] = [
    ({"since": "2026-11-26", "until": "2026-11-26", "zone": "Asia/Seoul"},
     "2026-11-25T15:00:00+00:00", "2026-11-26T15:00:00+00:00"),
    ({"since": "2026-11-26", "until": "2026-11-26"},
     "2026-11-26T00:00:00+00:00", "2026-11-27T00:00:00+00:00"),
    ({"since": "2026-03-29", "until": "2026-03-29", "zone": "Europe/Berlin"},
     "2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00"),
    ({"since": "2026-10-25", "until": "2026-10-26", "zone": "Europe/Berlin"},
     "2026-10-24T22:00:00+00:00", "2026-10-26T23:00:00+00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "first", "last"), DAYS)
async def test_the_audit_log_is_filtered_by_day_in_the_zone_of_the_page(
    service: Service, query: dict[str, str], first: str, last: str
) -> None:
    edges = [datetime.fromisoformat(at) for at in (first, last)]
    moments = [edge + timedelta(microseconds=n) for edge in edges for n in (-1, 0)]
    with service.database.write() as session:
        for n, at in enumerate(moments):
            append_entry(session, SERVICE, Action.CASE_READ, f"entry{n}", at=at)
    await service.sign_in(Role.AUDITOR)

    async def seen(**asked: str) -> list[str]:
        page = (await service.client.get("/audit", params=asked)).text
        return re.findall(r"<code>(entry\d)</code>", page)

    assert await seen(**query) == ["entry2", "entry1"]
    begins, ends = ({k: v for k, v in query.items() if k != name} for name in ("until", "since"))
    assert await seen(**begins, action="case.read") == ["entry3", "entry2", "entry1"]
    assert await seen(**ends) == ["entry2", "entry1", "entry0"]


async def test_the_filter_by_day_is_kept_and_names_its_zone(service: Service) -> None:
    with service.database.write() as session:
        for _ in range(201):
            append_entry(session, SERVICE, Action.CASE_READ, "x")
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.AUDITOR)
    query = {"since": "2026-01-01", "zone": "Asia/Seoul"}
    page = (await service.client.get("/audit", params=query)).text
    assert re.search(r'href="/audit\?since=2026-01-01&amp;zone=Asia%2FSeoul&amp;before=\d+"', page)
    assert 'value="2026-01-01"' in page
    assert '<span id="zone">KST</span>' in page
    for zone in ("", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "Asia", "\x00"):
        page = (await service.client.get("/audit", params={"zone": zone})).text
        assert '<span id="zone">UTC</span>' in page
        assert "Reset filters" not in page
    for day in ("2026-02-30", "26-01-01", "tomorrow", "0001-01-01", "9999-12-31"):
        assert (await service.client.get("/audit", params={"since": day})).status_code == 422
