"""What a notice that follows an earlier one says about it, from the records of this service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepfake_service.cases.posts import Post
from deepfake_service.notices.kinds import KINDS, kind_of
from deepfake_service.notices.shapes import FullNotice
from deepfake_service.platform.texts.formatting import attributed, to_the_second
from deepfake_service.platform.texts.i18n import words
from deepfake_service.removal.posts import PostTimeline

ENDED = ("removed", "delisted", "temporarily_blocked", "preserved")
"""Outcomes after which nothing is left to be escalated."""


def followers_of(notice: FullNotice) -> list[str]:
    """Return the kinds of notices that can follow one: it was sent, and a post is still there."""
    is_over = notice.state in ENDED and not notice.returned_at
    if not notice.sent_at or is_over or (notice.gone_at and not notice.returned_at):
        return []
    return [kind.id for kind in KINDS.values() if notice.kind in kind.follows]


def left_of(posts: Sequence[Post], lines: Mapping[str, PostTimeline]) -> list[Post]:
    """Return the posts of a notice that are not known to be gone."""
    return [post for post in posts if not lines[post.id].gone_at]


def account_of(
    notice: FullNotice,
    posts: Sequence[Post],
    lines: Mapping[str, PostTimeline],
    language: str,
) -> str:
    """Return what the records say of a notice: when it was sent, and what looks found since. A
    person reads, corrects and states it: a form only begins with it."""
    t = words(language, "notice", polite=True)
    kind = kind_of(notice.kind)
    sent = {
        "kind": kind.name.of(language),
        "recipient": notice.recipient or "–",
        "at": to_the_second(notice.sent_at, language),
    }
    said = [t("earlier_sent", **sent)]
    if notice.due_at:
        said.append(t("earlier_due", at=to_the_second(notice.due_at, language)))
    if notice.answered_at:
        at = to_the_second(notice.answered_at, language)
        said.append(t("earlier_answer", outcome=t.of("states", notice.state), at=at))
    for post in left_of(posts, lines):
        line, url = lines[post.id], post.source_url
        place = attributed("source_url", url, post.claimed, t) if url else t("no_url")
        if line.result is None:
            said.append(t("earlier_not_looked", url=place))
            continue
        found = {
            "url": place,
            "result": t.of("looks", line.result),
            "at": to_the_second(line.looked_at, language),
            "number": line.looks,
            "sha256": line.sha256,
        }
        said.append(t("earlier_look", **found))
    return "\n".join(said)
