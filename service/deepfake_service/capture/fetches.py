"""The worker's part in capturing links: fetch one in a child without a network, through the gate.

What the child gives is a WARC file, sealed as it arrives and then read like any other; what it says
about it is bounded and kept apart from what the gate saw. A worker that dies leaves its claim to
another one, which begins again; what it stored belongs to no row, and is swept as an orphan.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from io import BytesIO
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import ColumnElement, exists

from deepfake_models.errors import DecoderFailed, DecoderTooSlow, MediaError, SandboxIncomplete
from deepfake_models.sandbox.confinement import Confinement, Layer
from deepfake_models.sandbox.pool import ConfinedProcess, ProcessPool, TaskBounds
from deepfake_models.sandbox.protocol import Options
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.capture import gate as gates
from deepfake_service.capture.browser import PageBrowser
from deepfake_service.capture.claims import MAX_ATTEMPTS, Claims, Work
from deepfake_service.capture.gate import Gate
from deepfake_service.capture.links import ENDS
from deepfake_service.capture.registries import Operator, Registries
from deepfake_service.capture.shapes import Fetch, NamedFile
from deepfake_service.examination.submissions import Sealed, blob_of
from deepfake_service.examination.webhook_deliveries import release_callbacks
from deepfake_service.platform.clock import iso_time, utc_now
from deepfake_service.platform.db import Capture, Database, new_id
from deepfake_service.platform.db.enums import CaptureState
from deepfake_service.platform.disk_space import DiskSpace
from deepfake_service.platform.errors import DatabaseUnavailable, DiskFull, StorageUnavailable
from deepfake_service.platform.logs import logger
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.storage import Vault
from deepfake_service.platform.storage.envelope import new_key

AT_ONCE = 2
"""Links that one worker fetches at the same time."""
TASK = "deepfake_service.capture.fetcher:fetch_task"
MEMORY_BYTES = 2 << 30
"""Address space of a child: libraries take 0.5 GiB, a medium and its segments 0.2 GiB."""
CPU_S = 120.0
MARGIN_BYTES = 4 << 20
"""What encryption and lost connections may add to what the child records."""

PICTURED = frozenset(
    {None, "login_required", "age_gate", "geo_blocked", "challenged", "shell", "no_media", "live",
     "gone"}
)  # fmt: skip
"""The ends of links that have a page."""

_log = logger("deepfake_service.links")

Text = Annotated[str, Field(max_length=500)]


class _Said(BaseModel):
    """What the child says about a link, in bounds. Nothing rests on it."""

    model_config = ConfigDict(extra="ignore", strict=True)

    reason: Annotated[str, Field(max_length=32)] | None = None
    host: Text = ""
    """Of the page, after redirects."""
    user_agent: Text = ""
    post: Annotated[dict[Annotated[str, Field(max_length=32)], Text], Field(max_length=8)] = {}
    tools: Annotated[dict[Annotated[str, Field(max_length=32)], Text], Field(max_length=8)] = {}


@dataclass(frozen=True, slots=True)
class Way:
    """How requests leave this machine."""

    vantage: str | None = None
    """The country that they come from, if it is known."""
    allowed: CallbackHosts = field(default_factory=CallbackHosts)
    """Hosts that need not be public, for tests."""
    authorities: str = ""
    """Certificates in PEM that are trusted beside the public ones, for tests."""
    registries: Registries | None = None
    """Who is asked whose a post's host is."""
    browser: PageBrowser | None = None
    """What takes pictures of pages."""


def fetch_pool(*, require: bool) -> ProcessPool:
    """Return the processes that fetch links; the first fetch starts them. Close with ``close()``.

    ``require`` says whether each layer of the sandbox must be there.
    """
    options = Options(tasks=(TASK,), memory_bytes=MEMORY_BYTES, connects=True)
    return ProcessPool(options, AT_ONCE, require=require)


