"""Copies of items that people confirmed: who is shown what, and what a key takes over."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import delete, select

from deepfake_service.audit.log import Action
from deepfake_service.cases.cases import material_of
from deepfake_service.hashes.hash_bank import KEPT_FOR
from deepfake_service.platform.db import AuditEntry, Job, KnownHashes, Match
from deepfake_service.platform.enums import Role
from tests.support import exhibits, footage
from tests.support.answers import browse
from tests.support.jobs import examined, headers
from tests.unit.service.conftest import Service, Starter

EDGE = {"code": "edge", "time_s": 0.5, "rect": [10.0, 20.5, 110.0, 200.0]}
TEETH = {"code": "teeth", "time_s": None, "rect": None}
NOWHERE = {"time_s": None, "rect": None}
COPIED = '<section class="note copied"'


@cache
def dimmer() -> bytes:
    """Return ``exhibits.video()`` in another encoding."""
    frames = [(f * 0.95).astype("uint8") for f in footage.panning(50, 320, 256)]
    return footage.encode(frames, options={"crf": "30"})


async def decide(
    service: Service, job: dict[str, Any], role: Role = Role.ANALYST, **said: Any
) -> str:
    answer = await service.client.post(
        f"/v1/jobs/{job['id']}/reviews",
        json={"decision": "confirmed", "signs": [TEETH, EDGE], **said},
        headers=headers(service, role),
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["finding"])


async def matches(
    service: Service, job: dict[str, Any], role: Role = Role.ANALYST
) -> list[dict[str, Any]]:
    answer = await service.client.get(
        f"/v1/jobs/{job['id']}/matches", headers=headers(service, role)
    )
    found: list[dict[str, Any]] = answer.json()["matches"]
    return found


async def desk(service: Service, job: dict[str, Any], role: Role = Role.ANALYST) -> str:
    """Return what is on the right side of an item's page."""
    await browse(service, role)
    page = (await service.client.get(f"/items/{job['id']}")).text
    return page.partition('<div class="desk">')[2].partition('class="next-steps"')[0]


def taken_over(part: str) -> tuple[str, Any]:
    """Return the finding and the signs that the key takes over."""
    (finding,) = re.findall(r'id="take-over" value="(\w+)"', part)
    signs = re.findall('data-original="([^"]*)"', part)
    return finding, [json.loads(html.unescape(sign)) for sign in signs]


async def test_the_same_file_is_found_whichever_came_first(service: Service) -> None:
    before = await examined(service, exhibits.video(), case_reference="BEFORE")
    original = await examined(service, exhibits.video(), case_reference="KNOWN")
    assert await matches(service, before) == []
    await decide(service, original, decision="body_generated", reason="her words")
    after = await examined(service, exhibits.video(), case_reference="AFTER")
    for copy in (before, after):
        (match,) = await matches(service, copy)
        assert (match["job_id"], match["case_reference"]) == (original["id"], "KNOWN")
        assert (match["same_file"], match["confirmed"], match["percent"]) == (True, True, 100)
        part = await desk(service, copy)
        assert part.lstrip().startswith(COPIED)  # before anything else
        assert f'<a href="/items/{original["id"]}">' in part
        assert taken_over(part) == ("body_generated", [EDGE, TEETH])
        assert not any(told in part for told in ("her words", "behind a fake"))
        assert "<kbd>y</kbd>" in part
    assert await matches(service, original) == []
    with service.database.read() as session:
        read = select(AuditEntry).where(AuditEntry.action == Action.CASE_READ)
        assert session.scalars(read.where(AuditEntry.subject == original["case_id"])).all()
    # Nothing is decided by that.
    answer = await service.client.get(f"/v1/jobs/{after['id']}/reviews")
    assert (answer.json()["finding"], answer.json()["reviews"]) == (None, [])
    await decide(service, after, decision="rejected", reason="another person")
    assert 'id="take-over"' not in await desk(service, after)
    await decide(service, before)
    assert [m["job_id"] for m in await matches(service, original)] == [before["id"]]
    assert COPIED not in await desk(service, original)  # it was confirmed by itself
    await decide(service, original, decision="rejected", reason="a mistake")
    assert await matches(service, before) == []
    assert COPIED not in await desk(service, before)


