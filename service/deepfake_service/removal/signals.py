"""What one fetched page says about its post: a result, strong or weak, and the signals for it.

One answer is no removal: ``conclusions.py`` decides on several. Pages are hostile, so nothing here
parses more than bounded regular expressions do, each in time proportional to the text.
"""

from __future__ import annotations

import html
import json
import re
import secrets
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from deepfake_service.platform.db.enums import PRESENT, LookResult
from deepfake_service.platform.pages import Answer, Failure, Page

KOREAN_FILTERS = ("warning.or.kr",)
"""Where Korean providers redirect requests for blocked addresses; subdomains count as well."""
ALIKE = 0.95
"""Share of words from which a page is taken for the one of an address that never was (compare
Bar-Yossef et al., "Sic transit gloria telae", 2004)."""
NAME_GONE_FOR = timedelta(days=1)
"""How long a name must not resolve until that counts as gone, weakly."""
MAX_READ_CHARS = 300_000
"""Of a page, beyond which nothing is looked for."""
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
_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"})
_TAG = re.compile(r"<[^<>]*>")
_TITLE = re.compile(r"<title\b[^<>]{0,200}>([^<]{0,500})", re.IGNORECASE)
_HEADING = re.compile(r"<h1\b[^<>]{0,500}>(.{0,500}?)</h1", re.IGNORECASE | re.DOTALL)
_WITHIN = r"""(?:[^<>=]++|=\s*+(?:"[^"]*+"|'[^']*+')?+){0,200}+>"""
# In ASCII alone: the lower case of other letters can be longer, or a letter of these names.
_PART = re.compile(
    rf"<!--.*?(?:-->|\Z)|<(script|style|svg|textarea|title)(?![\w:-])(?:{_WITHIN})?+(.*?)(?:</\1|\Z)"
    rf"|<([a-z][\w:-]*+){_WITHIN}",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
"""A comment; an element without tags in it, up to its end; or a tag with its values. What looks
like one of these inside another was written by a user. The length of a tag is bounded, because each
tag that is never closed could otherwise be read to the end of the page."""
_ATTRIBUTE = re.compile(r"""(?<![\w:-])([\w:-]++)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)')""")
_SCRIPT_NAME = re.compile(r"\.(php\d?|aspx?|jsp|do|cgi)\Z", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")
_PLAYER = re.compile(r"<video\b|VideoObject|og:video|twitter:player", re.IGNORECASE)


Signals = tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look found."""

    result: LookResult
    strong: bool = False
    signals: Signals = ()
    known: dict[str, Any] = field(default_factory=dict)
    """What later looks compare theirs with: the post's ``title`` and ``media`` while it was up,
    whether it had a page of its ``own``, and since when its name does not resolve."""
    text: str = ""
    """What the page shows, shortened."""
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows, as far as results depend on it."""

    address: SplitResult
    title: str
    heading: str
    marks: frozenset[str]
    """Classes and ids of its elements."""
    metas: dict[str, str]
    scripts: str
    text: str

    @classmethod
    def of(cls, answer: Answer) -> Shown:
        """Return what an answer shows."""
        kept: list[str] = []
        scripts: list[str] = []
        metas: dict[str, str] = {}
        marks: set[str] = set()
        end = 0
        for part in _PART.finditer(answer.text):
            hidden, content, tag = part.groups()
            if hidden and hidden.lower() == "script":
                scripts.append(content)
            if part.start() > MAX_READ_CHARS:
                continue
            kept.append(answer.text[end : part.start()])
            end = part.end()
            if hidden and hidden.lower() == "title":
                kept.append(f"<title>{content}</title")
            if not tag:
                continue
            kept.append(f"<{tag}>")
            found: dict[str, str] = {}
            for name, double, single in _ATTRIBUTE.findall(part[0]):
                found.setdefault(name.lower(), double or single)
            marks.update(*(found[name].split() for name in ("class", "id") if name in found))
            says = found.get("property") or found.get("name") or found.get("rel")
            value = found.get("content") or found.get("href")
            if tag.lower() in ("meta", "link") and says and value:
                metas.setdefault(says.lower(), html.unescape(value))
        plain = "".join(kept) + answer.text[end:MAX_READ_CHARS]
        title, heading = _TITLE.search(plain), _HEADING.search(plain)
        return cls(
            urlsplit(answer.url),
            _plain(title[1]) if title else "",
            _plain(heading[1]) if heading else "",
            frozenset(marks),
            metas,
            "\n".join(scripts),
            _plain(plain),
        )

    @property
    def medium(self) -> str:
        """The address of the video or picture that it names; empty if it names none."""
        return self.metas.get("og:video") or self.metas.get("og:image") or ""

    def is_like(self, other: Shown) -> bool:
        """Return whether this is the same page, or one with another address in it."""
        if self.title != other.title:
            return False
        mine, theirs = set(self.text.split()), set(other.text.split())
        both = mine | theirs
        return not both or len(mine & theirs) / len(both) >= ALIKE

    def data(self, name: str) -> str:
        """Return the first JSON value of a name in the scripts, as text; empty if there is none.

        What users write is in other values.
        """
        found = re.search(re.escape(name) + r"\s*+:\s*+", self.scripts)
        if found is None:
            return ""
        try:
            value, _ = json.JSONDecoder().raw_decode(self.scripts, found.end())
            return json.dumps(value, ensure_ascii=False)
        except (ValueError, RecursionError):
            return ""


@dataclass(frozen=True, slots=True)
class Mark:
    """How a platform says what became of a post; see ``tombstones.toml``."""

    place: str
    texts: tuple[str, ...]
    result: LookResult
    site: str | None = None
    after: str | None = None

    def begins(self, shown: Shown) -> bool:
        """Return whether a longer title or heading begins with it, as before a name and a slogan
        of the site, or else of the post."""
        said = (shown.title.casefold(), shown.heading.casefold())
        rests = [s.removeprefix(t).lstrip() for s in said for t in self.texts if s.startswith(t)]
        return self.place == "title" and any(not rest[:1].isalnum() for rest in rests)

    def found_in(self, shown: Shown) -> bool:
        """Return whether a page has it."""
        if self.place == "class":
            return not shown.marks.isdisjoint(self.texts)
        if self.place != "title":
            where = shown.text if self.place == "text" else shown.data(self.after or "")
            return any(t in where for t in self.texts)
        for said in (shown.title.casefold(), shown.heading.casefold()):
            # A title usually ends in the name of the site. One with more in it is a post's.
            parts = [part.strip() for part in re.split(r" [-–—|·:] ", said)]
            if said in self.texts or (parts[:-1] and {*parts[:-1]} <= {*self.texts}):
                return True
        return False


def _marks() -> tuple[Mark, ...]:
    content = tomllib.loads((files(__package__) / "tombstones.toml").read_text(encoding="utf-8"))
    return tuple(
        Mark(**{**m, "texts": tuple(m["texts"]), "result": LookResult(m["result"])})
        for m in content["mark"]
    )


MARKS = _marks()


def host_of(url: str | None) -> str:
    """Return the host in an address; empty if there is none, or the text is no address."""
    try:
        return urlsplit(url or "").hostname or ""
    except ValueError:
        return ""


def site_of(host: str) -> str:
    """Return the part of a host that its owner registered, in lower case.

    Without the list of public suffixes, two labels are taken for it, and three below ``co.kr`` and
    the like: sites of one owner are then one platform, as those who run it see them.
    """
    labels = host.lower().rstrip(".").split(".")
    if labels[-1].isdigit() or ":" in host:  # an address
        return host
    is_below = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3 if is_below else -2 :])


