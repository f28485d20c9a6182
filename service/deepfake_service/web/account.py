"""The page of one's account with its second factor, and the page of an invitation."""

from __future__ import annotations

from typing import Any

import segno
from fastapi import APIRouter, Response

from deepfake_service.accounts.invitations import Invitations
from deepfake_service.http.auth import session_token
from deepfake_service.platform.errors import CodeRejected
from deepfake_service.web.pages import (
    Anybody,
    Form,
    PageRoute,
    PublicForm,
    SignedIn,
    Visit,
    redirect,
    safe,
)

router = APIRouter(include_in_schema=False, route_class=PageRoute)

QR_CODE: dict[str, Any] = {
    "scale": 4, "border": 4, "dark": "#000", "light": "#fff", "omitsize": True,
}  # fmt: skip


@router.get("/account")
def get_account(visit: SignedIn) -> Response:
    """Show the account of the signed-in user, and whether it has a second factor."""
    return _account_page(visit)


@router.post("/account/second-factor")
def post_second_factor(visit: SignedIn, fields: Form) -> Response:
    """Set up a second factor, confirm it by its first code, or remove it by a current one."""
    factors, caller = visit.services.second_factors, visit.caller
    failed_sign_ins, code = visit.state.failed_sign_ins, fields.get("code", "")
    try:
        match fields.get("do", ""):
            case "begin":
                factors.enrol(caller)
            case "confirm":
                failed_sign_ins.check(visit.request)
                factors.confirm(caller, code, keep=session_token(visit.request))
            case "remove":
                failed_sign_ins.check(visit.request)
                factors.check(caller, code)
                factors.remove(caller.account_id, caller.actor)
    except CodeRejected:
        failed_sign_ins.record(visit.request, f"dfk_{caller.key_id}_", "code")
        return _account_page(visit, failed=True)
    return redirect("/account")


def _account_page(visit: Visit, *, failed: bool = False) -> Response:
    factors, caller = visit.services.second_factors, visit.caller
    enrolment = factors.unconfirmed(caller)
    code = segno.make(enrolment.uri, error="m", micro=False) if enrolment else None
    return visit.page(
        "account.html",
        status=403 if failed else 200,
        account=next(a for a in visit.state.accounts.all() if a.id == caller.account_id),
        is_on=factors.is_on(caller.account_id),
        secret=enrolment.secret if enrolment else None,
        picture=safe(code.svg_inline(**QR_CODE)) if code else None,
        failed=failed,
    )


@router.get("/invitation/{token}")
def get_invitation(token: str, guest: Anybody) -> Response:
    """Show who is invited. The invitation is not used up, because programs open links as well."""
    invitation, account = Invitations(guest.state.database).find(token)
    end = invitation.key_expires_at
    return guest.page("invitation.html", account=account, new_key=None, expires_at=end)


@router.post("/invitation/{token}")
def post_invitation(token: str, guest: Anybody, _: PublicForm) -> Response:
    """Create the key of an invited account, and show it once."""
    invitations = Invitations(guest.state.database)
    account = invitations.find(token)[1]
    new_key = invitations.redeem(token).text
    return guest.page("invitation.html", account=account, new_key=new_key)
