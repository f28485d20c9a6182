"""A result is copied to the same bytes in another case, and nothing else is."""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_service.casework.evidence_material import material_of
from deepfake_service.db import Case, Job, Media
from deepfake_service.db.enums import JobState, Role
from deepfake_service.errors import StorageUnavailable
from deepfake_service.evidence.artifacts import Material
from deepfake_service.evidence.builder import CUSTODY, VERDICT
from deepfake_service.evidence.zip_format import member
from deepfake_service.jobs.workflow import JobOver
from tests.support import evidencekit as kit
from tests.support.jobkit import end, examined, headers, post_video

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any


async def read(service: Service, job: dict[str, Any]) -> dict[str, Any]:
    answer = await service.client.get(f"/v1/jobs/{job['id']}")
    assert answer.status_code == 200
    content: dict[str, Any] = answer.json()
    return content


async def test_h2_the_same_bytes_in_another_case_share_a_result_and_nothing_else(
    service: Service,
) -> None:
    first = await examined(service, kit.video(), case_reference="CASE-A", note="victim A")
    review = {"decision": "confirmed", "reason": "seen in case A"}
    reviewed = await service.client.post(
        f"/v1/jobs/{first['id']}/reviews", json=review, headers=headers(service, Role.ANALYST)
    )
    assert reviewed.status_code == 201
    answer = await post_video(service, kit.video(), case_reference="CASE-B", note="victim B")
    second = answer.json()
    assert (answer.status_code, second["state"]) == (202, "succeeded")
    done = await read(service, first)
    for name in ("result", "verdict", "bundle_sha256"):
        assert second[name] == done[name]
    assert (done["finding"], second["finding"]) == ("confirmed", None)
    assert second["media_expires_at"]
    # The first case disappears, and nothing of the second one with it.
    assert (await service.client.delete(f"/v1/cases/{first['case_id']}")).status_code == 204
    evidence = await service.client.get(f"/v1/jobs/{second['id']}/evidence")
    assert evidence.status_code == 200, evidence.text
    document = json.loads(member(evidence.content, VERDICT))
    assert [o["note"] for o in document["occurrences"]] == ["victim B"]
    assert document["case"]["id"] == second["case_id"]
    assert document["reviews"] == []
    for other in ("victim A", "seen in case A", "CASE-A", first["id"], first["case_id"]):
        assert other.encode() not in evidence.content
    custody = json.loads(member(evidence.content, CUSTODY))
    actions = [e["action"] for e in custody["entries"]]
    assert actions[:3] == ["media.submitted", "result.copied", "job.finished"]
    verified = (await service.client.post("/v1/verify", content=evidence.content)).json()
    assert verified["result"] == "verified"
    medium = f"/v1/cases/{second['case_id']}/media/{second['media_id']}/content"
    assert (await service.client.get(medium)).content == kit.video()


async def test_a_worker_leaves_a_job_with_a_copied_result_alone(service: Service) -> None:
    await examined(service, kit.video(), case_reference="CASE-A")
    second = (await post_video(service, kit.video(), case_reference="CASE-B")).json()
    with service.database.read() as session:
        assert session.get_one(Job, second["id"]).state == JobState.SUCCEEDED
    from deepfake_service.casework.examination import Examination

    steps = Examination.__new__(Examination)
    steps._database = service.database
    with pytest.raises(JobOver):
        steps.take_up(second["id"])


async def test_results_are_not_copied_between_accounts_or_options(service: Service) -> None:
    await examined(service, kit.video(), case_reference="CASE-A")
    theirs = await post_video(service, kit.video(), Role.ANALYST, case_reference="CASE-A")
    assert theirs.json()["state"] == "queued"
    differently = await post_video(service, kit.video(), case_reference="CASE-B", frames="9")
    assert differently.json()["state"] == "queued"


