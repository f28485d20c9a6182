"""Pages of much: a queue of a thousand cases, which way items lean, and a large case in parts."""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.cases.filters import Filters
from deepfake_service.cases.notice_history import NoticeHistory
from deepfake_service.platform.db import Account, Case, Job, Media, Notice, Occurrence, new_id
from deepfake_service.platform.enums import JobState, NoticeEventKind, Role
from deepfake_service.platform.pagination import MAX_PAGE
from deepfake_service.platform.storage import context_of
from deepfake_service.platform.storage.envelope import seal
from deepfake_service.platform.texts.i18n import words
from tests.support.jobs import headers
from tests.unit.service.conftest import Service

MANY = 1000
COUNT = 210
SEEN = (
    "source_url", "platform", "account", "captured_at", "note", "case_reference", "collector",
    "tool", "screenshot", "capture", "capture_sha256",
)  # fmt: skip


def job_of(medium: Media, account_id: str, **changes: Any) -> Job:
    """An examination of a medium, as old as that is."""
    usual = {
        "id": new_id(), "case_id": medium.case_id, "media_id": medium.id,
        "account_id": account_id, "kind": "video", "priority": "batch",
        "bundle_sha256": "0" * 64, "retention": "standard", "created_at": medium.created_at,
    }  # fmt: skip
    return Job(**{**usual, **changes})


async def test_the_queue_works_with_a_thousand_cases(service: Service) -> None:
    services = service.app.state.shared.services
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    with service.database.write() as session:
        account = session.get_one(Account, caller.account_id)
        key, wrapped = None, None
        rows: list[Any] = []
        for n in range(MANY):
            case_id, media_id = new_id(), new_id()
            if n < 60 or wrapped is None:
                key, wrapped = services.vault.new_case_key(case_id)
            at = datetime.now(UTC) - timedelta(minutes=n)
            rows.append(
                Case(
                    id=case_id,
                    account_id=account.id,
                    wrapped_key=wrapped,
                    sealed=_sealed(key, case_id) if n < 60 else b"x",
                    created_at=at,
                )
            )
            rows.append(Media(id=media_id, case_id=case_id, sha256="0" * 64, size=1, created_at=at))
            rows.append(
                job_of(
                    rows[-1],
                    account.id,
                    state=JobState.SUCCEEDED,
                    verdict=secrets.choice(["inconclusive", None]),
                )
            )
        for kind in (Case, Media, Job):
            session.add_all([r for r in rows if isinstance(r, kind)])
            session.flush()
    queries = services.queries
    first = queries.jobs(caller, Filters(), queries.plain, limit=50)
    assert len(first.rows) == 50
    seen, cursor = 0, None
    for _ in range(4):
        page = queries.jobs(caller, Filters(finding="none"), queries.plain, cursor=cursor)
        seen, cursor = seen + len({job.id for job in page.rows}), page.next
    assert seen == 800
    # By the index, not by reading all of them.
    for role in (Role.PIPELINE, Role.ANALYST, Role.ADMIN):
        asker = service.accounts.authenticate(service.keys[role])
        plan = _plan(service, services, asker)
        assert "USING INDEX ix_jobs" in plan, plan
        assert "USE TEMP B-TREE" not in plan, plan


def _stored_case(
    session: Session, services: Any, account_id: str, case_id: str, at: datetime
) -> bytes:
    """Store a case without content, and return its key."""
    key, wrapped = services.vault.new_case_key(case_id)
    session.add(
        Case(
            id=case_id,
            account_id=account_id,
            wrapped_key=wrapped,
            sealed=_sealed(key, case_id),
            created_at=at,
        )
    )
    session.flush()
    return key


async def test_the_queue_says_which_way_inconclusive_items_lean(service: Service) -> None:
    services = service.app.state.shared.services
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])
    case_id = new_id()
    told: list[tuple[str, str | None]] = [
        ("inconclusive", "towards_manipulated"),
        ("inconclusive", "neither"),
        ("inconclusive", "towards_untouched"),
        ("inconclusive", None),
        ("likely_manipulated", "towards_manipulated"),
    ]
    with service.database.write() as session:
        now = datetime.now(UTC)
        _stored_case(session, services, caller.account_id, case_id, now)
        for n, (verdict, leaning) in enumerate(told):
            medium = Media(id=new_id(), case_id=case_id, sha256=f"{n:064}", size=1, created_at=now)
            session.add(medium)
            session.flush()
            changes = {"state": JobState.SUCCEEDED, "verdict": verdict, "leaning": leaning}
            session.add(job_of(medium, caller.account_id, id=f"job{n}", **changes))
    client = service.client
    await service.sign_in(Role.ANALYST)
    page = (await client.get("/")).text
    rows = {re.search(r"/items/(job\d)", row)[1]: row  # type: ignore[index]
            for row in page.split("<tr ") if "/items/job" in row}  # fmt: skip
    tags = {job: re.findall(r'class="tag">([^<]*)<', row) for job, row in sorted(rows.items())}
    manipulated, untouched = (
        words(language_of_page(page), polite=True).of("leanings", way)
        for way in ("towards_manipulated", "towards_untouched")
    )
    assert tags == {"job0": [manipulated], "job1": [], "job2": [untouched], "job3": [], "job4": []}
    listed = (await client.get("/v1/jobs", headers=headers(service, Role.ANALYST))).json()["jobs"]
    assert {j["id"]: j.get("leaning") for j in listed} == {
        f"job{n}": leaning for n, (_, leaning) in enumerate(told)
    }


