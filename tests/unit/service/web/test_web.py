"""Small parts of the console: where it leads, cells of tables, cookies, and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deepfake_service.platform.db.enums import Role
from deepfake_service.platform.errors import InvalidRequest
from deepfake_service.platform.texts.spreadsheets import escape_formula
from deepfake_service.web.notices import _local_time
from deepfake_service.web.pages import moment, utc
from deepfake_service.web.signing_in import local_path


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
