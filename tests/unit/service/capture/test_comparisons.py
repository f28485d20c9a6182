"""Pictures and videos that are kept with a case to compare its items with, and never examined."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyrage
import pytest
from PIL import Image

from deepfake_models.media.decoder import InProcessDecoder
from deepfake_service.evidence.bundle.zip_format import sha256
from deepfake_service.platform.db import Case
from deepfake_service.platform.enums import Role
from deepfake_service.retention.due import GRACE
from tests.support import exhibits, footage
from tests.support.answers import browse, check_problem
from tests.support.captures import get, hand_in
from tests.support.jobs import (
    WEEK,
    all_entries,
    blobs,
    decide,
    evidence,
    examined,
    headers,
    post_video,
    sweep,
)  # fmt: skip
from tests.support.notices import GOOD
from tests.unit.service.conftest import Service

OWN = footage.picture(footage.resized(footage.grace_hopper(), 200, 240), "PNG")
NOTE = "her own <b>picture</b>"
NEVER = {"case_reference": "", "examine": "never"}


@pytest.fixture
def decoding(service: Service) -> Service:
    """A service that decodes what is submitted."""
    services = service.app.state.shared.services
    services.media_viewer = replace(services.media_viewer, decoder=InProcessDecoder())
    return service


async def submitted(service: Service, **fields: str) -> dict[str, Any]:
    job: dict[str, Any] = (await post_video(service, **fields)).json()
    return job


async def keep(service: Service, job: dict[str, Any], content: bytes = OWN) -> dict[str, Any]:
    """Keep a picture with the case of a job, as its pipeline; return the capture and its paths."""
    fields = {**NEVER, "case_id": job["case_id"], "note": NOTE}
    answer = await hand_in(service, content, role=Role.PIPELINE, **fields)
    assert answer.is_success, answer.text
    kept: dict[str, Any] = answer.json()
    medium = f"/v1/cases/{job['case_id']}/media/{kept['files'][0]['media_id']}"
    return {**kept, "medium": medium, "path": f"/v1/captures/{kept['id']}"}


async def test_a_kept_picture_is_shown_beside_the_items_of_its_case(decoding: Service) -> None:
    job = await examined(decoding, exhibits.video())
    kept = await keep(decoding, job)
    assert (kept["state"], kept["media"]) == ("comparison", [])
    listed = await get(decoding, f"/v1/captures?case_id={job['case_id']}")
    assert [c["id"] for c in listed.json()["captures"]] == [kept["id"]]
    frame = await get(decoding, f"{kept['medium']}/frame.png?at=5")
    pixels = np.asarray(Image.open(io.BytesIO(frame.content)).convert("RGB"))
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(OWN)).convert("RGB")))
    assert (await get(decoding, f"{kept['medium']}/content")).content == OWN
    entries = [(entry.action, entry.subject) for entry in all_entries(decoding)]
    assert ("capture.submitted", kept["id"]) in entries
    assert entries.count(("media.read", kept["files"][0]["media_id"])) == 1  # in ten minutes
    for language, name in (("en", "Side by side"), ("ko", "나란히 보기")):
        await browse(decoding, Role.ANALYST, language)
        page = (await decoding.client.get(f"/items/{job['id']}")).text
        _, _, side = page.partition(f'aria-label="{name}"')
        assert f'<option value="{kept["medium"]}">her own &lt;b&gt;picture&lt;/b&gt; · ' in side
    assert 'name="examine" value="never"' in side
    # The same bytes can be handed in to be read, and are kept once to compare with.
    assert (await keep(decoding, job))["id"] == kept["id"]
    read = await hand_in(decoding, OWN, case_reference="", case_id=job["case_id"])
    assert read.json()["state"] == "received"


async def test_the_copy_that_matching_found_is_offered_as_well(decoding: Service) -> None:
    known = await examined(decoding, exhibits.video(), case_reference="A")
    await decide(decoding, known, "confirmed")
    job = await examined(decoding, exhibits.video(), case_reference="B")
    await browse(decoding, Role.ANALYST)
    page = (await decoding.client.get(f"/items/{job['id']}")).text
    assert f'<option value="/v1/jobs/{known["id"]}">A · Similar case</option>' in page


async def test_a_kept_picture_is_never_examined_and_in_nothing_that_is_sent(
    decoding: Service,
) -> None:
    post = {"source_url": "https://example.org/1", "platform": "Example"}
    job = await examined(decoding, exhibits.video(), **post)
    kept = await keep(decoding, job)
    assert all(
        OWN[n : n + 64] not in path.read_bytes() for path in blobs(decoding) for n in (0, 99)
    )
    for media in (None, [1]):
        refused = await decoding.client.post(f"{kept['path']}/examinations", json={"media": media})
        assert refused.json()["errors"][0]["field"] == "media"
    check_problem(await decoding.client.get(f"{kept['path']}/bundle"), 409, "evidence_missing")
    case = f"/v1/cases/{job['case_id']}"
    assert [each["id"] for each in (await decoding.client.get(case)).json()["jobs"]] == [job["id"]]
    # It is no post's file, so that a case with one item still has one.
    seen = await decoding.client.post(
        f"{case}/occurrences", files={"source_url": (None, "https://a.example/")}
    )
    assert seen.json()["media_id"] == job["media_id"]
    await decide(decoding, job, "confirmed")
    content = {
        "kind": "kr-d4u", "language": "en", "occurrence_ids": [seen.json()["id"]],
        "fields": GOOD["kr-d4u"], "recipient": "D4U", "reports": "all",
    }  # fmt: skip
    bundle = (await evidence(decoding, job)).content
    notice = (await decoding.client.post(f"{case}/notices", json=content)).json()
    del decoding.client.headers["Authorization"]
    await decoding.sign_in(Role.PIPELINE)
    package = (await decoding.client.get(f"/notices/{notice['id']}/package.zip")).content
    for sent in (bundle, package):
        with zipfile.ZipFile(io.BytesIO(sent)) as archive:
            whole = b"".join(archive.read(name) for name in archive.namelist())
        for secret in (NOTE, kept["id"], kept["files"][0]["media_id"], sha256(OWN)):
            assert secret.encode() not in whole
    # Who chooses it may export it, encrypted to a recipient.
    recipient = {"recipient": str(pyrage.x25519.Identity.generate().to_public())}
    export = await decoding.client.post(
        f"{kept['medium']}/export", json=recipient, headers=headers(decoding, Role.ADMIN)
    )
    assert export.status_code == 200


async def test_flags_for_possible_minors_withhold_and_follow_it(decoding: Service) -> None:
    job = await submitted(decoding, case_reference="A")
    kept = await keep(decoding, job)
    other = await submitted(decoding, video=b"still 1 120 other", case_reference="B")
    await decoding.client.put(
        f"/v1/cases/{job['case_id']}/minor", headers=headers(decoding, Role.ADMIN)
    )
    withheld = await decoding.client.get(f"{kept['medium']}/frame.png")
    check_problem(withheld, 403, "imagery_withheld")
    await keep(decoding, other)
    with decoding.database.read() as session:
        assert session.get_one(Case, other["case_id"]).minor_from == job["case_id"]


async def test_others_do_not_find_it_and_few_may_delete_it(decoding: Service) -> None:
    job = await submitted(decoding)
    before = blobs(decoding)
    kept = await keep(decoding, job)
    decoding.accounts.create("another pipeline", "service", Role.PIPELINE)
    key = decoding.accounts.create_key("another pipeline").text
    other = {"headers": {"Authorization": f"Bearer {key}"}}
    for path in (kept["path"], f"{kept['medium']}/frame.png", f"{kept['medium']}/content"):
        assert (await decoding.client.get(path, **other)).status_code == 404
    assert (await decoding.client.delete(kept["path"], **other)).status_code == 404
    send = {"files": {"file": ("a.png", OWN)}, "data": {**NEVER, "case_id": job["case_id"]}}
    assert (await decoding.client.post("/v1/captures", **send, **other)).status_code == 404
    analyst = headers(decoding, Role.ANALYST)
    assert (await decoding.client.delete(kept["path"], headers=analyst)).status_code == 403
    form, case = await browse(decoding, Role.PIPELINE), f"/cases/{job['case_id']}"
    assert "Delete this picture or video" in (await decoding.client.get(case)).text
    sure = {**form, "sure": "yes"}
    done = await decoding.client.post(f"{case}/captures/{kept['id']}/delete", data=sure)
    assert done.status_code == 303
    assert blobs(decoding) == before


async def test_it_expires_as_media_do_and_goes_with_its_case(decoding: Service) -> None:
    job = await submitted(decoding)
    kept = await keep(decoding, job)
    hold = f"/v1/cases/{job['case_id']}/hold"
    analyst = {"headers": headers(decoding, Role.ANALYST)}
    await decoding.client.put(hold, **analyst)
    decoding.clock.advance(WEEK + GRACE)
    sweep(decoding)
    assert (await decoding.client.get(f"{kept['medium']}/frame.png")).status_code == 200
    check_problem(await decoding.client.delete(kept["path"]), 409, "case_held")
    await decoding.client.delete(hold, **analyst)
    sweep(decoding)
    decoding.clock.advance(GRACE + timedelta(seconds=1))
    sweep(decoding)
    assert (await decoding.client.get(f"{kept['medium']}/frame.png")).status_code == 404
    assert not (await decoding.client.get(kept["path"])).json()["files"][0]["kept"]
    expired = [entry.subject for entry in all_entries(decoding) if entry.action == "media.expired"]
    assert kept["files"][0]["media_id"] in expired
    kept = await keep(decoding, job)
    assert (await decoding.client.delete(f"/v1/cases/{job['case_id']}")).status_code == 204
    assert blobs(decoding) == []
    assert (await decoding.client.get(kept["path"])).status_code == 404


async def test_what_cannot_be_shown_is_not_kept(decoding: Service) -> None:
    job = await submitted(decoding)
    before, where = len(blobs(decoding)), {**NEVER, "case_id": job["case_id"]}
    for content, fields, shots, field in (
        (b"\x89PNG\r\n\x1a\n" + bytes(100), {}, (), "file"),
        (b"no media", {}, (), "file"),
        (None, {}, (OWN,), "examine"),
        (OWN, {}, (OWN,), "examine"),
        (OWN, {"callback_url": "https://1.1.1.1/"}, (), "examine"),
    ):
        answer = await hand_in(decoding, content, shots, Role.PIPELINE, **where, **fields)
        problem = check_problem(answer, 422, "invalid_request")
        assert [error["field"] for error in problem["errors"]] == [field]
        assert len(blobs(decoding)) == before
