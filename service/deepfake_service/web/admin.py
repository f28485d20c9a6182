"""The pages of administration: accounts and keys, the organisation, and the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from pydantic import BaseModel, Field

from deepfake_service.accounts.accounts import last_moment
from deepfake_service.accounts.invitations import Invitations
from deepfake_service.accounts.organisation import STATEMENTS, organisation_of_form
from deepfake_service.examination.backlog import queue_state
from deepfake_service.http.dependencies import AppState
from deepfake_service.http.problems import problem_of
from deepfake_service.http.submission_form import Line
from deepfake_service.notices.kinds import KINDS
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import Conflict, FieldError, InvalidRequest
from deepfake_service.web.pages import (
    Administrator,
    Form,
    PageRoute,
    Visit,
    checked_input,
    redirect,
    require_sure,
    safe,
)

router = APIRouter(include_in_schema=False, route_class=PageRoute)

SETTINGS_SHOWN = {
    "media_days_after_verdict", "media_hours_after_review", "evidence_days", "two_person_review",
    "submitter_confirms",
}  # fmt: skip
"""Settings that the page shows. None of them may be a secret."""
MAX_CARD_BYTES = 1024 * 1024
"""A card of the shipped kind has 40 kB."""
TABLE_NAME = "Table of the model card"


class NewAccount(BaseModel):
    """The form of an account."""

    name: Annotated[Line, Field(min_length=1, max_length=100)]
    role: Role
    kind: Literal["person", "system"]
    live: bool = False


@router.get("/admin")
def get_admin(visit: Administrator) -> Response:
    """Show accounts, keys, system status, retention, and the model with its error rates."""
    return _admin_page(visit)


@router.post("/admin/accounts")
def post_account(visit: Administrator, fields: Form) -> Response:
    """Create an account, and a one-time link by which its owner creates the first key."""
    new, by = checked_input(NewAccount, **fields), visit.caller.actor
    is_live = new.kind == "person" or new.live
    try:
        visit.state.accounts.create(new.name, new.kind, new.role, by, live=is_live)
    except Conflict as error:
        problem = problem_of(error).told(visit.language)[1]
        return _admin_page(visit, typed=fields, problem=problem)
    token = Invitations(visit.state.database).create(new.name, by)
    return _admin_page(visit, token=token, owner=new.name)


@router.post("/admin/keys")
def post_key(visit: Administrator, fields: Form) -> Response:
    """Create another key for the administrator's own account, an invitation for that of another, or
    revoke a key."""
    state, caller = visit.state, visit.caller
    if fields.get("revoke"):
        require_sure(fields)
        state.accounts.revoke(fields["revoke"], caller.actor)
        return _admin_page(visit)
    name, end = fields.get("account", ""), _last_day(state, fields)
    if state.accounts.named(name).id == caller.account_id:
        key = state.accounts.create_key(name, expires_at=end, actor=caller.actor)
        return _admin_page(visit, new_key=key.text)
    token = Invitations(state.database).create(name, caller.actor, key_expires_at=end)
    return _admin_page(visit, token=token, owner=name)


@router.post("/admin/keys/end")
def post_key_end(visit: Administrator, fields: Form) -> Response:
    """Give a key an expiry date, or another one, or none."""
    end = _last_day(visit.state, fields)
    visit.state.accounts.end(fields.get("key", ""), end, visit.caller.actor)
    return redirect("/admin", "key_changed")


def _last_day(state: AppState, fields: Mapping[str, str]) -> datetime | None:
    """Return when a key expires whose last day was entered; ``None`` if the field is empty."""
    text = fields.get("expires_on", "")
    if not text:
        return None
    try:
        end = last_moment(date.fromisoformat(text))
    except (ValueError, OverflowError):
        end = None
    if end is None or end <= state.database.clock():
        raise InvalidRequest(errors=[FieldError("expires_on", "choose today or a later day")])
    return end


def _admin_page(visit: Visit, **done: str | Mapping[str, str]) -> Response:
    """Return the page; ``done`` is what became of a form: a ``new_key``, the ``token`` of an
    invitation and the ``owner`` of its account, or what was ``typed`` and its ``problem``."""
    state, services, language = visit.state, visit.services, visit.language
    organisation = services.sender.organisation()
    stated = (organisation.name(language), *organisation.reached_at(language))
    bundle = state.require_engine().bundle
    keys, queue = state.accounts.keys(), queue_state(state.database, state.settings.jobs_at_once)
    base = (state.settings.public_url or str(visit.request.base_url)).rstrip("/")
    return visit.page(
        "admin.html",
        **{"new_key": None, "token": None, "owner": "", "typed": {}, "problem": None, **done},
        invitations=f"{base}/invitation/",
        status=409 if "problem" in done else 200,
        roles=[str(r) for r in Role],
        now=state.database.clock(),
        today=state.database.clock().date().isoformat(),
        accounts=state.accounts.all(),
        keys=keys,
        keyed={account.id for _, account in keys},
        public=state.settings.public_url is not None,
        settings=state.settings.model_dump(include=SETTINGS_SHOWN),
        organisation=[line for line in stated if line],
        signing_keys=services.evidence_store.keys.all(),
        health={
            "waiting": sum(queue.waiting.values()) if queue else 0,
            "oldest_s": round(services.queries.oldest_s()),
            "free": services.disk.free_bytes(),
        },
        model=bundle.model_json(),
    )


@router.get("/admin/model-card")
def get_model_card(visit: Administrator) -> Response:
    """Show the model card of the bundle."""
    bundle = visit.state.require_engine().bundle
    text = bundle.read("MODEL_CARD.md")[:MAX_CARD_BYTES].decode("utf-8", errors="replace")
    card = safe(card_html(text, visit.translate(TABLE_NAME)))
    return visit.page("model_card.html", card=card, model=bundle.model_json())


def card_html(markdown: str, table: str) -> str:
    """Return a model card, which is the text of a stranger, as HTML that loads and styles nothing.

    HTML in it is escaped, pictures are replaced by their descriptions, and links lead to http and
    https alone. Headings go down one level. ``table`` names the scrolling regions of tables.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.validateLink = lambda url: url.lower().startswith(  # type: ignore[method-assign]
        ("https://", "http://")
    )
    region = f'<div class="scroll" tabindex="0" role="region" aria-label="{escapeHtml(table)}">'
    parser.add_render_rule("table_open", lambda *_: f"{region}<table>\n")
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    blocks = parser.parse(markdown)
    for token in [t for block in blocks for t in (block, *(block.children or ()))]:
        # The policy of the pages forbids styles in elements.
        if token.attrs.pop("style", None) == "text-align:right":
            token.attrSet("class", "num")
        match token.type:
            case "heading_open" | "heading_close":
                token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
            case "th_open":
                token.attrSet("scope", "col")
            case "link_open":
                token.attrSet("rel", "noopener noreferrer nofollow")
            case "image":
                token.type = "text"
    return str(parser.renderer.render(blocks, parser.options, {}))


@router.get("/admin/organisation")
def get_organisation(visit: Administrator) -> Response:
    """Show the form of the organisation."""
    return _organisation_page(visit)


@router.post("/admin/organisation")
def post_organisation(visit: Administrator, values: Form) -> Response:
    """Store the organisation, or show the form again with what is wrong."""
    try:
        record = organisation_of_form(values)
    except InvalidRequest as error:
        return _organisation_page(visit, typed=values, errors=error.errors)
    visit.services.sender.change_organisation(visit.caller, record)
    return redirect("/admin/organisation?saved=yes")


def _organisation_page(
    visit: Visit, *, typed: Mapping[str, str] | None = None, errors: Sequence[FieldError] = ()
) -> Response:
    stored: dict[str, Any] = asdict(visit.services.sender.organisation())
    kept = {STATEMENTS + key: text for key, text in stored.pop("statements").items()}
    return visit.page(
        "organisation.html",
        status=422 if errors else 200,
        values={n: value or "" for n, value in stored.items()} | kept | dict(typed or {}),
        kinds=KINDS,
        errors=visit.explained(errors),
        saved=visit.request.query_params.get("saved") == "yes" and not errors,
    )
