"""Captures are deleted at request; what was taken out of them is deleted apart from them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
import pytest
from sqlalchemy import select

from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.platform.db import Capture, CapturedMedium, Job, Media, Occurrence
from deepfake_service.platform.enums import Role
from tests.support import archives
from tests.support.answers import browse, check_problem
from tests.support.captures import get, hand_in, play, work, worker
from tests.support.jobs import all_entries, blobs, headers
from tests.support.stand_ins import do_due
from tests.unit.service.conftest import Service

pytest.importorskip("warcio", reason="warcio writes the WARC files of these tests")
# warcio leaves temporary files open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
async def captured(service: Service, readers: CaptureReaders) -> dict[str, Any]:
    """Return a capture by a pipeline of which one picture became an item."""
    content = archives.wacz(archives.page().content())
    answer = await hand_in(service, content, role=Role.PIPELINE)
    path = answer.headers["Location"]
    await work(service, readers)
    chosen = await service.client.post(f"{path}/examinations", json={"media": [1]})
    assert chosen.status_code == 202, chosen.text
    await work(service, readers)
    capture: dict[str, Any] = (await get(service, path, Role.PIPELINE)).json()
    assert capture["media"][0]["job_id"]
    return capture


async def delete(service: Service, capture: dict[str, Any], role: Role = Role.PIPELINE) -> int:
    answer = await service.client.delete(
        f"/v1/captures/{capture['id']}", headers=headers(service, role)
    )
    return int(answer.status_code)


async def test_a_deleted_item_is_in_its_capture_until_that_is_deleted(
    service: Service, captured: dict[str, Any]
) -> None:
    path = f"/v1/captures/{captured['id']}"
    job = captured["media"][0]["job_id"]
    assert len(blobs(service)) == 3
    assert (await service.client.delete(f"/v1/jobs/{job}")).status_code == 204
    assert len(blobs(service)) == 2  # the archive and the bundle
    left = (await get(service, path, Role.PIPELINE)).json()
    assert not left["media"][0]["chosen"]
    assert left["files"][0]["kept"]
    assert await delete(service, captured) == 204
    assert blobs(service) == []
    with service.database.read() as session:
        for table in (Capture, CapturedMedium, Media):
            assert session.scalars(select(table)).all() == []
    for name in ("", "/bundle"):
        assert (await get(service, path + name, Role.PIPELINE)).status_code == 404
    again = await service.client.post(f"{path}/examinations", json={"media": [1]})
    assert again.status_code == 404
    assert await delete(service, captured) == 404
    entries = [(entry.action, entry.subject) for entry in all_entries(service)]
    assert entries.count(("capture.deleted", captured["id"])) == 1
    # Nothing is left that the key of the case encrypts but its reference.
    assert entries[-2:].count(("case.emptied", captured["case_id"])) == 1


async def test_items_outlive_the_capture_that_they_were_taken_out_of(
    service: Service, captured: dict[str, Any]
) -> None:
    assert await delete(service, captured) == 204
    assert len(blobs(service)) == 1
    assert await play(service, captured) == archives.picture()
    path = f"/v1/cases/{captured['case_id']}/occurrences"
    (seen,) = (await get(service, path, Role.PIPELINE)).json()["occurrences"]
    assert (seen["capture"], seen["capture_sha256"]) == (captured["id"], captured["sha256"])
    assert "case.emptied" not in {entry.action for entry in all_entries(service)}


async def test_who_may_delete_a_capture(service: Service, captured: dict[str, Any]) -> None:
    assert await delete(service, captured, Role.ANALYST) == 403
    assert await delete(service, captured, Role.AUDITOR) == 403
    others = await hand_in(service, b"another", case_reference="OF THE ANALYST")
    assert await delete(service, others.json()) == 404
    assert await delete(service, others.json(), Role.ANALYST) == 204
    by_analyst = await hand_in(service, b"more", case_id=captured["case_id"], case_reference="")
    assert by_analyst.json()["case_id"] == captured["case_id"]
    assert await delete(service, by_analyst.json()) == 204  # the case is the pipeline's
    assert await delete(service, captured, Role.ADMIN) == 204


async def test_a_legal_hold_keeps_a_capture(service: Service, captured: dict[str, Any]) -> None:
    hold, analyst = f"/v1/cases/{captured['case_id']}/hold", headers(service, Role.ANALYST)
    assert (await service.client.put(hold, headers=analyst)).status_code == 204
    answer = await service.client.delete(f"/v1/captures/{captured['id']}")
    check_problem(answer, 409, "case_held")
    assert len(blobs(service)) == 3
    await browse(service, Role.PIPELINE)
    page = (await service.client.get(f"/cases/{captured['case_id']}")).text
    assert "Delete this captured page" not in page


async def test_a_capture_that_is_deleted_while_it_is_read_leaves_nothing(
    service: Service, readers: CaptureReaders
) -> None:
    content = archives.wacz(archives.page().content())
    capture = (await hand_in(service, content, role=Role.PIPELINE)).json()
    imports = worker(service, readers)
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    retention, signs = service.app.state.shared.services.retention, imports._evidence

    class Slow:
        """Sign a bundle while somebody deletes the capture."""

        def sign_capture(self, document: dict[str, Any], records: bytes) -> bytes:
            retention.delete_capture(caller, capture["id"])
            return signs.sign_capture(document, records)

    imports._evidence = Slow()  # type: ignore[assignment]
    await anyio.to_thread.run_sync(do_due, imports)
    assert blobs(service) == []


@pytest.mark.parametrize("is_known", [True, False])
async def test_what_is_taken_out_while_its_capture_is_deleted_becomes_no_item(
    service: Service, readers: CaptureReaders, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    if is_known:  # from another capture, so that an item of the case is reused
        first = archives.wacz(archives.page().content())
        await hand_in(service, first, role=Role.PIPELINE, examine="all")
        await work(service, readers)
    before = contents_of(service)
    assert len(before[1]) == (2 if is_known else 0)
    answer = await hand_in(
        service, archives.mhtml(), role=Role.PIPELINE, examine="all", note="seen again"
    )
    imports, capture_id = worker(service, readers), answer.json()["id"]
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    retention, seal = service.app.state.shared.services.retention, imports._submissions.seal

    async def seals_slowly(pieces: AsyncIterator[bytes]) -> Any:
        sealed = await seal(pieces)
        await anyio.to_thread.run_sync(retention.delete_capture, caller, capture_id)
        return sealed

    monkeypatch.setattr(imports._submissions, "seal", seals_slowly)
    await anyio.to_thread.run_sync(do_due, imports)
    assert (await get(service, f"/v1/captures/{capture_id}", Role.PIPELINE)).status_code == 404
    assert contents_of(service) == before


def contents_of(service: Service) -> tuple[set[Any], set[str], set[str]]:
    """Return the blobs, and the ids of the items and of the occurrences."""
    with service.database.read() as session:
        ids = [set(session.scalars(select(model.id))) for model in (Job, Occurrence)]
    return (set(blobs(service)), ids[0], ids[1])


async def test_the_console_says_what_stays_and_deletes_the_capture(
    service: Service, captured: dict[str, Any]
) -> None:
    form = await browse(service, Role.PIPELINE)
    case = f"/cases/{captured['case_id']}"
    item = f"/items/{captured['media'][0]['job_id']}"
    assert "keeps the file until <time" in (await service.client.get(item)).text
    page = (await service.client.get(case)).text
    action = f"{case}/captures/{captured['id']}/delete"
    assert f'action="{action}"' in page
    assert (await service.client.post(action, data=form)).status_code == 422
    done = await service.client.post(action, data={**form, "sure": "yes"})
    assert done.headers["location"] == f"{case}?done=capture_deleted#captures"
    page = (await service.client.get(done.headers["location"])).text
    assert "It was deleted. Items that were taken out of it stay." in page
    assert f'action="{action}"' not in page
    assert "keeps the file until" not in (await service.client.get(item)).text
    await browse(service, Role.ANALYST)
    assert "Delete this captured page" not in (await service.client.get(case)).text
