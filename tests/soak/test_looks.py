"""Ten thousand watched posts on one machine, for a day of a clock that the test moves.

``SOAK_POSTS`` changes their number. Each look is real: it asks a platform on loopback, judges the
page, signs a record and seals it. The day is the one in which every post is due once, as most are
that have been noticed for longer; a fiftieth of the notices is new, and looked at more often.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select

from deepfake_service.accounts.accounts import Accounts, Caller
from deepfake_service.audit.records import open_database
from deepfake_service.cases.cases import BlindIndex
from deepfake_service.container import Services
from deepfake_service.platform.db import Case, Look, Media, Notice, Occurrence, Watch, new_id
from deepfake_service.platform.enums import NoticeState, Role, WatchState
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.pages import Pages
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import open_keys, seal_json
from deepfake_service.post_pages.reading import PageReaders
from deepfake_service.removal.lane import LookLane
from deepfake_service.removal.page_looks import PostLooker
from deepfake_service.removal.statistics import GroupBy
from deepfake_service.removal.watches import follow_notice
from tests.support.fake_platform import FakePlatform, post, resolving, status
from tests.support.stand_ins import AdjustableClock, SmallDecoder, do_due

POSTS = int(os.environ.get("SOAK_POSTS", "10000"))
SITES = 100
EACH = 100
"""Posts of one notice."""
STEP = timedelta(seconds=30)
LATE = timedelta(minutes=15)
"""How late a look may be: a site with many posts is asked once in ten seconds."""
LONG_AGO = timedelta(days=30)
POST, NEVER = re.compile(r"/v/\d{8}"), status(404)


@contextlib.contextmanager
def installation(folder: Path, clock: AdjustableClock) -> Iterator[tuple[Services, BlindIndex]]:
    settings = Settings(data_dir=folder / "var", looks_from="KR")
    with (
        contextlib.closing(open_database(settings, clock)) as database,
        contextlib.closing(
            Services(settings, database, "0" * 64, SmallDecoder(), Metrics())
        ) as services,
    ):
        yield services, BlindIndex(database, open_keys(settings))


def add_notice(
    services: Services,
    blind_index: BlindIndex,
    account_id: str,
    urls: list[str],
    sent_at: datetime,
    due_in: timedelta,
) -> None:
    """Record a case, its posts, and a notice about them that was sent."""
    vault = services.vault
    case_id, media_id = new_id(), new_id()
    key, wrapped = vault.new_case_key(case_id)
    with services.database.write() as session:
        case = Case(id=case_id, account_id=account_id, wrapped_key=wrapped, created_at=sent_at)
        seal_json(key, case, {"reference": None})
        session.add(case)
        session.flush()
        session.add(
            Media(id=media_id, case_id=case_id, sha256="a" * 64, size=1, created_at=sent_at)
        )
        session.flush()
        posts = []
        for url in urls:
            seen = Occurrence(
                id=new_id(), case_id=case_id, media_id=media_id, digest=new_id(), created_at=sent_at
            )
            nothing = ("platform", "account", "captured_at", "note", "case_reference", "capture",
                       "capture_sha256")  # fmt: skip
            content = {**dict.fromkeys(nothing), "source_url": url, "screenshot": False,
                       "collector": account_id, "tool": "api"}  # fmt: skip
            seal_json(key, seen, content)
            session.add(seen)
            posts.append(seen.id)
        notice = Notice(
            id=new_id(),
            case_id=case_id,
            account_id=account_id,
            kind="us-take-it-down",
            language="en",
            state=NoticeState.SENT,
            created_at=sent_at,
            sent_at=sent_at,
            due_at=sent_at + due_in,
        )
        seal_json(key, notice, {"occurrence_ids": posts})
        session.add(notice)
        session.flush()
        follow_notice(blind_index, session, key, notice, posts, removes=True)


def test_ten_thousand_posts_are_looked_at_within_their_schedule(tmp_path: Path) -> None:
    clock = AdjustableClock()
    platform = FakePlatform(tmp_path, with_tls=False)
    platform.others = lambda handler: (post() if POST.fullmatch(handler.path) else NEVER)(handler)
    with installation(tmp_path, clock) as (services, blind_index), resolving({}):
        database = services.database
        accounts = Accounts(database)
        accounts.create("centre", "person", Role.ANALYST)
        account_id = accounts.authenticate(accounts.create_key("centre").text).account_id
        began = time.monotonic()
        for start in range(0, POSTS, EACH):
            urls = [
                platform.url(f"/v/{number:08}", f"site{number % SITES}.example")
                for number in range(start, min(start + EACH, POSTS))
            ]
            is_new = start % (50 * EACH) == 0
            sent_at = clock() if is_new else clock() - LONG_AGO
            add_notice(services, blind_index, account_id, urls, sent_at, timedelta(hours=48))
        gone = {f"/v/{number:08}" for number in range(0, POSTS, 21)}
        platform.answers = dict.fromkeys(gone, status(410))
        spread_over_the_day(services, clock)
        print(f"{POSTS} posts recorded in {time.monotonic() - began:.0f} s")
        pages = Pages(allowed=CallbackHosts.of("127.0.0.1"))
        lane = LookLane(
            database,
            "worker-1",
            services.vault,
            services.looks,
            PostLooker(pages, PageReaders(require=False)),
        )
        latest, made, cpu = timedelta(0), 0, time.process_time()
        began = time.monotonic()
        for _ in range(int(timedelta(days=1) / STEP)):
            clock.advance(STEP)
            made += do_due(lane)
            with database.read() as session:
                oldest = session.scalar(select(func.min(Watch.next_look_at)))
            latest = max(latest, clock() - oldest if oldest else latest)
        lane.close()
        cpu, wall = time.process_time() - cpu, time.monotonic() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{made} looks in a day; the latest {latest} late; {1000 * cpu / made:.1f} ms of "
            f"a core each, platform included; {made / wall:.1f} a second here; peak {peak:.0f} MiB"
        )
        with database.read() as session:
            states = dict(
                session.execute(select(Watch.state, func.count()).group_by(Watch.state)).all()  # type: ignore[arg-type]
            )
            looks = session.scalar(select(func.count(Look.id)))
        print(states)
        began = time.monotonic()
        today = clock().date()
        found = services.removal_statistics.summary(
            Caller("admin", Role.ADMIN, None),
            today - timedelta(days=40),
            today + timedelta(days=1),
            GroupBy.PLATFORM,
        )
        print(f"counted in {time.monotonic() - began:.1f} s")
    platform.close()
    assert looks == made >= POSTS
    assert latest <= LATE
    assert WatchState.NOT_LOOKED not in states
    # A look an hour later confirms each removal, unless it was found in the last hours.
    assert 0.8 * len(gone) <= states[WatchState.GONE] <= len(gone)
    assert found.total.counts.sent == POSTS
    assert found.total.counts.removed == states[WatchState.GONE]


def spread_over_the_day(services: Services, clock: AdjustableClock) -> None:
    """Let the posts of old notices be due at times all over the coming day."""
    with services.database.write() as session:
        old = select(Watch).join(Notice).where(Notice.sent_at < clock() - timedelta(days=1))
        watches = session.scalars(old.order_by(Watch.id)).all()
        for number, watch in enumerate(watches):
            watch.next_look_at = clock() + timedelta(days=1) * (number + 0.5) / len(watches)
