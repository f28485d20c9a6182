"""The table of the organisation's contact."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from deepfake_service.platform.db.column_types import Moment
from deepfake_service.platform.db.tables import ID_CHARS, Base


class Contact(Base):
    """How the organisation is named and reached."""

    __tablename__ = "contacts"

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    """The constant of the organisation."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """Names and addresses as JSON, under a key of the installation."""
    changed_at: Mapped[datetime] = mapped_column(Moment)
