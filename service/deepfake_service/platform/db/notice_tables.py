"""The tables of notices and of what happened to them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from deepfake_service.platform.db.column_types import Moment, States
from deepfake_service.platform.db.enums import NoticeEventKind, NoticeState
from deepfake_service.platform.db.tables import DIGEST_CHARS, ID_CHARS, Base


class Notice(Base):
    """A notice to a platform or an authority, and its outcome."""

    __tablename__ = "notices"

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(String(32))
    language: Mapped[str] = mapped_column(String(8))
    state: Mapped[NoticeState] = mapped_column(States(NoticeState, 32))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """Fields, occurrences, text and receipt, as JSON."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)
    due_at: Mapped[datetime | None] = mapped_column(Moment, index=True)
    """The deadline of the recipient, if there is one."""
    answered_at: Mapped[datetime | None] = mapped_column(Moment)
    withdraw_at: Mapped[datetime | None] = mapped_column(Moment)
    """When it was marked for withdrawal, because its finding was reversed."""


class NoticeEvent(Base):
    """One thing that happened to a notice. It is never changed or overwritten; others follow."""

    __tablename__ = "notice_events"

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    notice_id: Mapped[str] = mapped_column(ForeignKey("notices.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    """1 for the first one of its notice."""
    account_id: Mapped[str | None] = mapped_column(String(ID_CHARS))
    """``None`` if the service acted by itself."""
    kind: Mapped[NoticeEventKind] = mapped_column(States(NoticeEventKind, 16))
    state: Mapped[NoticeState] = mapped_column(States(NoticeState, 32))
    """The state of the notice after it."""
    digest: Mapped[str] = mapped_column(String(DIGEST_CHARS))
    """The SHA-256 that the audit log has; see ``notices/history.py``."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (UniqueConstraint("notice_id", "number"),)
