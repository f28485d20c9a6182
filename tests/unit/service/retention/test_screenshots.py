"""Screenshots expire with the media of their case, and are then not found."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import timedelta
from typing import Any

import pyrage
import pytest
from sqlalchemy import select

from deepfake_service.cases.cases import screenshot_of
from deepfake_service.cases.media_deletion import expire_screenshot
from deepfake_service.platform.db import Occurrence
from deepfake_service.platform.enums import Role
from deepfake_service.retention.due import GRACE
from tests.support.jobs import VIDEO, WEEK, all_entries, blobs, finish, headers, submit, sweep
from tests.unit.service.conftest import Service


async def test_a_slow_store_does_not_hold_up_other_writers_when_a_screenshot_expires(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(service, case_reference="R")
    shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
    path = f"/v1/cases/{job['case_id']}/occurrences"
    assert (await service.client.post(path, data={"platform": "X"}, files=shot)).status_code == 201
    seen = (await service.client.get(path)).json()["occurrences"]
    (occurrence_id,) = (o["id"] for o in seen if o["screenshot"])
    vault = service.app.state.shared.services.vault
    opened, real = [], vault.blobs.open

    def open_blob(name: str) -> Any:
        with contextlib.closing(
            sqlite3.connect(str(service.database.engine.url.database), timeout=0)
        ) as other:
            other.execute("BEGIN IMMEDIATE")  # raises an error while another connection writes
        opened.append(name)
        return real(name)

    monkeypatch.setattr(vault.blobs, "open", open_blob)
    expire_screenshot(service.database, vault, occurrence_id)
    assert opened == [screenshot_of(job["case_id"], occurrence_id)]
    assert sum(e.action == "screenshot.expired" for e in all_entries(service)) == 1


async def test_what_the_store_does_not_have_any_more_is_not_found(service: Service) -> None:
    job = await submit(service, case_reference="R")
    shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
    occurrences = f"/v1/cases/{job['case_id']}/occurrences"
    added = await service.client.post(occurrences, data={"platform": "X"}, files=shot)
    medium = f"/v1/cases/{job['case_id']}/media/{job['media_id']}"
    screenshot = f"{occurrences}/{added.json()['id']}/screenshot"
    assert (await service.client.get(f"{medium}/content")).status_code == 200
    assert (await service.client.get(screenshot)).status_code == 200
    for path in blobs(service):  # as when both expire after their rows were read
        path.unlink()
    recipient = {"recipient": str(pyrage.x25519.Identity.generate().to_public())}
    answers = [
        await service.client.get(f"{medium}/content"),
        await service.client.get(screenshot),
        await service.client.post(
            f"{medium}/export", json=recipient, headers=headers(service, Role.ADMIN)
        ),
    ]
    assert [(a.status_code, a.json()["type"]) for a in answers] == [
        (404, "urn:deepfake-service:problem:not_found")
    ] * 3


async def test_screenshots_expire_with_the_media_and_cases_in_the_end(service: Service) -> None:
    job = await submit(service, case_reference="R", note="her name")
    finish(service, job["id"], service.clock() + WEEK)
    shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
    path = f"/v1/cases/{job['case_id']}/occurrences"
    added = await service.client.post(path, data={"platform": "X"}, files=shot)
    assert added.status_code == 201
    held = await submit(service, VIDEO + b"held", case_reference="HELD")
    finish(service, held["id"], service.clock() + WEEK)
    analyst = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
    hold = await service.client.put(f"/v1/cases/{held['case_id']}/hold", headers=analyst)
    assert hold.status_code == 204

    async def screenshots() -> list[bool]:
        case = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()
        return [o["screenshot"] for o in case["occurrences"]]

    assert sorted(await screenshots()) == [False, True]
    assert len(blobs(service)) == 3
    service.clock.advance(timedelta(days=6, hours=1))
    sweep(service)
    service.clock.advance(GRACE)
    sweep(service)
    assert await screenshots() == [False, False]
    assert len(blobs(service)) == 1  # of the held case
    with service.database.read() as session:
        shown = session.scalars(select(Occurrence.id).where(Occurrence.case_id == job["case_id"]))
        ids = shown.all()
    for occurrence_id in ids:
        answer = await service.client.get(f"{path}/{occurrence_id}/screenshot")
        assert answer.status_code == 404
    assert sum(e.action == "screenshot.expired" for e in all_entries(service)) == 1

    # One that is added later is kept as long as media are.
    again = await service.client.post(path, data={"platform": "Y"}, files=shot)
    assert again.status_code == 201
    for days, kept in ((0, 2), (6, 2), (2, 1)):
        service.clock.advance(timedelta(days=days))
        sweep(service)
        assert len(blobs(service)) == kept

    for days, gone in ((1095 + 300, False), (64, False), (2, True)):
        service.clock.advance(timedelta(days=days))
        sweep(service)
        answer = await service.client.get(f"/v1/cases/{job['case_id']}")
        assert (answer.status_code == 404) is gone
    assert (await service.client.get(f"/v1/cases/{held['case_id']}")).status_code == 200
    assert len(blobs(service)) == 1
    (expired,) = [e for e in all_entries(service) if e.action == "case.expired"]
    assert (expired.subject, expired.account_id) == (job["case_id"], None)
