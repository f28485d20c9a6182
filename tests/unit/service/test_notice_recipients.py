"""Who a notice is addressed to by default, and which posts it names."""

from __future__ import annotations

from typing import Any

from deepfake_service.notices.kinds import KINDS
from deepfake_service.web.notice_inputs import contact_values, form_inputs
from deepfake_service.web.notice_recipients import posts_of_recipient, recipient_of


def post(name: str, platform: str | None, url: str | None = None) -> dict[str, Any]:
    return {"id": name, "platform": platform, "source_url": url}


POSTS = [
    post("a", None, "https://www.example.org/1"),
    post("b", "Discord", "https://discord.example/2"),
    post("c", None, "https://example.org/3"),
    post("d", "discord "),
]


def test_a_platform_is_told_of_its_own_posts_only() -> None:
    assert recipient_of("eu-dsa-16", POSTS, "en") == "example.org"
    assert posts_of_recipient("eu-dsa-16", POSTS) == {"a", "c"}
    assert recipient_of("us-take-it-down", POSTS[1:], "en") == "Discord"
    assert posts_of_recipient("us-take-it-down", POSTS[1:]) == {"b", "d"}


def test_a_support_centre_is_told_of_all_posts_and_an_authority_is_not_guessed() -> None:
    assert recipient_of("kr-d4u", POSTS, "ko") == "디지털성범죄피해자지원센터"
    assert posts_of_recipient("kr-d4u", POSTS) == {"a", "b", "c", "d"}
    assert recipient_of("budapest-29", POSTS, "en") == ""
    assert (recipient_of("eu-dsa-16", [], "en"), posts_of_recipient("eu-dsa-16", [])) == ("", set())


def test_a_contact_fills_contact_fields_but_never_a_statement_or_a_signature() -> None:
    values = contact_values({"name": "Centre", "email": "a@example.org", "phone": "02-1234-5678"})
    for kind in KINDS.values():
        filled = {i["name"] for i in form_inputs(kind, "en", values, minor=False) if i["value"]}
        assert not [n for n in filled if "faith" in n or n.startswith("sign")]
    assert values["reporter_name"] == "Centre"
    assert contact_values({}) == {}