def is_of_site(host: str, site: str) -> bool:
    """Return whether a host is a site's, or below it."""
    return host == site or host.endswith(f".{site}")


def judge(
    url: str,
    page: Page,
    now: datetime,
    known: dict[str, Any],
    sibling: Callable[[str], Page | None],
) -> Sight:
    """Return what a fetched page says about the post at ``url``.

    Args:
        known: of the look before; empty at the first one.
        sibling: fetches a page of the same site that never was, or returns ``None``.
    """
    wanted = urlsplit(url)
    addresses = (each for a in page.answers for each in (a.url, a.headers.get("location")))
    sites = [site_of(host_of(address)) for address in addresses]
    if any(is_of_site(site, f) for site in sites for f in KOREAN_FILTERS):
        signal = {"kind": "national_filter", "value": "warning.or.kr"}
        return Sight(LookResult.BLOCKED_HERE, True, (signal,), known)
    if page.last is None:
        return _failed(page.failure or Failure.UNREACHABLE, now, known)
    known = {name: value for name, value in known.items() if name != "no_name_since"}
    answer, shown = page.last, Shown.of(page.last)
    status = {"kind": "status", "value": answer.status}

    def found(result: LookResult, strong: bool, *signals: dict[str, Any]) -> Sight:
        return Sight(result, strong, (status, *signals), known, shown.text[:MAX_KEPT_CHARS])

    shows_post = _shows_post(url, shown, answer)
    challenge = _challenge(answer, shown, shows_post)
    if challenge:
        waits = answer.headers.get("retry-after", "")
        after_s = int(waits) if waits.isascii() and waits.isdigit() and len(waits) < 7 else None
        sight = found(LookResult.CHALLENGED, True, {"kind": "challenge", "value": challenge})
        return replace(sight, retry_after_s=after_s)
    if answer.status != 200:
        sight = found(*_by_status(answer.status, is_of_same_site(wanted, shown.address)))
        is_shown = shows_post and sight.result is LookResult.GONE
        return _in_doubt(sight, "own_page") if is_shown else sight  # whatever the status says
    site = site_of(shown.address.hostname or "")
    for mark in (m for m in MARKS if m.site is None or is_of_site(site, m.site)):
        if mark.found_in(shown):
            is_strong = mark.site is not None and mark.place != "text"
            signal = {"kind": f"mark_{mark.place}", "value": str(mark.result)}
            sight = found(mark.result, is_strong, signal)
            if mark.site is None and mark.result is LookResult.GONE:
                never = _served(sibling(url))
                if never is None or not mark.found_in(never):
                    return _in_doubt(sight, "not_on_a_page_that_never_was")
            if mark.result is LookResult.RESTRICTED and shows_post and not is_strong:
                never = _served(sibling(url))
                if never is not None and shown.is_like(never):
                    return sight  # a wall before the whole site, whose medium is its logo
            return _doubted(sight, shows_post)
    if redirected := _redirected(wanted, page, shown):
        sight = _doubted(found(*redirected), shows_post)
    else:
        sight = _present(shown, shows_post, known, _served(sibling(url)))
    begun = next((mark.result for mark in MARKS if mark.begins(shown)), None)
    if begun is None or sight.result not in PRESENT:
        return sight
    return _in_doubt(
        found(begun, False, {"kind": "mark_title", "value": str(begun)}), "longer_title"
    )


