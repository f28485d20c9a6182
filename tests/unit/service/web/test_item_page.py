"""The page of an item: what it tells its submitter, a second reviewer, and about a minor."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from datetime import timedelta
from html import unescape
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepfake_models.faces.crops import square
from deepfake_service.evidence.bundle.artifacts import MODEL_MANIFEST, OUTSIDE, Material
from deepfake_service.evidence.bundle.builder import VERDICT
from deepfake_service.evidence.bundle.zip_format import unzipped
from deepfake_service.evidence.report.report import present
from deepfake_service.notices.kinds import KINDS
from deepfake_service.platform.db import Media
from deepfake_service.platform.enums import Role
from deepfake_service.platform.texts.i18n import words
from tests.support import exhibits, footage
from tests.support.answers import browse
from tests.support.jobs import end, examined, headers, post_video
from tests.unit.service.conftest import Service

SECOND = "You are the second reviewer: look at the item yourself and record your decision."
ANOTHER = "It counts as confirmed only once another reviewer has confirmed it as well."
SAVED = "Your decision was saved."
AWAITED = "It counts once another reviewer has decided the same."
LOOK = re.compile(r"\b(?:Look at|Watch|Ask for|Get the file|look at the)\b")


async def item_page(service: Service, job: dict[str, Any]) -> str:
    answer = await service.client.get(f"/items/{job['id']}")
    assert answer.status_code == 200
    return str(answer.text)


def part(page: str, heading: str) -> str:
    """Return the section of a page whose heading has this id."""
    found = re.search(rf'<section[^>]*aria-labelledby="{heading}".*?</section>', page, re.DOTALL)
    assert found
    return found[0]


async def decide(service: Service, job: dict[str, Any], form: dict[str, str], what: str) -> str:
    """Record a decision, and return the page that follows."""
    path = f"/items/{job['id']}"
    decision = {**form, "decision": what, "reason": "seen"}
    answer = await service.client.post(f"{path}/review", data=decision)
    assert answer.headers["location"] == f"{path}?done=reviewed#review"
    page = await service.client.get(f"{path}?done=reviewed")
    return str(page.text)


async def test_an_item_on_hold_shows_what_it_waits_for(service: Service) -> None:
    job = await examined(service, exhibits.video())
    form = await browse(service, Role.ANALYST)
    path, day = f"/items/{job['id']}", (service.clock() + timedelta(days=30)).date().isoformat()
    typed = {**form, "decision": "undecided", "reason": "seen", "awaited": "<b>original"}
    answer = await service.client.post(f"{path}/review", data=typed)
    assert answer.status_code == 422
    assert 'value="&lt;b&gt;original"' in answer.text
    assert re.search(r'value="undecided" required\s+checked', answer.text)
    typed |= {"awaited_from": "her brother", "awaited_until": day}
    assert (await service.client.post(f"{path}/review", data=typed)).status_code == 303
    for page in (await item_page(service, job), (await service.client.get("/?tab=on_hold")).text):
        text = re.sub(r"\s+", " ", re.sub("<[^>]*>", "", page))
        assert "What is awaited: &lt;b&gt;original · From whom: her brother" in text
        assert f"Until: {day}" in text
    document = await service.client.get(f"/v1/jobs/{job['id']}/evidence")
    assert b"her brother" not in unzipped(document.content)[VERDICT]
    service.clock.advance(timedelta(days=32))
    form = await browse(service, Role.ANALYST)
    assert "past its deadline" in (await service.client.get("/")).text
    await decide(service, job, form, "rejected")
    assert f'id="job-{job["id"]}"' not in (await service.client.get("/?tab=on_hold")).text


async def test_a_decision_that_came_in_meanwhile_is_shown_before_another_is_saved(
    service: Service,
) -> None:
    job = await examined(service, exhibits.video())
    form = await browse(service, Role.ANALYST)
    known = re.search(r'name="known" value="(\d+)"', await item_page(service, job))
    assert known
    await decide(service, job, await browse(service, Role.ADMIN), "rejected")
    form = await browse(service, Role.ANALYST)
    typed = {**form, "known": known[1], "decision": "confirmed", "reason": "a seam at the chin"}
    edge = {"code": "edge", "time_s": 0.2, "rect": [10.0, 20.0, 110.0, 100.0]}
    typed["signs"] = json.dumps(edge)
    answer = await service.client.post(f"/items/{job['id']}/review", data=typed)
    assert answer.status_code == 409
    ticks = re.findall(r'name="signs"\s+value="([^"]*)"\s+checked', answer.text)
    assert [json.loads(unescape(tick)) for tick in ticks] == [edge]
    assert "Another decision was recorded while you were reading." in answer.text
    assert "a seam at the chin" in answer.text
    assert "seen" in part(answer.text, "answer")  # the reason of the other
    typed["known"] = "1"
    answer = await service.client.post(f"/items/{job['id']}/review", data=typed)
    assert answer.status_code == 303


async def test_a_submitter_is_told_that_another_reviewer_has_to_confirm(service: Service) -> None:
    job = await examined(service, exhibits.video(), role=Role.ANALYST)
    form = await browse(service, Role.ANALYST)
    before = await item_page(service, job)
    assert re.search(r"<title>Item \S+\.mp4 · ", before)  # for who has many tabs
    assert f"You submitted this item. {ANOTHER}" in part(before, "review")
    page = await decide(service, job, form, "confirmed")
    assert f"{SAVED} {AWAITED}" in part(page, "review")
    assert ANOTHER not in page
    steps = re.findall("<li>", part(page, "next-steps"))
    assert len(steps) == 1  # and not to decide again
    assert "A second person has to look at this item" in part(page, "next-steps")

    form = await browse(service, Role.ADMIN)
    second = await item_page(service, job)
    assert SECOND in part(second, "review")
    assert SECOND in part(second, "next-steps")
    assert "A second person has to look" not in second
    assert "Record your decision before" not in second
    assert ANOTHER not in second
    assert SAVED not in second
    page = await decide(service, job, form, "confirmed")
    assert SAVED in part(page, "review")
    assert AWAITED not in page
    assert SAVED not in await item_page(service, job)  # it is said once


async def test_an_animation_is_shown_as_a_picture_and_not_in_a_player(service: Service) -> None:
    frames = footage.panning(8, 320, 256)
    await browse(service, Role.ANALYST)
    for data, is_picture in (
        (footage.animation(frames, "GIF", [500] * 8), True),
        (exhibits.video(), False),
    ):
        page = await item_page(service, await examined(service, data))
        assert ('<img class="veiled"' in page, "<video" in page) == (is_picture, not is_picture)
        assert 'id="timeline"' in page


async def judged_again(service: Service, gathered: Material) -> dict[str, Any]:
    """Submit the video, and end its job with what was gathered of it, after judging that again."""
    job: dict[str, Any] = (await post_video(service, exhibits.video())).json()
    end(service, job["id"], exhibits.judged_again(gathered))
    return job


async def test_an_overlay_is_offered_only_for_a_verdict_of_manipulation(service: Service) -> None:
    gathered = exhibits.leaning_material(exhibits.video())
    await browse(service, Role.ANALYST)
    page = part(await item_page(service, await judged_again(service, gathered)), "pictures")
    assert "heat" not in page
    assert "There is no overlay of what raised the values" in page


async def test_a_leaning_is_stated_where_the_value_is_explained(service: Service) -> None:
    gathered = exhibits.leaning_material(exhibits.video())
    await browse(service, Role.ANALYST)
    page = await item_page(service, await judged_again(service, gathered))
    assert 'class="leaning"' in part(page, "meaning")
    assert "lean" not in part(page, "answer")


async def test_the_overlay_of_a_verdict_of_manipulation(service: Service) -> None:
    gathered = exhibits.leaning_material(exhibits.video())
    manifest = json.loads(gathered.files[MODEL_MANIFEST])
    for level in manifest["thresholds"].values():
        level |= {"likely_manipulated": level["no_manipulation_found"], "leaning": None}
    gathered.files[MODEL_MANIFEST] = json.dumps(manifest).encode()
    await browse(service, Role.ANALYST)
    page = part(await item_page(service, await judged_again(service, gathered)), "pictures")
    assert 'id="heat"' in page
    assert 'class="heat"' in page
    assert "There is no overlay" not in page


async def test_a_person_without_a_value_can_be_looked_at(service: Service) -> None:
    gathered = exhibits.material(exhibits.video())
    faces = gathered.examination.model_dump(mode="json")["exact"]["faces"]
    small = {**faces[3], "track": 1, "logit": None, "box": [10.0, 20.0, 30.0, 44.0]}
    narrow = {**small, "box": [10.0, 20.0, 29.0, 44.0], "time_s": faces[2]["time_s"]}
    gathered = exhibits.changed(gathered, lambda f: f["exact"]["faces"].extend([narrow, small]))
    await browse(service, Role.ANALYST)
    whole = await item_page(service, await judged_again(service, gathered))
    page = part(whole, "moments")
    assert re.findall(r'class="plain seek" data-time="([^"]+)"', page) == [str(small["time_s"])]
    assert 'data-v="–" data-p="2" data-b="10,20,30,44"' in whole
    assert "2, [10.0, 20.0, 30.0, 44.0], false]" in whole  # outlined in the viewer
    assert "The evidence has no picture of a person whose face could not be scored." in page


def grey_columns(png: bytes) -> tuple[int, Any]:
    """Return how many columns from the left are grey, and the pixels of the others."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    count = int(np.argmin((pixels == OUTSIDE).all(axis=(0, 2))))
    return count, pixels[:, count:]


