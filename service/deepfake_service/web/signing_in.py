"""One's own account: sign-in and sign-out, its second factor, invitations. And what else needs no
session: help, the language switch, and static files."""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import segno
from fastapi import APIRouter, Query, Request, Response

from deepfake_service.accounts.accounts import MAY_SUBMIT, SIGNED_IN_FOR, Caller
from deepfake_service.accounts.admin_key import delete_key_file
from deepfake_service.accounts.invitations import Invitations
from deepfake_service.accounts.second_factors import PENDING_FOR
from deepfake_service.http.auth import session_cookie, session_token, uses_tls
from deepfake_service.platform.errors import (
    CodeRejected,
    Forbidden,
    NotAuthenticated,
    NotFound,
)
from deepfake_service.platform.texts.i18n import LANGUAGES
from deepfake_service.web.pages import (
    LANGUAGE_COOKIE,
    Anybody,
    Form,
    Guest,
    PageRoute,
    PublicForm,
    SignedIn,
    Visit,
    recognised,
    redirect,
    safe,
    sign_in_for,
)

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
Next = Annotated[str, Query(alias="next")]


def local_path(path: str) -> str:
    """Return ``path`` if it is a path of this site, and ``/`` otherwise (no open redirects)."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_local else "/"


@router.get("/sign-in")
def get_sign_in(guest: Anybody, target: Next = "/", lost: str = "") -> Response:
    """Show the sign-in form, and the terms of the model before anybody builds a case on it. With
    ``lost``, a form was sent without a session."""
    return _sign_in_page(guest, local_path(target), lost=bool(lost))


def _sign_in_page(guest: Guest, target: str, *, status: int = 200, lost: bool = False) -> Response:
    engine, failed = guest.state.engine, status != 200
    terms = engine.bundle.spec.terms if engine else None
    told = {"next": target, "failed": failed, "lost": lost, "terms": terms}
    if failed:  # the language is switched on the page that is asked for, not on an answer
        told["here"] = sign_in_for(target)
    return guest.page("sign_in.html", status=status, **told)


@router.post("/sign-in")
def post_sign_in(guest: Anybody, fields: PublicForm) -> Response:
    """Exchange a key for a session cookie that scripts cannot read. It replaces the browser's
    earlier session, which ends."""
    state, target, key = guest.state, local_path(fields.get("next", "/")), fields.get("key", "")
    state.failed_sign_ins.check(guest.request)
    try:
        caller, token = state.accounts.sign_in(key)
    except Forbidden:
        return _ask_for_code(guest, key, target)
    except NotAuthenticated:
        state.failed_sign_ins.record(guest.request, key)
        return _sign_in_page(guest, target, status=401)
    delete_key_file(state.settings, key)
    return _signed_in(guest, caller, token, target)


def _ask_for_code(guest: Guest, key: str, target: str) -> Response:
    caller = guest.state.accounts.authenticate(key, signs_in=True)
    token = guest.services.second_factors.begin_sign_in(caller)
    response = guest.page("sign_in_code.html", next=target, failed=False)
    _set_cookie(guest.request, response, _pending_cookie(guest.request), token, PENDING_FOR)
    return response


@router.post("/sign-in/code")
def post_code(guest: Anybody, fields: PublicForm) -> Response:
    """Exchange the code of a second factor for a session cookie. The key was accepted before."""
    request, failed_sign_ins = guest.request, guest.state.failed_sign_ins
    target = local_path(fields.get("next", "/"))
    failed_sign_ins.check(request)
    token = request.cookies.get(_pending_cookie(request), "")
    factors = guest.services.second_factors
    try:
        caller, session = factors.finish_sign_in(token, fields.get("code", ""))
    except NotAuthenticated:  # it took too long
        return redirect(sign_in_for(target))
    except CodeRejected as error:
        failed_sign_ins.record(request, f"dfk_{error.key_id}_", "code")
        return guest.page("sign_in_code.html", status=401, next=target, failed=True)
    response = _signed_in(guest, caller, session, target)
    _set_cookie(request, response, _pending_cookie(request), "", timedelta(0))
    return response


def _pending_cookie(request: Request) -> str:
    return f"{session_cookie(request)}-code"


def _set_cookie(
    request: Request,
    response: Response,
    name: str,
    value: str,
    valid_for: timedelta,
    samesite: Literal["lax", "strict"] = "strict",
) -> None:
    """Set a cookie that scripts cannot read, or delete it, by a validity of 0."""
    response.set_cookie(
        name,
        value,
        max_age=int(valid_for.total_seconds()),
        httponly=True,
        samesite=samesite,
        secure=uses_tls(request),
    )


def _signed_in(guest: Guest, caller: Caller, token: str, target: str) -> Response:
    """Redirect to ``target`` with the cookie of a new session, and end the earlier one."""
    request = guest.request
    if target == "/" and caller.role not in MAY_SUBMIT:
        target = "/audit"
    if earlier := session_token(request):
        guest.state.accounts.sign_out(earlier)
    response = redirect(target)
    _set_cookie(request, response, session_cookie(request), token, SIGNED_IN_FOR)
    return response


@router.post("/sign-out")
def post_sign_out(visit: SignedIn, _: Form) -> Response:
    """End the session and delete its cookie."""
    visit.state.accounts.sign_out(session_token(visit.request))
    response = redirect("/sign-in")
    _set_cookie(visit.request, response, session_cookie(visit.request), "", timedelta(0))
    return response


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
    picture = None
    if enrolment:
        code = segno.make(enrolment.provisioning_uri(), error="m", micro=False)
        picture = code.svg_inline(scale=4, border=4, dark="#000", light="#fff", omitsize=True)
    return visit.page(
        "account.html",
        status=403 if failed else 200,
        account=next(a for a in visit.state.accounts.all() if a.id == caller.account_id),
        is_on=factors.is_on(caller.account_id),
        secret=enrolment.secret if enrolment else None,
        picture=safe(picture) if picture else None,
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


@router.get("/language/{language}")
def get_language(request: Request, language: str, target: Next = "/") -> Response:
    """Switch the language and return to the page."""
    if language not in LANGUAGES:
        raise NotFound
    response = redirect(local_path(target))
    _set_cookie(request, response, LANGUAGE_COOKIE, language, timedelta(days=365), "lax")
    return response


@router.get("/static/{name}")
def get_static(name: str) -> Response:
    """Return a static file of the console."""
    file = files("deepfake_service.web") / "static" / name
    kind = MEDIA_TYPES.get(Path(name).suffix)
    if kind is None or "/" in name or not file.is_file():
        raise NotFound
    headers = {"Cache-Control": "max-age=300, must-revalidate"}
    return Response(file.read_bytes(), media_type=kind, headers=headers)


@router.get("/help")
def get_help(request: Request) -> Response:
    """Show what verdicts and values mean, and where victims find support."""
    guest = recognised(request)
    return guest.page("help.html", support=guest.state.settings.support_contact)
