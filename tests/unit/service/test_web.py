"""What the console's parts do by themselves."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from deepfake_service.accounts import Role
from deepfake_service.pipeline.reading import Filters
from deepfake_service.pipeline.states import JobState
from deepfake_service.records import Account, Case, Job, Media, new_id
from deepfake_service.web.catalogue import said, untranslated
from deepfake_service.web.language import translations
from deepfake_service.web.plots import rates_by_width
from deepfake_service.web.queue import _plain
from deepfake_service.web.signing_in import local

Service = Any
MANY = 10_000


def test_all_that_pages_say_is_translated() -> None:
    assert len(said()) > 150
    assert untranslated("ko") == set()


@pytest.mark.parametrize(
    ("asked", "goes_to"),
    [
        ("/items/1", "/items/1"), ("//evil.example", "/"), ("/\\evil.example", "/"),
        ("https://evil.example", "/"), ("/a\nSet-Cookie: x", "/"), ("", "/"),
    ],
)  # fmt: skip
def test_only_paths_of_ours_are_gone_to(asked: str, goes_to: str) -> None:
    assert local(asked) == goes_to


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert _plain(cell) == f"'{cell}"
    assert _plain(-1.5) == -1.5
    assert _plain(None) == ""


async def test_behind_tls_cookies_go_no_other_way(start: Any) -> None:
    for url, secure in (("https://centre.example", True), (None, False)):
        async with start(public_url=url) as service:
            key = {"key": service.keys[Role.ANALYST]}
            answer = await service.client.post("/sign-in", data=key)
            assert answer.status_code == 303
            assert ("secure" in answer.headers["set-cookie"].lower()) is secure


async def test_the_queue_works_with_ten_thousand_cases(service: Service) -> None:
    work = service.app.state.services.work
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    with service.database.write() as session:
        account = session.get_one(Account, caller.account_id)
        key, wrapped = None, None
        rows: list[Any] = []
        for n in range(MANY):
            case_id, media_id = new_id(), new_id()
            if n < 60 or wrapped is None:
                key, wrapped = work.cases._vault.new_case_key(case_id)
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
                Job(
                    id=new_id(),
                    case_id=case_id,
                    media_id=media_id,
                    account_id=account.id,
                    kind="video",
                    state=str(JobState.SUCCEEDED),
                    priority="batch",
                    bundle_sha256="0" * 64,
                    retention="standard",
                    created_at=at,
                    verdict=secrets.choice(["inconclusive", None]),
                )
            )
        for kind in (Case, Media, Job):
            session.add_all([r for r in rows if isinstance(r, kind)])
            session.flush()
    first = work.reading.queue(caller, Filters(), limit=50, cursor=None)
    assert len(first.jobs) == 50
    seen, cursor = 0, None
    for _ in range(4):
        page = work.reading.jobs(caller, Filters(finding="none"), limit=200, cursor=cursor)
        seen, cursor = seen + len({j["id"] for j in page.jobs}), page.next
    assert seen == 800
    # By the index, not by reading all of them.
    for role in (Role.PIPELINE, Role.ANALYST, Role.ADMIN):
        asker = service.accounts.authenticate(service.keys[role])
        plan = _plan(service, work, asker)
        assert "USING INDEX ix_jobs" in plan, plan
        assert "USE TEMP B-TREE" not in plan, plan


def _sealed(key: bytes | None, case_id: str) -> bytes:
    from deepfake_service.crypto import seal
    from deepfake_service.storage import context_of

    assert key is not None
    return seal(key, b'{"reference": "R"}', context_of("case", case_id))


def _plan(service: Service, work: Any, caller: Any) -> str:
    """How SQLite answers the queue's question."""
    from sqlalchemy import event

    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(service.database.engine, "before_cursor_execute", note)
    try:
        work.reading.jobs(caller, Filters(), limit=50, cursor=None)
    finally:
        event.remove(service.database.engine, "before_cursor_execute", note)
    statement, parameters = next(a for a in asked if "FROM jobs" in a[0])
    with service.database.engine.connect() as connection:
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(str(row) for row in found)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_text_can_be_put_in(language: str) -> None:
    """A per cent sign that is not written twice would fail only where its page is shown."""
    found = translations(language)
    for message in said():
        names = dict.fromkeys(re.findall(r"%\((\w+)\)", message), 1)
        assert found.gettext(message) % names


def test_rates_are_drawn() -> None:
    rate = {"value": 0.02, "low": 0.0, "high": 0.3, "groups": 9}
    bins = [
        {"face_px": [0.0, 96.0], "false_positive_rate": rate, "true_positive_rate": rate},
        {
            "face_px": [96.0, None],
            "false_positive_rate": {**rate, "groups": 40},
            "true_positive_rate": {**rate, "value": None},
        },
    ]
    drawn = rates_by_width(bins, {"fpr": "<a>", "tpr": "b", "rates": "c"})
    assert fromstring(drawn).tag.endswith("svg")
    assert "&lt;a&gt;" in drawn
    assert drawn.count('r="4.5"') == 3
    assert drawn.count('fill="#ffffff" stroke') == 2