async def test_nobody_sees_the_mirrored_margin_of_a_face_at_the_border(service: Service) -> None:
    """An eye at the border of the picture was shown twice, as if it were a manipulation."""
    job = await examined(service, footage.picture(footage.astronaut()[:, 180:], "PNG"))
    await browse(service, Role.ANALYST)

    async def get(path: str) -> bytes:
        answer = await service.client.get(f"/v1/jobs/{job['id']}/{path}")
        assert answer.status_code == 200
        return bytes(answer.content)

    bundle = unzipped(await get("evidence"))
    document = json.loads(bundle[VERDICT])
    (face,), crop = document["exact"]["faces"], document["method"]["crop"]
    x0, _, side = square(tuple(face["box"]), crop["scale"])
    assert x0 < 0
    outside = math.ceil(-x0 / side * crop["size"])
    raw = bundle["data/crops/001.png"]
    assert grey_columns(raw)[0] == 0
    seen = await get("faces/1.png")
    count, inside = grey_columns(seen)
    assert count == outside
    assert (inside == np.asarray(Image.open(io.BytesIO(raw)))[:, count:]).all()

    assert await get("faces/1.png?model_input=true") == raw
    page = await item_page(service, job)
    before, expert = page.split(words("en")("page_expert"))
    assert f"{job['id']}/faces/1.png" in before
    assert "model_input" not in before
    assert "faces/1.png?model_input=true" in expert
    assert "margin was filled by mirroring" in expert

    payload = {name.removeprefix("data/"): content for name, content in bundle.items()}
    (picture,) = present(exhibits.stated(document), payload, words("ko"), "ab" * 32)["pictures"]
    assert base64.b64encode(seen).decode() in picture["plain"]


