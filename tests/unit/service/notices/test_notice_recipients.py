"""Who a notice is addressed to by default, and which posts it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepfake_service.accounts.organisation import Organisation
from deepfake_service.cases.posts import Post
from deepfake_service.notices.kinds import KINDS
from deepfake_service.web.notice_form import (
    OfferedPost,
    default_values,
    posts_of_recipient,
    recipient_of,
)
from tests.support.notices import seen


def post(name: str, platform: str | None, url: str | None = None) -> Post:
    return seen(id=name, platform=platform, source_url=url)


POSTS = [
    post("a", None, "https://www.example.org/1"),
    post("b", "Discord", "https://discord.example/2"),
    post("c", None, "https://example.org/3"),
    post("d", "discord "),
]


def posts(*lacking: str, of: Sequence[Post] = POSTS) -> list[OfferedPost]:
    known: dict[str, Any] = {"job": None, "pictured": None, "reasons": [], "obstacle": None}
    return [
        OfferedPost(**dict(post), **known, lacks=["source_url"] if post.id in lacking else [])
        for post in of
    ]


def test_a_platform_is_told_of_its_own_posts_only() -> None:
    assert recipient_of(KINDS["eu-dsa-16"], posts(), "en") == "example.org"
    assert posts_of_recipient(KINDS["eu-dsa-16"], posts()) == {"a", "c"}
    assert recipient_of(KINDS["us-take-it-down"], posts(of=POSTS[1:]), "en") == "Discord"
    assert posts_of_recipient(KINDS["us-take-it-down"], posts(of=POSTS[1:])) == {"b", "d"}


def test_posts_that_lack_nothing_come_first() -> None:
    some = posts("a", "c", "d")
    assert recipient_of(KINDS["kr-tba-22-5"], some, "ko") == "Discord"
    assert posts_of_recipient(KINDS["kr-tba-22-5"], some) == {"b"}
    assert posts_of_recipient(KINDS["kr-d4u"], posts("a")) == {"b", "c", "d"}
    none = posts("a", "b", "c", "d")  # then what they lack is said, and nothing is hidden
    assert recipient_of(KINDS["kr-tba-22-5"], none, "ko") == "example.org"
    assert posts_of_recipient(KINDS["kr-tba-22-5"], none) == {"a", "c"}


def test_a_support_centre_is_told_of_all_posts_and_an_authority_is_not_guessed() -> None:
    assert recipient_of(KINDS["kr-d4u"], posts(), "ko") == "중앙디지털성범죄피해자지원센터"
    assert posts_of_recipient(KINDS["kr-d4u"], posts()) == {"a", "b", "c", "d"}
    assert recipient_of(KINDS["budapest-29"], posts(), "en") == ""
    nothing, kind = posts(of=[]), KINDS["eu-dsa-16"]
    assert (recipient_of(kind, nothing, "en"), posts_of_recipient(kind, nothing)) == ("", set())


def test_a_form_begins_with_what_is_always_the_same_but_never_signs_or_affirms() -> None:
    kept = {
        "kr-tba-22-5.statement": "동의 없이 합성된 영상입니다.",
        "eu-dsa-16.explanation": "x" * 20,
    }
    centre = Organisation(
        name_ko="센터",
        name_en="Centre",
        email="a@example.org",
        phone="02-1234-5678",
        statements=kept,
    )
    for kind in KINDS.values():
        values = default_values(kind, centre, "en", minor=False)
        unsigned = {"signature", "affirmation", "date"}
        assert not [n for n in values if kind.fields[n].type in unsigned]
    korean = KINDS["kr-tba-22-5"]
    assert default_values(korean, centre, "ko", minor=False) == {
        "reporter_name": "센터", "reporter_phone": "02-1234-5678", "request": "deletion",
        "reporter_email": "a@example.org", "reason": "false_video",
        "statement": "동의 없이 합성된 영상입니다.",
    }  # fmt: skip
    minor = default_values(korean, Organisation(), "ko", minor=True)
    assert minor == {"request": "deletion", "reason": "child_sexual_exploitation"}
    european = default_values(KINDS["eu-dsa-16"], centre, "en", minor=False)
    assert european["notifier_name"] == "Centre"
