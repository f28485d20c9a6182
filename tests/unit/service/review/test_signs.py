"""Signs of manipulation that reviewers state, and the notes that stay in the service."""

from __future__ import annotations

import html
import io
import json
import re
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import rfc8785
from PIL import Image

from deepfake_models.media.decoder import InProcessDecoder
from deepfake_service.cases.media_deletion import expire
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.artifacts import cut_places, marked_places, png
from deepfake_service.evidence.bundle.builder import STATEMENT, VERDICT, build, signed_bag
from deepfake_service.evidence.bundle.dsse import EVIDENCE_TYPE, MEDIA_SUBJECT
from deepfake_service.evidence.bundle.signs import BY_KIND, SignCode
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.evidence.report.report import ReportCopy, present
from deepfake_service.platform.enums import Role
from deepfake_service.platform.texts.i18n import LANGUAGES, words
from tests.support import exhibits
from tests.support.answers import browse
from tests.support.documents import leaves, report_texts
from tests.support.jobs import document, evidence, examined, headers
from tests.support.notices import GOOD
from tests.unit.service.conftest import Service, Starter

EDGE = {"code": "edge", "time_s": 0.5, "rect": [10.0, 20.5, 110.0, 200.0]}
TEETH = {"code": "teeth", "time_s": None, "rect": None}
NOTE = "her sister sent it"


async def review(
    service: Service, job: dict[str, Any], role: Role = Role.ANALYST, **body: Any
) -> httpx.Response:
    answer: httpx.Response = await service.client.post(
        f"/v1/jobs/{job['id']}/reviews", json=body, headers=headers(service, role)
    )
    return answer


def test_each_sign_has_a_name_and_a_kind() -> None:
    listed = [code for codes in BY_KIND.values() for code in codes]
    assert sorted(listed) == sorted(SignCode)
    for language in LANGUAGES:
        w = words(language)
        assert all(w.of("signs", code) != code for code in listed)
        assert all(w.of("sign_kinds", kind) != kind for kind in BY_KIND)


async def test_signs_are_in_the_api_and_in_the_evidence_and_the_note_is_not(
    service: Service,
) -> None:
    job = await examined(service, exhibits.video())
    said = {"decision": "confirmed", "signs": [EDGE, {"code": "teeth"}], "note": NOTE}
    answer = await review(service, job, **said)
    assert answer.status_code == 201, answer.text
    (stated,) = answer.json()["reviews"]
    assert (stated["signs"], stated["reason"], stated["note"]) == ([EDGE, TEETH], "", NOTE)
    bundle = await evidence(service, job)
    (told,) = document(bundle)["reviews"]
    assert told["signs"] == [EDGE, TEETH]
    assert verify(bundle.content, Trust()).exit_code is ExitCode.SIGNER_UNKNOWN
    files = bag.unzipped(bundle.content)
    report = {n: "\n".join(leaves(report_texts(document(bundle), {}, words(n)))) for n in LANGUAGES}
    assert "0.50 s, pixels 10, 20 to 110, 200: edge of the face breaks" in report["en"]
    assert "치아가 뭉개지거나 달라짐" in report["ko"]
    told_at_all = [*files.values(), *(text.encode() for text in report.values())]
    assert not any(NOTE.encode() in content for content in told_at_all)


async def test_a_review_without_signs_is_in_the_evidence_as_before(service: Service) -> None:
    job = await examined(service, exhibits.video())
    assert (await review(service, job, decision="confirmed", reason="seen")).status_code == 201
    (told,) = document(await evidence(service, job))["reviews"]
    names = {"at", "account", "name", "role", "decision", "reason", "pictures_withheld"}
    assert told.keys() == names


WRONG = {
    "signs.1.rect": {"code": "edge", "rect": [10, 20, 110, 9999]},
    "signs.1.time_s": {"code": "edge", "time_s": 3600},
    "signs.1.code": {"code": "horns"},
    "signs.1.rect.0": {"code": "edge", "rect": [-1, 20, 110, 30]},
}


