"""The worker's part in capturing links: have each fetched by ``fetcher.py``, through the gate.

What that gives is a WARC file, sealed as it arrives and then read like any other; what it says
about it is bounded and kept apart from what the gate saw. A worker that dies leaves its claim to
another one, which begins again; what it stored belongs to no row, and is swept as an orphan.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import ColumnElement, exists

from deepfake_models.errors import DecoderFailed, DecoderTooSlow, SandboxIncomplete
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.capture import gate as gates
from deepfake_service.capture.browser import PageBrowser
from deepfake_service.capture.fetcher import FetchReport, Request, find_program
from deepfake_service.capture.gate import Gate
from deepfake_service.capture.links import ENDS
from deepfake_service.capture.programs import Programs, Running
from deepfake_service.capture.registries import Operator, Registries
from deepfake_service.capture.shapes import (
    Fetch,
    Limits,
    MissingPicture,
    NamedFile,
    PagePicture,
)
from deepfake_service.capture.work import Work, end, in_turn
from deepfake_service.examination.submissions import Sealed, blob_of
from deepfake_service.platform.chores import Lane
from deepfake_service.platform.claims import MAX_ATTEMPTS, Claims
from deepfake_service.platform.clock import Clock, iso_time, utc_now
from deepfake_service.platform.db import Capture, Database, new_id
from deepfake_service.platform.disk_space import DiskSpace
from deepfake_service.platform.enums import CaptureState
from deepfake_service.platform.errors import DatabaseUnavailable, StorageUnavailable
from deepfake_service.platform.logs import logger
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.pages import PLAIN_AGENT
from deepfake_service.platform.storage import Vault
from deepfake_service.platform.storage.envelope import new_key

AT_ONCE = 2
"""Links that one worker fetches at the same time."""
MARGIN_S = 60.0
"""For the program to begin and to hand over what came, beside the time that the gate gives it."""

PICTURED = frozenset(
    {None, "login_required", "age_gate", "geo_blocked", "challenged", "shell", "no_media", "live",
     "gone"}
)  # fmt: skip
"""The ends of links that have a page."""

_log = logger("deepfake_service.links")


@dataclass
class Fetches(Lane[Capture]):
    """Fetches links that wait."""

    _database: Database
    _vault: Vault
    _disk: DiskSpace
    executor_id: str
    kept_for: timedelta
    _vantage: str | None = None
    """The country that requests come from, if it is known."""
    _registries: Registries | None = None
    """Who is asked whose a post's host is."""
    _browser: PageBrowser | None = None
    """What takes pictures of pages."""
    _allowed: CallbackHosts = field(default_factory=CallbackHosts)
    """Hosts that need not be public, for tests."""
    _authorities: str = ""
    """Certificates in PEM that are trusted beside the public ones, for tests."""

    def __post_init__(self) -> None:
        super().__init__("link", AT_ONCE)
        self._claims = Claims(self._database, self.executor_id, Capture)
        self._programs = Programs()

    @staticmethod
    def is_due(_: datetime) -> ColumnElement[bool]:
        """Return the condition that a link waits."""
        return exists().where(Capture.state == CaptureState.QUEUED)

    def stop(self) -> None:
        """Start nothing further, and end the programs. What is being fetched is fetched again by
        the next worker."""
        super().stop()
        self._programs.close()
        if self._browser is not None:
            self._browser.close()

    def _claim(self, free: int, busy: set[str]) -> dict[str, Capture]:
        if not self._disk.has_room(gates.ROOM_BYTES):
            return {}
        due = (Capture.state == CaptureState.QUEUED) & Capture.id.not_in(busy)
        return {row.id: row for row in self._claims.take(in_turn(due), free)}

    def _do(self, due: Capture) -> None:
        try:
            work = Work.opened(self._database, self._vault, due)
            if work is not None:
                self._capture(work)
        except (DatabaseUnavailable, StorageUnavailable, SandboxIncomplete):
            self._claims.release(due.id)
            raise

    def _capture(self, work: Work) -> None:
        if work.case.minor_at is not None:
            self._end(work, "minor", None)
            return
        if work.capture.attempts > MAX_ATTEMPTS:
            self._end(work, "failed", None)
            return
        began, url = self._database.clock(), work.content.handed_in.post.source_url or ""
        gate, said, file, picture = None, FetchReport(), None, None
        try:
            with _running(self._programs, self._database.clock, self._allowed) as running:
                gate = running.gate
                said = _found(running, url, self._authorities)
                reason = _reason(said, gate)
                picture, file = self._stored(url, running, reason)
        except DecoderFailed as error:
            if self._programs.is_closed:
                self._claims.release(work.capture.id)
                return
            is_slow = isinstance(error, DecoderTooSlow)
            if not is_slow and work.capture.attempts < MAX_ATTEMPTS:
                _log.warning("link_failed", capture_id=work.capture.id)
                return  # this worker takes up its claim again
            reason = "too_slow" if is_slow else "failed"
        except ValidationError:
            reason = "failed"
        # None was reached when a picture was begun, which has a limit of its own.
        reached = gate.limit if gate and picture is None else None
        fetch = Fetch(
            began_at=iso_time(began),
            ended_at=iso_time(self._database.clock()),
            vantage=self._vantage,
            end=reason or "captured",
            tools=said.tools,
            user_agent=PLAIN_AGENT,
            post=said.post,
            limits=Limits(
                bytes=gates.MAX_BYTES["received"],
                seconds=gates.MAX_SECONDS,
                connections=gates.MAX_CONNECTIONS,
                reached=reached,
            ),
            connections=gate.log if gate else [],
            operator=self._operator(said, gate),
            picture=picture,
        )
        content = work.content.model_copy(update={"fetch": fetch})
        self._end(replace(work, content=content), reason, file)

    def _operator(self, said: FetchReport, gate: Gate | None) -> Operator | None:
        """Return whose the page's host is: the child may name one of those that the gate saw."""
        seen = [(line.host, line.address) for line in gate.log if line.address] if gate else []
        if self._registries is None or not seen:
            return None
        of_page = (each for each in reversed(seen) if each[0] == said.host)
        return self._registries.operator_of(*next(of_page, seen[0]))

    def _stored(
        self, url: str, running: Running, reason: str | None
    ) -> tuple[PagePicture | MissingPicture | None, Sealed]:
        """Store what the program gives, and the picture of the page; return what is said of that,
        and the file."""
        # Each attempt has a file of its own: one that was taken for dead must not overwrite.
        media_id, key = new_id(), new_key()
        picture: PagePicture | MissingPicture | None = None

        async def file() -> AsyncIterator[bytes]:
            nonlocal picture
            for piece in running.rest(gates.ROOM_BYTES):
                yield piece
            if self._browser is not None and reason in PICTURED:
                trusted = self._authorities
                picture, record = self._browser.take(url, running.gate.another, trusted)
                yield record

        stored = asyncio.run(self._vault.store(blob_of(media_id), key, file()))
        return picture, Sealed(media_id, key, stored)

    def _end(self, work: Work, reason: str | None, file: Sealed | None) -> None:
        """Record what became of a link: with a file, it is read next; without one, or with an empty
        one, it is refused. A link whose case was deleted meanwhile leaves nothing."""
        recorded, content = None, work.content
        with self._database.write() as session:
            if (kept := work.kept(session)) is not None:
                (capture, case), now = kept, self._database.clock()
                if case.minor_at is not None:  # flagged meanwhile
                    reason = "minor"
                elif file is not None and file.stored.size:
                    recorded = file
                if reason is not None:
                    content = content.model_copy(update={"detail": ENDS[reason]})
                if recorded:
                    capture.state, capture.reason = CaptureState.RECEIVED, reason
                    capture.worker, capture.attempts = None, 0
                    session.add(recorded.of_capture(capture, work.key, now, self.kept_for))
                    files = [NamedFile(media_id=recorded.media_id, name=None)]
                    content.model_copy(update={"files": files}).seal(work.key, capture)
                else:
                    capture.state = CaptureState.REFUSED
                    end(session, work.key, capture, content, reason)
                    append_entry(session, SERVICE, Action.CAPTURE_ENDED, capture.id, reason)
        if file is not None and recorded is None:
            self._vault.blobs.delete(file.blob)
        _log.info("link_ended", capture_id=work.capture.id, reason=reason)


