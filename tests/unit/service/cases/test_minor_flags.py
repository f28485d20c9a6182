"""The flag of a possible minor follows the pictures, not the bytes alone."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sqlalchemy import delete, select

from deepfake_models.media.decoder import InProcessDecoder
from deepfake_service.audit.log import Action, verify
from deepfake_service.evidence.bundle.perceptual_hashes import (
    MediaHashes,
    distances,
    hash_media,
    orientations,
    packed,
    pdq,
    resembles,
)
from deepfake_service.hashes.minor_flags import KEPT_FOR
from deepfake_service.platform.db import Case, FlaggedHashes, Job
from deepfake_service.platform.enums import ENDED, JobState, Role
from tests.support import exhibits, footage
from tests.support.captures import hand_in
from tests.support.jobs import VIDEO, all_entries, delete_case, end, examined, headers, submit
from tests.support.servers import statements
from tests.unit.service.conftest import Service


@cache
def encoded(change: str) -> bytes:
    """Return ``exhibits.video()`` with its pictures changed."""
    frames = footage.panning(50, 320, 256)
    if change == "dimmer":
        frames = [(f * 0.95).astype("uint8") for f in frames]
    elif change == "mirrored":
        frames = [np.ascontiguousarray(f[:, ::-1]) for f in frames]
    elif change == "other":
        portrait = footage.resized(footage.grace_hopper()[:410], 320, 256)
        frames = [portrait.copy() for _ in range(10)]
    return footage.encode(frames, options={"crf": "30"})


async def flag(service: Service, job: dict[str, Any], role: Role = Role.ANALYST) -> None:
    path = f"/v1/cases/{job['case_id']}/minor"
    answer = await service.client.put(path, headers=headers(service, role))
    assert answer.status_code == 204


async def unflag(service: Service, job: dict[str, Any], role: Role = Role.ANALYST) -> None:
    path = f"/v1/cases/{job['case_id']}/minor"
    answer = await service.client.delete(path, headers=headers(service, role))
    assert answer.status_code == 204


def is_flagged(service: Service, job: dict[str, Any]) -> bool:
    with service.database.read() as session:
        return session.get_one(Case, job["case_id"]).minor_at is not None


async def test_h6_one_appended_byte_does_not_escape_the_flag(service: Service) -> None:
    first = await examined(service, exhibits.video(), exhibits.video())
    await flag(service, first)
    copy = await examined(service, exhibits.video() + b"x", exhibits.video())
    assert is_flagged(service, copy)
    face = await service.client.get(f"/v1/jobs/{copy['id']}/faces/1.png")
    assert face.status_code == 403
    other = service.accounts.create("another analyst", "person", Role.ANALYST)
    assert other
    key = service.accounts.create_key("another analyst").text
    evidence = await service.client.get(
        f"/v1/jobs/{copy['id']}/evidence", headers={"Authorization": f"Bearer {key}"}
    )
    assert evidence.status_code == 404


@pytest.mark.parametrize("change", ["dimmer", "mirrored"])
async def test_h6_another_encoding_does_not_escape_the_flag(service: Service, change: str) -> None:
    first = await examined(service, exhibits.video(), exhibits.video())
    await flag(service, first)
    copy = await examined(service, encoded(change), encoded(change))
    assert is_flagged(service, copy)
    other = await examined(service, encoded("other"), encoded("other"))
    assert not is_flagged(service, other)


def shown_on_a_phone(pixels: footage.Pixels) -> footage.Pixels:
    """Return a screenshot of an app that shows a picture between its bars and texts."""
    width, height = 720, 1560
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 60, width, 150), fill=(90, 60, 200))
    draw.ellipse((20, 70, 90, 140), fill=(200, 200, 90))
    shown = Image.fromarray(pixels)
    page.paste(shown.resize((width, shown.height * width // shown.width)), (0, 170))
    for y in range(1080, height - 120, 40):
        for x in range(30, width - 160, 130):
            draw.rectangle((x, y, x + 40 + (x * y) % 70, y + 16), fill=(20, 20, 20))
    draw.rectangle((0, height - 90, width, height), fill=(30, 30, 30))
    return np.asarray(page)


def without(pixels: footage.Pixels, *shares: float) -> footage.Pixels:
    """Return a picture without these shares at its left, top, right and bottom."""
    (height, width), (left, top, right, bottom) = pixels.shape[:2], shares
    return pixels[
        int(height * top) : height - int(height * bottom),
        int(width * left) : width - int(width * right),
    ]


REPOSTED = {
    "crop of 5%": lambda p: without(p, 0.05, 0.05, 0.05, 0.05),
    "crop of 15%": lambda p: without(p, 0.15, 0.15, 0.15, 0.15),
    "crop at the left": lambda p: without(p, 0.15, 0, 0, 0),
    "crop at the bottom": lambda p: without(p, 0, 0, 0, 0.15),
    "white border": lambda p: np.pad(p, ((80, 80), (80, 80), (0, 0)), constant_values=255),
    "black bars": lambda p: np.pad(p, ((80, 80), (0, 0), (0, 0))),
    "screenshot": shown_on_a_phone,
    "mirrored screenshot": lambda p: shown_on_a_phone(p[:, ::-1]),
}


def hashes_of(pixels: footage.Pixels, quality: int = 75) -> MediaHashes:
    """Return the hashes of a picture, as an examination finds them."""
    with InProcessDecoder().open(io.BytesIO(footage.picture(pixels, quality=quality))) as media:
        return MediaHashes.of(*hash_media(media))


PORTRAITS = (footage.astronaut, footage.grace_hopper)


@cache
def hashes_of_portrait(portrait: Callable[[], footage.Pixels]) -> MediaHashes:
    return hashes_of(portrait())


def are_alike(one: MediaHashes, other: MediaHashes) -> bool:
    """Compare two media in both directions, which must agree."""
    (alike,) = {a.is_like(b.frames, b.centres) for a, b in ((one, other), (other, one))}
    return alike


@pytest.mark.parametrize("change", REPOSTED)
@pytest.mark.parametrize("portraits", [0, 1])
def test_r2_a_changed_picture_is_like_its_original_and_not_like_another(
    portraits: int, change: str
) -> None:
    own, other = PORTRAITS[:: 1 if portraits else -1]
    copy = hashes_of(np.ascontiguousarray(REPOSTED[change](own())), quality=80)
    assert are_alike(copy, hashes_of_portrait(own))
    assert not are_alike(copy, hashes_of_portrait(other))


async def test_r2_a_screenshot_does_not_escape_the_flag(service: Service) -> None:
    original = footage.picture(footage.grace_hopper())
    await flag(service, await examined(service, original, original))
    copied = footage.picture(shown_on_a_phone(footage.grace_hopper()), quality=80)
    copy = await examined(service, copied, copied)
    assert is_flagged(service, copy)
    face = await service.client.get(f"/v1/jobs/{copy['id']}/faces/1.png")
    assert face.status_code == 403


async def test_the_same_face_in_another_picture_is_not_flagged(service: Service) -> None:
    original = footage.picture(footage.astronaut())
    await flag(service, await examined(service, original, original))
    scene = np.random.default_rng(1).integers(0, 255, (12, 16, 3), np.uint8)
    other = np.array(Image.fromarray(scene).resize((640, 480), Image.Resampling.BICUBIC))
    other[200:420, 60:300] = footage.astronaut()[:220, 110:350]
    sent = footage.picture(other)
    job = await examined(service, sent, sent)
    assert (await service.client.get(f"/v1/jobs/{job['id']}/faces/1.png")).status_code == 200
    assert not is_flagged(service, job)


async def test_h6_a_copy_that_was_examined_earlier_is_flagged_too(service: Service) -> None:
    copy = await examined(service, encoded("dimmer"), encoded("dimmer"), Role.ADMIN)
    other = await examined(service, encoded("other"), encoded("other"), Role.ADMIN)
    first = await examined(service, exhibits.video(), exhibits.video())
    await flag(service, first)
    assert is_flagged(service, copy)
    assert not is_flagged(service, other)
    with service.database.read() as session:
        (entry,) = session.scalars(select(FlaggedHashes))
    assert entry.compared_at is None  # the worker compares the rest
    service.app.state.shared.services.minor_flags.compare_earlier_jobs()
    with service.database.read() as session:
        (entry,) = session.scalars(select(FlaggedHashes))
    assert entry.compared_at is not None


async def test_h6_deleting_the_flagged_case_does_not_lift_the_flag_of_copies(
    service: Service,
) -> None:
    first = await examined(service, exhibits.video(), exhibits.video())
    await flag(service, first)
    assert (await service.client.delete(f"/v1/cases/{first['case_id']}")).status_code == 204
    flags = service.app.state.shared.services.minor_flags
    # At once by its bytes, and by its pictures once it was examined.
    same = await service.client.post(
        "/v1/videos", files={"file": ("v", exhibits.video())}, headers=headers(service, Role.ADMIN)
    )
    assert is_flagged(service, same.json())
    copy = await examined(service, exhibits.video() + b"x", exhibits.video())
    assert is_flagged(service, copy)
    service.clock.advance(KEPT_FOR - timedelta(days=1))
    flags.forget_expired()
    with service.database.read() as session:
        assert session.scalars(select(FlaggedHashes)).all()
    service.clock.advance(timedelta(days=2))
    flags.forget_expired()
    with service.database.read() as session:
        assert not session.scalars(select(FlaggedHashes)).all()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.FAILED])
async def test_nor_does_it_if_the_case_was_not_examined(
    service: Service, state: JobState, when: str
) -> None:
    """A medium is added ``before`` or ``after`` its case is flagged, and has no hashes."""
    first = await submit(service, b"still 1 120 abc", case_reference="A")
    if when == "after":
        await flag(service, first)
    added = await submit(service, VIDEO, case_reference="A")
    with service.database.write() as session:
        job = session.get_one(Job, added["id"])
        job.state, job.finished_at = state, service.clock() if state in ENDED else None
    if when == "before":
        await flag(service, first)
    service.app.state.shared.services.minor_flags.compare_earlier_jobs()
    assert (await delete_case(service, first)).status_code == 204
    assert is_flagged(service, await submit(service, VIDEO, case_reference="B"))
    with service.database.read() as session:
        assert len(session.scalars(select(FlaggedHashes)).all()) == 2


async def test_nor_does_it_for_a_file_of_a_capture_which_has_no_job(service: Service) -> None:
    screenshot = footage.picture(footage.astronaut())

    async def captured(reference: str) -> dict[str, Any]:
        answer = await hand_in(service, screenshots=(screenshot,), case_reference=reference)
        assert answer.is_success, answer.text
        capture: dict[str, Any] = answer.json()
        return capture

    first = await captured("A")
    await flag(service, first)
    path = f"/v1/cases/{first['case_id']}"
    deleted = await service.client.delete(path, headers=headers(service, Role.ANALYST))
    assert deleted.status_code == 204
    assert is_flagged(service, await captured("B"))


async def test_a_case_that_is_examined_after_its_flag_is_followed_by_its_pictures(
    service: Service,
) -> None:
    first = await submit(service, exhibits.video())
    copy = await examined(service, encoded("dimmer"), encoded("dimmer"), case_reference="COPY")
    await flag(service, first)
    flags = service.app.state.shared.services.minor_flags
    flags.compare_earlier_jobs()
    assert not is_flagged(service, copy)
    end(service, first["id"], exhibits.material(exhibits.video()))
    flags.compare_earlier_jobs()
    assert is_flagged(service, copy)
    with service.database.read() as session:
        (entry,) = session.scalars(select(FlaggedHashes))
    assert entry.sealed
    assert entry.compared_at is not None


async def test_hashes_of_a_flagged_case_do_not_expire_before_the_case(service: Service) -> None:
    first = await examined(service, exhibits.video(), exhibits.video())
    await flag(service, first)
    flags = service.app.state.shared.services.minor_flags
    service.clock.advance(timedelta(days=36500))
    flags.forget_expired()
    with service.database.read() as session:
        (entry,) = session.scalars(select(FlaggedHashes))
    assert entry.expires_at > service.clock() + timedelta(days=1000)


async def test_removing_the_flag_removes_it_from_those_that_follow(service: Service) -> None:
    first = await examined(service, exhibits.video(), exhibits.video())
    await flag(service, first)
    copy = await examined(service, encoded("dimmer"), encoded("dimmer"))
    assert is_flagged(service, copy)
    await unflag(service, first)
    assert not is_flagged(service, first)
    assert not is_flagged(service, copy)
    later = await examined(service, exhibits.video() + b"x", exhibits.video())
    assert not is_flagged(service, later)


async def test_a_copy_of_two_flagged_cases_stays_flagged_because_of_the_other(
    service: Service,
) -> None:
    first = await examined(service, exhibits.video(), exhibits.video(), case_reference="1")
    second = await examined(service, exhibits.video() + b"x", exhibits.video(), case_reference="2")
    copy = await examined(service, encoded("dimmer"), encoded("dimmer"), case_reference="3")
    await flag(service, first)
    await flag(service, second, Role.ADMIN)  # which was flagged because of the first one
    await unflag(service, first)
    assert not is_flagged(service, first)
    assert is_flagged(service, second)
    assert is_flagged(service, copy)
    with service.database.read() as session:
        assert session.get_one(Case, copy["case_id"]).minor_from == second["case_id"]


async def test_the_page_of_a_case_says_which_flag_it_follows_and_which_follow(
    service: Service,
) -> None:
    first = await examined(service, exhibits.video(), exhibits.video())
    copy = await examined(service, encoded("dimmer"), encoded("dimmer"))
    service.client.headers["Accept-Language"] = "en"

    async def page(job: dict[str, Any], role: Role) -> str:
        service.client.cookies.clear()
        await service.sign_in(role)
        answer = await service.client.get(f"/cases/{job['case_id']}")
        assert answer.status_code == 200
        return str(answer.text)

    assert "automatically" not in await page(copy, Role.ANALYST)
    await flag(service, first)
    original = await page(first, Role.ANALYST)
    assert "automatically" not in original
    assert "1 other case with a copy of a file is flagged as well" in original
    assert f'<li><a href="/cases/{copy["case_id"]}"><bdi>' in original
    follower = await page(copy, Role.ANALYST)
    link = f'<a href="/cases/{first["case_id"]}"><bdi>'
    assert f"the same file as the case {link}" in follower
    assert "flagged as well" not in follower
    for page_of_either in (original, follower):  # both files, by their names
        item = r'<a href="/items/(\w+)"><bdi>[^<]+</bdi></a>'
        assert re.findall(rf"{item}\s*↔\s*{item}", page_of_either) == [(copy["id"], first["id"])]
    flagged = [e for e in all_entries(service) if e.action == Action.MINOR_FLAGGED]
    assert [e.detail for e in flagged] == [None, f"{copy['media_id']} {first['id']}"]
    await unflag(service, first)
    assert "automatically" not in await page(copy, Role.ANALYST)


async def test_the_page_of_a_case_without_a_flag_looks_for_none_that_follow(
    service: Service,
) -> None:
    """No index finds them: all cases would be read."""
    job = await submit(service)
    await service.sign_in(Role.ANALYST)
    with statements(service.database.engine) as asked:
        assert (await service.client.get(f"/cases/{job['case_id']}")).status_code == 200
    assert not [text for text in asked if "minor_from =" in text]


async def test_removing_the_flag_of_one_that_follows_leaves_the_other(service: Service) -> None:
    first = await examined(service, exhibits.video(), exhibits.video())
    await flag(service, first)
    copy = await examined(service, encoded("dimmer"), encoded("dimmer"))
    await unflag(service, copy)
    assert is_flagged(service, first)
    assert not is_flagged(service, copy)
    # The worker does not overrule the person.
    service.app.state.shared.services.minor_flags.compare_earlier_jobs()
    assert not is_flagged(service, copy)


async def test_clearing_one_that_follows_leaves_what_else_the_flagged_case_shows(
    service: Service,
) -> None:
    """A flagged case shows an adult and a child; the other one has the picture of the adult."""
    adult, child = exhibits.video(), encoded("other")
    await examined(service, adult, adult, case_reference="BOTH")
    first = await examined(service, child, child, case_reference="BOTH")
    await flag(service, first)
    copy = await examined(service, adult, adult, case_reference="COPY")
    assert is_flagged(service, copy)
    await unflag(service, copy)
    assert not is_flagged(service, copy)
    assert is_flagged(service, first)
    assert is_flagged(service, await examined(service, child, child, case_reference="LATER"))


async def test_bytes_that_come_again_bring_no_flag_back_that_a_person_removed(
    service: Service,
) -> None:
    """A copy of another flagged case is still recognised."""
    same, other = exhibits.video(), encoded("other")
    first = await examined(service, same, same, case_reference="FIRST")
    await flag(service, first)
    copy = await examined(service, same, same, case_reference="COPY")
    await examined(service, same + b"2", same, case_reference="COPY")
    await unflag(service, copy)
    assert (await service.client.delete(f"/v1/jobs/{copy['id']}")).is_success
    again = await examined(service, same, same, case_reference="COPY")
    assert not is_flagged(service, again)
    second = await examined(service, other, other, case_reference="SECOND")
    await flag(service, second)
    assert is_flagged(service, await examined(service, other, other, case_reference="COPY"))


async def test_removing_a_flag_leaves_that_of_a_case_flagged_for_another_medium(
    service: Service,
) -> None:
    adult, child = exhibits.video(), encoded("other")
    mistaken = await examined(service, adult, adult, case_reference="A")
    other = await examined(service, child, child, case_reference="B")
    await flag(service, other, Role.ADMIN)
    await examined(service, adult, adult, case_reference="B")
    await flag(service, mistaken)
    await unflag(service, mistaken, Role.ADMIN)
    assert not is_flagged(service, mistaken)
    assert is_flagged(service, other)


async def test_who_flags_a_case_that_follows_takes_over_its_flag(service: Service) -> None:
    first = await submit(service, b"still 1 120 abc", case_reference="A")
    second = await submit(service, b"still 1 120 abc", case_reference="B")
    third = await submit(service, b"still 1 120 abc", case_reference="C")
    await flag(service, first)
    path = f"/v1/cases/{second['case_id']}"
    analyst = next(a.name for a in service.accounts.all() if a.role == Role.ANALYST)
    named = await service.client.put(f"{path}/reviewers", json={"accounts": [analyst]})
    assert named.is_success, named.text
    before = all_entries(service)
    await flag(service, second, Role.ADMIN)
    (entry,) = all_entries(service)[len(before) :]
    admin = service.accounts.authenticate(service.keys[Role.ADMIN]).account_id
    assert (entry.action, entry.account_id) == (Action.MINOR_FLAGGED, admin)
    assert (await service.client.get(path, headers=headers(service, Role.ANALYST))).is_success
    await unflag(service, first)
    assert not is_flagged(service, first)
    # Its own flag stays, and the third case, which is not examined yet, has the same bytes.
    assert is_flagged(service, second)
    assert is_flagged(service, third)
    refused = await service.client.delete(f"{path}/minor", headers=headers(service, Role.ANALYST))
    assert refused.status_code == 403
    await unflag(service, second, Role.ADMIN)
    assert not is_flagged(service, third)
    with service.database.read() as session:
        verify(session)


async def test_a_case_flagged_by_an_earlier_version_is_followed(service: Service) -> None:
    first = await examined(service, exhibits.video(), exhibits.video())
    copy = await examined(service, encoded("dimmer"), encoded("dimmer"))
    with service.database.write() as session:
        case = session.get_one(Case, first["case_id"])
        case.minor_at, case.minor_by = service.clock(), case.account_id
        session.execute(delete(FlaggedHashes))
    service.app.state.shared.services.minor_flags.compare_earlier_jobs()
    assert is_flagged(service, copy)


def test_excerpts_and_longer_videos_resemble_the_original() -> None:
    draw = np.random.default_rng(1)

    def hashes(count: int) -> list[str]:
        return [draw.bytes(32).hex() for _ in range(count)]

    known = hashes(40)
    assert resembles(known[:3], known)
    assert resembles(known + hashes(400), known)
    assert resembles(known[:10] + hashes(400), known)
    assert not resembles(known[:4] + hashes(400), known)
    assert not resembles(hashes(50), known)
    assert not resembles([], known)
    assert not resembles(known, [])


def test_the_hashes_of_other_orientations_are_close_to_those_computed() -> None:
    picture = footage.astronaut()
    theirs = list(orientations(packed([pdq(picture)[0]])))
    assert len(theirs) == 8
    for turns in range(4):
        for mirrored in (False, True):
            turned = np.rot90(picture[:, ::-1] if mirrored else picture, turns)
            ours = packed([pdq(np.ascontiguousarray(turned))[0]])
            assert min(int(distances(ours, t)[0, 0]) for t in theirs) <= 31
