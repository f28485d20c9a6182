"""What pages say is translated, and can be put in."""

from __future__ import annotations

import re
from typing import Any

import pytest

from deepfake_service.platform.errors import (
    AccountExists,
    AccountUnknown,
    BeingDeleted,
    CaseHeld,
    CrossSiteRequest,
    DatabaseUnavailable,
    EvidenceMissing,
    EvidenceTooLarge,
    Forbidden,
    ImageryWithheld,
    InvalidRequest,
    KeyUnknown,
    NotFound,
    NoticeRefused,
    NotReady,
    NotReviewable,
    Overloaded,
    RequestTooLarge,
    ServiceError,
    StorageUnavailable,
    TooManyCallbacks,
    TooManyOccurrences,
    TooManyRequests,
    TooManyReviews,
)
from deepfake_service.platform.texts.i18n import translations
from tests.support.translations import error_messages, problems, raised_messages, template_messages


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


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_text_can_be_put_in(language: str) -> None:
    """A per cent sign that is not written twice would fail only where its page is shown."""
    found = translations(language)
    for message in template_messages():
        names = dict.fromkeys(re.findall(r"%\((\w+)\)", message), 1)
        assert found.gettext(message) % names


@pytest.mark.parametrize(
    "error",
    [
        AccountExists, AccountUnknown, BeingDeleted, CaseHeld, CrossSiteRequest,
        DatabaseUnavailable, EvidenceMissing, EvidenceTooLarge, Forbidden, ImageryWithheld,
        InvalidRequest, KeyUnknown, NotFound, NoticeRefused, NotReady, NotReviewable, Overloaded,
        RequestTooLarge, StorageUnavailable, TooManyCallbacks, TooManyOccurrences,
        TooManyRequests, TooManyReviews,
    ],
)  # fmt: skip
def test_what_pages_tell_when_something_fails_is_translated(error: type[ServiceError]) -> None:
    message = error().message
    assert translations("ko").gettext(message) != message
