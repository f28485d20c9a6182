"""Who a notice is addressed to by default, and which posts it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepfake_service.notices.kinds import KINDS
from deepfake_service.web.notice_inputs import contact_values, form_inputs
from deepfake_service.web.notice_recipients import Posts, posts_of_recipient, recipient_of


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
    assert recipient_of("eu-dsa-16", posts(), "en") == "example.org"
    assert posts_of_recipient("eu-dsa-16", posts()) == {"a", "c"}
    assert recipient_of("us-take-it-down", posts(of=POSTS[1:]), "en") == "Discord"
    assert posts_of_recipient("us-take-it-down", posts(of=POSTS[1:])) == {"b", "d"}


def test_posts_that_lack_nothing_come_first() -> None:
    some = posts("a", "c", "d")
    assert recipient_of("kr-tba-22-5", some, "ko") == "Discord"
    assert posts_of_recipient("kr-tba-22-5", some) == {"b"}
    assert posts_of_recipient("kr-d4u", posts("a")) == {"b", "c", "d"}
    none = posts("a", "b", "c", "d")  # then what they lack is said, and nothing is hidden
    assert recipient_of("kr-tba-22-5", none, "ko") == "example.org"
    assert posts_of_recipient("kr-tba-22-5", none) == {"a", "c"}


def test_a_support_centre_is_told_of_all_posts_and_an_authority_is_not_guessed() -> None:
    assert recipient_of("kr-d4u", posts(), "ko") == "중앙디지털성범죄피해자지원센터"
    assert posts_of_recipient("kr-d4u", posts()) == {"a", "b", "c", "d"}
    assert recipient_of("budapest-29", posts(), "en") == ""
    nothing = posts(of=[])
    assert (recipient_of("eu-dsa-16", nothing, "en"), posts_of_recipient("eu-dsa-16", nothing)) == (
        "", set(),
    )  # fmt: skip


def test_a_contact_fills_contact_fields_but_never_a_statement_or_a_signature() -> None:
    values = contact_values({"name": "Centre", "email": "a@example.org", "phone": "02-1234-5678"})
    for kind in KINDS.values():
        filled = {i["name"] for i in form_inputs(kind, "en", values, minor=False) if i["value"]}
        assert not [n for n in filled if "faith" in n or n.startswith("sign")]
    assert values["reporter_name"] == "Centre"
    assert contact_values({}) == {}
