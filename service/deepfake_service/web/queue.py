"""The queue: what was submitted, filtered; overdue notices on top; results as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import StreamingResponse

from deepfake_models.results import VerdictCode
from deepfake_service.casework.core.pagination import Filters
from deepfake_service.db import Account
from deepfake_service.db.enums import Finding, JobState
from deepfake_service.http.auth import PageReader
from deepfake_service.http.dependencies import app_state
from deepfake_service.security.accounts import MAY_REVIEW, Caller
from deepfake_service.web.pages import HEADERS, PageRoute, call, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)

PAGE = 50
COLUMNS = (
    "job", "case", "case_reference", "state", "verdict", "score", "log_likelihood_ratio",
    "finding", "sha256", "submitted_at", "finished_at",
)  # fmt: skip
MAX_ROWS = 1_000_000
"""What spreadsheets hold, nearly."""

Choice = Annotated[str, Query(max_length=40)]


class Asked:
    """What the queue is filtered by, as the address says; what makes no sense is left out."""

    def __init__(
        self,
        state: Choice = "",
        verdict: Choice = "",
        finding: Choice = "",
        days: Choice = "",
        whose: Choice = "",
        reviewer: Choice = "",
        reference: Annotated[str, Query(max_length=200)] = "",
    ) -> None:
        self.state = state if state in set(JobState) else ""
        self.verdict = verdict if verdict in set(VerdictCode) else ""
        self.finding = finding if finding in {*Finding, "none"} else ""
        self.days = days if days.isdecimal() and 0 < int(days) <= 3650 else ""
        self.whose = whose if whose == "mine" else ""
        self.reviewer = reviewer if reviewer.isalnum() and len(reviewer) <= 26 else ""
        self.reference = reference.strip()

    def filters(self, request: Request, caller: Caller) -> Filters:
        """As the records are asked."""
        now = app_state(request).database.clock()
        since = now - timedelta(days=int(self.days)) if self.days else None
        references = None
        if self.reference:
            services = app_state(request).require_services()
            accounts = app_state(request).accounts.all()
            references = tuple(
                services.submissions.reference_of(a.id, self.reference) for a in accounts
            )
        return Filters(
            state=self.state or None,
            verdict=self.verdict or None,
            finding=self.finding or None,
            account_id=caller.account_id if self.whose else None,
            reviewer=caller.account_id if self.reviewer == "me" else self.reviewer or None,
            since=since,
            references=references,
        )

    @property
    def stated(self) -> dict[str, str]:
        return {k: v for k, v in vars(self).items() if v}


@router.get("/")
async def get_queue(
    request: Request,
    caller: PageReader,
    asked: Annotated[Asked, Depends()],
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """What was submitted, newest first."""
    services = app_state(request).require_services()

    def read() -> tuple[Any, list[dict[str, Any]], list[Account]]:
        filters = asked.filters(request, caller)
        found = services.queries.queue(caller, filters, limit=PAGE, cursor=cursor)
        people = app_state(request).accounts.all() if caller.role in MAY_REVIEW else []
        reviewers = [a for a in people if a.kind == "person" and a.role in MAY_REVIEW]
        return found, services.notice_desk.overdue(caller, 20), reviewers

    found, overdue, reviewers = await call(read)
    return page(
        request,
        "queue.html",
        caller,
        jobs=found.jobs,
        next=found.next,
        asked=asked,
        overdue=overdue,
        reviewers=reviewers,
        states=[str(s) for s in JobState],
        verdicts=[str(v) for v in VerdictCode],
        findings=["none", *map(str, Finding)],
    )


@router.get("/results.csv")
async def get_csv(
    request: Request, caller: PageReader, asked: Annotated[Asked, Depends()]
) -> Response:
    """The results of what the queue shows, all pages of it, as a table for a spreadsheet."""
    services = app_state(request).require_services()
    filters = await call(lambda: asked.filters(request, caller))

    def rows() -> Iterator[str]:
        # The mark by which spreadsheets know UTF-8.
        yield "\ufeff" + _line(COLUMNS)
        for row in services.queries.results(caller, filters, limit=MAX_ROWS):
            yield _line([row[name] for name in COLUMNS])

    return StreamingResponse(
        rows(),
        media_type="text/csv; charset=utf-8",
        headers={**HEADERS, "Content-Disposition": 'attachment; filename="results.csv"'},
    )


def _line(cells: Any) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([_plain(c) for c in cells])
    return out.getvalue()


def _plain(cell: object) -> object:
    """A spreadsheet takes a text that begins so for a formula."""
    if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{cell}"
    return "" if cell is None else cell
