"""The tables by which people get in: accounts, keys, sessions, invitations, second factors."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Boolean, Date, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from deepfake_service.platform.db.column_types import Moment, States
from deepfake_service.platform.db.enums import Role
from deepfake_service.platform.db.tables import DIGEST_CHARS, ID_CHARS, Authenticated, Base


class Account(Authenticated):
    """A person or a system, which owns cases and keys."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    """``person`` or ``system``."""
    role: Mapped[Role] = mapped_column(States(Role, 16))
    created_at: Mapped[datetime] = mapped_column(Moment)
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)
    live: Mapped[bool] = mapped_column(Boolean, default=False)
    """Whether its jobs may have the priority ``live``."""
    second_factor: Mapped[bool] = mapped_column(Boolean)
    """Whether its keys need a code. Said here too, so that removing the row of ``second_factors``
    does not switch it off."""


class Key(Authenticated):
    """A key of an account. Only the hash of its secret is stored."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARS))
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    revoked_at: Mapped[datetime | None] = mapped_column(Moment)
    last_used_on: Mapped[date | None] = mapped_column(Date)
    """The day in UTC on which it was last used; ``None`` if it was not since this is noted."""


class SignIn(Authenticated):
    """A browser that was signed in with a key."""

    __tablename__ = "sign_ins"

    id: Mapped[str] = mapped_column(String(DIGEST_CHARS), primary_key=True)
    """The hash of the cookie."""
    key_id: Mapped[str] = mapped_column(ForeignKey("keys.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


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
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