@pytest.mark.parametrize("field", WRONG)
async def test_a_sign_outside_the_file_is_refused(service: Service, field: str) -> None:
    job = await examined(service, exhibits.video())
    refused = await review(service, job, decision="confirmed", signs=[TEETH, WRONG[field]])
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    crossed = {"code": "edge", "rect": [110, 20, 10, 200]}
    refused = await review(service, job, decision="confirmed", signs=[crossed])
    assert refused.json()["errors"][0]["field"] == "signs.0.rect"
    assert (await review(service, job, decision="confirmed")).json()["errors"][0][
        "field"
    ] == "reason"
    assert (await review(service, job, decision="rejected", signs=[TEETH] * 21)).status_code == 422


async def test_a_marked_place_becomes_a_picture_that_stays(service: Service) -> None:
    video, store = exhibits.video(), service.app.state.shared.services.evidence_store
    store.decoder = InProcessDecoder()
    job = await examined(service, video)
    await review(service, job, decision="confirmed", signs=[EDGE, TEETH, {**EDGE, "code": "skin"}])
    first = bag.unzipped((await evidence(service, job)).content)
    (place,) = json.loads(first[VERDICT])["cutouts"]
    left, top, right, bottom = place["shown"]
    assert (left, top, right, bottom) == (0, 0, 200, 256)  # with a margin, within the picture
    with store.decoder.open(io.BytesIO(video)) as media:
        (frame,) = media.frames([media.times.tolist().index(0.48)])
    picture = first[f"data/{place['file']}"]
    shown = np.asarray(Image.open(io.BytesIO(picture)))
    np.testing.assert_array_equal(shown, frame.pixels[top:bottom, left:right])
    named = {s["name"]: s["digest"] for s in exhibits.statement_in(first[STATEMENT])["subject"]}
    assert named[f"data/{place['file']}"] == {"sha256": bag.sha256(picture)}

    expire(service.database, store._vault, job["media_id"])
    later = {"code": "hands", "time_s": 1.0, "rect": [10, 20, 30, 40]}
    await review(service, job, Role.ADMIN, decision="confirmed", signs=[EDGE, later])
    answer = await evidence(service, job)
    assert verify(answer.content, Trust()).exit_code is ExitCode.SIGNER_UNKNOWN
    second, told = bag.unzipped(answer.content), document(answer)
    assert second[f"data/{place['file']}"] == picture
    assert [c.get("left_out") for c in told["cutouts"]] == [None, "media_deleted"]
    for language, gone in (("en", "the file had been deleted"), ("ko", "이미 삭제된 상태")):
        texts = report_texts(told, {place["file"]: picture}, words(language))
        assert texts["places_note"] == words(language)("places_meaning")
        kept, deleted = texts["places"]
        assert "<rect" in kept["picture"]
        assert len(kept["lines"]) == 2
        assert deleted["picture"] is None
        assert gone in deleted["note"]
    payload = {name.removeprefix("data/"): content for name, content in second.items()}
    copy = present(exhibits.stated(told), payload, words("en"), None, ReportCopy(faces=False))
    assert "Edition 2 of the evidence has them." in copy["places_note"]
    assert [place["note"] for place in copy["places"]] == [
        None,
        words("en").of("place_left_out", "media_deleted"),
    ]

    flag = f"/v1/cases/{job['case_id']}/minor"
    await service.client.put(flag, headers=headers(service, Role.ADMIN))
    flagged = await evidence(service, job)
    assert [c["left_out"] for c in document(flagged)["cutouts"]] == ["minor", "minor"]
    assert not [name for name in bag.unzipped(flagged.content) if name.startswith("data/places/")]


def _moved(files: dict[str, bytes]) -> None:
    stated = json.loads(files[VERDICT])
    stated["reviews"][0]["signs"][0]["rect"][3] = 201.0
    files[VERDICT] = rfc8785.dumps(stated)


def _replaced(files: dict[str, bytes]) -> None:
    (name,) = [name for name in files if name.startswith("data/places/")]
    files[name] = files["data/crops/001.png"]


def _renamed(files: dict[str, bytes]) -> None:
    (name,) = [name for name in files if name.startswith("data/places/")]
    files[name.replace("0.5s", "0.6s")] = files.pop(name)


