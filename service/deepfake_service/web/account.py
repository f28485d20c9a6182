"""The page of one's account with its second factor, and the page of an invitation."""

from __future__ import annotations

from typing import Any

import segno
from fastapi import APIRouter, Request, Response

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.invitations import Invitations
from deepfake_service.http.auth import SignedIn, session_token
from deepfake_service.http.dependencies import AppState, AppStateDep
from deepfake_service.platform.errors import CodeRejected
from deepfake_service.web.pages import Form, PageRoute, PublicForm, page, redirect, safe

router = APIRouter(include_in_schema=False, route_class=PageRoute)

QR_CODE: dict[str, Any] = {
    "scale": 4, "border": 4, "dark": "#000", "light": "#fff", "omitsize": True,
}  # fmt: skip


@router.get("/account")
def get_account(request: Request, caller: SignedIn, state: AppStateDep) -> Response:
    """Show the account of the signed-in user, and whether it has a second factor."""
    return _account_page(request, caller, state)


@router.post("/account/second-factor")
def post_second_factor(
    request: Request, caller: SignedIn, state: AppStateDep, fields: Form
) -> Response:
    """Set up a second factor, confirm it by its first code, or remove it by a current one."""
    factors = state.require_services().second_factors
    try:
        match fields.get("do", ""):
            case "begin":
                factors.enrol(caller)
            case "confirm":
                state.failed_sign_ins.check(request)
                factors.confirm(caller, fields.get("code", ""), keep=session_token(request))
            case "remove":
                state.failed_sign_ins.check(request)
                factors.check(caller, fields.get("code", ""))
                factors.remove(caller.account_id, caller.actor)
    except CodeRejected:
        state.failed_sign_ins.record(request, f"dfk_{caller.key_id}_", "code")
        return _account_page(request, caller, state, failed=True)
    return redirect("/account")


def _account_page(
    request: Request, caller: Caller, state: AppState, *, failed: bool = False
) -> Response:
    factors = state.require_services().second_factors
    account = next(a for a in state.accounts.all() if a.id == caller.account_id)
    enrolment = factors.unconfirmed(caller)
    code = segno.make(enrolment.uri, error="m", micro=False) if enrolment else None
    return page(
        request,
        "account.html",
        caller,
        status=403 if failed else 200,
        account=account,
        is_on=factors.is_on(caller.account_id),
        secret=enrolment.secret if enrolment else None,
        picture=safe(code.svg_inline(**QR_CODE)) if code else None,
        failed=failed,
    )


@router.get("/invitation/{token}")
def get_invitation(request: Request, token: str, state: AppStateDep) -> Response:
    """Show who is invited. The invitation is not used up, because programs open links as well."""
    invitation, account = Invitations(state.database).find(token)
    return page(
        request,
        "invitation.html",
        account=account,
        new_key=None,
        expires_at=invitation.key_expires_at,
    )


@router.post("/invitation/{token}")
def post_invitation(request: Request, token: str, state: AppStateDep, _: PublicForm) -> Response:
    """Create the key of an invited account, and show it once."""
    invitations = Invitations(state.database)
    account = invitations.find(token)[1]
    new_key = invitations.redeem(token).text
    return page(request, "invitation.html", account=account, new_key=new_key)
