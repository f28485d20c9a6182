"""Which lightly edited copies of a known video are found, and by which shares of frames.

Every copy is encoded and decoded. The lists below are those of ``docs/evidence.md``.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from sqlalchemy import select

from deepfake_models.media.decoder import InProcessDecoder
from deepfake_service.evidence.bundle.documents import Likeness
from deepfake_service.evidence.bundle.perceptual_hashes import (
    MediaHashes,
    hash_media,
    shares_alike,
)
from deepfake_service.platform.db import AuditEntry, Case, Job, KnownHashes, Match, new_id
from deepfake_service.platform.enums import JobState, Role
from tests.support import footage
from tests.support.jobs import VIDEO, headers, submit
from tests.support.servers import statements
from tests.unit.service.conftest import Service

Frames = list[footage.Pixels]
WIDTH, HEIGHT, SECONDS, RATE = 320, 256, 12, 5


@cache
def original() -> tuple[footage.Pixels, ...]:
    return tuple(footage.panning(SECONDS * RATE, WIDTH, HEIGHT))


@cache
def another() -> tuple[footage.Pixels, ...]:
    portrait = footage.grace_hopper()[:410]
    return tuple(footage.panning(SECONDS * RATE, WIDTH, HEIGHT, portrait))


def hashes_of(frames: Frames) -> MediaHashes:
    """Encode frames, decode them again and hash them, as an examination does."""
    video = footage.encode(frames, rate=RATE, options={"crf": "30", "preset": "veryfast"})
    with InProcessDecoder().open(io.BytesIO(video)) as media:
        return MediaHashes.of(hash_media(media)[0], Likeness())


@cache
def known() -> MediaHashes:
    return hashes_of(list(original()))


def cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    """Cut off a share of width and height, and scale what is left to the former size."""
    x, y = WIDTH * share / 2, HEIGHT * share / 2
    box = (x, y, WIDTH - x, HEIGHT - y)
    return lambda image: image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box)


def with_logo(image: Image.Image, share: float = 0.1) -> Image.Image:
    """Cover a corner, a share of the height."""
    side = round(HEIGHT * share)
    draw = ImageDraw.Draw(image)
    draw.rectangle((WIDTH - side - 4, 4, WIDTH - 4, side + 4), fill=(230, 30, 30))
    draw.ellipse((WIDTH - side, 8, WIDTH - 8, side), fill=(255, 255, 255))
    return image


def with_caption(image: Image.Image) -> Image.Image:
    """Write a line without a background."""
    font = ImageFont.load_default(22)
    place = (30, HEIGHT - 40)
    outline = (0, 0, 0)
    draw = ImageDraw.Draw(image)
    text, white = "shared by someone", (255, 255, 255)
    draw.text(place, text, white, font, stroke_width=1, stroke_fill=outline)
    return image


def with_banner(image: Image.Image) -> Image.Image:
    """Cover a ninth of the height from edge to edge, with a line of text."""
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, HEIGHT - 36, WIDTH, HEIGHT - 8), fill=(0, 0, 0))
    draw.text((10, HEIGHT - 32), "SUBSCRIBE", (255, 255, 255), ImageFont.load_default(20))
    return image


def brightened(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.point(lambda value: min(255, round(value * factor)))


def bordered(image: Image.Image) -> Image.Image:
    """Add black bars above and below, a tenth of the height each."""
    bar = HEIGHT // 10
    framed = Image.new("RGB", (WIDTH, HEIGHT))
    framed.paste(image.resize((WIDTH, HEIGHT - 2 * bar)), (0, bar))
    return framed


def rotated(degrees: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.rotate(degrees, Image.Resampling.BICUBIC)


def edited(edit: Callable[[Image.Image], Image.Image]) -> Frames:
    return [np.array(edit(Image.fromarray(frame))) for frame in original()]


FOUND: dict[str, Callable[[Image.Image], Image.Image]] = {
    "a crop of 2%": cropped(0.02),
    "a logo of a tenth of the height": with_logo,
    "a caption": with_caption,
    "darker by 60%": brightened(0.4),
    "brighter by 50%": brightened(1.5),
    "half the width": lambda image: image.resize((WIDTH // 2, HEIGHT // 2)),
    "stretched by a quarter": lambda image: image.resize((WIDTH * 5 // 4 // 2 * 2, HEIGHT)),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "mirrored, with a logo": lambda image: with_logo(
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    ),
}
NOT_FOUND: dict[str, Callable[[Image.Image], Image.Image]] = {
    "a crop of 5%": cropped(0.05),
    "a crop of 10%": cropped(0.1),
    "a logo of a quarter of the height": lambda image: with_logo(image, 0.25),
    "a banner from edge to edge": with_banner,
    "black bars": bordered,
    "turned by 5 degrees": rotated(5),
}


@pytest.mark.parametrize("edit", FOUND)
def test_an_edited_copy_is_found(edit: str) -> None:
    shares = shares_alike(hashes_of(edited(FOUND[edit])).pdq, known().pdq)
    assert shares.match
    assert shares.submitted >= 0.8, shares


@pytest.mark.parametrize("edit", NOT_FOUND)
def test_a_copy_that_was_edited_more_is_not_found(edit: str) -> None:
    shares = shares_alike(hashes_of(edited(NOT_FOUND[edit])).pdq, known().pdq)
    assert not shares.match, shares


def test_excerpts_and_longer_videos_are_told_apart_by_their_shares() -> None:
    frames, other = list(original()), list(another())
    half = shares_alike(hashes_of(frames[: len(frames) // 2]).pdq, known().pdq)
    assert half.match
    assert half.submitted >= 0.9
    assert half.known <= 0.7
    longer = shares_alike(hashes_of([*other, *frames, *other]).pdq, known().pdq)
    assert longer.match
    assert longer.submitted <= 0.5
    assert longer.known >= 0.9
    # A third of the known video in another one is not enough of either.
    part = shares_alike(hashes_of([*other, *frames[:20]]).pdq, known().pdq)
    assert not part.match
    assert not shares_alike(hashes_of(other).pdq, known().pdq).match


async def test_both_shares_are_reported_where_copies_are_named(start: Any) -> None:
    frames = list(original())
    async with start() as service:
        first = await submit(service, VIDEO + b"1", case_reference="KNOWN")
        copy = await submit(service, VIDEO + b"2", case_reference="COPY")
        bank = service.app.state.shared.services.hash_bank
        remember(service, first["id"], known())
        with service.database.read() as session:
            bank.link_similar(session.get_one(Job, copy["id"]), hashes_of(frames[:30]))
        admin = headers(service, Role.ADMIN)
        answer = await service.client.get(f"/v1/jobs/{copy['id']}/matches", headers=admin)
        (match,) = answer.json()["matches"]
        assert match["case_id"] == first["case_id"]
        assert match["percent"] >= 90
        assert 40 <= match["known_percent"] <= 70
        item = service.app.state.shared.services.item_pages.read(
            service.accounts.authenticate(service.keys[Role.ADMIN]), copy["id"]
        )
        assert item.matches[0].known_percent == match["known_percent"]


async def test_hashes_that_cannot_be_read_hold_up_no_others(start: Any) -> None:
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n]), case_reference=str(n)) for n in range(4)]
        for job in jobs[:3]:
            remember(service, job["id"], known())
        with service.database.write() as session:
            broken = select(KnownHashes).where(KnownHashes.job_id == jobs[1]["id"])
            session.scalars(broken).one().sealed = b"not sealed"
            copy = session.get_one(Job, jobs[3]["id"])
        service.app.state.shared.services.hash_bank.link_similar(copy, known())
        answer = await service.client.get(
            f"/v1/jobs/{copy.id}/matches", headers=headers(service, Role.ADMIN)
        )
        found = {match["case_id"] for match in answer.json()["matches"]}
        assert found == {jobs[0]["case_id"], jobs[2]["case_id"]}
        exported = await service.client.get(
            "/v1/known-hashes", headers=headers(service, Role.ANALYST)
        )
        assert len(exported.text.splitlines()) == 2


async def test_known_hashes_are_compared_some_at_a_time(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.hashes.hash_list.BATCH", 2)
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n]), case_reference=str(n)) for n in range(6)]
        for job in jobs[:5]:
            remember(service, job["id"], known())
        with service.database.read() as session:
            copy = session.get_one(Job, jobs[5]["id"])
        with statements(service.database.engine) as seen:
            service.app.state.shared.services.hash_bank.link_similar(copy, known())
        read = [statement for statement in seen if "FROM known_hashes" in statement]
        assert len(read) == 4
        assert all("LIMIT" in statement for statement in read)
        with service.database.read() as session:
            linked = set(session.scalars(select(Match.case_id)))
        assert linked == {job["case_id"] for job in jobs[:5]}


async def test_the_audit_log_counts_the_hashes_that_are_exported(start: Any) -> None:
    async with start() as service:
        job = await submit(service, VIDEO, case_reference="KNOWN")
        remember(service, job["id"], known())
        analyst = headers(service, Role.ANALYST)
        answer = await service.client.get("/v1/known-hashes", headers=analyst)
        assert len(answer.text.splitlines()) == 1
        with service.database.read() as session:
            exported = select(AuditEntry.detail).where(AuditEntry.action == "hashes.exported")
            assert session.scalars(exported).all() == ["1"]


def remember(service: Service, job_id: str, hashes: MediaHashes) -> None:
    """Put the hashes of a job's medium into the bank, as a confirmed review does."""
    services = service.app.state.shared.services
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        job.state = JobState.SUCCEEDED
        case = session.get_one(Case, job.case_id)
        entry = KnownHashes(
            id=new_id(), case_id=case.id, job_id=job_id,
            created_at=service.clock(), expires_at=service.clock(),
        )  # fmt: skip
        services.hash_bank.hashes.seal(entry, {"pdq": hashes.pdq, "vpdq": hashes.vpdq})
        session.add(entry)
