"""Pages on which a reviewer decides about several items of the queue at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from deepfake_service.platform.errors import FieldError, InvalidRequest
from deepfake_service.review.shapes import Item
from deepfake_service.web.items import judgement_in
from deepfake_service.web.pages import Form, PageRoute, Reviewer, Visit

MAX_ITEMS = 50
"""As many as a page of the queue has: nobody decides about what they have not seen listed."""
MOST_SELECTED = 1000
"""Items in one address. The page says that at most ``MAX_ITEMS`` can be reviewed at once."""

router = APIRouter(include_in_schema=False, route_class=PageRoute)

Selected = Annotated[
    list[Annotated[str, Field(max_length=26)]],
    Query(max_length=MOST_SELECTED, alias="job", default_factory=list),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the decision on an item."""

    job_id: str
    item: Item | None
    """``None`` if it was deleted meanwhile, or may not be seen."""
    refusal: str | None


@router.get("/reviews")
def get_reviews(visit: Reviewer, selected: Selected) -> Response:
    """List the selected items, and ask for one decision and one reason."""
    if len(selected) > MAX_ITEMS:
        return _review_page(visit, [], status=422, selected=len(selected))
    return _review_page(visit, visit.services.queries.items_of(visit.caller, selected))


@router.post("/reviews")
def post_reviews(visit: Reviewer, fields: Form) -> Response:
    """Record the decision on each item, and list what was recorded and what was refused."""
    selected = [line for line in fields.get("job", "").splitlines() if line]
    if not 1 <= len(selected) <= MAX_ITEMS:
        raise InvalidRequest(errors=[FieldError("job", "choose one")])
    queries = visit.services.queries
    items, invalid = queries.items_of(visit.caller, selected), []
    if fields.get("sure") != "yes":
        invalid.append(FieldError("sure", "tick the box: this cannot be undone"))
    try:
        judgement = judgement_in(fields)
        if invalid:
            raise InvalidRequest
    except InvalidRequest as error:
        # What the reviewer chose and wrote is not lost.
        problems = visit.explained([*error.errors, *invalid]).items()
        return _review_page(visit, items, status=422, problems=problems, typed=fields)
    refusals = visit.services.reviews.decide_each(visit.caller, selected, judgement)
    reviewed = {item.id: item for item in queries.items_of(visit.caller, selected)}
    outcomes = [
        Outcome(job_id, reviewed.get(job_id), visit.translate(error.message) if error else None)
        for job_id, error in refusals.items()
    ]
    return _review_page(visit, items, outcomes=outcomes)


def _review_page(
    visit: Visit, items: Sequence[Item], *, status: int = 200, **others: object
) -> Response:
    values = {"items": items, "most": MAX_ITEMS}
    values |= {"typed": {}, "problems": [], "outcomes": None, "selected": 0}
    return visit.page("bulk_review.html", status=status, **(values | others))