@dataclass
class Fetches:
    """Fetches links that wait: ``AT_ONCE`` threads call ``work_off``."""

    _database: Database
    _vault: Vault
    _disk: DiskSpace
    _pool: ProcessPool
    _way: Way
    executor_id: str
    kept_for: timedelta

    def __post_init__(self) -> None:
        self._claims = Claims(self._database, self.executor_id)
        self._closed = self._waits = False
        self._lock = threading.Lock()
        self._running: set[str] = set()

    @staticmethod
    def is_due(_: datetime) -> ColumnElement[bool]:
        """Return the condition that a link waits."""
        return exists().where(Capture.state == CaptureState.QUEUED)

    def close(self) -> None:
        """End the processes. What is being fetched is fetched again by the next worker."""
        self._closed = True
        self._pool.close()
        if self._way.browser is not None:
            self._way.browser.close()

    def work_off(self) -> None:
        """Fetch links until none waits, or the disk has no room for what one may give."""
        while not self._closed and (capture_id := self._claim()):
            try:
                work = self._claims.opened(self._vault, capture_id)
                if work is not None:
                    self._capture(work)
            except DiskFull:
                self._claims.release(capture_id)
                with self._lock:
                    if not self._waits:
                        _log.warning("links_wait_for_disk_space")
                    self._waits = True
            except (DatabaseUnavailable, StorageUnavailable, SandboxIncomplete):
                self._claims.release(capture_id)
                raise
            finally:
                with self._lock:
                    self._running.discard(capture_id)

    def _claim(self) -> str | None:
        with self._lock:
            self._waits = self._waits and not self._disk.has_room(gates.ROOM_BYTES)
            if self._waits:
                return None
            due = (Capture.state == CaptureState.QUEUED) & Capture.id.not_in(self._running)
            if capture_id := self._claims.take(due):
                self._running.add(capture_id)
            return capture_id

    def _capture(self, work: Work) -> None:
        if work.case.minor_at is not None:
            self._end(work, "minor", None)
            return
        if work.capture.attempts > MAX_ATTEMPTS:
            self._end(work, "failed", None)
            return
        self._disk.require(gates.ROOM_BYTES)
        began, url = self._database.clock(), work.content.handed_in.post.source_url or ""
        gate, missing, said, file, picture = None, [], _Said(), None, None
        try:
            with (
                self._pool.process() as process,
                Gate(process.gate_socket(), self._database.clock, self._way.allowed) as gate,
            ):
                confinement = process.await_ready()
                require_no_network(confinement)
                missing = [str(layer) for layer in confinement.missing]
                said, picture, file = self._fetched(url, process, gate)
            reason = said.reason
        except DecoderFailed as error:
            if self._closed:
                self._claims.release(work.capture.id)
                return
            is_slow = isinstance(error, DecoderTooSlow)
            if not is_slow and work.capture.attempts < MAX_ATTEMPTS:
                _log.warning("link_failed", capture_id=work.capture.id)
                return  # this worker takes up its claim again
            reason = "too_slow" if is_slow else "failed"
        except (MediaError, ValidationError):
            reason = "failed"
        operator = self._operator(said, gate)
        fetch = Fetch.model_validate({
            "began_at": iso_time(began),
            "ended_at": iso_time(self._database.clock()),
            "from": self._way.vantage,
            "signed_in": False,
            "end": reason or "captured",
            "tools": said.tools,
            "user_agent": said.user_agent,
            "post": said.post,
            "confinement": {"missing": missing},
            "limits": {
                "bytes": gates.MAX_BYTES["received"], "seconds": gates.MAX_SECONDS,
                "connections": gates.MAX_CONNECTIONS,
                # None was when a picture was begun, which has a limit of its own.
                "reached": gate.limit if gate and picture is None else None,
            },
            "connections": gate.log if gate else [],
            "operator": operator,
            "picture": picture,
        })  # fmt: skip
        content = work.content.model_copy(update={"fetch": fetch})
        self._end(replace(work, content=content), reason, file)

    def _operator(self, said: _Said, gate: Gate | None) -> Operator | None:
        """Return whose the page's host is: the child may name one of those that the gate saw."""
        seen = [line for line in gate.log if line["address"]] if gate else []
        if self._way.registries is None or not seen:
            return None
        line = next((line for line in reversed(seen) if line["host"] == said.host), seen[0])
        return self._way.registries.of(line["host"], line["address"])

    def _fetched(
        self, url: str, process: ConfinedProcess, gate: Gate
    ) -> tuple[_Said, dict[str, Any] | None, Sealed]:
        """Store what the child gives, and the picture of the page; return what is said of both.

        The reason is the one that holds, whatever the child says.
        """
        # Each attempt has a file of its own: one that was taken for dead must not overwrite.
        media_id, key = new_id(), new_key()
        said: list[_Said] = []
        picture: list[dict[str, Any]] = []

        def file() -> Iterator[bytes]:
            held = b""
            for piece in _pieces(process, url, self._way):  # the last one is what the child says
                if held:
                    yield held
                held = piece
            told = _Said.model_validate_json(held[: 64 << 10])
            told.reason = _reason(told, gate)
            said.append(told)
            if self._way.browser is not None and told.reason in PICTURED:
                about, record = self._way.browser.take(url, gate.another, self._way.authorities)
                picture.append(about)
                yield record

        async def chunks() -> AsyncIterator[bytes]:
            for piece in file():
                yield piece

        stored = asyncio.run(self._vault.store(blob_of(media_id), key, chunks()))
        return said[0], picture[0] if picture else None, Sealed(media_id, key, stored)

    def _end(self, work: Work, reason: str | None, file: Sealed | None) -> None:
        """Record what became of a link: with a file, it is read next; without one, or with an empty
        one, it is refused. A link whose case was deleted meanwhile leaves nothing."""
        recorded, content = None, work.content
        with self._database.write() as session:
            if (kept := self._claims.kept(session, work, CaptureState.QUEUED)) is not None:
                (capture, case), now = kept, self._database.clock()
                if case.minor_at is not None:  # flagged meanwhile
                    reason = "minor"
                elif file is not None and file.stored.size:
                    recorded = file
                capture.reason, capture.worker, capture.attempts = reason, None, 0
                capture.state = CaptureState.RECEIVED if recorded else CaptureState.REFUSED
                if recorded:
                    session.add(recorded.of_capture(capture, work.key, now, self.kept_for))
                    files = [NamedFile(media_id=recorded.media_id, name=None)]
                    content = content.model_copy(update={"files": files})
                else:
                    capture.finished_at = now
                    append_entry(session, SERVICE, Action.CAPTURE_ENDED, capture.id, reason)
                    release_callbacks(session, capture.id)
                if reason is not None:
                    content = content.model_copy(update={"detail": ENDS[reason]})
                content.seal(work.key, capture)
        if file is not None and recorded is None:
            self._vault.blobs.delete(file.blob)
        _log.info("link_ended", capture_id=work.capture.id, reason=reason)


