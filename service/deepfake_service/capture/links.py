"""Links that wait to be captured, and what can become of each.

A link is a capture without a file: a worker fetches one (``fetches.py``), and from then on it is
read, signed and shown like a file that was handed in.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import Action, append_entries
from deepfake_service.capture.shapes import CollectorNotes, Content
from deepfake_service.capture.work import end
from deepfake_service.cases.cases import Cases, PostDetails
from deepfake_service.examination.webhook_deliveries import add_callback
from deepfake_service.platform.answers import ItemId, Published
from deepfake_service.platform.db import Capture, Database, current_time, new_id
from deepfake_service.platform.enums import CaptureState
from deepfake_service.platform.errors import (
    Code,
    Conflict,
    FieldError,
    InvalidRequest,
    invalid_field,
)
from deepfake_service.platform.webhooks import Callback

MAX_LINKS = 500
"""Of one request. One page of a spreadsheet has fewer."""

MAX_URL = 4096
_SCHEMES = ("http://", "https://")
_URL = re.compile(r"https?://[^\s/?#]+\S*")
_BARE = re.compile(r"\w\.[a-z]{2,}/", re.IGNORECASE)
"""In an address without its scheme, which no head of a column is."""
NO_HOST = "the URL in line {line} has no host, or spaces in it"
NO_URL = "line {line} has no URL that begins with http:// or https://"
NOT_CLOSED = "the quotation mark before line {line} is not closed"

ENDS = {
    "login_required": "The site wants a sign-in. Capture the page with ArchiveWeb.page while you "
    "are signed in, and hand in the file.",
    "age_gate": "The site asks for the visitor's age. Capture the page with ArchiveWeb.page behind "
    "the question, and hand in the file.",
    "geo_blocked": "The page is blocked in this country. Ask a partner abroad to capture it.",
    "challenged": "The site refuses this service or asks whether it is a person. Try again in an "
    "hour, or capture the page with ArchiveWeb.page.",
    "shell": "Scripts fill the page, and what they load was not looked for. Capture it with "
    "ArchiveWeb.page, and hand in the file.",
    "no_media": "The page is recorded. If you see a picture or video on it that is not listed "
    "here, it could not be fetched: capture the page with ArchiveWeb.page.",
    "live": "The video is sent live. Capture its recording later, or record your screen.",
    "too_large": "There is more than is fetched for one link (100 MB). Download the video "
    "yourself, and submit it.",
    "too_slow": "The site took too long. Try again later.",
    "refused_address": "The link, or a redirect, leads to an address that is not public, or to "
    "another port than 80 and 443. Check the link.",
    "gone": "The post is gone. If a notice asked for that, record it as removed.",
    "no_such_name": "The name of the site does not exist. Check the link.",
    "name_server": "The name of the site cannot be looked up now. Try again later.",
    "unreachable": "The site cannot be reached or fails. Try again later.",
    "tls": "The site's certificate does not hold. Capture the page with a browser.",
    "failed": "Fetching it failed repeatedly. Capture the page with ArchiveWeb.page.",
    "cancelled": "It was cancelled before it was recorded. To have it captured, enter the "
    "link again.",
    "minor": "A person shown may be a minor: nothing is fetched. Report the link to the police or "
    "to the hotline of your country.",
}
"""What becomes of links without a picture or video, as a sentence with what a person can do."""


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """The address of a post, and what is noted about it."""

    url: str
    note: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """A line that has no link, as it was entered, and what is wrong with it."""

    text: str
    error: FieldError


def links_of(text: str) -> tuple[list[Link], list[Fault]]:
    """Return the links in pasted lines or in a table, and the lines other than the heads of columns
    that have none. A link is the first address of a line, and its note what the other cells say.
    Lines that are nothing but an address are taken whole, because addresses may have commas.
    ``InvalidRequest`` if there is neither, there are more than ``MAX_LINKS``, or a cell does not
    end."""
    lines = text.splitlines()
    table = [line for line in lines if line.strip() and not _is_link(line.strip())]
    separator = "\t" if not table or "\t" in text else max(",;", key=table[0].count)
    found: list[Link] = []
    faults: list[Fault] = []
    rows = csv.reader(lines, delimiter=separator, strict=True)
    is_first, begins = True, 0
    try:
        for row in rows:
            entered, begins = "\n".join(lines[begins : rows.line_num]), rows.line_num
            cells = [cell.strip() for cell in row if cell.strip()]
            if not cells:
                continue
            at = next((n for n, cell in enumerate(cells) if cell.startswith(_SCHEMES)), None)
            if at is not None:
                url, note = cells[at], " · ".join([*cells[:at], *cells[at + 1 :]])
                if not _URL.fullmatch(url) or not url.isprintable() or len(url) > MAX_URL:
                    faults.append(Fault(entered, _in_line(rows.line_num, NO_HOST)))
                else:
                    printable = "".join(c if c.isprintable() else " " for c in note)
                    found.append(Link(url, printable[:2000] or None))
            elif not is_first or any(_BARE.search(cell) for cell in cells):
                faults.append(Fault(entered, _in_line(rows.line_num, NO_URL)))
            is_first = False
    except csv.Error as error:
        raise InvalidRequest.of_fields(_in_line(rows.line_num, NOT_CLOSED)) from error
    if not found and not faults:
        raise invalid_field("links", "enter a URL that begins with http:// or https://")
    if len(found) > MAX_LINKS:
        raise invalid_field("links", "send at most 500 links at once")
    return found, faults


def _is_link(line: str) -> bool:
    return line.isascii() and line.count("://") == 1 and _URL.fullmatch(line) is not None


def _in_line(number: int, template: str) -> FieldError:
    values = {"line": number}
    return FieldError("links", template.format_map(values), template, values)


class QueuedLink(Published):
    """A link that waits to be captured."""

    id: ItemId = Field(description="Id of its capture.")
    url: str = Field(description="Its address.")
    created: bool = Field(description="False if it already waited in the case.")


class QueuedLinks(Published):
    """Links that wait to be captured, in the order of the request."""

    case_id: ItemId = Field(description="Id of their case.")
    links: list[QueuedLink] = Field(description="The links.")


class CancelledLinks(Published):
    """Links that are not opened any more."""

    cancelled: int = Field(description="How many waited, or were being opened.")


class Links:
    """Takes links of posts that are to be captured."""

    def __init__(self, database: Database, cases: Cases, *, enabled: bool) -> None:
        self._database = database
        self._cases = cases
        self.enabled = enabled

    def add(
        self,
        caller: Caller,
        where: tuple[str | None, str | None],
        links: Sequence[Link],
        *,
        examine: bool,
        callback: Callback | None = None,
    ) -> QueuedLinks:
        """Let workers capture the posts at these links, for the open case with this id or for one
        with this reference of the account's. A link that already waits in the case is not fetched
        twice. The end of each, and those of the jobs of what is found, are told to ``callback``.
        ``Conflict`` if this service opens none; ``InvalidRequest`` if the case may show a
        minor."""
        if not self.enabled:
            raise Conflict(code=Code.LINKS_NOT_OPENED)
        with self._database.write() as session:
            self._database.one_at_a_time(session, caller.account_id)
            case, key = self._cases.lock_chosen(session, caller, *where)
            if case.minor_at is not None:
                raise invalid_field("case_id", ENDS["minor"])
            known = {
                Content.opened(key, row).handed_in.post.source_url: row
                for row in _waiting(session, case.id)
            }
            queued: list[QueuedLink] = []
            # Captures are listed by their ids, of which those of one millisecond are in no order.
            ids = iter(sorted(new_id() for _ in links))
            for link in links:
                capture = known.get(link.url)
                is_new = capture is None
                if capture is None:
                    known[link.url] = capture = Capture(
                        id=next(ids),
                        case_id=case.id,
                        account_id=caller.account_id,
                        state=CaptureState.QUEUED,
                        created_at=current_time(session),
                    )
                    post = PostDetails(source_url=link.url, note=link.note)
                    handed_in = CollectorNotes(post, examine_all=examine)
                    Content(handed_in=handed_in, files=[]).seal(key, capture)
                    session.add(capture)
                if callback is not None:
                    session.flush()  # before it is referred to
                    add_callback(session, key, capture, callback)
                queued.append(QueuedLink(id=capture.id, url=link.url, created=is_new))
            new = [(one.id, "link") for one in queued if one.created]
            append_entries(session, caller.actor, Action.CAPTURE_SUBMITTED, new)
        return QueuedLinks(case_id=case.id, links=queued)

    def cancel(self, caller: Caller, case_id: str) -> CancelledLinks:
        """Keep the links of an open case that wait from being opened. Of those that are being
        opened, nothing is kept."""
        with self._database.write() as session:
            _, key = self._cases.lock_chosen(session, caller, case_id, None)
            cancelled = _waiting(session, case_id)
            for capture in cancelled:
                content = Content.opened(key, capture)
                capture.state = CaptureState.REFUSED
                content = content.model_copy(update={"detail": ENDS["cancelled"]})
                end(session, key, capture, content, "cancelled")
            entries = [(capture.id, "cancelled") for capture in cancelled]
            append_entries(session, caller.actor, Action.CAPTURE_ENDED, entries)
        return CancelledLinks(cancelled=len(cancelled))


def _waiting(session: Session, case_id: str) -> Sequence[Capture]:
    of_case = Capture.case_id == case_id, Capture.state == CaptureState.QUEUED
    return session.scalars(select(Capture).where(*of_case)).all()
