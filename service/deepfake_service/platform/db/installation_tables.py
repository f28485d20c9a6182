"""The tables of an installation: its accounts, keys, secrets and log, and what outlives cases."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from deepfake_service.platform.db.columns import (
    AnyId,
    Authenticated,
    Base,
    Code,
    Digest,
    DigestId,
    Id,
    OfAccount,
    OfKey,
)
from deepfake_service.platform.enums import EditionState, Role


class Account(Authenticated):
    """A person or a system, which owns cases and keys."""

    __tablename__ = "accounts"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    """``person`` or ``system``."""
    role: Mapped[Role]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    live: Mapped[bool] = mapped_column(default=False)
    """Whether its jobs may have the priority ``live``."""
    second_factor: Mapped[bool]
    """Whether its keys need a code. Said here too, so that removing the row of ``second_factors``
    does not switch it off."""


class Key(Authenticated):
    """A key of an account. Only the hash of its secret is stored."""

    __tablename__ = "keys"

    id: Mapped[Id]
    account_id: Mapped[OfAccount] = mapped_column(index=True)
    sha256: Mapped[Digest]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_on: Mapped[date | None]
    """The day in UTC on which it was last used; ``None`` if it was not since this is noted."""


class SignIn(Authenticated):
    """A browser that was signed in with a key."""

    __tablename__ = "sign_ins"

    id: Mapped[DigestId]
    """The hash of the cookie."""
    key_id: Mapped[OfKey]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Invitation(Authenticated):
    """A link by which the owner of an account creates a key. It works once."""

    __tablename__ = "invitations"

    id: Mapped[DigestId]
    """The hash of the token in the link."""
    account_id: Mapped[OfAccount] = mapped_column(index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    key_expires_at: Mapped[datetime | None]
    """When the key that it creates expires; ``None``: never."""


class SecondFactor(Authenticated):
    """The secret from which a person's one-time codes are computed (TOTP, RFC 6238)."""

    __tablename__ = "second_factors"

    id: Mapped[Id] = mapped_column(ForeignKey("accounts.id"))
    """The id of the account."""
    secret: Mapped[bytes]
    """Sealed under a key of the installation."""
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    """When the first code was entered. Until then no code is asked for."""
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    """The time step of the last code that was accepted. No code is accepted twice."""
    failures: Mapped[int]
    """Wrong codes since the last right one."""
    paused_until: Mapped[datetime | None]
    """No code is accepted before, because of the wrong ones."""


class SigningKey(Authenticated):
    """A current or former signing key of evidence. Its private part is a ``Secret``."""

    __tablename__ = "signing_keys"

    id: Mapped[DigestId]
    purpose: Mapped[str] = mapped_column(String(16))
    """``statement``. Keys for ``report`` are of versions that made certificates of their own."""
    public_pem: Mapped[str] = mapped_column(Text)
    certificate_pem: Mapped[str | None] = mapped_column(Text)
    """That of a key for ``report``."""
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]
    """When it stopped signing."""
    revoked_at: Mapped[datetime | None]
    """When trust in everything that it signed was withdrawn."""


class RevokedEdition(Base):
    """An edition that a newer one replaced or that was withdrawn. It outlives its case."""

    __tablename__ = "revoked_editions"

    sha256: Mapped[DigestId]
    """The SHA-256 of the ZIP."""
    state: Mapped[EditionState]
    at: Mapped[datetime]


class AuditEntry(Authenticated):
    """One entry of the audit log. ``hash`` covers the entry and the hash of the one before."""

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    at: Mapped[datetime] = mapped_column(index=True)
    account_id: Mapped[AnyId | None]
    key_id: Mapped[AnyId | None]
    action: Mapped[Code]
    subject: Mapped[AnyId | None] = mapped_column(index=True)
    detail: Mapped[str | None] = mapped_column(String(200))
    hash: Mapped[Digest]


class Secret(Base):
    """A secret of the installation, wrapped by the master key."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    wrapped: Mapped[bytes]


class Fact(Base):
    """Something that an installation remembers about itself, as JSON."""

    __tablename__ = "facts"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Protection(Base):
    """Something that the restoration of an older database must not undo; see ``audit/journal``.
    ``value`` is empty after it was lifted."""

    __tablename__ = "protections"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    subject: Mapped[DigestId]
    version: Mapped[int]
    value: Mapped[str] = mapped_column(Text)


class Lease(Base):
    """A live worker. It renews its lease until it stops."""

    __tablename__ = "leases"

    executor_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime]
    version: Mapped[Code | None]
    """Which jobs it examines; see ``examination/queue.py``."""
    slots: Mapped[int | None]
    """How many jobs it examines at the same time."""
