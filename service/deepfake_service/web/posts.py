"""The page of one post: its way from the report to its removal, and every look at it."""

from __future__ import annotations

from fastapi import APIRouter, Response

from deepfake_service.removal.looks import BY_PEOPLE
from deepfake_service.web.items import Id
from deepfake_service.web.pages import Form, PageRoute, Reader, redirect
from deepfake_service.web.submit import api_errors

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/cases/{case_id}/posts/{post_id}")
def get_post(case_id: Id, post_id: Id, visit: Reader) -> Response:
    """Show what became of a post."""
    services, caller = visit.services, visit.caller
    looks = services.posts.of_post(caller, case_id, post_id)
    return visit.page(
        "post.html",
        case=services.queries.brief(caller, case_id),
        post=services.queries.occurrence(caller, case_id, post_id),
        line=services.posts.lines(caller, case_id, [post_id])[post_id],
        looks=looks,
        choices=BY_PEOPLE,
        asks=services.looks.vantage is not None,
        api_errors=api_errors(visit.language),
    )


@router.post("/cases/{case_id}/posts/{post_id}/look")
def post_look(case_id: Id, post_id: Id, visit: Reader, _: Form) -> Response:
    """Let a worker look at a post."""
    visit.services.looks.ask(visit.caller, case_id, post_id)
    return redirect(f"/cases/{case_id}/posts/{post_id}", "look_asked")