def _shows_post(url: str, shown: Shown, answer: Answer) -> bool:
    """Return whether a page names itself as the post at ``url``, and shows a medium."""
    named = (shown.metas.get(name, "") for name in ("og:url", "canonical"))
    is_itself = not _post_ids(url).isdisjoint(part for each in named for part in _parts(each))
    return is_itself and (bool(shown.medium) or _PLAYER.search(answer.text) is not None)


def _doubted(sight: Sight, shows_post: bool) -> Sight:
    """Return ``unknown`` in place of a weak sign on a page that may show the post: a user may have
    written the sign, or the medium may be the platform's logo."""
    if sight.strong or not shows_post or sight.result in PRESENT:
        return sight
    return _in_doubt(sight, "own_page")


def _in_doubt(sight: Sight, why: str) -> Sight:
    signals = (*sight.signals, {"kind": why, "value": True})
    return Sight(LookResult.UNKNOWN, False, signals, sight.known)


def compared(sight: Sight, unnamed: LookResult) -> Sight:
    """Return what a look that found a post gone amounts to, given what another one found that did
    not name this service: a site can answer the first with 404, and show everybody else the post.
    """
    both = (*sight.signals, {"kind": "unnamed_look", "value": str(unnamed)})
    if unnamed is LookResult.GONE:
        return replace(sight, signals=both)
    is_disputed = unnamed in PRESENT or unnamed is LookResult.RESTRICTED
    return replace(sight, result=LookResult.UNKNOWN, strong=is_disputed, signals=both)


def _served(page: Page | None) -> Shown | None:
    """Return what the page of an address that never was shows, if it is served as posts are. One
    that comes with 404 tells posts from what is gone by that, and a title tells nothing more."""
    return Shown.of(page.last) if page and page.last and page.last.status == 200 else None