def language_of_page(page: str) -> str:
    found = re.search(r'<html lang="(\w+)"', page)
    assert found
    return found[1]


async def test_a_large_case_is_shown_in_parts(service: Service) -> None:
    services = service.app.state.shared.services
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])
    case_id = new_id()
    with service.database.write() as session:
        now = datetime.now(UTC)
        key = _stored_case(session, services, caller.account_id, case_id, now)
        for n in range(COUNT):
            at = now + timedelta(minutes=n)
            media_id, seen_id = new_id(), new_id()
            seen = {
                **dict.fromkeys(SEEN),
                "collector": caller.account_id,
                "source_url": f"https://example.org/{n}",
            }
            medium = Media(id=media_id, case_id=case_id, sha256="0" * 64, size=1, created_at=at)
            session.add(medium)
            session.flush()
            session.add(
                Occurrence(
                    id=seen_id,
                    case_id=case_id,
                    media_id=media_id,
                    digest=f"{n:064}",
                    sealed=seal(key, json.dumps(seen).encode(), context_of("occurrence", seen_id)),
                    created_at=at,
                )
            )
            session.add(job_of(medium, caller.account_id, id=f"job{n:03}", state=JobState.FAILED))
    client = service.client
    await service.sign_in(Role.ANALYST)
    path, items, urls = f"/cases/{case_id}", [], []
    while path:
        page = (await client.get(path)).text
        items += re.findall(r"/items/(job\d+)", page)
        older = re.search(r'href="(\?cursor=[^"]+)"', page)
        path = f"/cases/{case_id}{older[1]}" if older else ""
    assert items == [f"job{n:03}" for n in reversed(range(COUNT))]
    path = f"/cases/{case_id}"
    while path:
        page = (await client.get(path)).text
        urls += re.findall(r'free">https://example.org/(\d+)<', page)
        older = re.search(r'href="(\?seen=[^"#]+)#seen"', page)
        path = f"/cases/{case_id}{older[1]}" if older else ""
    assert urls == [str(n) for n in reversed(range(COUNT))]
    item = (await client.get("/items/job007")).text
    assert re.findall(r"https://example.org/(\d+)", item) == ["7"]
    form = (await client.get(f"/cases/{case_id}/notices/eu-dsa-16")).text
    assert form.count('name="occurrences"') == MAX_PAGE
    with service.database.write() as session:
        oldest = session.scalars(
            select(Occurrence.id)
            .where(Occurrence.case_id == case_id)
            .order_by(Occurrence.created_at)
            .limit(1)
        ).one()
        composed = {"title": "t", "opening": "o", "sections": []}
        fields = {"explanation": "Earlier words.", "good_faith": True, "signature": "somebody"}
        content = {"fields": fields, "occurrence_ids": [oldest], "basis": [], "recipient": None,
                   "receipt": None, "captures": None, "composed": composed, "sender": ["A"],
                   "without_consent": None}  # fmt: skip
        draft = new_id()
        notice = Notice(
            id=draft,
            case_id=case_id,
            account_id=caller.account_id,
            kind="eu-dsa-16",
            language="en",
            state="drafted",
            sealed=seal(key, json.dumps(content).encode(), context_of("notice", draft)),
            created_at=now,
        )
        session.add(notice)
        session.flush()
        NoticeHistory(session, key, notice).append(NoticeEventKind.CREATED, caller.actor)
    path = f"/cases/{case_id}/notices/eu-dsa-16?like={draft}"
    changed = (await client.get(path)).text
    # The occurrence that it was about is not among the newest, and is not lost.
    assert re.findall(r'name="occurrences" value="(\w+)" checked', changed) == [oldest]
    assert "Earlier words." in changed
    assert "somebody" not in changed
    other = f"/cases/{case_id}/notices/kr-d4u?like={draft}"
    assert (await client.get(other)).status_code == 404
    assert (await client.get(f"/cases/{case_id}?cursor=x")).status_code == 422
    assert (await client.get(f"/cases/{case_id}?seen=x")).status_code == 422


def _sealed(key: bytes | None, case_id: str) -> bytes:
    assert key is not None
    return seal(key, b'{"reference": "R"}', context_of("case", case_id))


def _plan(service: Service, services: Any, caller: Any) -> str:
    """How SQLite answers the queue's question."""
    from sqlalchemy import event

    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(service.database.engine, "before_cursor_execute", note)
    try:
        services.queries.jobs(caller, Filters(), services.queries.plain, limit=50)
    finally:
        event.remove(service.database.engine, "before_cursor_execute", note)
    statement, parameters = next(a for a in asked if "FROM jobs" in a[0])
    with service.database.engine.connect() as connection:
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(str(row) for row in found)
