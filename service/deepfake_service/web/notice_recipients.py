"""Who a notice is addressed to by default, and which posts are the recipient's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

SUPPORT_CENTRE = {
    "ko": "중앙디지털성범죄피해자지원센터",
    "en": "National Center for Digital Sexual Crime Response (Korea)",
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


@dataclass(frozen=True, slots=True)
class Posts:
    """The posts that a notice can be about, newest first."""

    usable: Sequence[Mapping[str, Any]]
    complete: frozenset[str]
    """Ids of those that lack nothing that the notice needs."""

    def preferred(self) -> Mapping[str, Any] | None:
        """Return the newest post that lacks nothing, or else the newest."""
        return next(
            (o for o in self.usable if o["id"] in self.complete), next(iter(self.usable), None)
        )


def recipient_of(kind: str, posts: Posts, language: str) -> str:
    """Return the default recipient: by the kind of notice, or the platform of the preferred post.

    It is empty where only a person can know, as for an authority abroad.
    """
    if kind == "kr-d4u":
        return SUPPORT_CENTRE[language]
    post = posts.preferred()
    if kind not in TO_PLATFORMS or post is None:
        return ""
    return str(post["platform"] or place_of(post))


def posts_of_recipient(kind: str, posts: Posts) -> set[str]:
    """Return the ids of the posts that the default recipient of a notice is responsible for.

    Those that lack something are left out, unless all do.
    """
    post, usable = posts.preferred(), posts.usable
    if kind in TO_PLATFORMS and post is not None:
        usable = [o for o in usable if place_of(o) == place_of(post)]
    ids = {str(o["id"]) for o in usable}
    return ids & posts.complete or ids
