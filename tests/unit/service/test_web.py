"""What the console's parts do by themselves."""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.casework.core.pagination import MAX_PAGE, Filters
from deepfake_service.db import Account, Case, Job, Media, Notice, Occurrence, new_id
from deepfake_service.db.enums import JobState, Role
from deepfake_service.documents.i18n import translations, words
from deepfake_service.errors import (
    AccountExists,
    AccountUnknown,
    BeingDeleted,
    CaseHeld,
    CaseShredded,
    CrossSiteRequest,
    DatabaseUnavailable,
    EvidenceMissing,
    EvidenceTooLarge,
    Forbidden,
    ImageryWithheld,
    InvalidRequest,
    KeyUnknown,
    NotFound,
    NoticeRefused,
    NotReady,
    NotReviewable,
    Overloaded,
    RequestTooLarge,
    ServiceError,
    StorageUnavailable,
    TooManyCallbacks,
    TooManyOccurrences,
    TooManyRequests,
    TooManyReviews,
)
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import context_of
from deepfake_service.storage.envelope import seal
from deepfake_service.web.catalogue import (
    error_messages,
    problems,
    raised_messages,
    template_messages,
)
from deepfake_service.web.item_plot import moments_plot
from deepfake_service.web.item_view import bins_of
from deepfake_service.web.notices import _local_time
from deepfake_service.web.pages import moment, utc
from deepfake_service.web.plots import rates_by_width
from deepfake_service.web.queue import _escape_formula
from deepfake_service.web.signing_in import local_path
from tests.support.jobkit import headers
from tests.support.submitting import submit

Service = Any
MANY = 10_000
COUNT = 210
SEEN = (
    "source_url", "platform", "account", "captured_at", "note", "case_reference", "collector",
    "tool", "screenshot",
)  # fmt: skip


def test_all_that_pages_say_is_translated() -> None:
    assert len(template_messages()) > 150
    assert len(error_messages()) > 50
    assert len(raised_messages()) > 20
    assert problems() == []


@pytest.mark.parametrize(
    ("asked", "goes_to"),
    [
        ("/items/1", "/items/1"), ("//evil.example", "/"), ("/\\evil.example", "/"),
        ("https://evil.example", "/"), ("/a\nSet-Cookie: x", "/"), ("", "/"),
    ],
)  # fmt: skip
def test_only_paths_of_ours_are_gone_to(asked: str, goes_to: str) -> None:
    assert local_path(asked) == goes_to


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert _escape_formula(cell) == f"'{cell}"
    assert _escape_formula(-1.5) == -1.5
    assert _escape_formula(None) == ""


async def test_behind_tls_cookies_go_no_other_way(start: Any) -> None:
    for url, secure in (("https://centre.example", True), (None, False)):
        async with start(public_url=url) as service:
            key = {"key": service.keys[Role.ANALYST]}
            origin = {"Origin": url or "http://service"}
            answer = await service.client.post("/sign-in", data=key, headers=origin)
            assert answer.status_code == 303
            cookie = answer.headers["set-cookie"]
            assert ("secure" in cookie.lower()) is secure
            assert cookie.startswith("__Host-session=" if secure else "session=")


@pytest.mark.parametrize(
    ("language", "named"),
    [
        ("ko", "<strong>1366 (여성긴급전화, 24시간)</strong>"),
        ("en", "<strong>1366 (Women's Emergency Hotline, Korea, 24 hours)</strong>"),
    ],
)
async def test_the_support_line_is_named_in_the_language_of_the_help(
    start: Any, language: str, named: str
) -> None:
    asking = {"Accept-Language": language}
    async with start() as service:
        assert named in (await service.client.get("/help", headers=asking)).text
    async with start(support_contact="0800 123, day and night") as service:
        page = (await service.client.get("/help", headers=asking)).text
        assert "<strong>0800 123, day and night</strong>" in page
        assert "1366" not in page


