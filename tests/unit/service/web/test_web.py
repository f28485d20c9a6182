"""Small parts of the console: where it leads, cells of tables, cookies, and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import InvalidRequest
from deepfake_service.platform.texts.spreadsheets import escape_formula
from deepfake_service.web.notices import _local_time
from deepfake_service.web.pages import moment, utc
from deepfake_service.web.signing_in import local_path
from tests.support.answers import ORIGIN, browse
from tests.unit.service.conftest import Service


@pytest.mark.parametrize(
    ("asked", "goes_to"),
    [
        ("/items/1", "/items/1"), ("//evil.example", "/"), ("/\\evil.example", "/"),
        ("https://evil.example", "/"), ("/a\nSet-Cookie: x", "/"), ("", "/"),
    ],
)  # fmt: skip
def test_only_paths_of_ours_are_gone_to(asked: str, goes_to: str) -> None:
    assert local_path(asked) == goes_to


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@x", "|calc", "\tx", "\rx", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x"],
)
def test_no_cell_is_a_formula(cell: str) -> None:
    assert escape_formula(cell) == f"'{cell}"
    assert escape_formula(-1.5) == -1.5
    assert escape_formula(None) == ""


async def test_behind_tls_cookies_go_no_other_way(start: Any) -> None:
    for url, secure in (("https://centre.example", True), (None, False)):
        async with start(public_url=url) as service:
            key = {"key": service.keys[Role.ANALYST]}
            origin = {"Origin": url or "http://service"}
            answer = await service.client.post("/sign-in", data=key, headers=origin)
            assert answer.status_code == 303
            cookie = answer.headers["set-cookie"]
            assert ("secure" in cookie.lower()) is secure
            assert cookie.startswith("__Host-session=" if secure else "session=")


def test_a_time_is_stated_in_utc_whatever_its_zone() -> None:
    assert utc("2026-11-25T23:30:00+09:00") == "2026-11-25 14:30 UTC"
    assert 'datetime="2026-11-25T23:30:00+09:00"' in moment("2026-11-25T23:30:00+09:00")
    assert (utc(None), moment(None)) == ("–", "–")


@pytest.mark.parametrize("offset", ["-540", "0", ""])
def test_times_of_forms_are_in_the_zone_that_they_name(offset: str) -> None:
    at = _local_time("2026-11-25T23:30", offset)
    assert at == datetime(2026, 11, 25, 23, 30, tzinfo=UTC) + timedelta(minutes=int(offset or 0))


@pytest.mark.parametrize(
    ("text", "offset"),
    [("tomorrow", "0"), ("2026-11-25T23:30", "x"), ("2026-11-25T23:30", "99999"),
     ("0001-01-01T00:00", "-540")],
)  # fmt: skip
def test_no_time_is_an_error_and_not_a_crash(text: str, offset: str) -> None:
    with pytest.raises(InvalidRequest):
        _local_time(text, offset)


async def test_signing_in_leads_back_to_the_page_that_was_asked_for(service: Any) -> None:
    asked = "/?tab=second&q=%EA%B0%80"
    answer = await service.client.get(asked)
    assert answer.headers["location"] == "/sign-in?next=/%3Ftab%3Dsecond%26q%3D%25EA%25B0%2580"
    page = await service.client.get(answer.headers["location"])
    assert 'name="next" value="/?tab=second&amp;q=%EA%B0%80"' in page.text
    assert "nothing was saved" not in page.text


@pytest.mark.parametrize(
    ("referer", "leads_to"),
    [
        ("http://service/cases/1/notices/kr-d4u?media=2", "/cases/1/notices/kr-d4u?media=2"),
        ("http://service", "/"), ("http://[", "/"), ("http://x//evil.example", "/"), (None, "/"),
        ("http://service/items/1/review", "/"), ("http://service/admin/keys", "/"),
    ],
)  # fmt: skip
async def test_a_form_that_was_sent_without_a_session_leads_back_to_its_page(
    service: Any, referer: str | None, leads_to: str
) -> None:
    headers = {**ORIGIN, "Accept-Language": "en"} | ({"Referer": referer} if referer else {})
    answer = await service.client.post("/cases/1/notices/kr-d4u", data={"x": "y"}, headers=headers)
    assert answer.status_code == 303
    page = await service.client.get(answer.headers["location"], headers=headers)
    assert f'name="next" value="{leads_to}"' in page.text
    assert "nothing was saved" in page.text


async def test_what_is_shown_once_has_no_link_that_loses_it(service: Any) -> None:
    form = await browse(service, Role.ADMIN)
    account = {**form, "name": "new", "role": "analyst", "kind": "person"}
    answer = await service.client.post("/admin/accounts", data=account, headers=ORIGIN)
    assert "/invitation/" in answer.text
    assert "/language/" not in answer.text
    # Nor is the address of the answer a dead end.
    page = await service.client.get("/admin/accounts", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert 'href="/"' in page.text


async def test_the_language_of_a_page_with_a_long_address_can_be_switched(service: Any) -> None:
    await browse(service, Role.ANALYST)
    selected = "/reviews?" + "&".join(f"job={n:026}" for n in range(50))
    page = await service.client.get(selected)
    switch = re.search(r'href="(/language/ko[^"]+)"', page.text)
    assert switch
    answer = await service.client.get(switch[1])
    assert answer.headers["location"] == selected


async def test_each_role_sees_its_pages(service: Service) -> None:
    del service.client.headers["Authorization"]
    for role, path, status in (
        (Role.ANALYST, "/admin", 403), (Role.ANALYST, "/audit", 403), (Role.AUDITOR, "/", 403),
        (Role.AUDITOR, "/audit", 200), (Role.ADMIN, "/admin", 200),
    ):  # fmt: skip
        await service.sign_in(role)
        assert (await service.client.get(path)).status_code == status, path
