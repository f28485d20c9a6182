"""A form for each kind of notice, filled from the case; the notice; what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from deepfake_models.results import VerdictCode
from deepfake_service.casework.core.notice_states import (
    OUTCOMES,
    NoticeRequest,
    NoticeUpdate,
)
from deepfake_service.casework.core.pagination import MAX_PAGE, Filters, OccurrencePage
from deepfake_service.db.enums import Finding, JobState, NoticeState
from deepfake_service.documents.i18n import LANGUAGES, translations
from deepfake_service.errors import FieldError, InvalidRequest, NotFound, NoticeRefused
from deepfake_service.http.auth import PageReader
from deepfake_service.http.dependencies import app_state
from deepfake_service.notices.kinds import Kind, kind_of
from deepfake_service.notices.render import choice
from deepfake_service.security.accounts import Caller
from deepfake_service.web.language import language_of
from deepfake_service.web.pages import PageRoute, back, call, form, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)

Id = Annotated[str, Path(max_length=26)]
KindName = Annotated[str, Path(max_length=40)]
Choice = Annotated[str | None, Query(max_length=26)]
SIGNED = ("signature", "signed_")
"""How the names of fields begin that say who signs."""
MAX_OFFSET_MINUTES = 14 * 60


def _values(annotation: Any) -> list[Any]:
    """The values that a field may have, if it is a choice; also where it may be left out."""
    found = []
    for part in (annotation, *get_args(annotation)):
        found += [a for a in get_args(part) if isinstance(a, str | bool)]
    return found


def inputs(
    kind: Kind, language: str, given: dict[str, str], *, minor: bool
) -> list[dict[str, Any]]:
    """The fields of a kind as a form has them."""
    found = []
    for name, info in kind.fields.model_fields.items():
        extra = info.json_schema_extra
        assert isinstance(extra, dict)
        choices = [a for a in _values(info.annotation) if isinstance(a, str)]
        affirmed = True in _values(info.annotation)
        found.append(
            {
                "name": name,
                "label": extra[f"label_{language}"],
                "provision": extra["provision"],
                "required": info.is_required()
                and not (minor and name in kind.waived_for_minors),
                "value": given.get(name, ""),
                "choices": [(c, choice(language, c)) for c in choices],
                "kind": "affirmed" if affirmed else "choice" if choices
                else "lines" if extra["multiline"] else "date" if name == "signed_on" else "text",
            }
        )  # fmt: skip
    return found


@dataclass(frozen=True, slots=True)
class _About:
    """What a form is about."""

    case_id: str
    kind: Kind
    media: str | None
    like: dict[str, Any] | None

    @property
    def replaces(self) -> bool:
        """Whether the notice takes the place of one that was not sent."""
        return self.like is not None and self.like["state"] == NoticeState.DRAFTED

    def filled(self) -> dict[str, str]:
        """What the form holds at first, where it is to be like another notice."""
        if self.like is None:
            return {}
        # What somebody affirmed and signed is theirs, and of that notice.
        stated = {
            n: v for n, v in self.like["fields"].items()
            if v and v is not True and not n.startswith(SIGNED)
        }  # fmt: skip
        return {
            **stated,
            "occurrences": "\n".join(self.like["occurrence_ids"]),
            "recipient": self.like["recipient"] or "",
            "language": self.like["language"],
        }


async def _about(
    request: Request,
    case_id: Id,
    kind_name: KindName,
    caller: PageReader,
    media: Choice = None,
    like: Choice = None,
) -> _About:
    """A form of a kind of notice about a case, or of what ``media`` holds of it; filled from the
    case, or as the notice ``like``, which is of this case and kind."""
    kind = kind_of(kind_name)
    if like is None:
        return _About(case_id, kind, media, None)
    services = app_state(request).require_services()
    found: dict[str, Any] = await call(lambda: services.notice_desk.read(caller, like))
    if (found["case_id"], found["kind"]) != (case_id, kind.id):
        raise NotFound
    return _About(case_id, kind, media, found)


About = Annotated[_About, Depends(_about)]


@router.get("/cases/{case_id}/notices/{kind_name}")
async def get_form(request: Request, about: About, caller: PageReader) -> Response:
    """The form of a kind of notice."""
    return await _form(request, about, caller, about.filled(), [])


@router.post("/cases/{case_id}/notices/{kind_name}")
async def post_form(request: Request, about: About, caller: PageReader) -> Response:
    """Make the notice, or show the form again with what is missing.

    The one that it is to be like, if it was not sent, is withdrawn: this one is in its place.
    """
    given = await form(request)
    kind = about.kind
    fields: dict[str, Any] = {
        name: given[name] for name in kind.fields.model_fields if given.get(name)
    }
    for name, info in kind.fields.model_fields.items():
        if True in _values(info.annotation) and name in fields:
            fields[name] = fields[name] == "yes"
    for name in kind.waived_for_minors:
        fields.setdefault(name, None)
    language = given.get("language", "")
    wanted = NoticeRequest(
        kind=kind.id,
        language=language if language in LANGUAGES else language_of(request),
        occurrence_ids=given.get("occurrences", "").split(),
        fields=fields,
        recipient=given.get("recipient") or None,
    )
    services = app_state(request).require_services()
    try:
        made = await call(lambda: services.notice_desk.create(caller, about.case_id, wanted))
    except InvalidRequest as error:
        return await _form(request, about, caller, given, error.errors)
    except NoticeRefused as error:
        return await _form(request, about, caller, given, [], refused=error.message)
    if about.like and about.replaces:
        draft, gone = about.like["id"], NoticeUpdate(outcome=NoticeState.WITHDRAWN)
        await call(lambda: services.notice_desk.update(caller, draft, gone))
    return back(f"/notices/{made['id']}")


async def _form(
    request: Request,
    about: _About,
    caller: Caller,
    given: dict[str, str],
    wrong: Any,
    *,
    refused: str | None = None,
) -> Response:
    services = app_state(request).require_services()
    kind, case_id = about.kind, about.case_id

    def read() -> tuple[dict[str, Any], OccurrencePage, list[dict[str, Any]]]:
        case = services.queries.brief(caller, case_id)
        seen = services.queries.occurrences(caller, case_id, media_id=about.media)
        there = {o["id"] for o in seen.occurrences}
        if older := tuple(set(given.get("occurrences", "").split()) - there)[:MAX_PAGE]:
            more = services.queries.occurrences(caller, case_id, ids=older)
            seen = OccurrencePage([*seen.occurrences, *more.occurrences], seen.next)
        media = tuple({o["media_id"] for o in seen.occurrences})
        filters = Filters(case_id=case_id, media=media)
        found = services.queries.jobs(caller, filters, limit=MAX_PAGE, cursor=None)
        return case, seen, found.jobs

    case, seen, newest_first = await call(read)
    language = language_of(request)
    say = translations(language).gettext
    jobs = {j["media_id"]: j for j in reversed(newest_first)}
    usable = {o["id"] for o in seen.occurrences if _usable(jobs.get(o["media_id"]))}
    chosen = set(given.get("occurrences", "").split()) if given else usable
    platforms = {o["platform"] for o in seen.occurrences if o["platform"]}
    only = platforms.pop() if len(platforms) == 1 else ""
    asked = inputs(kind, language, given, minor=case["minor"])
    labels = {f["name"]: f["label"] for f in asked}
    errors = {e.field.removeprefix("fields."): say(e.detail) for e in wrong}
    return page(
        request,
        "notice_form.html",
        caller,
        status=422 if wrong else 409 if refused else 200,
        refused=refused and say(refused),
        jobs=jobs,
        labels=labels,
        case=case,
        seen=seen.occurrences,
        more=seen.next is not None,
        replaces=about.replaces,
        kind=kind,
        inputs=asked,
        chosen=chosen,
        recipient=given.get("recipient", only),
        wanted_language=given.get("language", language),
        errors=errors,
    )


def _usable(job: dict[str, Any] | None) -> bool:
    """Whether a notice may rest on a job, as far as its row tells."""
    if job is None or job["state"] != JobState.SUCCEEDED:
        return False
    if job["finding"] is not None:
        return bool(job["finding"] == Finding.CONFIRMED)
    return bool(job["verdict"] == VerdictCode.LIKELY_MANIPULATED)


@router.get("/notices/{notice_id}")
async def get_notice(request: Request, notice_id: Id, caller: PageReader) -> Response:
    """A notice in words, its clock, and what became of it."""
    services = app_state(request).require_services()
    notice = await call(lambda: services.notice_desk.read(caller, notice_id))
    outcomes = sorted(
        str(o) for o in OUTCOMES
        if (o is not NoticeState.TEMPORARILY_BLOCKED or notice["kind"].startswith("kr-"))
        and (o is not NoticeState.PRESERVED or notice["kind"] == "budapest-29")
        and (o is NoticeState.WITHDRAWN or notice["sent_at"])
    )  # fmt: skip
    return page(request, "notice.html", caller, notice=notice, outcomes=outcomes)


@router.post("/notices/{notice_id}")
async def post_update(request: Request, notice_id: Id, caller: PageReader) -> Response:
    """Note that a notice was sent, received or answered."""
    given = await form(request)
    what, outcome = given.get("what"), given.get("outcome", "")
    update = NoticeUpdate()
    if what == "sent":
        text = given.get("sent_at", "")
        now = app_state(request).database.clock()
        update = NoticeUpdate(sent_at=_at(text, given.get("offset", "")) if text else now)
    elif what == "receipt":
        update = NoticeUpdate(receipt=given.get("receipt", "")[:2000])
    elif what == "outcome" and outcome in {str(o) for o in OUTCOMES}:
        update = NoticeUpdate(outcome=NoticeState(outcome))
    else:
        raise InvalidRequest(errors=[FieldError("outcome", "choose one")])
    services = app_state(request).require_services()
    await call(lambda: services.notice_desk.update(caller, notice_id, update))
    return back(f"/notices/{notice_id}")


def _at(text: str, offset: str) -> datetime:
    """Return the time that a form gives.

    ``offset`` is how many minutes UTC is ahead of the time zone of ``text``. The page's script
    sends it; without scripts the form asks for UTC.
    """
    try:
        ahead = int(offset or 0)
        if abs(ahead) > MAX_OFFSET_MINUTES:
            raise ValueError("no such zone")
        return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(minutes=ahead)
    except (ValueError, OverflowError) as error:
        wrong = FieldError("sent_at", "a date and a time are needed")
        raise InvalidRequest(errors=[wrong]) from error


@router.get("/overdue")
async def get_overdue(
    request: Request, caller: PageReader, limit: Annotated[int, Query(ge=1, le=200)] = 200
) -> Response:
    """Every notice that ought to have been acted on by now."""
    services = app_state(request).require_services()
    found = await call(lambda: services.notice_desk.overdue(caller, limit))
    return page(request, "overdue.html", caller, notices=found)
