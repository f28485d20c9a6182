"""What pages say is translated, and can be put in."""

from __future__ import annotations

import re
from typing import Any

import pytest

from deepfake_service.capture.captures import MAX_FILES
from deepfake_service.http.middleware import MAX_BODY_BYTES
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import (
    Code,
    DatabaseUnavailable,
    EvidenceMissing,
    Forbidden,
    InvalidRequest,
    NotFound,
    Overloaded,
    RequestTooLarge,
    StorageUnavailable,
    TooManyRequests,
)
from deepfake_service.platform.texts.i18n import translations
from tests.support.jobs import headers
from tests.support.translations import error_messages, problems, raised_messages, template_messages

ENGLISH = {"Accept-Language": "en"}


def test_all_that_pages_say_is_translated() -> None:
    assert len(template_messages()) > 150
    assert len(error_messages()) > 50
    assert len(raised_messages()) > 20
    assert problems() == []


@pytest.mark.parametrize(
    ("language", "named"),
    [
        ("ko", "<strong>1366 (여성긴급전화, 24시간)</strong>"),
        ("en", "<strong>1366 (Women's Emergency Hotline, Korea, 24 hours)</strong>"),
    ],
)
async def test_the_support_line_is_named_in_the_language_of_the_help(
    start: Any, language: str, named: str
) -> None:
    asking = {"Accept-Language": language}
    async with start() as service:
        assert named in (await service.client.get("/help", headers=asking)).text
    async with start(support_contact="0800 123, day and night") as service:
        page = (await service.client.get("/help", headers=asking)).text
        assert "<strong>0800 123, day and night</strong>" in page
        assert "1366" not in page


@pytest.mark.parametrize(
    ("accepted", "language"),
    [(None, "ko"), ("ko-KR,ko;q=0.9", "ko"), ("fr, ko;q=0.5", "ko"), ("fr", "en"), ("en", "en")],
)
async def test_a_page_is_in_the_language_that_its_reader_prefers(
    start: Any, accepted: str | None, language: str
) -> None:
    asking = {"Accept-Language": accepted} if accepted else {}
    async with start() as service:
        page = (await service.client.get("/sign-in", headers=asking)).text
    assert f'<html lang="{language}"' in page


async def test_details_are_in_the_language_of_the_page(start: Any) -> None:
    """Those with figures, and those that the scripts of a page show."""
    async with start() as service:
        client = service.client
        await service.sign_in(Role.ADMIN)
        refused = await client.get("/statistics?start=2026-02-01&end=2026-01-01")
        assert "시작일보다 빠를 수 없습니다" in refused.text
        origin = {"Origin": str(client.base_url)}
        large = await client.post("/sign-in", data={"key": "x" * MAX_BODY_BYTES}, headers=origin)
        assert "허용된 크기를 넘었습니다." in large.text
        english = await client.post(
            "/sign-in", data={"key": "x" * MAX_BODY_BYTES}, headers={**origin, **ENGLISH}
        )
        assert f"The body may have at most {MAX_BODY_BYTES} bytes." in english.text
        many = await client.post(
            "/v1/captures",
            files=[("screenshots", (f"{n}.png", b"x")) for n in range(MAX_FILES)],
            headers={**headers(service, Role.ANALYST), "Accept-Language": "ko"},
        )
        assert [each["detail"] for each in many.json()["errors"]] == ["파일이 19개를 넘습니다"]


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_text_can_be_put_in(language: str) -> None:
    """A per cent sign that is not written twice would fail only where its page is shown."""
    found = translations(language)
    for message in template_messages():
        names = dict.fromkeys(re.findall(r"%\((\w+)\)", message), 1)
        assert found.gettext(message) % names


@pytest.mark.parametrize(
    "message",
    [
        *(code.value for code in Code),
        *(
            error().message
            for error in (
                DatabaseUnavailable, EvidenceMissing, Forbidden, InvalidRequest, NotFound,
                Overloaded, RequestTooLarge, StorageUnavailable, TooManyRequests,
            )
        ),
    ],
)  # fmt: skip
def test_what_pages_tell_when_something_fails_is_translated(message: str) -> None:
    assert translations("ko").gettext(message) != message
