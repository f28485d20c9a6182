"""What holds in the life of a case, whatever people do and in whatever order: it is opened, its
items are decided, reported, held, flagged and deleted, backed up and restored, and time passes.

The model below knows what should follow from each act. What it does not know is checked after each
step as an invariant, whose docstring is the promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from deepfake_service.app import create_app
from deepfake_service.audit.log import verify
from deepfake_service.audit.records import open_database
from deepfake_service.cli.backup import back_up
from deepfake_service.evidence.chain_of_custody import contradictions
from deepfake_service.platform.db import Case, Media
from deepfake_service.platform.enums import Role
from deepfake_service.platform.settings import Settings
from deepfake_service.retention.restoration import merge_journal
from tests.support import exhibits, footage
from tests.support.jobs import document, end, run_command, sweep, with_master_key_of
from tests.support.notices import GOOD
from tests.support.servers import files_containing
from tests.support.stand_ins import AdjustableClock, SmallDecoder, SmallScorer
from tests.unit.service.conftest import Installation, Service

Answer = TypeVar("Answer")

REFERENCES = ("R-0", "R-1")
PEOPLE = ("Kim", "Lee", "Park")
DECISIONS = ("confirmed", "body_generated", "rejected", "undecided")
MANIPULATED, AGAINST = {"confirmed", "body_generated"}, {"rejected", "undecided"}


@functools.cache
def pictures(reference: str) -> bytes:
    """Return a short video with another person in each case, as flags follow similar pictures."""
    portrait = footage.grace_hopper()[:410] if reference == REFERENCES[0] else footage.astronaut()
    frame = footage.resized(portrait, 320, 256)
    return footage.encode([frame.copy() for _ in range(4)])


@dataclass
class Item:
    """What the model knows of an item."""

    job_id: str
    media_id: str
    occurrence: str
    content: bytes
    decided: dict[str, str] = field(default_factory=dict)
    """The last decision of each person."""
    decisions: int = 0
    expired: bool = False
    """Whether the file may have expired."""

    @property
    def finding(self) -> str | None:
        """What two people found; see docs/console.md."""
        said = Counter(self.decided.values())
        stated = MANIPULATED & said.keys()
        if "rejected" in said:
            return "undecided" if stated else "rejected"
        if not stated:
            return "undecided" if said else None
        return next((d for d in DECISIONS[:2] if said[d] > 1), "awaiting_second")


@dataclass
class Notice:
    """What the model knows of a notice."""

    about: str
    """The id of the item."""
    to_withdraw: bool = False


@dataclass
class Folder:
    """What the model knows of a case."""

    id: str
    reference: str
    held: bool = False
    flagged_by: str | None = None
    items: list[Item] = field(default_factory=list)
    notices: dict[str, Notice] = field(default_factory=dict)

    def seen_by(self, person: str) -> bool:
        return self.flagged_by in (None, person)

    def flag(self, person: str) -> None:
        """Flag the case, as its notices do not say that a minor is shown."""
        if self.flagged_by is None:
            for notice in self.notices.values():
                notice.to_withdraw = True
        self.flagged_by = person


@dataclass
class World:
    """All that the model knows, as it was at one time."""

    folders: dict[str, Folder] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """Ids of cases, items and media that were deleted."""
    keys: list[bytes] = field(default_factory=list)
    """The keys, as they were stored, of cases that were deleted."""
    flagged: dict[str, str] = field(default_factory=dict)
    """Who flagged the pictures of a reference: copies inherit that, even of a deleted case."""


class Life(RuleBasedStateMachine):
    """Acts of people, programs and time on one installation."""

    installation: Installation
    root: Path
    items: Bundle[tuple[str, str]] = Bundle("items")
    """The reference of the case of each item, and the id of the item."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.backup: tuple[Path, World] | None = None
        self.folders = 0
        self.keys = dict(self.installation.keys)
        self.clock = AdjustableClock()
        self.stack = contextlib.AsyncExitStack()
        self.serve(Settings(data_dir=self.new_folder() / "var", two_person_review=True))
        for person in PEOPLE:
            self.service.accounts.create(person, "person", Role.ANALYST)
            self.keys[person] = self.service.accounts.create_key(person).text  # type: ignore[index]

    def new_folder(self) -> Path:
        self.folders += 1
        folder = self.root / f"{id(self)}-{self.folders}"
        folder.mkdir()
        return folder

    def serve(self, settings: Settings) -> None:
        """Start a service; without data, on a copy of the installation."""
        self.installation.copy(settings, None)
        database = open_database(settings, self.clock)
        self.stack.callback(database.close)
        scorer, decoder = SmallScorer(), SmallDecoder()
        app = create_app(settings, database, scorer, decoder, worker=False)
        self.service = Service(app, scorer, decoder, database, self.clock, self.keys)

        async def start() -> None:
            await self.stack.enter_async_context(app.router.lifespan_context(app))
            await self.stack.enter_async_context(self.service.client)

        self.run(start())

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self.loop.run_until_complete(work)

    def call(self, method: str, path: str, by: str = Role.PIPELINE, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.keys[by]}"}  # type: ignore[index]
        return self.run(self.service.client.request(method, path, headers=headers, **options))

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()

    def find(self, item: tuple[str, str]) -> tuple[Folder, Item] | None:
        """Return a case and its item, or ``None`` if it was deleted."""
        folder = self.world.folders.get(item[0])
        items = folder.items if folder else []
        found = next((i for i in items if i.job_id == item[1]), None)
        return (folder, found) if folder and found else None

    # What people and programs do

    @rule(target=items, reference=st.sampled_from(REFERENCES), copies=st.integers(0, 1))
    def submit(self, reference: str, copies: int) -> tuple[str, str]:
        """A program hands in a file of which there are two copies."""
        content = pictures(reference) + bytes(copies)
        answer = self.call(
            "POST", "/v1/videos", files={"file": ("v.mp4", content)},
            data={"case_reference": reference, "source_url": "https://example.org/1"},
        )  # fmt: skip
        job = answer.json()
        folder = self.world.folders.get(reference)
        known = next((i for i in folder.items if i.content == content), None) if folder else None
        assert answer.status_code == (200 if known else 202), answer.text
        if known:
            assert job["id"] == known.job_id
            return reference, known.job_id
        assert not self.world.gone & {job["id"], job["case_id"], job["media_id"]}
        if folder is None:
            folder = self.world.folders[reference] = Folder(job["case_id"], reference)
        assert job["case_id"] == folder.id
        end(self.service, job["id"], exhibits.material(content))
        case = self.call("GET", f"/v1/cases/{folder.id}").json()
        (seen,) = (o["id"] for o in case["occurrences"] if o["media_id"] == job["media_id"])
        folder.items.append(Item(job["id"], job["media_id"], seen, content))
        if folder.flagged_by is None and reference in self.world.flagged:
            folder.flag(self.world.flagged[reference])
        return reference, job["id"]

    @rule(item=items, by=st.sampled_from(PEOPLE), decision=st.sampled_from(DECISIONS))
    def decide(self, item: tuple[str, str], by: str, decision: str) -> None:
        content = {"decision": decision, "reason": f"{by} has looked."}
        answer = self.call("POST", f"/v1/jobs/{item[1]}/reviews", by, json=content)
        found = self.find(item)
        if found is None or not found[0].seen_by(by):
            assert answer.status_code == 404
            return
        folder, known = found
        before = known.finding
        known.decided[by] = decision
        known.decisions += 1
        assert answer.status_code == 201, answer.text
        assert answer.json()["finding"] == known.finding
        for made in folder.notices.values():
            if made.about != known.job_id:
                continue
            if known.finding in MANIPULATED:
                made.to_withdraw = made.to_withdraw and folder.flagged_by is not None
            elif before in MANIPULATED or known.finding in AGAINST:
                made.to_withdraw = True
        self.check_evidence(folder, known)

    def check_evidence(self, folder: Folder, item: Item) -> None:
        """Check that the newest edition has every decision, and says whether the case is
        flagged."""
        answer = self.call("GET", f"/v1/jobs/{item.job_id}/evidence", Role.ADMIN)
        stated = document(answer)
        assert len(stated["reviews"]) == item.decisions
        assert stated["case"]["minor"] == (folder.flagged_by is not None)

    @rule(item=items, decision=st.sampled_from(DECISIONS[:2]))
    def agree(self, item: tuple[str, str], decision: str) -> None:
        """Everybody decides the same."""
        for person in PEOPLE:
            self.decide(item, person, decision)

    @rule(item=items)
    def report(self, item: tuple[str, str]) -> None:
        """A program asks for a notice, which a finding of two people alone supports."""
        found = self.find(item)
        if found is None:
            return
        folder, known = found
        content = {
            "kind": "kr-d4u", "language": "ko", "occurrence_ids": [known.occurrence],
            "fields": GOOD["kr-d4u"], "recipient": "D4U",
        }  # fmt: skip
        answer = self.call("POST", f"/v1/cases/{folder.id}/notices", json=content)
        assert answer.status_code == (201 if known.finding in MANIPULATED else 409), answer.text
        if answer.status_code == 201:
            folder.notices[answer.json()["id"]] = Notice(known.job_id)

    @rule(reference=st.sampled_from(REFERENCES), held=st.booleans())
    def hold(self, reference: str, held: bool) -> None:
        folder = self.world.folders.get(reference)
        if folder is not None:
            method = "PUT" if held else "DELETE"
            answer = self.call(method, f"/v1/cases/{folder.id}/hold", Role.ADMIN)
            assert answer.status_code == 204, answer.text
            folder.held = held

    @rule(reference=st.sampled_from(REFERENCES), by=st.sampled_from(PEOPLE), flagged=st.booleans())
    def flag(self, reference: str, by: str, flagged: bool) -> None:
        """A person says that a minor may be shown, or that none is."""
        folder = self.world.folders.get(reference)
        if folder is None:
            return
        method = "PUT" if flagged else "DELETE"
        answer = self.call(method, f"/v1/cases/{folder.id}/minor", by)
        if not folder.seen_by(by):
            assert answer.status_code == 404
        elif flagged:
            assert answer.status_code == 204
            folder.flag(by)
            self.world.flagged[reference] = by
            for item in folder.items:
                self.check_evidence(folder, item)
        elif folder.flagged_by is None:
            assert answer.status_code == 403
        else:
            assert answer.status_code == 204
            folder.flagged_by = None
            self.world.flagged.pop(reference, None)

    @rule(item=items, with_case=st.booleans(), is_killed=st.booleans())
    def delete_item(self, item: tuple[str, str], with_case: bool, is_killed: bool) -> None:
        found = self.find(item)
        query = "?case=delete" if with_case else ""
        if found is None:
            assert self.call("DELETE", f"/v1/jobs/{item[1]}{query}").status_code == 404
            return
        folder, known = found
        wrapped = self.stored_key(folder.id)
        if is_killed and not folder.held:
            self.die_in("delete_job", "finish_shredding", item=known.job_id, with_case=with_case)
        else:
            answer = self.call("DELETE", f"/v1/jobs/{item[1]}{query}")
            assert answer.status_code == (409 if folder.held else 204), answer.text
        if folder.held:
            return
        folder.items.remove(known)
        self.world.gone |= {known.job_id, known.media_id}
        if with_case and not folder.items:
            self.forget(folder, wrapped)

    @rule(reference=st.sampled_from(REFERENCES))
    def delete_case(self, reference: str) -> None:
        folder = self.world.folders.get(reference)
        if folder is None:
            return
        wrapped = self.stored_key(folder.id)
        answer = self.call("DELETE", f"/v1/cases/{folder.id}")
        assert answer.status_code == (409 if folder.held else 204), answer.text
        if not folder.held:
            self.forget(folder, wrapped)

    def forget(self, folder: Folder, wrapped: bytes) -> None:
        del self.world.folders[folder.reference]
        ids = {i for item in folder.items for i in (item.job_id, item.media_id)}
        self.world.gone |= ids | {folder.id}
        self.world.keys.append(wrapped)

    def stored_key(self, case_id: str) -> bytes:
        with self.service.database.read() as session:
            wrapped = session.get_one(Case, case_id).wrapped_key
        assert wrapped
        return wrapped

    def die_in(self, *steps: str, item: str, with_case: bool) -> None:
        """Delete an item in a process that dies on the way; another one sweeps later."""
        retention = self.service.app.state.shared.services.retention
        caller = self.service.accounts.authenticate(self.keys[Role.PIPELINE])

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as killed:
            for step in steps:
                killed.setattr(retention, step, die)
            with pytest.raises(KeyboardInterrupt):
                retention.cancel(caller, item, with_case=with_case)
        sweep(self.service)

    @rule(days=st.sampled_from([1, 8]))
    def pass_time(self, days: int) -> None:
        """A worker marks what is due, and deletes it a day later."""
        for passed in (days - 1, 1):
            self.clock.advance(timedelta(days=passed))
            sweep(self.service)
        for folder in self.world.folders.values():
            for item in () if folder.held else folder.items:
                item.expired = True

    @rule()
    def back_up(self) -> None:
        folder = self.new_folder() / "backup"
        services = self.service.app.state.shared.services
        merge_journal(services.database, services.journal, services.signing_keys)
        back_up(services.settings, folder)
        self.backup = folder, copy.deepcopy(self.world)

    @precondition(lambda self: self.backup)
    @rule()
    def restore(self) -> None:
        """The disk breaks; the last backup is restored with the journal of the installation."""
        assert self.backup
        folder, then = self.backup
        services = self.service.app.state.shared.services
        merge_journal(services.database, services.journal, services.signing_keys)
        old = services.settings
        self.run(self.stack.aclose())
        self.stack = contextlib.AsyncExitStack()
        restored = with_master_key_of(old, self.new_folder() / "var")
        done = run_command(restored, "restore", folder, "--journal", old.data_dir / "journal.json")
        assert done.exit_code == 0, (done.output, done.exception)
        self.serve(restored.model_copy(update={"two_person_review": True}))
        self.world = self.restored(then)
        self.service.app.state.shared.services.minor_flags.compare_earlier_jobs()
        sweep(self.service)

    def restored(self, then: World) -> World:
        """Return the model after a backup was restored: as it was ``then``, without what was
        deleted since, and with the flags and holds of both times."""
        now, then = self.world, copy.deepcopy(then)
        for reference, folder in list(then.folders.items()):
            today = now.folders.get(reference)
            if today is None or today.id != folder.id:
                del then.folders[reference]
                continue
            folder.items = [i for i in folder.items if i.job_id not in now.gone]
            if folder.flagged_by is None and today.flagged_by is not None:
                folder.flag(today.flagged_by)
            folder.held |= today.held
            for item in folder.items:
                item.expired |= next(i for i in today.items if i.job_id == item.job_id).expired
        return World(then.folders, now.gone, now.keys, {**now.flagged, **then.flagged})

    # What holds after each step

    @invariant()
    def nothing_deleted_is_readable(self) -> None:
        """What was deleted is found by no id, and no file has the key of a case that was."""
        for one in self.world.gone:
            for path in ("cases", "jobs"):
                assert self.call("GET", f"/v1/{path}/{one}", Role.ADMIN).status_code == 404
        folder = self.service.app.state.shared.settings.data_dir
        for key in self.world.keys:
            assert not files_containing(folder, key)

    @invariant()
    def cases_are_as_people_left_them(self) -> None:
        """Every case has its items, holds, flags, decisions and notices, and nothing is twice."""
        for folder in self.world.folders.values():
            case = self.call("GET", f"/v1/cases/{folder.id}", Role.ADMIN).json()
            assert {j["id"] for j in case["jobs"]} == {i.job_id for i in folder.items}
            assert case["legal_hold"] == folder.held
            assert case["minor"] == (folder.flagged_by is not None)
            for item in folder.items:
                found = self.call("GET", f"/v1/jobs/{item.job_id}/reviews", Role.ADMIN).json()
                assert (found["finding"], len(found["reviews"])) == (item.finding, item.decisions)

    @invariant()
    def a_flagged_case_is_seen_by_few(self) -> None:
        """Of a flagged case, the reviewers who did not flag it find nothing."""
        for folder in self.world.folders.values():
            for person in PEOPLE:
                answer = self.call("GET", f"/v1/cases/{folder.id}", person)
                assert answer.status_code == (200 if folder.seen_by(person) else 404)

    @invariant()
    def notices_stand_with_their_findings(self) -> None:
        """Notices stay with the case, and are to be withdrawn if it was flagged since, or people
        found something else."""
        for folder in self.world.folders.values():
            listed = self.call("GET", f"/v1/cases/{folder.id}/notices", Role.ADMIN).json()
            found = {n["id"]: n["withdraw"] for n in listed["notices"]}
            assert found == {i: made.to_withdraw for i, made in folder.notices.items()}

    @invariant()
    def held_files_are_kept(self) -> None:
        """Under a legal hold no file expires, and none is left that no case has."""
        with self.service.database.read() as session:
            kept = {m.id: m.blob for m in session.scalars(select(Media))}
        for folder in self.world.folders.values():
            for item in folder.items:
                assert kept[item.media_id] or item.expired

    @invariant()
    def the_records_are_whole(self) -> None:
        """The audit log is an unbroken chain, and no decision contradicts it."""
        with self.service.database.read() as session:
            verify(session)
        assert list(contradictions(self.service.database)) == []


def test_the_life_of_cases(installation: Installation, tmp_path: Path) -> None:
    """Live through a few lives, the same in each run; ``make fuzz`` lives through hundreds."""

    class Machine(Life):
        pass

    Machine.installation, Machine.root = installation, tmp_path
    campaign = settings(
        max_examples=settings().max_examples // 40,
        stateful_step_count=30,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=campaign)