async def test_a_copy_that_looks_alike_takes_over_signs_without_their_places(
    service: Service,
) -> None:
    before = await examined(service, dimmer(), case_reference="BEFORE")
    original = await examined(service, exhibits.video(), case_reference="KNOWN")
    await decide(service, original)
    after = await examined(service, dimmer() + bytes(9), dimmer(), case_reference="AFTER")
    assert [m["job_id"] for m in await matches(service, after)] == [original["id"]]
    assert await matches(service, before) == []
    services = service.app.state.shared.services
    for _ in range(2):
        services.hash_bank.catch_up()  # as a worker does
    for copy in (before, after):
        (match,) = await matches(service, copy)
        assert (match["job_id"], match["same_file"]) == (original["id"], False)
        assert match["percent"] >= 80
        part = await desk(service, copy)
        assert "behind a fake" in part
        assert "Copy of" not in part
        found = taken_over(part)
        assert found == ("confirmed", [{"code": code, **NOWHERE} for code in ("edge", "teeth")])
    await decide(service, original, decision="rejected", reason="a mistake")
    assert [m["confirmed"] for m in await matches(service, before)] == [False]
    assert 'id="take-over"' not in await desk(service, before)
    other = await examined(service, exhibits.video(), case_reference="KNOWN", frames=6)
    await decide(service, other)  # in the same case
    services.hash_bank.catch_up()
    assert [(m["job_id"], m["confirmed"]) for m in await matches(service, before)] == [
        (other["id"], True)
    ]
    assert await matches(service, original) == []


async def test_what_was_confirmed_before_copies_were_looked_for_is_known(service: Service) -> None:
    copy = await examined(service, dimmer())
    original = await examined(service, exhibits.video())
    await decide(service, original)
    with service.database.write() as session:
        session.execute(delete(KnownHashes))
    services = service.app.state.shared.services
    service.clock.advance(timedelta(days=90))
    services.hash_bank.catch_up()
    with service.database.read() as session:
        assert session.scalars(select(Match.known_job_id)).all() == [original["id"]]
        (known,) = session.scalars(select(KnownHashes))
        assert known.expires_at < known.created_at - timedelta(days=89) + KEPT_FOR
    service.clock.advance(KEPT_FOR - timedelta(days=90))
    services.hash_bank.forget_expired()
    services.hash_bank.catch_up()
    with service.database.read() as session:
        assert session.scalars(select(KnownHashes)).all() == []
    assert [m["job_id"] for m in await matches(service, copy)] == [original["id"]]


async def test_a_further_confirmation_keeps_the_hashes(service: Service) -> None:
    original = await examined(service, exhibits.video())
    await decide(service, original)
    with service.database.read() as session:
        (known,) = session.scalars(select(KnownHashes))
        material = material_of(session.get_one(Job, original["id"]))
    service.app.state.shared.services.vault.blobs.delete(material)
    service.clock.advance(timedelta(days=90))
    await decide(service, original, Role.ADMIN)
    with service.database.read() as session:
        (kept,) = session.scalars(select(KnownHashes))
    assert (kept.sealed, kept.expires_at > known.expires_at) == (known.sealed, True)


async def test_who_may_not_see_the_original_is_not_told_of_it(service: Service) -> None:
    original = await examined(service, exhibits.video(), role=Role.ANALYST)
    await decide(service, original, Role.ADMIN)
    copies = [
        await examined(service, exhibits.video()),
        await examined(service, dimmer(), case_reference="ALIKE"),
    ]
    for copy in copies:
        assert len(await matches(service, copy)) == 1
        assert await matches(service, copy, Role.PIPELINE) == []


async def test_a_second_reviewer_is_not_told_of_the_original(start: Starter) -> None:
    async with start(two_person_review=True) as service:
        original = await examined(service, exhibits.video(), case_reference="KNOWN")
        copy = await examined(service, exhibits.video(), case_reference="COPY")
        assert await decide(service, original) == "awaiting_second"
        assert COPIED not in await desk(service, copy)  # one person does not confirm it
        await decide(service, original, Role.ADMIN, signs=[EDGE], reason="the edge")
        assert taken_over(await desk(service, copy)) == ("confirmed", [EDGE, TEETH])
        assert await decide(service, copy) == "awaiting_second"
        part = await desk(service, copy, Role.ADMIN)
        assert await matches(service, copy, Role.ADMIN) == []
        assert not any(told in part for told in (COPIED, original["id"], "data-original", "KNOWN"))
        assert "copy of a confirmed" not in (await service.client.get("/")).text
        await decide(service, copy, Role.ADMIN, decision="rejected", reason="another person")
        assert COPIED in await desk(service, copy, Role.ADMIN)
