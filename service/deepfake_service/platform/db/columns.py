"""The base of the tables, and the types of their columns: times in UTC, states, ids and digests."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from sqlalchemy import DateTime, Dialect, ForeignKey, LargeBinary, MetaData, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from deepfake_models.bundle.results import Leaning, VerdictCode
from deepfake_service.platform import enums
from deepfake_service.platform.findings import Decision, Finding

ID_CHARS = 26
DIGEST_CHARS = 64


class Moment(TypeDecorator[datetime]):
    """A time in UTC. SQLite has no time zones, so that they are restored on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time must have a time zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value


class States(TypeDecorator[StrEnum]):
    """A column of states, stored as their strings in a VARCHAR.

    The database does not constrain the values, so that a new state needs no migration. A value that
    only a newer version of this program knows is read as a plain string: one such row must not make
    a query of many rows fail.
    """

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum], length: int) -> None:
        super().__init__(length)
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, _: Dialect) -> str | None:
        """Return the string to store; ``ValueError`` if ``value`` is not a state of this column."""
        return None if value is None else str(self.kind(value))

    def process_result_value(self, value: str | None, _: Dialect) -> StrEnum | None:
        """Return the state, or the string where it is unknown."""
        try:
            return None if value is None else self.kind(value)
        except ValueError:
            return value  # type: ignore[return-value]


_STATES: dict[int, tuple[type[StrEnum], ...]] = {
    16: (
        enums.CaptureState, Decision, enums.DeliveryState, enums.EditionState,
        enums.JobStage, enums.JobState, enums.LookResult, enums.NoticeEventKind, enums.Priority,
        enums.RetentionPolicy, enums.Role, enums.WatchState,
    ),
    32: (Finding, enums.NoticeState, Leaning, VerdictCode),
}  # fmt: skip
"""The states that columns hold, by the length of the column."""

Id = Annotated[str, mapped_column(String(ID_CHARS), primary_key=True)]
AnyId = Annotated[str, mapped_column(String(ID_CHARS))]
"""An id of a row that may be gone."""
Digest = Annotated[str, mapped_column(String(DIGEST_CHARS))]
DigestId = Annotated[str, mapped_column(String(DIGEST_CHARS), primary_key=True)]
Code = Annotated[str, mapped_column(String(64))]
ShortCode = Annotated[str, mapped_column(String(32))]
BlobName = Annotated[str, mapped_column(String(200))]
"""The name of a blob in the store."""
OfAccount = Annotated[str, mapped_column(ForeignKey("accounts.id"))]
OfCase = Annotated[str, mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)]
OfCapture = Annotated[str, mapped_column(ForeignKey("captures.id", ondelete="CASCADE"), index=True)]
OfJob = Annotated[str, mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)]
OfNotice = Annotated[str, mapped_column(ForeignKey("notices.id", ondelete="CASCADE"))]
OfKey = Annotated[str, mapped_column(ForeignKey("keys.id", ondelete="CASCADE"))]
OfPost = Annotated[str, mapped_column(ForeignKey("occurrences.id", ondelete="CASCADE"))]
"""The rows of another table that a row is deleted with, but for accounts, which stay."""


class Base(DeclarativeBase):
    """The base of all tables. It names constraints, so that migrations can address them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[object, object]] = {
        datetime: Moment,
        bytes: LargeBinary,
        **{kind: States(kind, length) for length, kinds in _STATES.items() for kind in kinds},
    }


class Claimable(Base):
    """A table whose rows wait for a worker; see ``platform/claims.py``."""

    __abstract__ = True

    worker: Mapped[Code | None]
    """Executor id of the worker that has it in hand."""
    attempts: Mapped[int] = mapped_column(default=0)
    """How often a worker took it in hand."""


class Authenticated(Base):
    """A table whose rows have a code that ``row_authentication`` computes and compares."""

    __abstract__ = True

    mac: Mapped[bytes | None]
