"""What a score means and where support is found; and the administrator's page."""

from __future__ import annotations

import math
import shutil
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from deepfake_models.bundle import load_bundle
from deepfake_service.db.enums import Role
from deepfake_service.documents.i18n import words
from deepfake_service.errors import FieldError, InvalidRequest, ServiceError
from deepfake_service.http.auth import SignedIn, browser_caller
from deepfake_service.http.dependencies import app_state
from deepfake_service.security import audit_log as log
from deepfake_service.security.accounts import MAY_AUDIT, Caller, authorize
from deepfake_service.settings import Settings
from deepfake_service.web.language import language_of
from deepfake_service.web.pages import PageRoute, call, form, page, safe
from deepfake_service.web.plots import rates_by_width

router = APIRouter(include_in_schema=False, route_class=PageRoute)

ADMINS = frozenset({Role.ADMIN})
SHOWN = (
    "issuer", "media_days_after_verdict", "media_hours_after_review", "media_days_unexamined",
    "evidence_days", "two_person_review", "matching", "known_hash_days", "timestamp_url",
    "jobs_at_once", "submissions_per_account", "session_hours",
)  # fmt: skip
"""Settings that are shown: none of them is a secret."""

AUDIT_PAGE = 200


@router.get("/help")
async def get_help(request: Request) -> Response:
    """For whoever reads a result for the first time. Nobody needs to sign in for it."""
    try:
        caller = await run_in_threadpool(browser_caller, request)
    except ServiceError:
        caller = None
    settings = app_state(request).settings
    return page(request, "help.html", caller, support=settings.support_contact)


@router.get("/admin")
async def get_admin(request: Request, caller: SignedIn) -> Response:
    """Accounts, keys, retention, the model and its measured rates, health."""
    authorize(caller, ADMINS)
    return await _admin(request, caller, new_key=None)


@router.post("/admin/accounts")
async def post_account(request: Request, caller: SignedIn) -> Response:
    """Make an account and its first key, shown once."""
    authorize(caller, ADMINS)
    given = await form(request)
    name, role, kind = (given.get(k, "") for k in ("name", "role", "kind"))
    wrong = [
        FieldError(field, detail)
        for field, detail, holds in (
            ("name", "1 to 100 printable characters", 1 <= len(name) <= 100 and name.isprintable()),
            ("role", "choose one", role in set(Role)),
            ("kind", "choose one", kind in ("person", "system")),
        )
        if not holds
    ]
    if wrong:
        raise InvalidRequest(errors=wrong)
    accounts = app_state(request).accounts

    def make() -> str:
        accounts.create(name, "person" if kind == "person" else "system", Role(role), caller.actor)
        return accounts.create_key(name, actor=caller.actor).text

    return await _admin(request, caller, new_key=await call(make))


@router.post("/admin/keys")
async def post_key(request: Request, caller: SignedIn) -> Response:
    """Make another key of an account, or revoke one."""
    authorize(caller, ADMINS)
    given = await form(request)
    accounts = app_state(request).accounts
    if given.get("revoke"):
        await call(lambda: accounts.revoke(given["revoke"], caller.actor))
        return await _admin(request, caller, new_key=None)
    made = await call(lambda: accounts.create_key(given.get("account", ""), actor=caller.actor))
    return await _admin(request, caller, new_key=made.text)


async def _admin(request: Request, caller: Caller, *, new_key: str | None) -> Response:
    state = app_state(request)
    return page(
        request,
        "admin.html",
        caller,
        new_key=new_key,
        roles=[str(r) for r in Role],
        **await call(lambda: _state(state, state.settings, language_of(request))),
    )


def _state(state: Any, settings: Settings, language: str) -> dict[str, Any]:
    bundle = load_bundle(settings.bundle_dir)
    rates = bundle.reliability().get("level_face", {}).get("by_face_width", [])
    told = words(language)
    named = {"fpr": told("fpr"), "tpr": told("tpr"), "rates": told("table_rates")}
    services = state.require_services()
    min_groups = bundle.spec.conditions.min_groups
    usage = shutil.disk_usage(settings.data_dir)
    oldest = services.queries.oldest_s()
    return {
        "now": state.database.clock(),
        "accounts": state.accounts.all(),
        "keys": state.accounts.keys(),
        "settings": [(name, getattr(settings, name)) for name in SHOWN],
        "model": bundle.model_json(),
        "card": (bundle.directory / "MODEL_CARD.md").read_text(encoding="utf-8"),
        "thresholds": bundle.spec.thresholds,
        "rates": rates,
        "plot": safe(rates_by_width(rates, named, min_groups=min_groups)),
        "min_groups": min_groups,
        "health": {
            "waiting": services.queries.waiting(),
            "oldest_s": None if math.isnan(oldest) else round(oldest),
            "free": usage.free,
        },
        "signing_keys": services.evidence_store.keys.all(),
    }


@router.get("/audit")
async def get_audit(
    request: Request,
    caller: SignedIn,
    after: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
) -> Response:
    """The audit log, for auditors: its end, unless they ask for another part."""
    authorize(caller, MAY_AUDIT)

    def read() -> tuple[list[dict[str, Any]], int]:
        with app_state(request).database.write() as session:
            last = log.append_entry(session, caller.actor, log.Action.AUDIT_READ).number
            start = max(last - AUDIT_PAGE, 0) if after is None else after
            found = log.page(session, after=start, limit=AUDIT_PAGE)
            return [log.entry_json(e) for e in found], last

    entries, last = await call(read)
    accounts = await call(app_state(request).accounts.all)
    names = {a.id: a.name for a in accounts}
    return page(
        request,
        "audit.html",
        caller,
        entries=entries,
        names=names,
        last=last,
        older=max(entries[0]["number"] - AUDIT_PAGE - 1, 0) if entries else 0,
    )
