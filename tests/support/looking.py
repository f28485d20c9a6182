"""Posts of notices that were sent, and the looks at them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from deepfake_service.platform.db import Job, Notice, Occurrence, Watch
from deepfake_service.platform.enums import LookResult
from deepfake_service.platform.findings import Decision
from deepfake_service.platform.pages import Pages
from deepfake_service.post_pages.reading import PageReaders, ShownPage, read_page
from deepfake_service.post_pages.signs import Observation
from deepfake_service.removal.lane import LookLane
from deepfake_service.removal.looks import NewLook
from deepfake_service.removal.page_looks import PostLooker
from tests.support.jobs import VIDEO, submit
from tests.support.notices import GOOD, decide, look_manipulated, updated
from tests.support.stand_ins import do_due

# ``conftest.Service`` of the unit tests.
Service = Any


class InProcessReaders(PageReaders):
    """Reads pages in this process, without the time that a sandbox takes to start."""

    def __init__(self) -> None:
        pass

    def close(self) -> None:
        pass

    def read(self, markup: str, data_names: Sequence[str]) -> ShownPage | None:
        return read_page(markup, data_names)


def looker_of(pages: Pages) -> PostLooker:
    return PostLooker(pages, InProcessReaders())


def lane_of(service: Service, pages: Pages, name: str = "worker-1") -> LookLane:
    services = service.app.state.shared.services
    return LookLane(service.database, name, services.vault, services.looks, looker_of(pages))


def saw(service: Service, result: LookResult, **told: Any) -> NewLook:
    """Return what a person saw: now, if not ``seen_at``."""
    at = told.pop("seen_at", None) or service.clock()
    return NewLook(Observation(result, strong=True), at, **told)


def pass_time(service: Service, lane: LookLane, hours: float, step_h: float = 0.25) -> int:
    """Let time pass in small steps, and make the looks that become due; return their number.

    Steps before the next look that is planned are one.
    """
    made, left = 0, hours
    while left > 0:
        with service.database.read() as session:
            planned = session.scalar(select(func.min(Watch.next_look_at)))
        idle_h = (planned - service.clock()) / timedelta(hours=1) if planned else left
        passed = step_h * max(1, math.ceil(idle_h / step_h))
        service.clock.advance(timedelta(hours=min(passed, left)))
        made += do_due(lane)
        left -= passed
    return made


async def reported(service: Service, *urls: str, content: bytes = VIDEO) -> tuple[str, list[str]]:
    """Submit a file that was seen at these URLs, and that an analyst then finds manipulated.

    Returns:
        The ids of its case and of its posts, in the order of the URLs.
    """
    job = await submit(service, content, source_url=urls[0], platform="Video")
    for url in urls[1:]:
        form = {"source_url": url, "platform": "Video", "media_id": job["media_id"]}
        answer = await service.client.post(
            f"/v1/cases/{job['case_id']}/occurrences", files={n: (None, v) for n, v in form.items()}
        )
        assert answer.status_code == 201, answer.text
    with service.database.write() as session:
        look_manipulated(service, session, job["id"])
        session.get_one(Job, job["id"]).evidence_expired_at = service.clock()
        there = select(Occurrence.id).where(Occurrence.case_id == job["case_id"])
        posts = list(session.scalars(there.order_by(Occurrence.created_at, Occurrence.id)))
    decide(service, job["id"], Decision.CONFIRMED)
    return job["case_id"], posts


async def sent(
    service: Service, case_id: str, posts: list[str], kind: str = "us-take-it-down"
) -> dict[str, Any]:
    """Create a notice about posts, and record that it was sent now."""
    content = {
        "kind": kind, "language": "en", "occurrence_ids": posts, "fields": GOOD[kind],
        "recipient": "Video",
    }  # fmt: skip
    answer = await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    assert answer.status_code == 201, answer.text
    return await updated(service, answer.json()["id"], sent_at=service.clock().isoformat())


def watch_of(service: Service, post: str) -> Watch:
    """Return the newest watch of a post."""
    with service.database.read() as session:
        found = session.scalars(
            select(Watch)
            .join(Notice, Watch.notice_id == Notice.id)
            .where(Watch.occurrence_id == post)
            .order_by(Notice.sent_at.desc())
        ).first()
    assert found is not None
    return found