def job_of(medium: Media, account_id: str, **changes: Any) -> Job:
    """An examination of a medium, as old as that is."""
    usual = {
        "id": new_id(), "case_id": medium.case_id, "media_id": medium.id,
        "account_id": account_id, "kind": "video", "priority": "batch",
        "bundle_sha256": "0" * 64, "retention": "standard", "created_at": medium.created_at,
    }  # fmt: skip
    return Job(**{**usual, **changes})


@pytest.mark.slow
async def test_the_queue_works_with_ten_thousand_cases(service: Service) -> None:
    services = service.app.state.shared.services
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    with service.database.write() as session:
        account = session.get_one(Account, caller.account_id)
        key, wrapped = None, None
        rows: list[Any] = []
        for n in range(MANY):
            case_id, media_id = new_id(), new_id()
            if n < 60 or wrapped is None:
                key, wrapped = services.cases._vault.new_case_key(case_id)
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
    first = services.queries.jobs(caller, Filters(), limit=50, cursor=None)
    assert len(first.jobs) == 50
    seen, cursor = 0, None
    for _ in range(4):
        page = services.queries.jobs(caller, Filters(finding="none"), limit=200, cursor=cursor)
        seen, cursor = seen + len({j["id"] for j in page.jobs}), page.next
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
    key, wrapped = services.cases._vault.new_case_key(case_id)
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
            seen = {**dict.fromkeys(SEEN), "source_url": f"https://example.org/{n}"}
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
                   "receipt": None, "composed": composed}  # fmt: skip
        draft = new_id()
        session.add(
            Notice(
                id=draft,
                case_id=case_id,
                account_id=caller.account_id,
                kind="eu-dsa-16",
                language="en",
                state="drafted",
                sealed=seal(key, json.dumps(content).encode(), context_of("notice", draft)),
                created_at=now,
            )
        )
    path = f"/cases/{case_id}/notices/eu-dsa-16?like={draft}"
    changed = (await client.get(path)).text
    # The occurrence that it was about is not among the newest, and is not lost.
    assert re.findall(r'value="(\w+)" checked', changed) == [oldest]
    assert "Earlier words." in changed
    assert "somebody" not in changed
    other = f"/cases/{case_id}/notices/kr-d4u?like={draft}"
    assert (await client.get(other)).status_code == 404
    assert (await client.get(f"/cases/{case_id}?cursor=x")).status_code == 422
    assert (await client.get(f"/cases/{case_id}?seen=x")).status_code == 422


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_action_of_the_audit_log_has_words(language: str) -> None:
    said = {str(action): words(language).of("actions", str(action)) for action in Action}
    assert not {a for a, text in said.items() if text == a}
    assert len(set(said.values())) == len(said)


def test_a_time_is_stated_in_utc_whatever_its_zone() -> None:
    assert utc("2026-11-25T23:30:00+09:00") == "2026-11-25 14:30 UTC"
    assert 'datetime="2026-11-25T23:30:00+09:00"' in moment("2026-11-25T23:30:00+09:00")
    assert (utc(None), moment(None)) == ("–", "–")


@pytest.mark.parametrize("offset", ["-540", "0", ""])
def test_times_of_forms_are_in_the_zone_that_they_name(offset: str) -> None:
    at = _local_time("2026-11-25T23:30", offset)
    assert at == datetime(2026, 11, 25, 23, 30, tzinfo=UTC) + timedelta(minutes=int(offset or 0))


@pytest.mark.parametrize(
    ("text", "offset"),
    [("tomorrow", "0"), ("2026-11-25T23:30", "x"), ("2026-11-25T23:30", "99999"),
     ("0001-01-01T00:00", "-540")],
)  # fmt: skip
def test_no_time_is_an_error_and_not_a_crash(text: str, offset: str) -> None:
    with pytest.raises(InvalidRequest):
        _local_time(text, offset)


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
        services.queries.jobs(caller, Filters(), limit=50, cursor=None)
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
    for message in template_messages():
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
    drawn = rates_by_width(bins, {"fpr": "<a>", "tpr": "b", "rates": "c"}, min_groups=10)
    assert fromstring(drawn).tag.endswith("svg")
    assert "&lt;a&gt;" in drawn
    assert drawn.count('r="4.5"') == 3
    assert drawn.count('fill="#ffffff" stroke') == 2