@pytest.mark.parametrize(
    ("language", "first"),
    [("ko", ["kr-tba-22-5", "kr-d4u"]), ("en", ["eu-dsa-16", "us-take-it-down"])],
)
async def test_the_notices_that_need_no_earlier_one_come_first(
    service: Service, language: str, first: list[str]
) -> None:
    job = await examined(service, exhibits.video())
    await browse(service, Role.ANALYST)
    for path in (f"/items/{job['id']}", f"/cases/{job['case_id']}"):
        page = (await service.client.get(path, headers={"Accept-Language": language})).text
        kinds = re.findall(r"/notices/([\w-]+)[?\"]", page)
        assert kinds[:2] == first
        follow = [bool(KINDS[kind].follows) for kind in kinds]
        assert follow == sorted(follow)
        assert set(kinds) == set(KINDS)


async def test_who_did_not_submit_confirms_alone_and_is_told_nothing_else(service: Service) -> None:
    job = await examined(service, exhibits.video())
    await browse(service, Role.ANALYST)
    page = await item_page(service, job)
    assert ANOTHER not in page
    assert "You submitted this item." not in page


async def test_where_two_people_review_everyone_is_told(start: Any) -> None:
    async with start(two_person_review=True) as service:
        job = await examined(service, exhibits.video())
        await browse(service, Role.ANALYST)
        page = part(await item_page(service, job), "review")
        assert ANOTHER in page
        assert "You submitted this item." not in page


async def test_the_evidence_s_pictures_are_looked_at_once_the_file_is_gone(
    service: Service,
) -> None:
    job = await examined(service, exhibits.video())
    await browse(service, Role.ANALYST)
    kept = part(await item_page(service, job), "medium")
    assert f"/media/{job['media_id']}/content" in kept
    assert "data-pictures" not in kept
    with service.database.write() as session:
        session.get_one(Media, job["media_id"]).blob = None  # it expired
    page = part(await item_page(service, job), "medium")
    assert "The file is no longer kept." in page
    assert f'<img class="veiled" src="/v1/jobs/{job["id"]}/faces/' in page
    assert "&#34;time_s&#34;" in page
    assert not re.search("/content|frame.png|data-faces", page)


