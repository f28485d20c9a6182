"""The tables of perceptual hashes, and of what they found."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from deepfake_service.platform.db.column_types import Moment
from deepfake_service.platform.db.tables import DIGEST_CHARS, ID_CHARS, Base


class KnownHashes(Base):
    """Perceptual hashes of a confirmed medium, sealed under a key of the installation."""

    __tablename__ = "known_hashes"

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[str] = mapped_column(String(ID_CHARS), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


class FlaggedHashes(Base):
    """Perceptual hashes of a medium in a case flagged for a possible minor.

    They are sealed under a key of the installation, and outlive the case.
    """

    __tablename__ = "flagged_hashes"

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    case_id: Mapped[str] = mapped_column(String(ID_CHARS), index=True)
    job_id: Mapped[str] = mapped_column(String(ID_CHARS), unique=True)
    digest: Mapped[str] = mapped_column(String(DIGEST_CHARS), index=True)
    """Blind-index digest of the medium's SHA-256."""
    flagged_by: Mapped[str | None] = mapped_column(String(ID_CHARS))
    """Id of the account that set the flag."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    compared_at: Mapped[datetime | None] = mapped_column(Moment)
    """When all earlier media had been compared with it."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


class Match(Base):
    """A submission that resembles the medium of an earlier case."""

    __tablename__ = "matches"

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    percent: Mapped[int] = mapped_column(Integer)
    """Percentage of the submission's frames of good quality that are alike."""
    known_percent: Mapped[int] = mapped_column(Integer)
    """Percentage of the earlier medium's frames."""
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (UniqueConstraint("job_id", "case_id"),)
