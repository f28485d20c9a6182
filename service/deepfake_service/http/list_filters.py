"""The query parameters by which lists are filtered and ordered, and periods are named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Literal

from fastapi import Depends, Query
from pydantic import AfterValidator, Field

from deepfake_models.bundle.results import Leaning, VerdictCode
from deepfake_service.accounts.accounts import MAY_READ_ALL, Caller
from deepfake_service.container import Services
from deepfake_service.http.auth import Call
from deepfake_service.platform.answers import EXAMPLE_ID
from deepfake_service.platform.clock import Day, Moment
from deepfake_service.platform.db.enums import Finding, ListedState
from deepfake_service.platform.errors import invalid_field
from deepfake_service.platform.pagination import Filters, Order, Pending
from deepfake_service.platform.texts.formatting import KST
from deepfake_service.removal.statistics import GroupBy, RemovalSummary

Reference = Annotated[
    str | None,
    Query(
        max_length=200,
        description="Only what belongs to the case with this reference of yours.",
        examples=["2026-0117"],
    ),
]
After = Annotated[
    Moment | None,
    Query(
        description="Only what was created at this time or later.",
        examples=["2026-01-31T00:00:00Z"],
    ),
]
Before = Annotated[
    Moment | None,
    Query(description="Only what was created before this time.", examples=["2026-02-01T00:00:00Z"]),
]
Found = Annotated[
    Finding | Literal["none"] | None,
    Query(
        description="Only items with this finding of the reviewers; `none` for those that have "
        "ended and await one."
    ),
]


@dataclass(frozen=True, slots=True)
class _JobQuery:
    """Which jobs a request asks for."""

    state: Annotated[ListedState | None, Query(description="Only jobs in this state.")] = None
    verdict: Annotated[VerdictCode | None, Query(description="Only jobs with this verdict.")] = None
    leaning: Annotated[
        Leaning | None, Query(description="Only jobs whose value leans this way.")
    ] = None
    finding: Found = None
    pending: Annotated[
        Pending | None,
        Query(
            description="Only jobs that wait for this after a review: `on_hold` for those that "
            "reviewers left undecided, `notice` for those that are confirmed and in whose case no "
            "notice was created since."
        ),
    ] = None
    reviewers_disagree: Annotated[
        bool | None,
        Query(
            description="Only jobs of which one reviewer confirmed and another rejected (`true`), "
            "or only others (`false`).",
            examples=[True],
        ),
    ] = None
    case_id: Annotated[
        str | None,
        Query(max_length=26, description="Only jobs of this case.", examples=[EXAMPLE_ID]),
    ] = None
    case_reference: Reference = None
    sha256: Annotated[
        Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)] | None,
        Query(
            description="Only jobs of these bytes: their SHA-256 in hexadecimal digits.",
            examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        ),
    ] = None
    created_after: After = None
    created_before: Before = None
    order: Annotated[
        Order,
        Query(
            description="`newest` or `oldest` first, or by falling likelihood ratio: pages follow "
            "each other in steps of half a decade, and a page is in exact order. Jobs without a "
            "value are last."
        ),
    ] = Order.NEWEST

    def filters(self, call: Call) -> Filters:
        """Return the filters as the database applies them."""
        return replace(
            _shared(self, call),
            state=self.state,
            verdict=self.verdict,
            leaning=self.leaning,
            pending=self.pending,
            case_id=self.case_id,
            sha256=self.sha256,
            disagreement=self.reviewers_disagree,
        )


@dataclass(frozen=True, slots=True)
class _CaseQuery:
    """Which cases a request asks for."""

    case_reference: Reference = None
    finding: Found = None
    created_after: After = None
    created_before: Before = None
    order: Annotated[
        Literal[Order.NEWEST, Order.OLDEST], Query(description="`newest` or `oldest` first.")
    ] = Order.NEWEST

    def filters(self, call: Call) -> Filters:
        """Return the filters as the database applies them."""
        return _shared(self, call)


JobQuery = Annotated[_JobQuery, Depends()]
CaseQuery = Annotated[_CaseQuery, Depends()]


def _shared(query: _JobQuery | _CaseQuery, call: Call) -> Filters:
    references = None
    if query.case_reference is not None:
        accounts = [call.caller.account_id]
        if call.caller.role in MAY_READ_ALL:
            accounts = [account.id for account in call.state.accounts.all()]
        references = call.services.cases.digests_of(accounts, query.case_reference)
    return Filters(
        finding=query.finding,
        references=references,
        since=query.created_after,
        until=query.created_before,
        order=query.order,
    )


@dataclass(frozen=True, slots=True)
class Period:
    """Which notices are counted, and by what they are grouped."""

    start: Annotated[
        Day | None,
        Query(
            description="The first day of sending, in Korea; the first of this year if unset.",
            examples=["2026-01-01"],
        ),
    ] = None
    end: Annotated[
        Day | None,
        Query(
            description="The last day of sending, in Korea; today if unset.",
            examples=["2026-12-31"],
        ),
    ] = None
    by: Annotated[GroupBy, Query(description="What posts are grouped by.")] = GroupBy.PLATFORM

    def removals(self, services: Services, caller: Caller) -> RemovalSummary:
        """Count what became of the posts of the notices that the caller may see;
        ``InvalidRequest`` if the last day comes before the first."""
        today = services.database.clock().astimezone(KST).date()
        end = self.end or max(today, self.start or today)
        start = self.start or date(end.year, 1, 1)
        if start > end:
            raise invalid_field("end", "must not come before start")
        return services.removal_statistics.summary(caller, start, end, self.by)


PeriodDep = Annotated[Period, Depends()]