def test_a_changed_place_or_picture_is_found() -> None:
    video, changes, signers = exhibits.video(), exhibits.reviewed("confirmed"), exhibits.signers()
    changes["reviews"][0]["signs"] = [EDGE]
    records, gathered = exhibits.dossier(video, **changes), exhibits.material(video)
    with InProcessDecoder().open(io.BytesIO(video)) as media:
        pictures = cut_places(media, marked_places(records.reviews, media.facts))
    cut = {name: png(pixels) for name, pixels in pictures.items()}
    content = build(records, replace(gathered, files=gathered.files | cut), signers)
    assert verify(content, exhibits.OURS).exit_code is ExitCode.VERIFIED
    again = verify(content, exhibits.OURS, scorer=exhibits.scorer(), original=io.BytesIO(video))
    assert again.steps[10].outcome is Outcome.PASS
    assert again.steps[10].detail.endswith("shows as in the bundle: 1")
    for change in (_moved, _replaced, _renamed):
        assert exhibits.failed_at(exhibits.reworked(content, change)) == 5
    for change in (_moved, _renamed):  # and signed again with the right key
        files = bag.unzipped(content)
        stated = exhibits.statement_in(files[STATEMENT])["predicate"]
        change(files)
        payload = {name: each for name, each in files.items() if name.startswith(bag.DATA)}
        outside = {MEDIA_SUBJECT: records.item.sha256}
        forged = signed_bag(payload, outside, EVIDENCE_TYPE, stated, "again", signers)
        assert exhibits.failed_at(forged) == 6
    for name, pixels in pictures.items():  # a picture that was altered before it was signed
        touched = pixels.copy()
        touched[40:44, 40:44] ^= 64
        cut[name] = png(touched)
    content = build(records, replace(gathered, files=gathered.files | cut), signers)
    assert verify(content, exhibits.OURS).exit_code is ExitCode.VERIFIED
    found = verify(content, exhibits.OURS, scorer=exhibits.scorer(), original=io.BytesIO(video))
    assert [step.number for step in found.steps if step.outcome is Outcome.FAIL] == [11]
    assert "the original shows something else" in found.steps[10].detail


async def test_a_second_reviewer_sees_what_was_seen_once_she_has_decided(service: Service) -> None:
    job = await examined(service, exhibits.video(), role=Role.ANALYST)
    said = {"decision": "confirmed", "reason": "a seam", "signs": [EDGE], "note": NOTE}
    first = await review(service, job, **said)
    assert first.json()["finding"] == "awaiting_second"
    path = f"/v1/jobs/{job['id']}/reviews"
    second = headers(service, Role.ADMIN)

    async def stated(as_whom: dict[str, str]) -> tuple[Any, Any, Any]:
        opinion = (await service.client.get(path, headers=as_whom)).json()["reviews"][0]
        return opinion["reason"], opinion["signs"], opinion["note"]

    assert await stated(second) == ("", [], "")
    assert await stated(headers(service, Role.ANALYST)) == ("a seam", [EDGE], NOTE)
    await browse(service, Role.ADMIN)
    page = (await service.client.get(f"/items/{job['id']}")).text
    assert "reason, signs and note are shown once you have decided" in page
    assert NOTE not in page
    assert "a seam" not in page
    await review(service, job, Role.ADMIN, decision="confirmed", reason="the same")
    assert await stated(second) == ("a seam", [EDGE], NOTE)
    assert NOTE in (await service.client.get(f"/items/{job['id']}")).text


async def test_the_form_takes_ticks_without_a_reason(service: Service) -> None:
    job = await examined(service, exhibits.video())
    form = await browse(service, Role.ANALYST)
    page = (await service.client.get(f"/items/{job['id']}")).text
    assert page.count('name="signs"') == len(SignCode)
    ticked = [json.dumps({"code": "teeth"}), json.dumps(EDGE)]
    answer = await service.client.post(
        f"/items/{job['id']}/review",
        data={**form, "decision": "confirmed", "reason": "", "signs": ticked, "note": NOTE},
    )
    assert answer.status_code == 303, answer.text
    reviews = await service.client.get(f"/v1/jobs/{job['id']}/reviews")
    (opinion,) = reviews.json()["reviews"]
    assert (opinion["signs"], opinion["note"]) == ([TEETH, EDGE], NOTE)


