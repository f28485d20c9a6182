"""The form of each kind of notice, which follows from the manifest of the kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from deepfake_service.accounts.organisation import Organisation
from deepfake_service.cases.filters import Filters
from deepfake_service.cases.posts import Post
from deepfake_service.http.problems import problem_of
from deepfake_service.notices.compose import WithoutConsent
from deepfake_service.notices.kinds import KINDS, Kind, kind_of
from deepfake_service.notices.shapes import FullNotice
from deepfake_service.notices.states import NoticeRequest, NoticeUpdate
from deepfake_service.platform.enums import TAKEN_DOWN, NoticeState
from deepfake_service.platform.errors import Conflict, InvalidRequest, NotFound, ServiceError
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.networks import platform_of
from deepfake_service.platform.pagination import MAX_PAGE, ListPage
from deepfake_service.platform.texts.fields import NEVER_COPIED
from deepfake_service.platform.texts.formatting import attributed, to_the_second
from deepfake_service.platform.texts.i18n import LANGUAGES, words
from deepfake_service.removal.posts import PostTimeline
from deepfake_service.review.shapes import Item
from deepfake_service.web.pages import Form, Id, PageRoute, Reader, Visit, checked_input, redirect

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_log = logger("deepfake_service.notices")

KindName = Annotated[str, Path(max_length=40)]
OptionalId = Annotated[str | None, Query(max_length=26)]
CONSENT_FIELD = "without_consent."
ENDED = TAKEN_DOWN | {NoticeState.TEMPORARILY_BLOCKED, NoticeState.PRESERVED}
"""Outcomes after which nothing is left to be escalated."""


class OfferedPost(Post):
    """A post that a notice can be about."""

    job: Item | None
    """The newest job of its file."""
    pictured: str | None
    """The item with a picture of the file."""
    lacks: list[str]
    """What the kind of notice needs and it has not."""
    reasons: list[str]
    """The reasons of the finding about its file."""
    obstacle: str | None
    """Why no notice can be made about it."""


Posts = Sequence[OfferedPost]


@dataclass(frozen=True, slots=True)
class NoticeForm:
    """The form of a kind of notice for one case."""

    case_id: str
    kind: Kind
    media: str | None
    """Restrict the occurrences to these media."""
    template: FullNotice | None
    """The notice that the form is filled in from."""
    earlier: Mapping[str, Mapping[str, str]] | None = None
    """What it begins with about the notice that it follows, by language."""
    left: frozenset[str] = frozenset()
    """The posts of that notice which are still there."""

    @property
    def replaces_draft(self) -> bool:
        """Whether the new notice replaces the template, which has not been sent."""
        return self.template is not None and self.template.state == NoticeState.DRAFTED

    def initial_values(self) -> dict[str, str]:
        """Return the initial values of the form, without affirmations and signatures. These were
        given by a person for the template, and must be given again."""
        if self.template is None:
            return {}
        consent = self.template.without_consent
        copied = {
            name: str(self.template.fields.get(name) or "")
            for name, declared in self.kind.fields.items()
            if declared.type not in NEVER_COPIED
        }
        return {
            **copied,
            "occurrences": "\n".join(self.template.occurrence_ids),
            "recipient": self.template.recipient or "",
            "language": self.template.language,
            "captures": self.template.captures or "blurred",
            "basis": "without_consent" if consent else "finding",
            **(consent.stored() if consent else {}),
        }


def _notice_form(
    case_id: Id,
    kind_name: KindName,
    visit: Reader,
    media: OptionalId = None,
    like: OptionalId = None,
    after: OptionalId = None,
) -> NoticeForm:
    """Return the form, filled in from the notice ``like``, which must be of this case and kind, or
    with what became of the notice ``after``, which must be of a kind that this one can follow."""
    kind = kind_of(kind_name)
    if after is not None:
        return _following(visit, case_id, kind, after)
    if like is None:
        return NoticeForm(case_id, kind, media, None)
    template = visit.services.notice_desk.read(visit.caller, like)
    if (template.case_id, template.kind) != (case_id, kind.id):
        raise NotFound
    return NoticeForm(case_id, kind, media, template)


def _following(visit: Visit, case_id: str, kind: Kind, after: str) -> NoticeForm:
    services, caller = visit.services, visit.caller
    notice = services.notice_desk.read(caller, after)
    if notice.case_id != case_id or notice.kind not in kind.follows:
        raise NotFound
    ids = tuple(notice.occurrence_ids)
    posts = services.queries.occurrences(caller, case_id, ids=ids).rows
    lines = services.posts.timelines(caller, case_id, ids)
    telling = [name for name, declared in kind.fields.items() if declared.earlier]
    earlier = {
        language: dict.fromkeys(telling, account_of(notice, posts, lines, language))
        for language in LANGUAGES
    }
    left = frozenset(post.id for post in left_of(posts, lines))
    return NoticeForm(case_id, kind, None, None, earlier, left)


NoticeFormDep = Annotated[NoticeForm, Depends(_notice_form)]


@router.get("/cases/{case_id}/notices/{kind_name}")
def get_form(notice_form: NoticeFormDep, visit: Reader) -> Response:
    """Show the form of a kind of notice."""
    return _form_page(visit, notice_form, notice_form.initial_values())


@router.post("/cases/{case_id}/notices/{kind_name}")
def post_form(notice_form: NoticeFormDep, visit: Reader, values: Form) -> Response:
    """Create the notice, or show the form again with what is wrong.

    A draft that the notice replaces is withdrawn.
    """
    desk, caller = visit.services.notice_desk, visit.caller
    try:
        wanted = _notice_request(notice_form.kind, values)
        notice = desk.create(caller, notice_form.case_id, wanted)
    except (InvalidRequest, Conflict) as error:
        return _form_page(visit, notice_form, values, error)
    if notice_form.template and notice_form.replaces_draft:
        withdrawal = NoticeUpdate(outcome=NoticeState.WITHDRAWN)
        try:
            desk.update(caller, notice_form.template.id, withdrawal)
        except ServiceError as error:
            # For example, the draft was withdrawn in the meantime. The notice was made, and after
            # an error it would be made again.
            _log.warning("draft_not_withdrawn", notice=notice.id, failure=describe(error))
    return redirect(f"/notices/{notice.id}")


def _notice_request(kind: Kind, values: dict[str, str]) -> NoticeRequest:
    """Return the notice that a form asks for."""
    fields: dict[str, object] = dict.fromkeys(kind.waived_for_minors)
    for name, declared in kind.fields.items():
        if values.get(name):
            is_affirmation = declared.type == "affirmation"
            fields[name] = values[name] == "yes" if is_affirmation else values[name]
    consent = None
    if values.get("basis") == "without_consent":
        stated = {name: values.get(name, "") for name in WithoutConsent.__dataclass_fields__}
        consent = checked_input(WithoutConsent, **stated)
    return checked_input(
        NoticeRequest,
        kind=kind.id,
        language=values.get("language") or None,
        occurrence_ids=values.get("occurrences", "").split(),
        fields=fields,
        recipient=values.get("recipient") or None,
        captures=values.get("captures") or "blurred",
        reports=values.get("reports") or "supporting",
        review_reasons=values.get("review_reasons") == "yes",
        without_consent=consent,
    )


def _form_page(
    visit: Visit,
    notice_form: NoticeForm,
    values: dict[str, str],
    problem: InvalidRequest | Conflict | None = None,
) -> Response:
    kind, services, caller = notice_form.kind, visit.services, visit.caller
    case = services.queries.brief(caller, notice_form.case_id)
    chosen = set(values.get("occurrences", "").split())
    posts = _offered_posts(visit, notice_form, chosen, values, minor=case.minor)
    usable = [post for post in posts.rows if not post.obstacle]
    offered = usable or posts.rows
    organisation = services.sender.organisation()
    known = _recipient_before(visit, kind, case.id, offered)
    defaults = {
        each: {
            **default_values(kind, organisation, each, minor=case.minor),
            "recipient": known or recipient_of(kind, offered, each),
            **(notice_form.earlier or {}).get(each, {}),
        }
        for each in LANGUAGES
    }
    if not values:
        chosen = set(notice_form.left) or posts_of_recipient(kind, offered)
        values = defaults[kind.language]
    return visit.page(
        "notice_form.html",
        status=problem_of(problem).status if problem else 200,
        refused=visit.translate(problem.message) if isinstance(problem, Conflict) else None,
        case=case,
        posts=posts,
        replaces=notice_form.replaces_draft,
        kind=kind,
        values=values,
        chosen=chosen,
        usable=usable,
        contacts=_contacts(visit, kind, case.id),
        defaults=defaults,
        errors={
            field.removeprefix("fields.").removeprefix(CONSENT_FIELD): what
            for field, what in visit.explained(problem.errors if problem else ()).items()
        },
    )


def _contacts(visit: Visit, kind: Kind, case_id: str) -> dict[str, tuple[str, str]]:
    """Return the abuse contacts of the hosts of captured posts, each with its host and whose it
    is, for a notice to who can take a post down."""
    found: dict[str, tuple[str, str]] = {}
    if kind.recipient != "platform":
        return found
    for capture in visit.services.captures.of_case(visit.caller, case_id).captures:
        operator = capture.operator
        if operator and (network := operator.network):
            whose = "cdn" if network.is_cdn else "network"
            found |= dict.fromkeys(network.abuse, (operator.host, whose))
        if operator and (domain := operator.domain):
            found |= dict.fromkeys(domain.abuse, (operator.host, "registrar"))
    return found


def _offered_posts(
    visit: Visit, form: NoticeForm, chosen: set[str], given: Mapping[str, str], *, minor: bool
) -> ListPage[OfferedPost]:
    """Return the newest posts, and older ones that were chosen already."""
    queries, caller, case_id = visit.services.queries, visit.caller, form.case_id
    listed = queries.occurrences(caller, case_id, media_id=form.media)
    posts = list(listed.rows)
    if older := tuple(chosen - {post.id for post in posts})[:MAX_PAGE]:
        posts += queries.occurrences(caller, case_id, ids=older).rows
    media = tuple({post.media_id for post in posts})
    items = queries.jobs(caller, Filters(case_id=case_id, media=media), queries.item).rows[::-1]
    newest = {item.media_id: item for item in items}
    pictured = {item.media_id: item.id for item in items if item.thumbnail}
    grounds = visit.services.notice_desk.grounds(caller, case_id, media)
    offered = []
    for post in posts:
        found = grounds[post.media_id]
        offered.append(
            OfferedPost(
                **dict(post),
                job=newest.get(post.media_id),
                pictured=pictured.get(post.media_id),
                lacks=form.kind.missing_of(post, given, minor=minor),
                reasons=found if isinstance(found, list) else [],
                obstacle=None if isinstance(found, list) else visit.translate(found.message),
            )
        )
    return ListPage(offered, listed.next)


def default_values(
    kind: Kind, organisation: Organisation, language: str, *, minor: bool
) -> dict[str, str]:
    """Return what a form begins with: who sends the notice, what the organisation always states,
    and the choices that the kind and the case make likely."""
    contact = {
        "name": organisation.name(language),
        "phone": organisation.phone,
        "email": organisation.email,
    }
    values = {}
    for name, field in kind.fields.items():
        claimed = field.claims_manipulation if isinstance(field.claims_manipulation, str) else None
        chosen = (minor and field.for_minors) or claimed or field.default
        kept = organisation.statements.get(f"{kind.id}.{name}")
        if value := chosen or kept or contact.get(field.contact or ""):
            values[name] = value
    return values


def _leading(posts: Posts) -> OfferedPost | None:
    """Return the newest post that lacks nothing, or else the newest."""
    return next((post for post in posts if not post.lacks), next(iter(posts), None))


def recipient_of(kind: Kind, posts: Posts, language: str) -> str:
    """Return the default recipient of a notice about some of ``posts``, newest first: by the kind,
    or the platform of one. It is empty where only a person can know, as for an authority abroad."""
    if kind.recipient_name:
        return kind.recipient_name.of(language)
    post = _leading(posts)
    if kind.recipient != "platform" or post is None:
        return ""
    return str(post.platform or platform_of(post.source_url))


def _recipient_before(visit: Visit, kind: Kind, case_id: str, posts: Posts) -> str | None:
    """Return the recipient that the newest notice of the case and the kind had, if all posts are at
    one place: another notice is for the same."""
    if kind.recipient == "platform" and len({place_of(post) for post in posts}) > 1:
        return None
    notices = visit.services.notice_desk.of_case(visit.caller, case_id).rows
    return next((n.recipient for n in notices if n.kind == kind.id), None)


def posts_of_recipient(kind: Kind, posts: Posts) -> set[str]:
    """Return the ids of the posts that the default recipient is responsible for. A platform must
    not learn of posts elsewhere. Posts that lack something are left out, unless all do."""
    post = _leading(posts)
    if kind.recipient == "platform" and post is not None:
        posts = [o for o in posts if place_of(o) == place_of(post)]
    return {o.id for o in posts if not o.lacks} or {o.id for o in posts}


def place_of(post: Post) -> str:
    """Return what tells platforms apart: the name that the post or its URL has, or else a host."""
    return (post.platform or platform_of(post.source_url)).casefold().strip()


def followers_of(notice: FullNotice) -> list[str]:
    """Return the kinds of notices that can follow one: it was sent, and a post is still there."""
    is_over = notice.state in ENDED and not notice.returned_at
    if not notice.sent_at or is_over or (notice.gone_at and not notice.returned_at):
        return []
    return [kind.id for kind in KINDS.values() if notice.kind in kind.follows]


def left_of(posts: Sequence[Post], lines: Mapping[str, PostTimeline]) -> list[Post]:
    """Return the posts of a notice that are not known to be gone."""
    return [post for post in posts if not lines[post.id].gone_at]


def account_of(
    notice: FullNotice,
    posts: Sequence[Post],
    lines: Mapping[str, PostTimeline],
    language: str,
) -> str:
    """Return what the records say of a notice: when it was sent, and what looks found since. A
    person reads, corrects and states it: a form only begins with it."""
    t = words(language, "notice", polite=True)
    kind = kind_of(notice.kind)
    sent = {
        "kind": kind.name.of(language),
        "recipient": notice.recipient or "–",
        "at": to_the_second(notice.sent_at, language),
    }
    said = [t("earlier_sent", **sent)]
    if notice.due_at:
        said.append(t("earlier_due", at=to_the_second(notice.due_at, language)))
    if notice.answered_at:
        at = to_the_second(notice.answered_at, language)
        said.append(t("earlier_answer", outcome=t.of("states", notice.state), at=at))
    for post in left_of(posts, lines):
        line, url = lines[post.id], post.source_url
        place = attributed("source_url", url, post.claimed, t) if url else t("no_url")
        if line.result is None:
            said.append(t("earlier_not_looked", url=place))
            continue
        found = {
            "url": place,
            "result": t.of("looks", line.result),
            "at": to_the_second(line.looked_at, language),
            "number": line.looks,
            "sha256": line.sha256,
        }
        said.append(t("earlier_look", **found))
    return "\n".join(said)