def try_link(pool: ProcessPool, url: str) -> tuple[str, int, Gate]:
    """Open a link without keeping anything; return its end, the bytes recorded, and the gate."""
    with pool.process() as process, Gate(process.gate_socket(), utc_now) as gate:
        require_no_network(process.await_ready())
        size, last = 0, b""
        for piece in _pieces(process, url, Way()):
            size, last = size + len(last), piece
    return _reason(_Said.model_validate_json(last), gate) or "captured", size, gate


def _pieces(process: ConfinedProcess, url: str, way: Way) -> Iterator[bytes]:
    """Let a process fetch a link; yield the pieces of the file, and last what it says."""
    most = gates.MAX_BYTES["received"] - MARGIN_BYTES
    asked = {"url": url, "max_bytes": most, "authorities": way.authorities}
    bounds = TaskBounds(gates.MAX_SECONDS + 60.0, MEMORY_BYTES, CPU_S)
    argument = json.dumps(asked).encode()
    return process.pieces(TASK, BytesIO(), argument, bounds, gates.MAX_FILE_FACTOR * most)


def require_no_network(confinement: Confinement) -> None:
    """Raise ``SandboxIncomplete`` if the kernel does not keep a child from the network: either of
    two layers does."""
    if {Layer.NETWORK_NAMESPACE, Layer.SECCOMP} <= set(confinement.missing):
        raise SandboxIncomplete(
            "Links are not opened: this kernel or container lets the process that fetches them "
            "reach the network by itself. It must grant network namespaces or seccomp filters."
        )


def _reason(said: _Said, gate: Gate) -> str | None:
    """Return why there is no medium. What the gate saw counts more than what the child says."""
    if gate.limit is not None:
        return "too_slow" if gate.limit == "time" else "too_large"
    if gate.log and all(line["refused"] == "not public" for line in gate.log):
        return "refused_address"
    if said.reason == "no_such_name" and gate.log and gate.log[-1]["refused"] == "name_server":
        return "name_server"
    if said.reason is not None and said.reason not in ENDS:
        return "failed"
    return said.reason