@pytest.mark.parametrize("ticked", [[EDGE], []])
async def test_a_notice_names_the_signs_that_were_ticked_and_no_others(
    service: Service, ticked: list[dict[str, Any]]
) -> None:
    job = await examined(service, exhibits.video(), source_url="https://example.org/1")
    form = await browse(service, Role.ANALYST)
    said = {"decision": "confirmed", "reason": "a seam", "note": NOTE}
    signs = {"signs": [json.dumps(sign) for sign in ticked]}
    await service.client.post(f"/items/{job['id']}/review", data={**form, **said, **signs})
    as_analyst, path = headers(service, Role.ANALYST), f"/v1/cases/{job['case_id']}"
    case = (await service.client.get(path, headers=as_analyst)).json()
    about = {"kind": "kr-d4u", "occurrence_ids": [case["occurrences"][0]["id"]]}
    for language, line in (
        ("en", "0.50 s, pixels 10, 20 to 110, 200: edge of the face breaks"),
        ("ko", "0.50초, 10, 20–110, 200픽셀: 얼굴 윤곽이 끊기거나 어긋남"),
    ):
        content = {**about, "language": language, "fields": GOOD["kr-d4u"]}
        made = await service.client.post(f"{path}/notices", json=content, headers=as_analyst)
        assert made.status_code == 201, made.text
        text, w = made.json()["text"], words(language)
        named = {code for code in SignCode if w.of("signs", code) in text}
        assert named == {sign["code"] for sign in ticked}
        assert (line in text) is bool(ticked)
        assert not any(private in text for private in (NOTE, "a seam"))


async def test_signs_are_counted_by_the_findings_of_their_items(start: Starter) -> None:
    async with start(two_person_review=True) as service:
        jobs = [await examined(service, exhibits.video(), case_reference=str(n)) for n in range(3)]
        edge, teeth = {"code": "edge"}, {"code": "teeth"}
        await review(service, jobs[0], decision="confirmed", signs=[edge, teeth])
        await review(service, jobs[0], Role.ADMIN, decision="confirmed", signs=[edge])
        await review(service, jobs[1], decision="rejected", signs=[teeth])
        await review(service, jobs[1], decision="rejected", signs=[edge])  # instead
        await review(service, jobs[2], decision="confirmed", signs=[{"code": "hands"}])  # alone
        path, as_analyst = "/v1/statistics/signs", headers(service, Role.ANALYST)
        found = (await service.client.get(path, headers=as_analyst)).json()
        counted = {
            sign["code"]: sign["items"] for sign in found["signs"] if any(sign["items"].values())
        }
        none = {"confirmed": 0, "body_generated": 0, "rejected": 0, "undecided": 0}
        both = {**none, "confirmed": 1, "rejected": 1}
        assert counted == {"edge": both, "teeth": {**none, "confirmed": 1}}
        assert (found["items"], len(found["signs"])) == (both, len(SignCode))
        table = (await service.client.get(f"{path}.csv", headers=as_analyst)).text
        assert table.splitlines()[:3] == [
            "\ufeffcode,confirmed,body_generated,rejected,undecided", "all,1,0,1,0", "edge,1,0,1,0",
        ]  # fmt: skip
        past = await service.client.get(f"{path}?end=2020-12-31", headers=as_analyst)
        assert (past.json()["start"], past.json()["items"]) == ("2020-01-01", none)
        other = headers(service, Role.AUDITOR)
        assert (await service.client.get(path, headers=other)).status_code == 403
        await browse(service, Role.ANALYST)
        page = (await service.client.get("/statistics")).text
        assert re.findall(r'<tr><th scope="row">([^<]*)</th>\s*<td[^>]*>(\d)</td>', page) == [
            ("edge of the face breaks", "1"), ("teeth smeared or changing", "1"),
            ("All reviewed items", "1"),
        ]  # fmt: skip
        (address,) = re.findall(r'href="(/v1/statistics/signs\.csv[^"]*)"', page)
        assert (await service.client.get(html.unescape(address))).status_code == 200
