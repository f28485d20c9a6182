"""What one fetched page says about its post: a result, strong or weak, and the signals for it.

One answer is no removal: ``removal.conclusions`` decides on several. The rules stand in ``RULES``:
the first that finds something says what it is.
"""

from __future__ import annotations

import re
import secrets
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from pydantic import Field

from deepfake_service.platform.enums import PRESENT, LookResult
from deepfake_service.platform.networks import host_of, is_of_site, site_of
from deepfake_service.platform.pages import Answer, Failure, Page
from deepfake_service.post_pages.reading import ShownPage

KOREAN_FILTERS = ("warning.or.kr",)
"""Where Korean providers redirect requests for blocked addresses; subdomains count as well."""
ALIKE = 0.95
"""Share of words from which a page is taken for the one of an address that never was (compare
Bar-Yossef et al., "Sic transit gloria telae", 2004)."""
NAME_GONE_FOR = timedelta(days=1)
"""How long a name must not resolve until that counts as gone, weakly."""
MAX_KEPT_CHARS = 4000
"""Of the text of a page that is kept as the record of a removal."""
_HOME = re.compile(r"/?(index\.\w{3,5})?|/[a-z]{2}(-[a-z]{2})?/?", re.IGNORECASE)
_PATHS = (
    (re.compile(r"/(search|find|browse)\b"), LookResult.GONE),
    (re.compile(r"/(404|error|not-?_?found|removed|deleted)\b"), LookResult.GONE),
    (re.compile(r"/(log-?_?in|sign-?_?in|signup|auth|session|accounts?/login)\b"),
     LookResult.RESTRICTED),
    (re.compile(r"/(age-?_?(gate|check|verif\w*)?|adult-?_?(check|verif\w*))\b"),
     LookResult.RESTRICTED),
)  # fmt: skip
"""Where redirects lead, in lower case."""
_SCRIPT_NAME = re.compile(r"\.(php\d?|aspx?|jsp|do|cgi)\Z", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that a result was concluded from."""

    kind: Annotated[str, Field(description="What it is, such as `status` or `redirect`.")]
    value: Annotated[bool | int | str, Field(description="What was seen.")]


@dataclass(frozen=True, slots=True)
class PostMemory:
    """What later looks compare theirs with."""

    title: str | None = None
    media: str | None = None
    """Of the post while it was up."""
    own: bool = False
    """The post had a page that is not like that of an address that never was."""
    never: str | None = None
    """The title of the page that such an address had then; ``None`` if it had none."""
    no_name_since: str | None = None
    """Since when the name of its host does not resolve."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a look found."""

    result: LookResult
    strong: bool = False
    signals: tuple[Signal, ...] = ()
    memory: PostMemory = PostMemory()
    text: str = ""
    """What the page shows, shortened."""
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class PostVisit:
    """A page that was fetched for a post, and what to judge it by."""

    url: str
    """The address of the post."""
    page: Page
    shown: ShownPage | None
    """What its last answer shows; ``None`` if there is none, or it broke its reader."""
    memory: PostMemory
    at: datetime
    never_there: Callable[[], ShownPage | None]
    """Fetches the page of an address of the same site that never was. ``None`` if none is served as
    posts are: a site that answers 404 tells posts from what is gone by that."""

    def tells_apart(self, never: ShownPage) -> bool:
        """Return whether the site told the post from an address that never was, by the page that
        such an address still has. With another one, a wall, a pause or a new shell may stand before
        the whole site."""
        return self.memory.own and self.memory.never == never.title

    @property
    def shows_post(self) -> bool:
        """Whether the page names itself as the post, and shows a medium."""
        if self.shown is None:
            return False
        named = (self.shown.metas.get(name, "") for name in ("og:url", "canonical"))
        parts = (part for address in named for part in _parts(address))
        is_itself = not _post_ids(self.url).isdisjoint(parts)
        return is_itself and (bool(self.shown.medium) or self.shown.has_player)

    def found(self, result: LookResult, strong: bool, *signals: Signal) -> Observation:
        """Return what the answer says, with its status as the first signal. The text of a post that
        is there is not kept."""
        assert self.page.last is not None
        status = Signal("status", self.page.last.status)
        text = self.shown.text if self.shown and result not in PRESENT else ""
        memory = replace(self.memory, no_name_since=None)
        return Observation(result, strong, (status, *signals), memory, text[:MAX_KEPT_CHARS])

    def doubted(self, found: Observation) -> Observation:
        """Return ``unknown`` in place of a weak sign on a page that may show the post: a user may
        have written the sign, or the medium may be the platform's logo."""
        if found.strong or not self.shows_post or found.result in PRESENT:
            return found
        return _in_doubt(found, "own_page")


@dataclass(frozen=True, slots=True)
class Mark:
    """How a platform says what became of a post; see ``tombstones.toml``."""

    place: str
    texts: tuple[str, ...]
    result: LookResult
    site: str | None = None
    after: str | None = None

    def begins(self, shown: ShownPage) -> bool:
        """Return whether a longer title or heading begins with it, as before a name and a slogan
        of the site, or else of the post."""
        heads = (shown.title.casefold(), shown.heading.casefold())
        rests = [s.removeprefix(t).lstrip() for s in heads for t in self.texts if s.startswith(t)]
        return self.place == "title" and any(not rest[:1].isalnum() for rest in rests)

    def is_on(self, shown: ShownPage) -> bool:
        """Return whether a page has it."""
        if self.place == "class":
            return not shown.marks.isdisjoint(self.texts)
        if self.place != "title":
            where = shown.text if self.place == "text" else shown.data.get(self.after or "", "")
            return any(t in where for t in self.texts)
        for head in (shown.title.casefold(), shown.heading.casefold()):
            # A title usually ends in the name of the site. One with more in it is a post's.
            parts = [part.strip() for part in re.split(r" [-–—|·:] ", head)]
            if head in self.texts or (parts[:-1] and {*parts[:-1]} <= {*self.texts}):
                return True
        return False


def _marks() -> tuple[Mark, ...]:
    content = tomllib.loads((files(__package__) / "tombstones.toml").read_text(encoding="utf-8"))
    return tuple(
        Mark(**{**m, "texts": tuple(m["texts"]), "result": LookResult(m["result"])})
        for m in content["mark"]
    )


MARKS = _marks()
DATA_NAMES = tuple(dict.fromkeys(mark.after for mark in MARKS if mark.after))
"""What ``read_page`` looks for in scripts."""


def judge(visit: PostVisit) -> Observation:
    """Return what a fetched page says about a post."""
    return next(found for rule in RULES if (found := rule(visit)) is not None)


def by_filter(visit: PostVisit) -> Observation | None:
    """Find a redirect to where a country's filter leads."""
    addresses = (each for a in visit.page.answers for each in (a.url, a.headers.get("location")))
    sites = [site_of(host_of(address)) for address in addresses]
    if not any(is_of_site(site, f) for site in sites for f in KOREAN_FILTERS):
        return None
    signal = Signal("national_filter", "warning.or.kr")
    return Observation(LookResult.BLOCKED_HERE, True, (signal,), visit.memory)


def by_failure(visit: PostVisit) -> Observation | None:
    """Find that there is no answer, or none that can be read."""
    memory, failure = visit.memory, visit.page.failure or Failure.UNREACHABLE
    if visit.page.last is not None:
        if visit.shown is not None:
            return None
        return visit.found(LookResult.UNKNOWN, False, Signal("unreadable", True))
    # Filters that look into the first packet of TLS reset the connection; so do servers.
    special = {Failure.RESET: LookResult.BLOCKED_HERE, Failure.REFUSED_ADDRESS: LookResult.UNKNOWN}
    result = special.get(failure, LookResult.UNREACHABLE)
    if failure is Failure.NO_SUCH_NAME:
        since = memory.no_name_since or visit.at.isoformat()
        memory = replace(memory, no_name_since=since)
        if visit.at - datetime.fromisoformat(since) >= NAME_GONE_FOR:
            result = LookResult.GONE
    return Observation(result, False, (Signal("failure", str(failure)),), memory)


def by_challenge(visit: PostVisit) -> Observation | None:
    """Find that the site asks whether a person is looking."""
    answer, shown = _answer_of(visit)
    titles = (m for m in MARKS if m.site is None and m.result is LookResult.CHALLENGED)
    may_challenge = answer.status in (200, 401, 403, 503) and not visit.shows_post
    if answer.headers.get("cf-mitigated") == "challenge":
        sign = "cf-mitigated"
    elif answer.status == 429:
        sign = "status 429"
    elif may_challenge and any(m.is_on(shown) for m in titles):
        sign = "title"
    else:
        return None
    waits = answer.headers.get("retry-after", "")
    after_s = int(waits) if waits.isascii() and waits.isdigit() and len(waits) < 7 else None
    found = visit.found(LookResult.CHALLENGED, True, Signal("challenge", sign))
    return replace(found, retry_after_s=after_s)


def by_status(visit: PostVisit) -> Observation | None:
    """Find what the status of an answer says that is no page, unless it shows the post."""
    answer, _ = _answer_of(visit)
    if answer.status == 200:
        return None
    is_same_site = is_of_same_site(urlsplit(visit.url), urlsplit(answer.url))
    found = visit.found(*_result_of(answer.status, is_same_site))
    is_shown = visit.shows_post and found.result is LookResult.GONE
    return _in_doubt(found, "own_page") if is_shown else found  # whatever the status says


def by_mark(visit: PostVisit) -> Observation | None:
    """Find how the platform says what became of the post."""
    answer, shown = _answer_of(visit)
    site = site_of(host_of(answer.url))
    of_site = (m for m in MARKS if m.site is None or is_of_site(site, m.site))
    mark = next((m for m in of_site if m.is_on(shown)), None)
    if mark is None:
        return None
    is_strong = mark.site is not None and mark.place != "text"
    found = visit.found(mark.result, is_strong, Signal(f"mark_{mark.place}", str(mark.result)))
    if mark.site is None and mark.result is LookResult.GONE:
        never = visit.never_there()
        if never is None or not mark.is_on(never):
            return _in_doubt(found, "not_on_a_page_that_never_was")
    if mark.result is LookResult.RESTRICTED and visit.shows_post and not is_strong:
        never = visit.never_there()
        if never is not None and is_alike(shown, never):
            return found  # a wall before the whole site, whose medium is its logo
    return visit.doubted(found)


def by_place(visit: PostVisit) -> Observation | None:
    """Find that the address redirects, or that its page is there. Doubt both where a longer title
    begins with what platforms write of what is gone."""
    _, shown = _answer_of(visit)
    found = _redirected(visit) or _present(visit)
    begun = next((mark.result for mark in MARKS if mark.begins(shown)), None)
    if begun is None or found.result not in PRESENT:
        return found
    marked = visit.found(begun, False, Signal("mark_title", str(begun)))
    return _in_doubt(marked, "longer_title")


RULES = (by_filter, by_failure, by_challenge, by_status, by_mark, by_place)


def compared(found: Observation, unnamed: LookResult) -> Observation:
    """Return what a look that found a post gone amounts to, given what another one found that did
    not name this service: a site can answer the first with 404, and show everybody else the post.
    """
    both = (*found.signals, Signal("unnamed_look", str(unnamed)))
    if unnamed is LookResult.GONE:
        return replace(found, signals=both)
    is_disputed = unnamed in PRESENT or unnamed is LookResult.RESTRICTED
    return replace(found, result=LookResult.UNKNOWN, strong=is_disputed, signals=both)


def is_alike(one: ShownPage, other: ShownPage) -> bool:
    """Return whether two are the same page, or one with another address in it."""
    if one.title != other.title:
        return False
    mine, theirs = set(one.text.split()), set(other.text.split())
    both = mine | theirs
    return not both or len(mine & theirs) / len(both) >= ALIKE


def _answer_of(visit: PostVisit) -> tuple[Answer, ShownPage]:
    assert visit.page.last is not None
    assert visit.shown is not None
    return visit.page.last, visit.shown


def _in_doubt(found: Observation, why: str) -> Observation:
    signals = (*found.signals, Signal(why, True))
    return Observation(LookResult.UNKNOWN, False, signals, found.memory)


def _result_of(status: int, is_same_site: bool) -> tuple[LookResult, bool]:
    if status in (404, 410):
        return LookResult.GONE, is_same_site
    if status == 451:
        return LookResult.BLOCKED_HERE, True
    if status in (401, 402, 403):
        return LookResult.RESTRICTED, status == 401
    return LookResult.UNREACHABLE if status >= 500 else LookResult.UNKNOWN, False


def is_of_same_site(wanted: SplitResult, other: SplitResult) -> bool:
    """Return whether two addresses are of one site, or one of them is below the other's."""
    one, two = site_of(wanted.hostname or ""), site_of(other.hostname or "")
    return is_of_site(one, two) or is_of_site(two, one)


def _redirected(visit: PostVisit) -> Observation | None:
    """Return what the place says to which a post's address redirects; ``None`` if it is its own."""
    wanted, to = urlsplit(visit.url), urlsplit(visit.page.answers[-1].url)
    if len(visit.page.answers) == 1 or _place(wanted) == _place(to):
        return None

    def leads(result: LookResult, where: str, *, strong: bool = False) -> Observation:
        return visit.doubted(visit.found(result, strong, Signal("redirect", where)))

    if not is_of_same_site(wanted, to):
        return leads(LookResult.UNKNOWN, "another site")
    ids = _post_ids(visit.url)
    for pattern, result in _PATHS:
        if pattern.search(to.path.lower()):
            if any(each in to.path for each in ids):  # the rest is a title that a user wrote
                return leads(LookResult.UNKNOWN, str(result))
            return leads(result, str(result), strong=result is LookResult.RESTRICTED)
    if _HOME.fullmatch(to.path) and not to.query and not _HOME.fullmatch(wanted.path):
        _, shown = _answer_of(visit)
        never = visit.never_there()
        # Everybody without a login may be led there: it tells nothing, unless it once did not.
        is_everybody = (
            never is not None and never.title == shown.title and not visit.tells_apart(never)
        )
        return leads(LookResult.UNKNOWN if is_everybody else LookResult.GONE, "front page")
    if any(each in f"{to.path}?{to.query}" for each in ids):
        return None  # its address in another form
    is_lasting = visit.page.answers[0].status in (301, 308)
    return leads(LookResult.MOVED if is_lasting else LookResult.UNKNOWN, "another page")


def _present(visit: PostVisit) -> Observation:
    """Return what a page says that was served, with status 200, without any sign of removal."""
    _, shown = _answer_of(visit)
    memory, never = visit.memory, visit.never_there()
    if never is not None and is_alike(shown, never):
        # A site that answers alike for what never was tells nothing, unless it once did otherwise.
        result = LookResult.GONE if visit.tells_apart(never) else LookResult.UNKNOWN
        return visit.doubted(visit.found(result, False, Signal("like_a_page_that_never_was", True)))
    title, media = shown.title, shown.medium
    is_known = all((memory.title, memory.media, title, media))
    if is_known and memory.title != title and memory.media != media:
        return visit.found(LookResult.CHANGED, False, Signal("other_title_and_medium", True))
    found = visit.found(LookResult.UP, visit.shows_post, Signal("own_page", visit.shows_post))
    own = memory.own or never is not None or visit.shows_post
    memory = replace(found.memory, own=own, never=never.title if never else None)
    if visit.shows_post:
        memory = replace(memory, title=title[:300], media=media[:500])
    return replace(found, memory=memory)


def _place(address: SplitResult) -> tuple[str, str, str]:
    return site_of(address.hostname or ""), address.path.rstrip("/"), address.query


def _parts(url: str) -> set[str]:
    """Return the segments of an address's path, the values of its query, and all of that."""
    try:
        address = urlsplit(url)
    except ValueError:
        return set()
    values = (value for _, value in parse_qsl(address.query))
    return {*values, *map(unquote, address.path.split("/")), address.query} - {""}


def _post_ids(url: str) -> set[str]:
    """Return the parts of an address that may name the post, beside what links carry along.

    A word beside a query is as likely a page's name, as in ``watch?v=``, and one beside a number
    a forum's, as in ``bo_table=humor&wr_id=123``. Without a long value, the whole query names it.
    """
    address = urlsplit(url)
    last = unquote(address.path.rstrip("/").rpartition("/")[2])
    is_page = _SCRIPT_NAME.search(last) or (address.query and _WORD.fullmatch(last))
    values = {value for _, value in parse_qsl(address.query)}
    if any(value.isdigit() for value in values):
        values = {value for value in values if not _WORD.fullmatch(value)}
    values = {value for value in values if len(value) > 4} or {address.query}
    return (values if is_page else values | {last}) - {""}


def address_that_never_was(url: str) -> str | None:
    """Return the address of a post that never was, beside the one at ``url``."""
    address, never = urlsplit(url), secrets.token_hex(6)
    if address.query:
        pairs = [(name, never) for name, _ in parse_qsl(address.query, keep_blank_values=True)]
        return address._replace(query=urlencode(pairs), fragment="").geturl() if pairs else None
    folder, _, name = address.path.rstrip("/").rpartition("/")
    return address._replace(path=f"{folder}/{never}", fragment="").geturl() if name else None
