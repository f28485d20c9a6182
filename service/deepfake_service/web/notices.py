"""Pages of notices: the form of each kind, the notice, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from deepfake_service.casework.core.notice_states import (
    KOREAN,
    OUTCOMES,
    NoticeRequest,
    NoticeUpdate,
)
from deepfake_service.casework.core.pagination import MAX_PAGE, Filters, OccurrencePage
from deepfake_service.casework.core.queries import iso_time
from deepfake_service.container import Services
from deepfake_service.db.enums import NoticeState
from deepfake_service.documents.i18n import LANGUAGES, translations, words
from deepfake_service.errors import (
    FieldError,
    InvalidRequest,
    NotFound,
    NoticeRefused,
    ServiceError,
)
from deepfake_service.http.auth import PageReader
from deepfake_service.http.dependencies import ServicesDep
from deepfake_service.notices.kinds import Kind, kind_of, lacking
from deepfake_service.observability.logs import describe, logger
from deepfake_service.security.accounts import Caller
from deepfake_service.web.api_errors import api_errors
from deepfake_service.web.language import language_of
from deepfake_service.web.notice_inputs import (
    REQUEST,
    UPDATE,
    checked_input,
    choices_of,
    contact_values,
    form_inputs,
)
from deepfake_service.web.notice_recipients import Posts, posts_of_recipient, recipient_of
from deepfake_service.web.pages import Form, PageRoute, page, redirect

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_log = logger("deepfake_service.notices")

Id = Annotated[str, Path(max_length=26)]
KindName = Annotated[str, Path(max_length=40)]
OptionalId = Annotated[str | None, Query(max_length=26)]
ELSEWHERE = "location_without_url"
"""Field that says where content without a URL is."""
SIGNATURE_FIELDS = ("signature", "signed_")
"""Prefixes of the names of fields that belong to a signature."""
MAX_OFFSET_MINUTES = 14 * 60
"""The time zone farthest from UTC is UTC+14."""


@dataclass(frozen=True, slots=True)
class NoticeForm:
    """The form of a kind of notice for one case."""

    case_id: str
    kind: Kind
    media: str | None
    """Restrict the occurrences to these media."""
    template: dict[str, Any] | None
    """The notice that the form is filled in from."""

    @property
    def replaces_draft(self) -> bool:
        """Whether the new notice replaces the template, which has not been sent."""
        return self.template is not None and self.template["state"] == NoticeState.DRAFTED

    def initial_values(self) -> dict[str, str]:
        """Return the initial values of the form, without affirmations and signatures.

        These were given by a person for the template, and must be given again.
        """
        if self.template is None:
            return {}
        copied = {
            name: value
            for name, value in self.template["fields"].items()
            if value and value is not True and not name.startswith(SIGNATURE_FIELDS)
        }
        return {
            **copied,
            "occurrences": "\n".join(self.template["occurrence_ids"]),
            "recipient": self.template["recipient"] or "",
            "language": self.template["language"],
            "captures": self.template["captures"] or "clear",
        }


def _notice_form(
    case_id: Id,
    kind_name: KindName,
    caller: PageReader,
    services: ServicesDep,
    media: OptionalId = None,
    like: OptionalId = None,
) -> NoticeForm:
    """Return the form, filled in from the notice ``like``, which must be of this case and kind."""
    kind = kind_of(kind_name)
    if like is None:
        return NoticeForm(case_id, kind, media, None)
    template = services.notice_desk.read(caller, like)
    if (template["case_id"], template["kind"]) != (case_id, kind.id):
        raise NotFound
    return NoticeForm(case_id, kind, media, template)


NoticeFormDep = Annotated[NoticeForm, Depends(_notice_form)]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a user entered, and why it was not accepted."""

    values: dict[str, str]
    errors: Sequence[FieldError] = field(default=())
    refusal: str | None = None

    @property
    def status(self) -> int:
        """The HTTP status of the page that shows it."""
        if self.errors:
            return 422
        return 409 if self.refusal else 200


@router.get("/cases/{case_id}/notices/{kind_name}")
def get_form(
    request: Request, notice_form: NoticeFormDep, caller: PageReader, services: ServicesDep
) -> Response:
    """Show the form of a kind of notice."""
    return _form_page(request, services, caller, notice_form, Attempt(notice_form.initial_values()))


