"""Who a notice is addressed to by default, and which posts are the recipient's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

SUPPORT_CENTRE = {
    "ko": "디지털성범죄피해자지원센터",
    "en": "Digital Sex Crime Victim Support Center (Korea)",
}
TO_PLATFORMS = frozenset({"eu-dsa-16", "us-take-it-down", "kr-tba-22-5"})
"""Kinds of notices that are sent to a platform, which must not learn of posts elsewhere."""


def place_of(occurrence: Mapping[str, Any]) -> str:
    """Return what tells platforms apart: the name of a platform, or else the host of the URL."""
    if occurrence["platform"]:
        return str(occurrence["platform"]).casefold().strip()
    try:
        host = urlsplit(occurrence["source_url"] or "").hostname or ""
    except ValueError:
        host = ""
    return host.removeprefix("www.")


def recipient_of(kind: str, usable: Sequence[Mapping[str, Any]], language: str) -> str:
    """Return the default recipient: by the kind of notice, or the platform of the newest post.

    It is empty where only a person can know, as for an authority abroad.

    Args:
        usable: the posts that the notice can be about, newest first.
    """
    if kind == "kr-d4u":
        return SUPPORT_CENTRE[language]
    if kind not in TO_PLATFORMS or not usable:
        return ""
    return str(usable[0]["platform"] or place_of(usable[0]))


def posts_of_recipient(kind: str, usable: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the ids of the posts that the default recipient of a notice is responsible for."""
    if kind in TO_PLATFORMS:
        usable = [o for o in usable if place_of(o) == place_of(usable[0])]
    return {o["id"] for o in usable}
