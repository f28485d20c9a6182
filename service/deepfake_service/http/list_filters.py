"""The query parameters by which lists are filtered, ordered and paged, and periods are named."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from deepfake_models.bundle.results import Leaning, VerdictCode
from deepfake_service.accounts.accounts import MAY_READ_ALL, Caller
from deepfake_service.cases.filters import Filters, Pending
from deepfake_service.container import Services
from deepfake_service.http.auth import Call
from deepfake_service.platform.answers import EXAMPLE_ID
from deepfake_service.platform.clock import Day, Moment
from deepfake_service.platform.enums import ListedState
from deepfake_service.platform.errors import invalid_field
from deepfake_service.platform.findings import Finding
from deepfake_service.platform.pagination import MAX_PAGE, Order
from deepfake_service.platform.texts.formatting import KST
from deepfake_service.removal.statistics import GroupBy, RemovalSummary


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class _Page(_Parameters):
    """Which page of a list a request asks for."""

    limit: int = Field(50, ge=1, le=MAX_PAGE)
    """Items on the page."""
    cursor: str | None = Field(None, max_length=200, examples=["MjAyNi0wMS0zMXww"])
    """`next` of the page before; unset: first."""


class _List(_Page):
    """Which cases or jobs a request asks for."""

    finding: Finding | Literal["none"] | None = None
    """Only items with this finding of the reviewers; `none` for those that have ended and await
    one."""
    case_reference: str | None = Field(None, max_length=200, examples=["2026-0117"])
    """Only what belongs to the case with this reference of yours."""
    since: Moment | None = Field(None, alias="created_after", examples=["2026-01-31T00:00:00Z"])
    """Only what was created at this time or later."""
    until: Moment | None = Field(None, alias="created_before", examples=["2026-02-01T00:00:00Z"])
    """Only what was created before this time."""
    order: Order = Order.NEWEST

    def filters(self, call: Call) -> Filters:
        """Return the filters as the database applies them: fields have the names that it has."""
        references = None
        if self.case_reference is not None:
            accounts = [call.caller.account_id]
            if call.caller.role in MAY_READ_ALL:
                accounts = [account.id for account in call.state.accounts.all()]
            references = call.services.cases.digests_of(accounts, self.case_reference)
        told = self.model_dump(exclude={"limit", "cursor", "case_reference"})
        return Filters(references=references, **told)


class _Jobs(_List):
    """Which jobs a request asks for."""

    state: ListedState | None = None
    """Only jobs in this state."""
    verdict: VerdictCode | None = None
    """Only jobs with this verdict."""
    leaning: Leaning | None = None
    """Only jobs whose value leans this way."""
    pending: Pending | None = None
    """Only jobs that wait for this after a review: `on_hold` for those that reviewers left
    undecided, `notice` for those that are confirmed and in whose case no notice was created since.
    """
    disagreement: bool | None = Field(None, alias="reviewers_disagree", examples=[True])
    """Only jobs of which one reviewer confirmed and another rejected (`true`), or only others
    (`false`)."""
    case_id: str | None = Field(None, max_length=26, examples=[EXAMPLE_ID])
    """Only jobs of this case."""
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)] | None = (
        Field(None, examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    )
    """Only jobs of these bytes: their SHA-256 in hexadecimal digits."""
    order: Order = Order.NEWEST
    """`newest` or `oldest` first, or by falling likelihood ratio: pages follow each other in steps
    of half a decade, and a page is in exact order. Jobs without a value are last."""


class _Cases(_List):
    """Which cases a request asks for."""

    order: Literal[Order.NEWEST, Order.OLDEST] = Order.NEWEST
    """`newest` or `oldest` first."""


class _Period(_Parameters):
    """A period that is counted."""

    start: Day | None = Field(None, examples=["2026-01-01"])
    """The first day of sending or deciding, in Korea; the first of this year if unset."""
    end: Day | None = Field(None, examples=["2026-12-31"])
    """The last day of sending or deciding, in Korea; today if unset."""

    def days(self, services: Services) -> tuple[date, date]:
        """Return its first and last day; ``InvalidRequest`` if the last comes before the first."""
        today = services.database.clock().astimezone(KST).date()
        end = self.end or max(today, self.start or today)
        start = self.start or date(end.year, 1, 1)
        if start > end:
            raise invalid_field("end", "must not come before start")
        return start, end


class _Grouped(_Period):
    """Which notices are counted, and by what they are grouped."""

    by: GroupBy = GroupBy.PLATFORM
    """What posts are grouped by."""

    def removals(self, services: Services, caller: Caller) -> RemovalSummary:
        """Count what became of the posts of the notices that the caller may see."""
        return services.removal_statistics.summary(caller, *self.days(services), self.by)


Page = Annotated[_Page, Query()]
JobQuery = Annotated[_Jobs, Query()]
CaseQuery = Annotated[_Cases, Query()]
Period = Annotated[_Period, Query()]
Grouped = Annotated[_Grouped, Query()]