def _failed(failure: Failure, now: datetime, known: dict[str, Any]) -> Sight:
    # Filters that look into the first packet of TLS reset the connection; so do servers.
    told = {Failure.RESET: LookResult.BLOCKED_HERE, Failure.REFUSED_ADDRESS: LookResult.UNKNOWN}
    result = told.get(failure, LookResult.UNREACHABLE)
    if failure is Failure.NO_SUCH_NAME:
        since = datetime.fromisoformat(known.get("no_name_since", now.isoformat()))
        known = {**known, "no_name_since": since.isoformat()}
        if now - since >= NAME_GONE_FOR:
            result = LookResult.GONE
    return Sight(result, False, ({"kind": "failure", "value": str(failure)},), known)


def _challenge(answer: Answer, shown: Shown, shows_post: bool) -> str | None:
    if answer.headers.get("cf-mitigated") == "challenge":
        return "cf-mitigated"
    if answer.status == 429:
        return "status 429"
    titles = (m for m in MARKS if m.site is None and m.result is LookResult.CHALLENGED)
    may_challenge = answer.status in (200, 401, 403, 503) and not shows_post
    if may_challenge and any(m.found_in(shown) for m in titles):
        return "title"
    return None


def _by_status(status: int, is_same_site: bool) -> tuple[LookResult, bool]:
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


def _redirected(
    wanted: SplitResult, page: Page, shown: Shown
) -> tuple[LookResult, bool, dict[str, Any]] | None:
    """Return what the place says to which a post's address redirects; ``None`` if it is its own."""
    to = shown.address
    if len(page.answers) == 1 or _place(wanted) == _place(to):
        return None
    if not is_of_same_site(wanted, to):
        return LookResult.UNKNOWN, False, {"kind": "redirect", "value": "another site"}
    ids = _post_ids(wanted.geturl())
    for pattern, result in _PATHS:
        if pattern.search(to.path.lower()):
            if any(each in to.path for each in ids):  # the rest is a title that a user wrote
                return LookResult.UNKNOWN, False, {"kind": "redirect", "value": str(result)}
            is_strong = result is LookResult.RESTRICTED
            return result, is_strong, {"kind": "redirect", "value": str(result)}
    if _HOME.fullmatch(to.path) and not to.query and not _HOME.fullmatch(wanted.path):
        return LookResult.GONE, False, {"kind": "redirect", "value": "front page"}
    if any(each in f"{to.path}?{to.query}" for each in ids):
        return None  # its address in another form
    is_lasting = page.answers[0].status in (301, 308)
    result = LookResult.MOVED if is_lasting else LookResult.UNKNOWN
    return result, False, {"kind": "redirect", "value": "another page"}


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


def sibling_of(url: str) -> str | None:
    """Return the address of a post that never was, beside the one at ``url``."""
    address, never = urlsplit(url), secrets.token_hex(6)
    if address.query:
        pairs = [(name, never) for name, _ in parse_qsl(address.query, keep_blank_values=True)]
        return address._replace(query=urlencode(pairs), fragment="").geturl() if pairs else None
    folder, _, name = address.path.rstrip("/").rpartition("/")
    return address._replace(path=f"{folder}/{never}", fragment="").geturl() if name else None


def _present(shown: Shown, shows_post: bool, known: dict[str, Any], never: Shown | None) -> Sight:
    """Return what a page says that was served, with status 200, without any sign of removal.

    Args:
        never: the page of an address of the same site that never was, if one is served.
    """
    status = {"kind": "status", "value": 200}
    if never is not None and shown.is_like(never):
        # A site that answers alike for what never was tells nothing, unless it once did otherwise.
        result = LookResult.GONE if known.get("own") else LookResult.UNKNOWN
        signals = (status, {"kind": "like_a_page_that_never_was", "value": True})
        sight = Sight(result, False, signals, known, shown.text[:MAX_KEPT_CHARS])
        return _doubted(sight, shows_post)
    before, media = (known.get("title"), known.get("media")), shown.medium
    if all(before) and shown.title and media and before[0] != shown.title and before[1] != media:
        signals = (status, {"kind": "other_title_and_medium", "value": True})
        return Sight(LookResult.CHANGED, False, signals, known)
    kept = {"title": shown.title[:300], "media": media[:500]} if shows_post else {}
    is_own = known.get("own", False) or never is not None or shows_post
    signals = (status, {"kind": "own_page", "value": shows_post})
    return Sight(LookResult.UP, shows_post, signals, {**known, **kept, "own": is_own})


def _plain(markup: str) -> str:
    """Return what markup shows, on one line."""
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())
