"""When media and jobs expire, and what no record names is swept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from deepfake_service.platform.db import AuditEntry, Case
from deepfake_service.platform.enums import Role
from deepfake_service.platform.storage.vault import LONGEST_UPLOAD
from deepfake_service.retention.due import GRACE, RetentionPeriods, due_media
from deepfake_service.retention.orphans import COMMITTED_WITHIN, delete_orphans
from tests.support.answers import check_problem
from tests.support.captures import hand_in
from tests.support.jobs import WEEK, blobs, finish, headers, post_video, sweep
from tests.unit.service.conftest import Service


async def test_media_expire_unless_a_legal_hold_keeps_them(service: Service) -> None:
    job = (await post_video(service)).json()
    now = datetime.now(UTC)
    finish(service, job["id"], now + timedelta(days=1))
    sweep(service)
    assert len(blobs(service)) == 1
    hold = f"/v1/cases/{job['case_id']}/hold"
    analyst = {"headers": headers(service, Role.ANALYST)}
    assert (await service.client.put(hold)).status_code == 403
    assert (await service.client.put(hold, **analyst)).status_code == 204
    for path in (f"/v1/jobs/{job['id']}", f"/v1/cases/{job['case_id']}"):
        refused = await service.client.delete(path)
        assert refused.status_code == 409
        assert refused.json()["type"].endswith(":case_held")
    service.clock.advance(timedelta(days=1, seconds=1))
    sweep(service)
    assert len(blobs(service)) == 1
    assert (await service.client.delete(hold, **analyst)).status_code == 204
    sweep(service)
    assert len(blobs(service)) == 1
    service.clock.advance(GRACE)
    sweep(service)
    assert not blobs(service)
    kept = (await service.client.get(f"/v1/jobs/{job['id']}")).json()
    assert (kept["media_kept"], kept["state"]) == (False, "succeeded")
    path = f"/v1/jobs/{job['id']}/examinations"
    refused = await service.client.post(path, json={"frames": 9, "around_s": 0.5}, **analyst)
    check_problem(refused, 410, "media_deleted")
    with service.database.read() as session:
        actions = [e.action for e in session.scalars(select(AuditEntry))]
    assert {"hold.set", "hold.lifted", "media.expired"} <= set(actions)


async def test_a_job_that_nobody_examines_expires_with_its_media(service: Service) -> None:
    job = (await post_video(service)).json()
    path = f"/v1/jobs/{job['id']}"
    for days, state, kept in ((6, "queued", True), (2, "expired", False)):
        service.clock.advance(timedelta(days=days))
        sweep(service)
        found = (await service.client.get(path)).json()
        assert (found["state"], found["media_kept"]) == (state, kept)
    assert not blobs(service)
    again = (await post_video(service)).json()
    assert (again["state"], again["id"] != job["id"]) == ("queued", True)


async def test_media_of_items_on_hold_are_kept_until_their_day(service: Service) -> None:
    job = (await post_video(service)).json()
    finish(service, job["id"], service.clock() + WEEK)
    analyst = {"headers": headers(service, Role.ANALYST)}
    path = f"/v1/jobs/{job['id']}"
    review = {"decision": "undecided", "reason": "seen"}
    kept_for = timedelta(days=service.app.state.shared.settings.evidence_days)

    async def put_on_hold(days: int, **changes: str) -> tuple[int, list[str]]:
        day = (service.clock() + timedelta(days=days)).date().isoformat()
        hold = {"awaited": "original", "awaited_from": "police", "awaited_until": day}
        body = {**review, "on_hold": hold, **changes}
        answer = await service.client.post(f"{path}/reviews", json=body, **analyst)
        return answer.status_code, [e["field"] for e in answer.json().get("errors", [])]

    assert await put_on_hold(-2) == (422, ["awaited_until"])
    assert await put_on_hold(kept_for.days + 2) == (422, ["awaited_until"])
    assert await put_on_hold(20, decision="confirmed") == (422, ["on_hold"])
    assert (await service.client.get("/v1/jobs?pending=on_hold", **analyst)).json()["jobs"] == []
    assert await put_on_hold(20) == (201, [])
    told = (await service.client.get(f"{path}/reviews", **analyst)).json()
    assert told["on_hold"]["awaited_from"] == "police"
    listed = (await service.client.get("/v1/jobs?pending=on_hold", **analyst)).json()["jobs"]
    assert [each["id"] for each in listed] == [job["id"]]
    expires = datetime.fromisoformat(listed[0]["media_expires_at"])
    assert expires - service.clock() > timedelta(days=19)
    # It is kept as long after that as after a review: a day here.
    for days, kept in ((19, 1), (2, 1), (2, 0)):
        service.clock.advance(timedelta(days=days))
        sweep(service)
        assert len(blobs(service)) == kept


async def test_the_media_go_when_an_item_on_hold_is_decided(service: Service) -> None:
    job = (await post_video(service)).json()
    finish(service, job["id"], service.clock() + WEEK)
    analyst = {"headers": headers(service, Role.ANALYST)}
    day = (service.clock() + timedelta(days=20)).date().isoformat()
    hold = {"awaited": "original", "awaited_from": "police", "awaited_until": day}
    for review in ({"decision": "undecided", "on_hold": hold}, {"decision": "rejected"}):
        answer = await service.client.post(
            f"/v1/jobs/{job['id']}/reviews", json={**review, "reason": "seen"}, **analyst
        )
        assert answer.status_code == 201, answer.text
    for kept in (1, 0):
        sweep(service)
        assert len(blobs(service)) == kept
        service.clock.advance(timedelta(days=2))


async def test_the_time_at_which_media_are_said_to_expire_is_when_they_are_due(
    service: Service,
) -> None:
    """As two places say it: a query for the sweeps, and what is told of one item."""
    job, analyst = (await post_video(service)).json(), headers(service, Role.ANALYST)
    finish(service, job["id"], service.clock() + WEEK)
    periods = RetentionPeriods(service.app.state.shared.settings)
    day = (service.clock() + timedelta(days=20)).date().isoformat()
    hold = {"awaited": "original", "awaited_from": "police", "awaited_until": day}
    told = []
    for review in (None, {"decision": "rejected"}, {"decision": "undecided", "on_hold": hold}):
        if review is not None:
            path = f"/v1/jobs/{job['id']}/reviews"
            answer = await service.client.post(
                path, json={**review, "reason": "seen"}, headers=analyst
            )
            assert answer.status_code == 201, answer.text
        found = (await service.client.get(f"/v1/jobs/{job['id']}", headers=analyst)).json()
        expires, second = datetime.fromisoformat(found["media_expires_at"]), timedelta(seconds=1)
        with service.database.read() as session:
            for at, due in ((expires - second, []), (expires + second, [job["media_id"]])):
                assert list(session.scalars(due_media(periods, at))) == due
        told.append((expires - service.clock()) / timedelta(days=1))
    assert told[:2] == pytest.approx([7, 1], abs=0.01)
    assert 20 < told[2] < 22  # a day after the end of that day in Korea


async def test_files_handed_in_after_the_review_are_not_reviewed(service: Service) -> None:
    job = (await post_video(service)).json()
    finish(service, job["id"], service.clock() + WEEK)
    with service.database.write() as session:
        session.get_one(Case, job["case_id"]).reviewed_at = service.clock()
    service.clock.advance(timedelta(minutes=1))
    answer = await hand_in(service, b"a page", case_id=job["case_id"], case_reference="")
    assert answer.status_code == 202, answer.text
    kept = []
    for _ in range(10):
        sweep(service)
        kept.append(len(blobs(service)))
        service.clock.advance(timedelta(hours=23))
    assert kept == [2, 2, 1, 1, 1, 1, 1, 1, 1, 0]


async def test_what_no_record_names_is_swept_once_it_is_old(
    service: Service,
) -> None:
    await post_video(service)
    services = service.app.state.shared.services
    job = (await service.client.get("/v1/jobs")).json()["jobs"][0]
    for name in ("media/orphan", "work/gone/part-0", f"work/{job['id']}/part-0"):
        services.vault.blobs.put_bytes(name, b"sealed")
    sweep(service)
    assert len(blobs(service)) == 4
    service.clock.advance(LONGEST_UPLOAD + COMMITTED_WITHIN + timedelta(seconds=5))
    sweep(service)
    left = {p.relative_to(p.parents[1]).as_posix() for p in blobs(service)}
    assert len(left) == 2
    assert f"{job['id']}/part-0" in left


async def test_orphans_are_looked_for_some_at_a_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.retention.orphans.BLOBS_PER_QUERY", 2)
    job = (await post_video(service)).json()
    services = service.app.state.shared.services
    store, at_a_time, read = services.vault.blobs, 0, 0
    for number in range(7):
        store.put_bytes(f"media/orphan-{number}", b"sealed")
    listed = store.older_than

    def counted(prefix: str, moment: datetime) -> Iterator[str]:
        nonlocal at_a_time, read
        for name in listed(prefix, moment):
            at_a_time, read = max(at_a_time, read + 1), read + 1
            yield name

    def forgotten(*names: str) -> None:
        nonlocal read
        read = 0
        delete(*names)

    delete = store.delete
    monkeypatch.setattr(store, "older_than", counted)
    monkeypatch.setattr(store, "delete", forgotten)
    service.clock.advance(LONGEST_UPLOAD + COMMITTED_WITHIN + timedelta(seconds=5))
    delete_orphans(services.database, services.vault)
    assert [p.name for p in blobs(service)] == [job["media_id"]]
    assert at_a_time <= 3


async def test_an_upload_is_no_orphan_as_long_as_it_may_take(service: Service) -> None:
    services = service.app.state.shared.services
    # Object stores date a blob by the beginning of its upload, whose row follows its end.
    services.vault.blobs.put_bytes("media/being-uploaded", b"sealed")
    for pause, left in ((LONGEST_UPLOAD, 1), (COMMITTED_WITHIN + timedelta(seconds=5), 0)):
        service.clock.advance(pause)
        delete_orphans(services.database, services.vault)
        assert len(blobs(service)) == left