@router.post("/cases/{case_id}/notices/{kind_name}")
def post_form(
    request: Request,
    notice_form: NoticeFormDep,
    caller: PageReader,
    services: ServicesDep,
    values: Form,
) -> Response:
    """Create the notice, or show the form again with what is wrong.

    A draft that the notice replaces is withdrawn.
    """
    try:
        wanted = _notice_request(request, notice_form.kind, values)
        notice = services.notice_desk.create(caller, notice_form.case_id, wanted)
    except InvalidRequest as error:
        attempt = Attempt(values, errors=error.errors)
        return _form_page(request, services, caller, notice_form, attempt)
    except NoticeRefused as error:
        attempt = Attempt(values, refusal=error.message)
        return _form_page(request, services, caller, notice_form, attempt)
    if notice_form.template and notice_form.replaces_draft:
        withdrawal = NoticeUpdate(outcome=NoticeState.WITHDRAWN)
        try:
            services.notice_desk.update(caller, notice_form.template["id"], withdrawal)
        except ServiceError as error:
            # For example, the draft was withdrawn in the meantime. The notice was made, and after
            # an error it would be made again.
            _log.warning("draft_not_withdrawn", notice=notice["id"], failure=describe(error))
    return redirect(f"/notices/{notice['id']}")


def _notice_request(request: Request, kind: Kind, values: dict[str, str]) -> NoticeRequest:
    """Return the notice that a form asks for.

    Raises:
        InvalidRequest: an input is longer than the API allows, or there are too many posts.
    """
    fields: dict[str, Any] = {}
    for name, info in kind.fields.model_fields.items():
        if values.get(name):
            is_affirmation = True in choices_of(info.annotation)
            fields[name] = values[name] == "yes" if is_affirmation else values[name]
    for name in kind.waived_for_minors:
        fields.setdefault(name, None)
    language = values.get("language", "")
    return checked_input(
        REQUEST,
        kind=kind.id,
        language=language if language in LANGUAGES else language_of(request),
        occurrence_ids=values.get("occurrences", "").split(),
        fields=fields,
        recipient=values.get("recipient") or None,
        captures="blurred" if values.get("captures") == "blurred" else "clear",
    )


def _form_page(
    request: Request,
    services: Services,
    caller: Caller,
    notice_form: NoticeForm,
    attempt: Attempt,
) -> Response:
    kind, values = notice_form.kind, attempt.values
    language = language_of(request)
    translate = translations(language).gettext
    notice_words = words(language, "notice")
    case = services.queries.brief(caller, notice_form.case_id)
    chosen = set(values.get("occurrences", "").split())
    occurrences = _occurrences(services, caller, notice_form, chosen)
    jobs = _jobs_by_media(services, caller, notice_form.case_id, occurrences)
    media = {o["media_id"] for o in occurrences.occurrences}
    obstacles = services.notice_desk.obstacles(caller, notice_form.case_id, media)
    usable = [o for o in occurrences.occurrences if o["media_id"] not in obstacles]
    lacks = {
        o["id"]: lacking(kind, o, minor=case["minor"], elsewhere=bool(values.get(ELSEWHERE)))
        for o in occurrences.occurrences
    }
    posts = Posts(usable, frozenset(o["id"] for o in usable if not lacks[o["id"]]))
    if not values:
        chosen = posts_of_recipient(kind.id, posts)
    filled = values or contact_values(services.contacts.form_values(caller, language))
    inputs = form_inputs(kind, language, filled, minor=case["minor"])
    return page(
        request,
        "notice_form.html",
        caller,
        status=attempt.status,
        api_errors=api_errors(language),
        refused=attempt.refusal and translate(attempt.refusal),
        jobs=jobs,
        labels={item["name"]: item["label"] for item in inputs},
        case=case,
        seen=occurrences.occurrences,
        more=occurrences.next is not None,
        replaces=notice_form.replaces_draft,
        kind=kind,
        provision=notice_words.of("provisions", kind.id),
        clock=notice_words.of("clocks", kind.id),
        inputs=inputs,
        chosen=chosen,
        lacks=lacks,
        posts={o["id"]: o["source_url"] or o["platform"] for o in occurrences.occurrences},
        encloses=kind.needs_screenshot and not case["minor"],
        captures=values.get("captures", "clear"),
        usable=len(usable),
        obstacles={medium: translate(reason) for medium, reason in obstacles.items()},
        recipient=values.get("recipient", recipient_of(kind.id, posts, language)),
        wanted_language=values.get("language", language),
        errors={e.field.removeprefix("fields."): e.translated(translate) for e in attempt.errors},
    )