async def test_a_job_whose_result_cannot_be_copied_is_examined(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await examined(service, kit.video(), case_reference="CASE-A")
    vault = service.app.state.shared.services.queries._vault

    def down(*_: Any) -> bytes:
        raise StorageUnavailable

    monkeypatch.setattr(vault, "read", down)
    second = await post_video(service, kit.video(), case_reference="CASE-B")
    assert (second.status_code, second.json()["state"]) == (202, "queued")


async def test_a_worker_that_is_faster_keeps_the_material_that_it_gathered(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await examined(service, kit.video(), case_reference="CASE-A")
    vault = service.app.state.shared.services.queries._vault
    own = kit.material(kit.video())
    own.examination["examined_at"] = "2026-05-06T07:08:09.000+00:00"
    read, ended = vault.read, []

    def read_while_a_worker_ends(name: str, key: bytes) -> bytes:
        content: bytes = read(name, key)
        if not ended:
            with service.database.read() as session:
                queued = select(Job.id).where(Job.state == JobState.QUEUED)
                ended.append(session.scalars(queued).one())
            end(service, ended[0], own)
        return content

    monkeypatch.setattr(vault, "read", read_while_a_worker_ends)
    second = (await post_video(service, kit.video(), case_reference="CASE-B")).json()
    assert (second["id"], second["state"]) == (ended[0], "succeeded")
    with service.database.read() as session:
        job = session.get_one(Job, second["id"])
        key = vault.case_key(session.get_one(Case, job.case_id))
    assert Material.unpack(vault.read(material_of(job), key)).examination == own.examination


async def test_nobody_waits_for_the_store_while_a_result_is_copied(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await examined(service, kit.video(), case_reference="CASE-A")
    blobs, file = service.app.state.shared.services.queries._vault.blobs, service.database._file
    stored: list[str] = []

    def outside_transactions(
        store: Callable[[str, bytes], None], name: str, content: bytes
    ) -> None:
        with contextlib.closing(sqlite3.connect(file, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
        stored.append(name)
        store(name, content)

    for method in ("put_bytes", "create_bytes"):
        real = getattr(blobs, method)
        monkeypatch.setattr(blobs, method, functools.partial(outside_transactions, real))
    copy = (await post_video(service, kit.video(), case_reference="CASE-B")).json()
    assert copy["state"] == "succeeded"
    assert [name for name in stored if name.endswith(copy["id"])]


async def test_media_that_are_not_retained_are_deleted_after_copying(service: Service) -> None:
    await examined(service, kit.video(), case_reference="CASE-A")
    second = await post_video(service, kit.video(), case_reference="CASE-B", retention="zero")
    assert (second.json()["state"], second.json()["media_kept"]) == ("succeeded", False)
    with service.database.read() as session:
        assert session.get_one(Media, second.json()["media_id"]).wrapped_key is None


async def test_the_copy_of_a_flagged_case_is_flagged(service: Service) -> None:
    first = await examined(service, kit.video(), case_reference="CASE-A")
    flag = f"/v1/cases/{first['case_id']}/minor"
    assert (await service.client.put(flag, headers=headers(service, Role.ANALYST))).is_success
    second = (await post_video(service, kit.video(), case_reference="CASE-B")).json()
    assert second["state"] == "succeeded"
    case = (await service.client.get(f"/v1/cases/{second['case_id']}")).json()
    assert case["minor"]
    face = await service.client.get(f"/v1/jobs/{second['id']}/faces/1.png")
    assert face.status_code == 403


async def test_a_copy_is_flagged_for_what_is_flagged_while_it_is_made(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = await examined(service, kit.video() + b"x", kit.video(), Role.ADMIN)
    await examined(service, kit.video(), case_reference="CASE-A")
    flags = service.app.state.shared.services.minor_flags
    analyst = service.accounts.authenticate(service.keys[Role.ANALYST])
    follow = flags.follow

    def follow_before_a_flag(*arguments: Any) -> None:
        monkeypatch.setattr(flags, "follow", follow)
        follow(*arguments)
        flags.set(analyst, alike["case_id"], enabled=True)
        flags.catch_up()

    monkeypatch.setattr(flags, "follow", follow_before_a_flag)
    copy = (await post_video(service, kit.video(), case_reference="CASE-B")).json()
    assert copy["state"] == "succeeded"
    with service.database.read() as session:
        assert session.get_one(Case, copy["case_id"]).minor_at is not None
