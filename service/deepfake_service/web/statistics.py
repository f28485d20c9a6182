"""The page of removals in numbers."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from deepfake_service.http.auth import PageReader
from deepfake_service.http.dependencies import AppStateDep, ServicesDep
from deepfake_service.http.periods import PeriodDep
from deepfake_service.notices.kinds import KINDS
from deepfake_service.platform.texts.i18n import words
from deepfake_service.removal.statistics import GroupBy
from deepfake_service.removal.statistics_pages import plot_of, table_of
from deepfake_service.web.pages import PageRoute, language_of, page, safe

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/statistics")
def get_statistics(
    request: Request,
    caller: PageReader,
    state: AppStateDep,
    services: ServicesDep,
    period: PeriodDep,
) -> Response:
    """Show what became of the posts of notices, by platform, kind or month."""
    language = language_of(request)
    start, end = period.days(state.database.clock())
    found = services.removal_statistics.summary(caller, start, end, period.by)
    texts = words(language, polite=True)

    def kind_name(kind: str) -> str:
        return KINDS[kind].name.of(language)

    head, rows = table_of(found, texts, kind_name)
    plot = plot_of(found, texts, kind_name)
    return page(
        request,
        "statistics.html",
        caller,
        summary=found,
        ways=list(GroupBy),
        head=head,
        rows=rows,
        plot=plot and safe(plot),
        notes=texts.list("removals_notes"),
    )
