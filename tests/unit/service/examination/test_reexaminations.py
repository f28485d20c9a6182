"""The stored media of a video are examined again, with more frames, as another job of its case."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from functools import cache
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from deepfake_service.evidence.bundle.builder import CUSTODY, VERDICT
from deepfake_service.evidence.bundle.zip_format import member
from deepfake_service.platform.db import AuditEntry, Job, Media
from deepfake_service.platform.db.enums import Role
from deepfake_service.retention.due import GRACE
from tests.support import exhibits, footage
from tests.support.jobs import end, examined, headers

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any
ALL = 40
"""The frames of ``video()``: more than are sampled at first."""


@cache
def video() -> bytes:
    return footage.encode(footage.panning(ALL, 208, 160))


async def again(
    service: Service, job: dict[str, Any], role: Role = Role.PIPELINE
) -> httpx.Response:
    answer: httpx.Response = await service.client.post(
        f"/v1/jobs/{job['id']}/reexaminations", headers=headers(service, role)
    )
    return answer


async def read(service: Service, job: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = (await service.client.get(f"/v1/jobs/{job['id']}")).json()
    return content


def kept(service: Service, media_id: str) -> bool:
    with service.database.read() as session:
        media = session.get(Media, media_id)
    return media is not None and media.blob is not None


async def test_the_stored_file_is_examined_again_in_the_same_case(service: Service) -> None:
    first = await examined(service, video(), case_reference="R", note="seen here")
    sampled = (await read(service, first))["result"]["frames"]["sampled"]
    assert sampled < ALL
    answer = await again(service, first, Role.ANALYST)
    second = answer.json()
    assert (answer.status_code, second["state"]) == (202, "queued")
    assert answer.headers["location"] == f"/v1/jobs/{second['id']}"
    assert second["frames"] == ALL
    for name in ("case_id", "media_id", "sha256", "kind"):
        assert second[name] == first[name]
    repeated = await again(service, first)
    assert (repeated.status_code, repeated.json()["id"]) == (200, second["id"])
    end(service, second["id"], exhibits.material(video(), ALL))
    done = await read(service, second)
    assert done["result"]["frames"]["sampled"] == ALL
    case = (await service.client.get(f"/v1/cases/{first['case_id']}")).json()
    assert [job["id"] for job in case["jobs"]] == [first["id"], second["id"]]
    assert len(case["occurrences"]) == 1
    assert (await again(service, second)).json()["id"] == second["id"]
    with service.database.read() as session:
        actors = {session.get_one(Job, j["id"]).account_id for j in (first, second)}
        entry = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "examination.repeated")
        ).first()
    assert len(actors) == 1  # whoever asks, it belongs to the account that submitted the file
    analyst = service.accounts.authenticate(service.keys[Role.ANALYST])
    assert entry is not None
    assert (entry.subject, entry.detail) == (second["id"], first["id"])
    assert entry.account_id == analyst.account_id


async def test_its_evidence_is_its_own_and_names_the_first_examination(service: Service) -> None:
    first = await examined(service, video(), case_reference="R", note="seen here")
    second = (await again(service, first)).json()
    end(service, second["id"], exhibits.material(video(), ALL))
    bundles = [
        (await service.client.get(f"/v1/jobs/{job['id']}/evidence")).content
        for job in (first, second)
    ]
    documents = [json.loads(member(bundle, VERDICT)) for bundle in bundles]
    assert [d["job"].get("repeats") for d in documents] == [None, first["id"]]
    assert [d["job"]["frames"] for d in documents] == [None, ALL]
    assert all(d["edition"] == 1 for d in documents)
    assert all([o["note"] for o in d["occurrences"]] == ["seen here"] for d in documents)
    entries = json.loads(member(bundles[1], CUSTODY))["entries"]
    assert [(e["action"], e["subject"]) for e in entries][:2] == [
        ("media.submitted", first["id"]), ("examination.repeated", second["id"]),
    ]  # fmt: skip
    assert entries[1]["detail"] == first["id"]
    verified = (await service.client.post("/v1/verify", content=bundles[1])).json()
    assert verified["result"] == "verified"
    report = await service.client.get(f"/v1/jobs/{second['id']}/report.pdf?lang=ko")
    assert report.content.startswith(b"%PDF")


async def test_two_clicks_at_once_begin_one_examination(service: Service) -> None:
    first = await examined(service, video())
    answers = await asyncio.gather(*(again(service, first) for _ in range(4)))
    assert sorted(a.status_code for a in answers) == [200, 200, 200, 202]
    assert len({a.json()["id"] for a in answers}) == 1


async def test_what_cannot_be_examined_again_is_refused(service: Service) -> None:
    still = footage.picture(footage.astronaut(), "PNG")
    picture = await examined(service, still)
    assert (await again(service, picture)).status_code == 409
    unreadable = await examined(service, b"no video at all" * 9)
    assert (await again(service, unreadable)).status_code == 409
    first = await examined(service, video())
    every = await examined(service, exhibits.video(), frames="2000")
    all_done = await again(service, every)
    assert all_done.status_code == 409
    assert "All frames" in all_done.json()["detail"]
    assert (await again(service, first, Role.AUDITOR)).status_code == 403
    stranger = service.accounts.create("stranger", "system", Role.PIPELINE)
    assert stranger
    bearer = {"Authorization": f"Bearer {service.accounts.create_key('stranger').text}"}
    hidden = await service.client.post(f"/v1/jobs/{first['id']}/reexaminations", headers=bearer)
    assert hidden.status_code == 404
    with service.database.write() as session:
        media = session.get_one(Media, first["media_id"])
        media.blob = media.wrapped_key = None
    gone = await again(service, first)
    assert gone.status_code == 409
    assert "deleted" in gone.json()["detail"]


async def test_media_are_kept_while_they_wait_to_be_examined_again(service: Service) -> None:
    sweeps = service.app.state.shared.services.sweeps
    first = await examined(service, video(), case_reference="R")
    service.clock.advance(timedelta(days=6, hours=12))  # marked, and due half a day later
    sweeps.sweep()
    second = (await again(service, first)).json()
    for _ in range(6):
        service.clock.advance(timedelta(days=1))
        sweeps.sweep()
        assert kept(service, first["media_id"])
    end(service, second["id"], exhibits.material(video(), ALL))
    for days, is_kept in ((6, True), (2, False)):
        service.clock.advance(timedelta(days=days))
        sweeps.sweep()
        assert kept(service, first["media_id"]) is is_kept, days


async def test_an_examination_that_nobody_begins_does_not_keep_the_media(
    service: Service,
) -> None:
    sweeps = service.app.state.shared.services.sweeps
    first = await examined(service, video(), case_reference="R")
    second = (await again(service, first)).json()
    for step in (timedelta(days=6, hours=12), GRACE, timedelta(hours=1)):
        service.clock.advance(step)
        sweeps.sweep()
    assert (await read(service, second))["state"] == "expired"
    assert not kept(service, first["media_id"])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_the_media_are_deleted_with_the_last_examination_of_them(
    service: Service, order: tuple[int, int]
) -> None:
    first = await examined(service, video(), case_reference="R")
    jobs = [first, (await again(service, first)).json()]
    path = f"/v1/cases/{first['case_id']}"
    for number, count in zip(order, (1, 0), strict=True):
        assert (await service.client.delete(f"/v1/jobs/{jobs[number]['id']}")).status_code == 204
        case = (await service.client.get(path)).json()
        assert (len(case["jobs"]), len(case["occurrences"])) == (count, count)
        assert kept(service, first["media_id"]) is bool(count)


async def test_the_console_offers_it_where_it_helps(service: Service) -> None:
    first = await examined(service, video(), case_reference="R")
    service.client.headers.pop("Authorization")
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.ANALYST)
    address = f"/items/{first['id']}"
    page = (await service.client.get(address)).text
    assert "inconclusive" in page
    assert f"Examine more frames ({ALL})" in page
    token = re.search(r'name="csrf" content="([^"]+)"', page)
    assert token
    form = {"csrf": token[1]}
    begun = await service.client.post(f"{address}/reexamine", data=form)
    second = re.fullmatch(r"(/items/(\w+))\?done=reexamined", begun.headers["location"])
    assert second
    clicked_again = await service.client.post(f"{address}/reexamine", data=form)
    assert clicked_again.headers["location"] == second[1]
    page = (await service.client.get(begun.headers["location"])).text
    assert "The stored file is being examined again." in page
    assert f'href="{address}"' in page
    end(service, second[2], exhibits.material(video(), ALL))
    for path, other in ((address, second[1]), (second[1], address)):
        page = (await service.client.get(path)).text
        assert "Examine more frames" not in page
        assert "Other examinations of this file" in page
        assert f'href="{other}"' in page
    case = (await service.client.get(f"/cases/{first['case_id']}")).text
    assert f"{ALL} frames" in case
    assert 'name="media_id"' not in case  # one file only