def try_link(url: str | None) -> tuple[FetchReport, str, int, Gate]:
    """Open a link without keeping anything; return what is said of it, its end, the bytes recorded,
    and the gate. Without a link, only the tools are named."""
    with _running(Programs(), utc_now, CallbackHosts()) as running:
        said = _found(running, url)
        size = sum(map(len, running.rest(gates.ROOM_BYTES)))
        return said, _reason(said, running.gate) or "captured", size, running.gate


def _running(
    programs: Programs, clock: Clock, allowed: CallbackHosts
) -> AbstractContextManager[Running]:
    return programs.run(
        "deepfake_service.capture.fetcher",
        lambda control: Gate(control, clock, allowed),
        gates.MAX_SECONDS + MARGIN_S,
    )


def _found(running: Running, url: str | None, authorities: str = "") -> FetchReport:
    """Return what a program says that is to fetch a link; its file follows. ``SandboxIncomplete``
    if this machine refuses a part of the enclosure."""
    request = Request(program=find_program() or "", url=url, authorities=authorities)
    found = FetchReport.model_validate_json(running.ask(request.model_dump_json().encode()))
    if found.reason == "not_enclosed":
        raise SandboxIncomplete(f"Links are not opened: {found.detail}.")
    return found


def _reason(said: FetchReport, gate: Gate) -> str | None:
    """Return why there is no medium. What the gate saw counts more than what the child says."""
    if gate.limit is not None:
        return "too_slow" if gate.limit == "time" else "too_large"
    if gate.log and all(line.refused == "not public" for line in gate.log):
        return "refused_address"
    if said.reason == "no_such_name" and gate.log and gate.log[-1].refused == "name_server":
        return "name_server"
    if said.reason is not None and said.reason not in ENDS:
        return "failed"
    return said.reason
