"""The tables of one-time invitations and of second factors."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from deepfake_service.platform.db.column_types import Moment
from deepfake_service.platform.db.tables import DIGEST_CHARS, ID_CHARS, Authenticated, Base


class Invitation(Authenticated):
    """A link by which the owner of an account creates a key. It works once."""

    __tablename__ = "invitations"

    id: Mapped[str] = mapped_column(String(DIGEST_CHARS), primary_key=True)
    """The hash of the token in the link."""
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    key_expires_at: Mapped[datetime | None] = mapped_column(Moment)
    """When the key that it creates expires; ``None``: never."""
    replaces: Mapped[str | None] = mapped_column(String(ID_CHARS))
    """Id of the key that the new one takes the place of."""
    grace_hours: Mapped[int]
    """How long the replaced key still works."""


class SecondFactor(Authenticated):
    """The secret from which a person's one-time codes are computed (TOTP, RFC 6238)."""

    __tablename__ = "second_factors"

    id: Mapped[str] = mapped_column(String(ID_CHARS), ForeignKey("accounts.id"), primary_key=True)
    """The id of the account."""
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed under a key of the installation."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    confirmed_at: Mapped[datetime | None] = mapped_column(Moment)
    """When the first code was entered. Until then no code is asked for."""
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    """The time step of the last code that was accepted. No code is accepted twice."""
    failures: Mapped[int]
    """Wrong codes since the last right one."""
    paused_until: Mapped[datetime | None] = mapped_column(Moment)
    """No code is accepted before, because of the wrong ones."""


class PendingSignIn(Base):
    """A browser whose key was accepted and whose one-time code is still missing."""

    __tablename__ = "pending_sign_ins"

    id: Mapped[str] = mapped_column(String(DIGEST_CHARS), primary_key=True)
    """The hash of the cookie."""
    key_id: Mapped[str] = mapped_column(ForeignKey("keys.id", ondelete="CASCADE"))
    attempts: Mapped[int] = mapped_column(default=0)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
