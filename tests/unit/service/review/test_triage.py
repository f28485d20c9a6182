"""The order of the queue, its tabs, its search, and what it shows of sealed content."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.audit.log import Action
from deepfake_service.cases.filters import Filters
from deepfake_service.evidence.listings import ListEntry, begin_listing, end_listing, rank_of
from deepfake_service.platform.db import (
    AuditEntry,
    Case,
    Job,
    Listing,
    Match,
    Media,
    Notice,
    Review,
    new_id,
)
from deepfake_service.platform.enums import JobState, NoticeState, Role
from deepfake_service.platform.errors import InvalidRequest, NotFound
from deepfake_service.platform.findings import Finding
from deepfake_service.platform.storage import seal_json
from deepfake_service.platform.texts.i18n import words
from deepfake_service.review.triage import Place, QueueRequest, Tab, places_of
from tests.support import footage
from tests.support.jobs import examined, submit
from tests.support.servers import statements
from tests.unit.service.conftest import Service

BROKEN = "M7 3h7l4 4v5M7 3v9M7 21h"
"""The icon of a file that cannot be read."""
LEANS = {"verdict": "inconclusive", "leaning": "towards_manipulated"}


class Desk:
    """Stores jobs in cases of the analyst, each of its own."""

    def __init__(self, service: Service) -> None:
        self.services = service.app.state.shared.services
        self.database = service.database
        self.caller = service.accounts.authenticate(service.keys[Role.ANALYST])
        self.now = datetime.now(UTC)

    def add(
        self, job_id: str, llr: float | None, name: str = "clip.mp4", days: int = 0, **changes: Any
    ) -> str:
        """Store a job that has ended, in a case of so many days ago; return the id of the case."""
        case_id, at = new_id(), self.now - timedelta(days=days)
        with self.database.write() as session:
            key, wrapped = self.services.vault.new_case_key(case_id)
            case = Case(id=case_id, account_id=self.caller.account_id, wrapped_key=wrapped,
                        created_at=at)  # fmt: skip
            seal_json(key, case, {"reference": f"2026-{job_id}-0117"})
            content = str(changes.pop("content", job_id)).encode()
            sha256 = f"0000{hashlib.sha256(content).hexdigest()[4:]}"
            medium = Media(id=new_id(), case_id=case_id, sha256=sha256, size=1, created_at=at)
            usual = {
                "id": job_id, "case_id": case_id, "media_id": medium.id, "kind": "video",
                "account_id": self.caller.account_id, "priority": "batch",
                "bundle_sha256": "0" * 64, "retention": "standard", "created_at": at,
                "state": JobState.SUCCEEDED,
            }  # fmt: skip
            job = Job(**{**usual, **changes})
            for row in (case, medium, job):
                session.add(row)
                session.flush()
            begin_listing(session, key, job_id, name, "X")
            end_listing(session, key, job, (ListEntry(llr=llr), None))
        return case_id

    def ids(self, tab: Tab = Tab.REVIEW, text: str = "", **asked: Any) -> list[str]:
        page = self.services.triage.page(self.caller, QueueRequest(tab, text=text, **asked))
        return [row.item.id for row in page.rows]


def count(session: Session, action: Action) -> int:
    entries = select(func.count()).where(AuditEntry.action == str(action))
    return session.scalar(entries) or 0


async def test_the_worst_is_first(service: Service) -> None:
    desk = Desk(service)
    confirmed = desk.add("known", 1.6, verdict="likely_manipulated", finding=Finding.CONFIRMED)
    desk.add("cleared", -1.2, verdict="no_manipulation_found")
    desk.add("unread", None, verdict="unable_to_evaluate")
    desk.add("weak", 0.52, **LEANS)
    desk.add("strong", 0.97, **LEANS)  # in the same half decade as "weak"
    desk.add("found", 1.6, verdict="likely_manipulated")
    desk.add("copy", -0.1, verdict="inconclusive", leaning="neither")
    desk.add("same", -0.2, verdict="inconclusive", leaning="neither", content="known")
    with service.database.write() as session:
        session.add(
            Match(
                id=new_id(),
                job_id="copy",
                case_id=confirmed,
                known_job_id="known",
                percent=80,
                known_percent=100,
                created_at=desk.now,
            )
        )
    assert desk.ids() == ["copy", "same", "found", "strong", "weak", "cleared", "unread"]
    assert desk.ids(Tab.NOTICE) == ["known"]
    counts = desk.services.triage.counts(desk.caller)
    assert counts == {
        "review": 7, "waiting": 0, "on_hold": 0, "notice": 1, "disagreement": 0, "due": 0,
        "done": 0, "all": 8,
    }  # fmt: skip
    page = desk.services.triage.page(desk.caller, QueueRequest())
    for row, percent in zip(page.rows[:2], (80, 100), strict=True):
        (copy,) = row.copies
        assert (copy.case_reference, copy.job_id) == ("2026-known-0117", "known")
        assert (copy.percent, copy.same_file, copy.confirmed) == (percent, percent == 100, True)


async def test_who_waits_comes_before_what_the_machine_suspects(service: Service) -> None:
    desk = Desk(service)
    desk.add("suspect", 1.6, verdict="likely_manipulated")
    desk.add("broken", None, days=9, verdict="unable_to_evaluate")
    desk.add("open", -0.1, verdict="inconclusive", leaning="neither")
    desk.add("older", 0.1, days=2, verdict="inconclusive", leaning="neither")
    desk.add("oldest", -1.2, days=3, verdict="no_manipulation_found")
    desk.add("urgent", None, verdict="unable_to_evaluate", priority="live")
    undecided = {"verdict": "inconclusive", "finding": Finding.UNDECIDED}
    desk.add("past", 0.1, **undecided, awaited_until=desk.now - timedelta(minutes=1))
    desk.add("held", 0.1, **undecided, awaited_until=desk.now + timedelta(days=1))
    desk.add("left", 0.1, **undecided)
    order = ["past", "urgent", "oldest", "older", "suspect", "open", "broken"]
    assert desk.ids() == order
    cursor, seen = None, []
    for _ in order:
        page = desk.services.triage.page(desk.caller, QueueRequest(limit=1, cursor=cursor))
        seen += [row.item.id for row in page.rows]
        cursor = page.next
    assert (seen, cursor) == (order, None)
    assert desk.ids(Tab.ON_HOLD) == ["past", "left", "held"]
    await service.sign_in(Role.ANALYST)
    page = (await service.client.get("/", headers={"Accept-Language": "en"})).text
    rows = page.split('<tr role="row" id="job-')[1:]
    assert [row.partition('"')[0] for row in rows if "urgent" in row] == ["urgent"]


async def test_confirmed_items_are_listed_until_a_notice_is_created(service: Service) -> None:
    desk = Desk(service)
    cases = {name: desk.add(name, 1.6, finding=Finding.CONFIRMED) for name in ("new", "told")}
    desk.add("cleared", 0.1, finding=Finding.REJECTED)
    usual = {"account_id": desk.caller.account_id, "kind": "us-take-it-down", "language": "en",
             "sealed": b"x"}  # fmt: skip
    for name, case_id in cases.items():
        with service.database.write() as session:
            session.add(
                Review(
                    id=new_id(),
                    job_id=name,
                    account_id=desk.caller.account_id,
                    decision="confirmed",
                    created_at=desk.now,
                    sealed=b"x",
                )
            )
            for state, days in (("sent", -1 if name == "new" else 0), ("withdrawn", 1)):
                at = desk.now + timedelta(days=days)
                session.add(
                    Notice(id=new_id(), case_id=case_id, state=state, created_at=at, **usual)
                )
    # A notice from before the confirmation is about something else, and a withdrawn one is none.
    assert desk.ids(Tab.NOTICE) == ["new"]
    assert set(desk.ids(Tab.DONE)) == {"told", "cleared"}
    headers = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
    listed = await service.client.get("/v1/jobs?pending=notice", headers=headers)
    assert [job["id"] for job in listed.json()["jobs"]] == ["new"]


async def test_the_tabs_count_what_matches_the_filters(service: Service) -> None:
    desk = Desk(service)
    desk.add("found", 1.6, verdict="likely_manipulated")
    desk.add("cleared", -1.1, verdict="no_manipulation_found")
    unread = Filters(verdict="no_manipulation_found")
    counts = desk.services.triage.counts(desk.caller, unread)
    assert counts["all"] == counts["review"] == 1
    assert counts["done"] == 0
    await service.sign_in(Role.ANALYST)
    page = (await service.client.get("/?verdict=no_manipulation_found")).text
    shown = re.findall(r'tab=(\w+)"[^>]*>[^<]*<span class="count">(\d+)</span>', page)
    assert dict(shown) == {
        "review": "1", "waiting": "0", "on_hold": "0", "notice": "0", "done": "0", "all": "1",
    }  # fmt: skip


async def test_the_export_holds_what_is_searched_for(service: Service) -> None:
    desk = Desk(service)
    desk.add("one", 1.6, "수신본.mp4", verdict="likely_manipulated")
    desk.add("two", 0.6, "clip.mp4", **LEANS)
    await service.sign_in(Role.ANALYST)
    page = (await service.client.get("/", params={"q": "수신", "days": "7"})).text
    (address,) = re.findall(r'href="(/results\.csv[^"]*)"', page)
    table = (await service.client.get(html.unescape(address))).text.removeprefix("\ufeff")
    assert [row["job"] for row in csv.DictReader(io.StringIO(table))] == ["one"]
    for text, found in (("2026-two", {"two"}), ("0000", {"one", "two"}), ("nothing", set())):
        table = (await service.client.get("/results.csv", params={"q": text})).text
        rows = csv.DictReader(io.StringIO(table.removeprefix("\ufeff")))
        assert {row["job"] for row in rows} == found
    # Filters and search do not reset each other.
    assert page.count('<input type="hidden" name="days" value="7">') == 1
    assert page.count('<input type="hidden" name="q" value="수신">') == 1


async def test_a_search_finds_names_whose_syllables_are_in_parts(service: Service) -> None:
    """File names from macOS often are in Unicode form D. References are stored in form C."""
    desk = Desk(service)
    parts = unicodedata.normalize("NFD", "수신본.mp4")
    desk.add("parts", 1.6, parts)
    desk.add("whole", 0.6, "수신본.mp4")
    for text in ("수신", unicodedata.normalize("NFD", "수신")):
        assert set(desk.ids(Tab.ALL, text)) == {"parts", "whole"}


async def test_the_list_says_why_an_item_could_not_be_evaluated(service: Service) -> None:
    small = footage.picture(footage.resized(footage.astronaut(), 120, 120), "PNG")
    jobs = [await examined(service, data) for data in (b"no media at all", small)]
    await service.sign_in(Role.ANALYST)
    page = (
        await service.client.get("/?verdict=unable_to_evaluate", headers={"Accept-Language": "en"})
    ).text
    for job, code in zip(jobs, ("undecodable", "face_too_small"), strict=True):
        row = page[page.index(f'id="job-{job["id"]}"') :].partition("</tr>")[0]
        assert words("en").of("reason_texts", code) in row
        # A file whose faces are too small is not a broken one.
        assert (BROKEN in row) == (code == "undecodable")


async def test_the_next_item_is_the_one_below_and_skipped_ones_come_again(
    service: Service,
) -> None:
    desk = Desk(service)
    for n, llr in enumerate((1.6, 1.1, 0.6)):
        desk.add(f"job{n}", llr, **LEANS)
    desk.add("done", 0.1, finding=Finding.REJECTED)
    following = desk.services.triage.next_unreviewed
    assert [following(desk.caller, f"job{n}") for n in range(3)] == ["job1", "job2", "job0"]
    assert following(desk.caller, "done") == "job0"
    assert following(desk.caller, "nothing") == "job0"


async def test_what_awaits_a_second_person_is_left_to_others(service: Service) -> None:
    desk = Desk(service)
    desk.add("job1", 1.6, **LEANS)
    desk.add("job2", 0.6, **LEANS, finding=Finding.AWAITING_SECOND)
    made = {"job_id": "job2", "account_id": desk.caller.account_id, "sealed": b"x"}
    with service.database.write() as session:
        session.add(Review(id=new_id(), decision="confirmed", created_at=desk.now, **made))
    triage = desk.services.triage
    assert desk.ids() == ["job1"]
    assert triage.next_unreviewed(desk.caller, "job1") is None
    other = service.accounts.authenticate(service.keys[Role.ADMIN])
    rows = triage.page(other, QueueRequest()).rows
    assert [row.item.id for row in rows] == ["job2", "job1"]
    assert triage.counts(other)["review"] == 2
    assert triage.next_unreviewed(other, "job1") == "job2"


async def test_pages_follow_one_another_through_equal_ranks(service: Service) -> None:
    desk = Desk(service)
    for n in range(9):
        desk.add(f"job{n}", 0.6 + n % 2, **LEANS, created_at=desk.now - timedelta(minutes=n // 3))
    seen: list[str] = []
    cursor = None
    while len(seen) < 9:
        page = desk.services.triage.page(desk.caller, QueueRequest(limit=2, cursor=cursor))
        seen += [row.item.id for row in page.rows]
        cursor = page.next
    assert cursor is None
    assert sorted(seen) == [f"job{n}" for n in range(9)]
    assert [int(job_id[3:]) % 2 for job_id in seen] == [1, 1, 1, 1, 0, 0, 0, 0, 0]


async def test_what_waits_is_in_the_order_of_its_places_from_page_to_page(
    service: Service,
) -> None:
    desk = Desk(service)
    for name, changes in (
        ("last", {"turn": 2**40}),
        ("second", {"turn": 3, "created_at": desk.now - timedelta(hours=1)}),
        ("third", {"turn": 3}),
        ("examined", {"turn": 9, "state": JobState.RUNNING}),
        ("first", {"turn": 9, "priority": "live"}),
    ):
        desk.add(name, None, **{"state": JobState.QUEUED, **changes})
    seen: list[tuple[str, int | None]] = []
    cursor = None
    for _ in range(5):
        page = desk.services.triage.page(
            desk.caller, QueueRequest(Tab.WAITING, limit=1, cursor=cursor)
        )
        seen += [(row.item.id, row.place and row.place.number) for row in page.rows]
        cursor = page.next
    assert cursor is None
    expected = [("examined", None), ("first", 1), ("second", 2), ("third", 3), ("last", 4)]
    assert seen == expected


async def test_a_cursor_of_another_tab_is_refused(service: Service) -> None:
    desk = Desk(service)
    for n in range(2):
        desk.add(f"job{n}", 0.6, **LEANS)
    cursor = desk.services.triage.page(desk.caller, QueueRequest(limit=1)).next
    with pytest.raises(InvalidRequest):
        desk.ids(Tab.ALL, cursor=cursor)


async def test_the_queue_tells_when_what_it_awaits_is_still_examined(service: Service) -> None:
    desk = Desk(service)
    await service.sign_in(Role.ANALYST)
    korean = {"Accept-Language": "ko"}
    assert "검토할 파일이 없습니다" in (await service.client.get("/", headers=korean)).text
    desk.add("job0", None, state=JobState.QUEUED)
    text = (await service.client.get("/", headers=korean)).text
    assert "아직 검토할 것이 없습니다" in text
    assert '<a href="/?tab=waiting">1건이 검사 중이거나' in text
    assert "검토할 파일이 없습니다" not in text


async def test_part_of_a_reference_or_of_a_name_is_found_by_those_who_may_see_it(
    service: Service,
) -> None:
    desk = Desk(service)
    desk.add("job1", 0.6, name="텔레그램_수신본.MP4")
    desk.add("job2", 0.6)
    assert desk.ids(Tab.ALL, "수신본.mp4") == ["job1"]
    assert desk.ids(Tab.ALL, "job2-01") == ["job2"]
    assert desk.ids(Tab.ALL, "other") == []
    pipeline = service.accounts.authenticate(service.keys[Role.PIPELINE])
    assert not desk.services.triage.page(pipeline, QueueRequest(Tab.ALL, text="수신본")).rows


async def test_a_search_that_stops_early_can_be_continued(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.review.triage.SCANNED", 2)
    desk = Desk(service)
    for n in range(5):
        name = "wanted.mp4" if n == 4 else "clip.mp4"
        desk.add(f"job{n}", None, name, created_at=desk.now - timedelta(minutes=n))
    asked, found = QueueRequest(Tab.ALL, text="wanted"), []
    for _ in range(3):
        page = desk.services.triage.page(desk.caller, asked)
        found += [row.item.id for row in page.rows]
        asked = QueueRequest(Tab.ALL, text="wanted", cursor=page.next)
    assert found == ["job4"]
    assert page.next is None


async def test_a_page_says_how_many_items_were_searched(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.review.triage.SCANNED", 2)
    desk = Desk(service)
    for n in range(3):
        desk.add(f"job{n}", None)
    await service.sign_in(Role.ANALYST)
    headers = {"Accept-Language": "en"}
    page = (await service.client.get("/?q=absent", headers=headers)).text
    assert "None of the 2 items searched here matches." in page


async def test_reading_the_list_is_audited_once_in_ten_minutes(service: Service) -> None:
    desk = Desk(service)
    desk.add("job1", 0.6)
    for _ in range(2):
        desk.ids()
    with service.database.read() as session:
        assert count(session, Action.RESULT_READ) == 1


async def test_notices_to_withdraw_and_near_deadlines_have_their_tabs(service: Service) -> None:
    desk = Desk(service)
    usual = {"account_id": desk.caller.account_id, "kind": "us-take-it-down", "language": "en",
             "sealed": b"x", "created_at": desk.now, "state": NoticeState.SENT}  # fmt: skip
    cases = [desk.add(f"job{n}", 0.6) for n in range(3)]
    with service.database.write() as session:
        for case_id, changes in zip(
            cases,
            (
                {"withdraw_at": desk.now},
                {"due_at": desk.now + timedelta(hours=5)},
                {"due_at": desk.now + timedelta(hours=40)},
            ),
            strict=True,
        ):
            session.add(Notice(id=new_id(), case_id=case_id, **usual, **changes))
    assert desk.ids(Tab.DUE) == ["job1", "job0"]
    await service.sign_in(Role.ANALYST)
    page = (await service.client.get("/", headers={"Accept-Language": "en"})).text
    assert '<a href="/notices">1 notice must be withdrawn</a>' in page


async def test_waiting_items_have_a_place_by_priority(service: Service) -> None:
    desk = Desk(service)
    waiting = {"state": JobState.QUEUED, "priority": "batch"}
    desk.add("ended", 0.6, started_at=desk.now - timedelta(seconds=20), finished_at=desk.now)
    desk.add("second", None, **{**waiting, "turn": 3})
    desk.add("first", None, **{**waiting, "priority": "live", "turn": 9})
    page = desk.services.triage.page(desk.caller, QueueRequest(Tab.WAITING))
    assert {row.item.id: row.place for row in page.rows} == {
        "first": Place(1, 20),
        "second": Place(2, 40),
    }
    for job_id, place in (("second", Place(2, 40)), ("ended", None)):
        assert desk.services.item_pages.read(desk.caller, job_id).place == place


async def test_places_are_counted_by_the_database(service: Service) -> None:
    desk = Desk(service)
    waiting = {"state": JobState.QUEUED, "priority": "batch"}
    for name, turn in (("d", 4), ("b", None), ("c", 3), ("a", None), ("e", 4)):
        desk.add(name, None, **{**waiting, "turn": turn})
    with statements(service.database.engine) as seen, service.database.read() as session:
        places = places_of(session, ["e", "a"])
    assert {name: place.number for name, place in places.items()} == {"e": 5, "a": 1}
    limits = (" IN (", "LIMIT", "count(")
    assert all(any(limit in s for limit in limits) for s in seen if "FROM jobs" in s)


@pytest.mark.parametrize(
    ("llr", "rank"), [(None, None), (0.0, 0), (0.49, 0), (0.5, 1), (-0.1, -1), (40.0, 20)]
)
def test_the_rank_in_plain_text_is_a_step_of_half_a_decade(
    llr: float | None, rank: int | None
) -> None:
    assert rank_of(llr) == rank


async def test_names_and_thumbnails_are_sealed_and_deleted_with_the_evidence(
    service: Service,
) -> None:
    job = await submit(service)
    with service.database.write() as session:
        row = session.get_one(Job, job["id"])
        key = service.app.state.shared.services.vault.case_key(session.get_one(Case, row.case_id))
        picture = io.BytesIO()
        Image.new("RGB", (4, 4)).save(picture, "JPEG")
        end_listing(session, key, row, (ListEntry(llr=0.3), picture.getvalue()))
        listing = session.get_one(Listing, job["id"])
        assert b"v.mp4" not in listing.sealed
        assert listing.thumbnail is not None
        assert picture.getvalue() not in listing.thumbnail
    await service.sign_in(Role.ANALYST)
    path = f"/items/{job['id']}/thumbnail.jpg"
    assert (await service.client.get(path)).content == picture.getvalue()
    page = (await service.client.get("/?tab=all")).text
    assert "v.mp4" in page
    services = service.app.state.shared.services
    services.retention.delete_evidence(job["id"])
    assert (await service.client.get(path)).status_code == 404
    caller = service.accounts.authenticate(service.keys[Role.ADMIN])
    with pytest.raises(NotFound):
        services.queries.thumbnail(caller, job["id"])