async def test_a_possible_minor_can_be_flagged_from_where_a_person_is_seen(
    service: Service,
) -> None:
    job = await examined(service, exhibits.video())
    link = f'If a person looks like a minor, <a href="/cases/{job["case_id"]}#keep">'
    await browse(service, Role.PIPELINE)
    assert link not in await item_page(service, job)  # may not set the flag
    await browse(service, Role.ANALYST)
    page = await item_page(service, job)
    assert link in part(page, "pictures")
    assert link in part(page, "medium")
    assert 'id="keep"' in (await service.client.get(f"/cases/{job['case_id']}")).text


async def test_a_picture_without_a_face_can_be_looked_at(service: Service) -> None:
    job = await examined(service, footage.picture(footage.noise(1, 160)[0], "PNG"))
    await browse(service, Role.ANALYST)
    page = await item_page(service, job)
    assert "Look at the file yourself." in part(page, "next-steps")
    assert f'src="/v1/cases/{job["case_id"]}/media/{job["media_id"]}/content"' in page
    assert 'id="pictures"' not in page  # of which there are none


@pytest.mark.parametrize("decision", [None, "undecided", "confirmed"])
async def test_nobody_is_told_to_look_at_a_possible_minor(
    service: Service, decision: str | None
) -> None:
    job = await examined(service, exhibits.video(), role=Role.ANALYST)
    form = await browse(service, Role.ANALYST)
    page = await item_page(service, job)
    assert LOOK.search(part(page, "next-steps"))
    assert "may be a minor" not in page
    if decision:
        await decide(service, job, form, decision)
    flagged = await service.client.put(
        f"/v1/cases/{job['case_id']}/minor", headers=headers(service, Role.ANALYST)
    )
    assert flagged.status_code == 204
    await browse(service, Role.ADMIN)
    page = await item_page(service, job)
    alarm = re.search(r'<p class="card alarm" role="status">([^<]*)</p>\s*<div class="head">', page)
    assert alarm
    assert alarm[1].startswith("A person shown may be a minor.")
    assert not LOOK.search(part(page, "next-steps"))
    assert "#keep" not in page
    told = "You are the second reviewer: record your decision." in part(page, "next-steps")
    assert told is (decision == "confirmed")


@pytest.mark.parametrize(("decision", "colour"), [("body_generated", "bad"), ("rejected", "good")])
async def test_what_people_decided_is_the_headline_of_the_item_and_of_its_row(
    service: Service, decision: str, colour: str
) -> None:
    gathered = exhibits.leaning_material(exhibits.video())
    manifest = json.loads(gathered.files[MODEL_MANIFEST])
    for level in manifest["thresholds"].values():
        level |= {"no_manipulation_found": level["likely_manipulated"], "leaning": None}
    gathered.files[MODEL_MANIFEST] = json.dumps(manifest).encode()
    job = await judged_again(service, gathered)
    form = await browse(service, Role.ANALYST)
    texts = words("en")
    before = part(await item_page(service, job), "answer")
    assert 'class="answer no_manipulation_found"' in before
    assert "Body, clothes and surroundings were not examined." in before
    assert "of 100 manipulated videos get this verdict too" in before
    assert "confirm that on other grounds" in part(await item_page(service, job), "next-steps")
    page = part(await decide(service, job, form, decision), "answer")
    assert f'class="answer {colour}"' in page
    assert f'<h1 id="answer">{texts.of("concluded", decision)}</h1>' in page
    assert page.index("seen") < page.index(texts.of("answers", "no_manipulation_found"))
    queue = (await service.client.get("/?tab=all")).text
    row = queue[queue.index(f'id="job-{job["id"]}"') :]
    finding, verdict = texts.of("findings", decision), texts.of("verdicts", "no_manipulation_found")
    assert row.index(finding) < row.index(verdict)
    style = (await service.client.get("/static/console.css")).text
    green = re.findall(r"[^{}]+{[^{}]*var\(--good[^{}]*}", style)
    assert not [rule for rule in green if "no_manipulation_found" in rule]
    assert [rule for rule in green if f".answer.{colour}" in rule] or colour == "bad"
    form = await browse(service, Role.ADMIN)
    page = part(await decide(service, job, form, "undecided"), "answer")
    assert texts("concluded_label", count=1) in page  # who left it open did not find it


async def test_who_signs_in_reads_the_terms_of_the_model(service: Service) -> None:
    service.client.headers["Accept-Language"] = "en"
    page = (await service.client.get("/sign-in")).text
    assert "Terms of use of the model: " in page