async def test_the_audit_log_opens_at_its_end(service: Service) -> None:
    with service.database.write() as session:
        for _ in range(450):
            append_entry(session, SERVICE, Action.CASE_READ, "x")
    await service.sign_in(Role.AUDITOR)
    path, pages = "/audit", []
    while path:
        page = (await service.client.get(path)).text
        pages.append([int(n) for n in re.findall(r"<tr><td[^>]*>(\d+)</td>", page)])
        older = re.search(r'href="(/audit\?before=\d+)">(?:더 이전 내역|Older entries)', page)
        path = older[1] if older else ""
    assert [len(p) for p in pages[:2]] == [200, 200]
    assert pages[0][0] > 250
    assert [n for p in pages for n in p] == list(range(pages[0][0], 0, -1))
    for before in ("-1", str(2**63), "x"):
        assert (await service.client.get(f"/audit?before={before}")).status_code == 422


async def test_the_audit_log_is_filtered_and_leads_administrators_to_items(
    service: Service,
) -> None:
    job = await submit(service)
    await service.sign_in(Role.ADMIN)
    page = (await service.client.get(f"/audit?action=media.submitted&subject={job['id']}")).text
    assert page.count("<tr><td") == 1
    assert f'href="/items/{job["id"]}"' in page
    assert re.search(r"data-seconds>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC<", page)
    nobody = (await service.client.get("/audit?account=x")).text
    assert "<tr><td" not in nobody
    await service.sign_in(Role.AUDITOR)
    page = (await service.client.get(f"/audit?subject={job['id']}")).text
    assert job["id"] in page
    assert "/items/" not in page