def _occurrences(
    services: Services, caller: Caller, notice_form: NoticeForm, chosen: set[str]
) -> OccurrencePage:
    """Return the newest occurrences, and older ones that were chosen already."""
    case_id = notice_form.case_id
    newest = services.queries.occurrences(caller, case_id, media_id=notice_form.media)
    older = tuple(chosen - {o["id"] for o in newest.occurrences})[:MAX_PAGE]
    if not older:
        return newest
    more = services.queries.occurrences(caller, case_id, ids=older)
    return OccurrencePage(
        [*newest.occurrences, *more.occurrences],
        newest.next,
        [*newest.altered, *more.altered],
    )


def _jobs_by_media(
    services: Services, caller: Caller, case_id: str, occurrences: OccurrencePage
) -> dict[str, dict[str, Any]]:
    """Return the newest job of each of the occurrences' media."""
    media = tuple({o["media_id"] for o in occurrences.occurrences})
    filters = Filters(case_id=case_id, media=media)
    jobs = services.queries.jobs(caller, filters, limit=MAX_PAGE, cursor=None)
    return {job["media_id"]: job for job in reversed(jobs.jobs)}  # newest first


@router.get("/notices/{notice_id}")
def get_notice(
    request: Request, notice_id: Id, caller: PageReader, services: ServicesDep
) -> Response:
    """Show a notice, its deadline, its outcome and its history."""
    return _notice_page(request, services, caller, notice_id, Attempt({}))


def _notice_page(
    request: Request, services: Services, caller: Caller, notice_id: str, attempt: Attempt
) -> Response:
    notice = services.notice_desk.read(caller, notice_id)
    case = services.queries.brief(caller, notice["case_id"])
    translate = translations(language_of(request)).gettext
    return page(
        request,
        "notice.html",
        caller,
        status=attempt.status,
        notice=notice,
        case=case,
        withheld=bool(notice["captures"]) and case["minor"],
        outcomes=sorted(str(o) for o in OUTCOMES if _is_possible(o, notice)),
        now=iso_time(services.notice_clock.now()),
        typed=attempt.values,
        errors={e.field: e.translated(translate) for e in attempt.errors},
    )


def _is_possible(outcome: NoticeState, notice: dict[str, Any]) -> bool:
    """Return whether a notice of this kind and state can have an outcome."""
    if outcome is NoticeState.WITHDRAWN:
        return True
    if outcome is NoticeState.TEMPORARILY_BLOCKED and notice["kind"] not in KOREAN:
        return False
    if outcome is NoticeState.PRESERVED and notice["kind"] != "budapest-29":
        return False
    return bool(notice["sent_at"])


@router.post("/notices/{notice_id}")
def post_update(
    request: Request, notice_id: Id, caller: PageReader, services: ServicesDep, values: Form
) -> Response:
    """Record that a notice was sent, received or answered, or show what is wrong with it."""
    try:
        update = _update(values, services.notice_clock.now())
        services.notice_desk.update(caller, notice_id, update)
    except InvalidRequest as error:
        attempt = Attempt(values, errors=error.errors)
        return _notice_page(request, services, caller, notice_id, attempt)
    return redirect(f"/notices/{notice_id}")


def _update(values: dict[str, str], now: datetime) -> NoticeUpdate:
    """Return what a form of the notice's page says.

    Raises:
        InvalidRequest: it says nothing, its time is not a time, or an input is too long.
    """
    what, outcome = values.get("what"), values.get("outcome", "")
    if what == "sent":
        sent_at = values.get("sent_at", "")
        return checked_input(
            UPDATE,
            sent_at=_local_time(sent_at, values.get("offset", "")) if sent_at else now,
            sent_reason=values.get("sent_reason") or None,
        )
    if what == "undo":
        return NoticeUpdate(undo_sent=True)
    if what == "receipt":
        return checked_input(UPDATE, receipt=values.get("receipt", ""))
    if what == "outcome" and outcome in {str(o) for o in OUTCOMES}:
        return NoticeUpdate(outcome=NoticeState(outcome))
    raise InvalidRequest(errors=[FieldError("outcome", "choose one")])


def _local_time(text: str, offset: str) -> datetime:
    """Convert the time of a form to UTC.

    ``offset`` is the number of minutes that UTC is ahead of the user's zone, as JavaScript's
    ``getTimezoneOffset`` returns it. Without scripts it is empty, and the form asks for UTC.
    """
    try:
        ahead = int(offset or 0)
        if abs(ahead) > MAX_OFFSET_MINUTES:
            raise ValueError("no such zone")
        return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(minutes=ahead)
    except (ValueError, OverflowError) as error:
        invalid = FieldError("sent_at", "a date and a time are needed")
        raise InvalidRequest(errors=[invalid]) from error
