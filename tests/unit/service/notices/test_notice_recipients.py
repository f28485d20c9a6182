"""Who a notice is addressed to by default, and which posts it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepfake_service.notices.kinds import KINDS
from deepfake_service.web.notice_form import Posts, contact_values


def post(name: str, platform: str | None, url: str | None = None) -> dict[str, Any]:
    return {"id": name, "platform": platform, "source_url": url}


POSTS = [
    post("a", None, "https://www.example.org/1"),
    post("b", "Discord", "https://discord.example/2"),
    post("c", None, "https://example.org/3"),
    post("d", "discord "),
]


def posts(*lacking: str, of: Sequence[dict[str, Any]] = POSTS) -> Posts:
    return Posts(of, frozenset(o["id"] for o in of) - set(lacking))


def test_a_platform_is_told_of_its_own_posts_only() -> None:
    assert posts().recipient(KINDS["eu-dsa-16"], "en") == "example.org"
    assert posts().of_recipient(KINDS["eu-dsa-16"]) == {"a", "c"}
    assert posts(of=POSTS[1:]).recipient(KINDS["us-take-it-down"], "en") == "Discord"
    assert posts(of=POSTS[1:]).of_recipient(KINDS["us-take-it-down"]) == {"b", "d"}


def test_posts_that_lack_nothing_come_first() -> None:
    some = posts("a", "c", "d")
    assert some.recipient(KINDS["kr-tba-22-5"], "ko") == "Discord"
    assert some.of_recipient(KINDS["kr-tba-22-5"]) == {"b"}
    assert posts("a").of_recipient(KINDS["kr-d4u"]) == {"b", "c", "d"}
    none = posts("a", "b", "c", "d")  # then what they lack is said, and nothing is hidden
    assert none.recipient(KINDS["kr-tba-22-5"], "ko") == "example.org"
    assert none.of_recipient(KINDS["kr-tba-22-5"]) == {"a", "c"}


def test_a_support_centre_is_told_of_all_posts_and_an_authority_is_not_guessed() -> None:
    assert posts().recipient(KINDS["kr-d4u"], "ko") == "중앙디지털성범죄피해자지원센터"
    assert posts().of_recipient(KINDS["kr-d4u"]) == {"a", "b", "c", "d"}
    assert posts().recipient(KINDS["budapest-29"], "en") == ""
    nothing, kind = posts(of=[]), KINDS["eu-dsa-16"]
    assert (nothing.recipient(kind, "en"), nothing.of_recipient(kind)) == ("", set())


def test_a_contact_fills_contact_fields_but_never_a_statement_or_a_signature() -> None:
    contact = {"name": "Centre", "email": "a@example.org", "phone": "02-1234-5678"}
    for kind in KINDS.values():
        values = contact_values(kind, contact)
        assert not [n for n in values if "faith" in n or n.startswith("sign")]
    assert contact_values(KINDS["kr-tba-22-5"], contact)["reporter_name"] == "Centre"
    assert contact_values(KINDS["kr-tba-22-5"], {}) == {}