# A day of an hour more and one of an hour less begin and end where the clocks say so.
DAYS: list[tuple[dict[str, str], str, str]] = [
    ({"since": "2026-11-26", "until": "2026-11-26", "zone": "Asia/Seoul"},
     "2026-11-25T15:00:00+00:00", "2026-11-26T15:00:00+00:00"),
    ({"since": "2026-11-26", "until": "2026-11-26"},
     "2026-11-26T00:00:00+00:00", "2026-11-27T00:00:00+00:00"),
    ({"since": "2026-03-29", "until": "2026-03-29", "zone": "Europe/Berlin"},
     "2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00"),
    ({"since": "2026-10-25", "until": "2026-10-26", "zone": "Europe/Berlin"},
     "2026-10-24T22:00:00+00:00", "2026-10-26T23:00:00+00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "first", "last"), DAYS)
async def test_the_audit_log_is_filtered_by_day_in_the_zone_of_the_page(
    service: Service, query: dict[str, str], first: str, last: str
) -> None:
    edges = [datetime.fromisoformat(at) for at in (first, last)]
    moments = [edge + timedelta(microseconds=n) for edge in edges for n in (-1, 0)]
    with service.database.write() as session:
        for n, at in enumerate(moments):
            append_entry(session, SERVICE, Action.CASE_READ, f"entry{n}", at=at)
    await service.sign_in(Role.AUDITOR)

    async def seen(**asked: str) -> list[str]:
        page = (await service.client.get("/audit", params=asked)).text
        return re.findall(r"<code>(entry\d)</code>", page)

    assert await seen(**query) == ["entry2", "entry1"]
    begins, ends = ({k: v for k, v in query.items() if k != name} for name in ("until", "since"))
    assert await seen(**begins, action="case.read") == ["entry3", "entry2", "entry1"]
    assert await seen(**ends) == ["entry2", "entry1", "entry0"]


async def test_the_filter_by_day_is_kept_and_names_its_zone(service: Service) -> None:
    with service.database.write() as session:
        for _ in range(201):
            append_entry(session, SERVICE, Action.CASE_READ, "x")
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.AUDITOR)
    query = {"since": "2026-01-01", "zone": "Asia/Seoul"}
    page = (await service.client.get("/audit", params=query)).text
    assert re.search(r'href="/audit\?since=2026-01-01&amp;zone=Asia%2FSeoul&amp;before=\d+"', page)
    assert 'value="2026-01-01"' in page
    assert '<span id="zone">KST</span>' in page
    for zone in ("", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "Asia", "\x00"):
        page = (await service.client.get("/audit", params={"zone": zone})).text
        assert '<span id="zone">UTC</span>' in page
        assert "Reset filters" not in page
    for day in ("2026-02-30", "26-01-01", "tomorrow", "0001-01-01", "9999-12-31"):
        assert (await service.client.get("/audit", params={"since": day})).status_code == 422


@pytest.mark.parametrize(
    "error",
    [
        AccountExists, AccountUnknown, BeingDeleted, CaseHeld, CaseShredded, CrossSiteRequest,
        DatabaseUnavailable, EvidenceMissing, EvidenceTooLarge, Forbidden, ImageryWithheld,
        InvalidRequest, KeyUnknown, NotFound, NoticeRefused, NotReady, NotReviewable, Overloaded,
        RequestTooLarge, StorageUnavailable, TooManyCallbacks, TooManyOccurrences,
        TooManyRequests, TooManyReviews,
    ],
)  # fmt: skip
def test_what_pages_tell_when_something_fails_is_translated(error: type[ServiceError]) -> None:
    message = error().message
    assert translations("ko").gettext(message) != message


def _document(value: float | None, leaning: dict[str, float] | None = None) -> dict[str, Any]:
    level = {
        "likely_manipulated": 1.6, "no_manipulation_found": -0.4, "false_positive_rate": 0.01,
        "true_positive_rate": 0.4, "miss_rate": 0.1,
    }  # fmt: skip
    item = {**level, "leaning": leaning} if leaning else level
    return {
        "result": {
            "log_likelihood_ratio": value,
            "media": {"kind": "video", "duration_s": 2.0},
            "tracks": [{"track": 0, "moments": [{"start_s": 0.5, "end_s": 1.0}]}],
        },
        "exact": {
            "faces": [
                {"logit": 0.0, "time_s": 1.0, "track": 0, "box": [1.0, 2.0, 3.0, 4.0]},
                {"logit": None, "time_s": 1.5, "track": 0, "box": [1.0, 2.0, 3.0, 4.0]},
            ]
        },
        "examined_s": [0.0, 1.0],
        "method": {
            "thresholds": {"item": item, "face": level},
            "calibration": {
                "item": {"limit": 1.8},
                "face": {"slope": 1.0, "intercept": 2.302585, "limit": 1.8},
            },
        },
    }


@pytest.mark.parametrize(("value", "here"), [(-1.0, 0), (-0.4, 1), (0.0, 2), (0.7, 3), (1.6, 4)])
def test_a_value_lies_in_one_range_of_measured_material(value: float, here: int) -> None:
    edges = {
        "towards_manipulated": 0.5, "towards_untouched": -0.2, "false_positive_rate": 0.06,
        "true_positive_rate": 0.6, "miss_rate": 0.2, "true_negative_rate": 0.7,
    }  # fmt: skip
    found = bins_of(_document(value, edges))
    assert found is not None
    assert found["here"] == here
    assert [b["name"] for b in found["bins"]] == [
        "clear", "towards_untouched", "neither", "towards_manipulated", "flagged",
    ]  # fmt: skip
    assert sum(b["fake"] for b in found["bins"]) == pytest.approx(1)
    assert found["below"] + sum(b["real"] or 0 for b in found["bins"]) == pytest.approx(1)


def test_a_result_without_a_value_has_no_place_among_measured_material() -> None:
    assert bins_of(_document(None)) is None


def test_the_plot_has_a_point_for_each_scored_face_and_no_style_of_its_own() -> None:
    drawn = moments_plot(_document(0.2), words("ko", polite=True))
    circles = [e for e in fromstring(drawn).iter() if e.tag.endswith("circle")]
    assert [(c.get("data-t"), c.get("data-v")) for c in circles] == [("1.000", "+1.00")]
    assert "style" not in drawn
