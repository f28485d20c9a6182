"""``/v1/statistics``: what became of posts, in numbers for a yearly report."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import Query, Response
from pydantic import Field

from deepfake_service.http.answers import file_answer, file_route, pdf_answer
from deepfake_service.http.auth import DocumentReader, Reader
from deepfake_service.http.list_filters import PeriodDep
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import Language, Published
from deepfake_service.notices.kinds import KINDS
from deepfake_service.platform.texts.i18n import words
from deepfake_service.removal.statistics import GroupBy
from deepfake_service.removal.statistics_pages import csv_of, pdf_of_summary

router = api_router("removal")


class CountsOut(Published):
    """Posts of notices. `removed` to `unclear` add up to `sent`."""

    sent: int = Field(description="Posts of notices that were sent.")
    removed: int = Field(description="Confirmed as gone by looks, or by the recipient's answer.")
    restricted: int = Field(description="Shown to those who sign in only, or made private.")
    blocked: int = Field(description="Blocked where the looks come from, and not removed.")
    up: int = Field(description="Still there.")
    unclear: int = Field(description="Nobody has looked, or looks told nothing.")
    returned: int = Field(description="There again after they were gone.")
    refused: int = Field(description="Of notices that were refused.")
    past_deadline: int = Field(description="Not removed by the recipient's deadline.")


class GroupOut(Published):
    """The numbers of one group."""

    name: str
    """The platform, the kind of notice or the month; `other` for groups of fewer than five posts;
    empty for the total."""
    counts: CountsOut = Field(description="The numbers of posts.")
    timed: int = Field(description="How many posts the times are estimated from.")
    median_h: float | None
    """Hours from sending until half are removed, by Kaplan and Meier; null if fewer than half are.
    """
    p90_h: float | None = Field(description="The same for nine in ten.")


class RemovalsOut(Published):
    """What became of the posts of notices that were sent in a period."""

    start: date = Field(description="The first day.")
    end: date = Field(description="The last day, which is in it.")
    by: GroupBy = Field(description="What each of `groups` is.")
    groups: list[GroupOut] = Field(description="The groups.")
    total: GroupOut = Field(description="All of them together.")


@router.get("/statistics/removals", summary="Count removals")
def get_removals(call: Reader, period: PeriodDep) -> RemovalsOut:
    """Count what became of the posts of notices, of cases that the account may see. Withdrawn
    notices are left out, and so are cases that were deleted."""
    start, end = period.days(call.state.database.clock())
    found = call.services.removal_statistics.summary(call.caller, start, end, period.by)
    return RemovalsOut.model_validate(found, from_attributes=True)


@file_route(router, "/statistics/removals.csv", "Count removals as CSV", "text/csv")
def get_removals_csv(call: Reader, period: PeriodDep) -> Response:
    """Return the groups of `GET /v1/statistics/removals` as CSV (RFC 4180), which spreadsheets
    open."""
    start, end = period.days(call.state.database.clock())
    found = call.services.removal_statistics.summary(call.caller, start, end, period.by)
    name = f"removals-{start}-{end}-{period.by}.csv"
    return file_answer(csv_of(found), "text/csv; charset=utf-8", name)


@file_route(router, "/statistics/removals.pdf", "Count removals as a PDF", "application/pdf")
def get_removals_pdf(
    call: DocumentReader,
    period: PeriodDep,
    language: Annotated[Language, Query(description="Its language.")] = "ko",
) -> Response:
    """Return `GET /v1/statistics/removals` as a PDF/A, with a plot."""
    now = call.state.database.clock()
    start, end = period.days(now)
    found = call.services.removal_statistics.summary(call.caller, start, end, period.by)
    content = pdf_of_summary(
        found,
        words(language),
        lambda kind: KINDS[kind].name.of(language),
        call.services.sender.issuer,
        now,
    )
    return pdf_answer(content, f"removals-{start}-{end}.pdf")
