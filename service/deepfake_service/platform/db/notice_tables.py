"""The tables of notices, of the looks at the posts that they are about, and of who sends them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from deepfake_service.platform.db.columns import (
    AnyId,
    Base,
    Claimable,
    Digest,
    Id,
    OfAccount,
    OfCase,
    OfNotice,
    OfPost,
    ShortCode,
)
from deepfake_service.platform.enums import LookResult, NoticeEventKind, NoticeState, WatchState


class Notice(Base):
    """A notice to a platform or an authority, and its outcome."""

    __tablename__ = "notices"

    id: Mapped[Id]
    case_id: Mapped[OfCase]
    account_id: Mapped[OfAccount]
    kind: Mapped[ShortCode]
    language: Mapped[str] = mapped_column(String(8))
    state: Mapped[NoticeState]
    sealed: Mapped[bytes]
    """Fields, occurrences, text and receipt, as JSON."""
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None] = mapped_column(index=True)
    """The deadline of the recipient, if there is one."""
    answered_at: Mapped[datetime | None]
    withdraw_at: Mapped[datetime | None]
    """When it was marked for withdrawal, because its finding was reversed."""
    gone_at: Mapped[datetime | None]
    """When the looks had found the last of its posts gone; ``None`` if one is not, or returned."""
    returned_at: Mapped[datetime | None]
    """When one of its posts returned, unless it is gone again."""


class NoticeEvent(Base):
    """One thing that happened to a notice. It is never changed or overwritten; others follow."""

    __tablename__ = "notice_events"

    id: Mapped[Id]
    notice_id: Mapped[OfNotice]
    number: Mapped[int]
    """1 for the first one of its notice."""
    account_id: Mapped[AnyId | None]
    """``None`` if the service acted by itself."""
    kind: Mapped[NoticeEventKind]
    state: Mapped[NoticeState]
    """The state of the notice after it."""
    digest: Mapped[Digest]
    """The SHA-256 that the audit log has; see ``cases/notice_history.py``."""
    sealed: Mapped[bytes]
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("notice_id", "number"),)


class Watch(Claimable):
    """One post that a notice which was sent is about: when it is looked at, and what came of it."""

    __tablename__ = "watches"

    id: Mapped[Id]
    notice_id: Mapped[OfNotice]
    occurrence_id: Mapped[OfPost] = mapped_column(index=True)
    host: Mapped[Digest | None]
    """Blind-index digest of the host of its URL; ``None`` without one."""
    state: Mapped[WatchState]
    next_look_at: Mapped[datetime | None] = mapped_column(index=True)
    """``None`` if it is not looked at any more."""
    looked_at: Mapped[datetime | None]
    """When the last look of the service at it began."""
    down_at: Mapped[datetime | None]
    """The first look since which it was not up."""
    gone_at: Mapped[datetime | None]
    """The first look that found it gone; ``None`` if that is not confirmed."""
    returned_at: Mapped[datetime | None]
    """When it was found to be there again, the last time."""

    __table_args__ = (
        UniqueConstraint("notice_id", "occurrence_id"),
        Index("ix_watches_host_looked", "host", "looked_at"),
    )


class Look(Base):
    """One look at a post. It is never changed; the record in it names the one before."""

    __tablename__ = "looks"

    id: Mapped[Id]
    occurrence_id: Mapped[OfPost]
    number: Mapped[int]
    """1 for the first one at its post."""
    account_id: Mapped[AnyId | None]
    """The person who looked; ``None`` for the service."""
    result: Mapped[LookResult]
    strong: Mapped[bool]
    at: Mapped[datetime]
    sha256: Mapped[Digest]
    """Of the signed record."""
    sealed: Mapped[bytes]
    """The signed record, and what was kept of the page, as JSON."""

    __table_args__ = (UniqueConstraint("occurrence_id", "number"),)


class Contact(Base):
    """How the organisation is named and reached."""

    __tablename__ = "contacts"

    id: Mapped[Id]
    """The constant of the organisation."""
    sealed: Mapped[bytes]
    """Names and addresses as JSON, under a key of the installation."""
    changed_at: Mapped[datetime]
