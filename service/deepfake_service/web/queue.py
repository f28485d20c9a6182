"""The queue of submissions with its filters, and its export as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Response
from pydantic import (
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from starlette.responses import StreamingResponse

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.accounts.accounts import MAY_REVIEW
from deepfake_service.cases.filters import Filters
from deepfake_service.http.answers import attachment
from deepfake_service.http.auth import while_authenticated
from deepfake_service.notices.states import NoticePart
from deepfake_service.platform.enums import ListedState, Role
from deepfake_service.platform.findings import DISAGREEMENT, Finding
from deepfake_service.platform.texts.spreadsheets import BYTE_ORDER_MARK, csv_line
from deepfake_service.review import triage
from deepfake_service.review.shapes import PlainCase
from deepfake_service.review.triage import QueueRequest, Tab, mentions
from deepfake_service.web.pages import HEADERS, Downloader, Id, PageRoute, Reader, Visit

router = APIRouter(include_in_schema=False, route_class=PageRoute)

PAGE = 50
OVERDUE_SHOWN = 20
CASES_SHOWN = 5
"""Empty cases with the reference that is searched for: each account may have one."""
COLUMNS = (
    "job", "case", "case_reference", "state", "verdict", "score", "log_likelihood_ratio",
    "finding", "sha256", "submitted_at", "finished_at", "leaning", "file_name", "platform",
)  # fmt: skip
MAX_ROWS = 1_000_000
"""About as many rows as a spreadsheet can hold."""


def _or_none(value: object, valid: ValidatorFunctionWrapHandler) -> object:
    try:
        return valid(value)
    except ValidationError:
        return ""


OR_NONE = WrapValidator(_or_none)
"""A filter that is invalid is ignored."""


class QueueQuery(BaseModel):
    """The query parameters of the queue. Invalid filters are ignored."""

    state: Annotated[ListedState | Literal[""], OR_NONE] = ""
    verdict: Annotated[VerdictCode | Literal[""], OR_NONE] = ""
    finding: Annotated[Finding | Literal["disagreement", "none", ""], OR_NONE] = ""
    days: Annotated[str, Field(pattern="^([1-9][0-9]{0,3})?$"), OR_NONE] = ""
    whose: Annotated[Literal["mine", ""], OR_NONE] = ""
    reviewer: Annotated[str, Field(pattern="^[0-9a-z]{0,26}$"), OR_NONE] = ""
    tab: Annotated[Tab | Literal[""], OR_NONE] = ""
    q: Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)] = ""
    """Part of a case reference, a file name or a SHA-256."""
    cursor: Annotated[str | None, Field(max_length=200)] = None
    """Start of the page; not a filter."""

    def filters(self, visit: Visit) -> Filters:
        """Return the filters as the database applies them."""
        caller, now = visit.caller, visit.state.database.clock()
        finding = Finding.UNDECIDED if self.finding == DISAGREEMENT else self.finding
        return Filters(
            state=self.state or None,
            verdict=self.verdict or None,
            finding=finding or None,
            disagreement=self.finding == DISAGREEMENT if finding == Finding.UNDECIDED else None,
            account_id=caller.account_id if self.whose else None,
            reviewer=caller.account_id if self.reviewer == "me" else self.reviewer or None,
            since=now - timedelta(days=int(self.days)) if self.days else None,
        )

    def request(self, visit: Visit) -> QueueRequest:
        """Return the page of the queue that the parameters name.

        A text that is the whole reference of a case is found by the blind index, however old the
        case is. Parts of references and names are looked for by opening what the caller may see.
        """
        filters, text = self.filters(visit), self.q
        if text:
            exact = replace(filters, references=_references(visit, text))
            queries = visit.services.queries
            if queries.jobs(visit.caller, exact, queries.plain, limit=1).rows:
                filters, text = exact, ""
        return QueueRequest(self.shown_tab, filters, text, self.cursor, PAGE)

    @property
    def shown_tab(self) -> Tab:
        """The tab: with filters or a search, by default, that of all jobs."""
        if self.tab:
            return Tab(self.tab)
        return Tab.ALL if self.q or self.filtering else Tab.REVIEW

    @property
    def filtering(self) -> dict[str, str]:
        """The filters that are set, as query parameters."""
        return self.parameters("tab", "q")

    def parameters(self, *left_out: str) -> dict[str, str]:
        """Return the query parameters that are set, but for the cursor and ``left_out``."""
        return self.model_dump(exclude={"cursor", *left_out}, exclude_defaults=True)


def _references(visit: Visit, text: str) -> tuple[str, ...]:
    """Return the digests by which the case of any account with this reference is found."""
    accounts = [account.id for account in visit.state.accounts.all()]
    return visit.services.cases.digests_of(accounts, text)


@router.get("/")
def get_queue(visit: Reader, query: Annotated[QueueQuery, Query()]) -> Response:
    """Show a page of the queue, worst first, below the overdue notices."""
    state, services, caller = visit.state, visit.services, visit.caller
    request = query.request(visit)
    found = services.triage.page(caller, request)
    cases: Sequence[PlainCase] = ()
    if query.q and not found.rows:
        of_reference = Filters(references=_references(visit, query.q))
        listed = services.queries.cases(caller, of_reference, limit=CASES_SHOWN, cursor=None)
        cases = listed.rows
    accounts = state.accounts.all() if caller.role in MAY_REVIEW else []
    desk = services.notice_desk
    return visit.page(
        "queue.html",
        rows=found.rows,
        cases=cases,
        next=found.next,
        query=query,
        tab=request.tab,
        scanned=triage.SCANNED,
        # The links of the tabs keep the filters, and not the text that is searched for.
        tabs=services.triage.counts(caller, query.filters(visit)),
        to_withdraw=desk.of_part(caller, NoticePart.WITHDRAW, limit=0).total,
        now=state.database.clock(),
        overdue=desk.of_part(caller, NoticePart.OVERDUE, limit=OVERDUE_SHOWN).notices,
        reviewers=[a for a in accounts if a.kind == "person" and Role(a.role) in MAY_REVIEW],
        states=[str(s) for s in get_args(ListedState)],
        verdicts=[str(v) for v in VerdictCode],
        findings=["none", *map(str, Finding), DISAGREEMENT],
    )


@router.get("/items/{job_id}/thumbnail.jpg")
def get_thumbnail(job_id: Id, visit: Reader) -> Response:
    """Return the blurred thumbnail of an item."""
    picture = visit.services.queries.thumbnail(visit.caller, job_id)
    return Response(picture, media_type="image/jpeg", headers=HEADERS)


@router.get("/results.csv")
def get_csv(visit: Downloader, query: Annotated[QueueQuery, Query()]) -> Response:
    """Return all results that match the filters and the search, of all tabs, as CSV (RFC 4180)."""
    caller, queries = visit.caller, visit.services.queries
    request = query.request(visit)

    def lines() -> Iterator[str]:
        yield BYTE_ORDER_MARK + csv_line(COLUMNS)
        for job, scored, is_altered in queries.results(caller, request.filters, limit=MAX_ROWS):
            reference, entry = job.case.case_reference, job.entry
            if not mentions(request.text, (reference, entry.name), job.sha256, job.id):
                yield ""  # no one searches on for a reader who has left, or whose key has ended
                continue
            finding = DISAGREEMENT if job.reviewers_disagree else job.finding
            cells = (
                job.id, job.case_id, reference, job.state, job.verdict, scored.score,
                scored.log_likelihood_ratio, "record_altered" if is_altered else finding,
                job.sha256, job.created_at, job.finished_at, job.leaning, entry.name,
                entry.platform,
            )  # fmt: skip
            yield csv_line(cells)

    return StreamingResponse(
        while_authenticated(visit.request, lines()),
        media_type="text/csv; charset=utf-8",
        headers=HEADERS | attachment("results.csv"),
    )
