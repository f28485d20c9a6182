"""The page of removals in numbers."""

from __future__ import annotations

from fastapi import APIRouter, Response

from deepfake_service.http.list_filters import Period
from deepfake_service.notices.kinds import KINDS
from deepfake_service.platform.texts.i18n import words
from deepfake_service.removal.statistics import GroupBy
from deepfake_service.removal.statistics_pages import plot_of, table_of
from deepfake_service.web.pages import PageRoute, Reader, safe

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/statistics")
def get_statistics(visit: Reader, period: Period) -> Response:
    """Show what became of the posts of notices, by platform, kind or month."""
    found = period.removals(visit.services, visit.caller)
    texts = words(visit.language, polite=True)

    def kind_name(kind: str) -> str:
        return KINDS[kind].name.of(visit.language)

    head, rows = table_of(found, texts, kind_name)
    plot = plot_of(found, texts, kind_name)
    return visit.page(
        "statistics.html",
        summary=found,
        ways=list(GroupBy),
        head=head,
        rows=rows,
        plot=plot and safe(plot),
        notes=texts.list("removals_notes"),
    )
