"""Content Credentials of submitted files, and perceptual hashes."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_models.media.credentials import read_credentials
from deepfake_models.media.decoder import mime_of
from deepfake_service.evidence.bundle import perceptual_hashes as perceptual
from deepfake_service.evidence.bundle.documents import FrameHash, FrameHashes, Likeness
from deepfake_service.evidence.bundle.perceptual_hashes import (
    MediaHashes,
    Shares,
    distances,
    exchange_lines,
    packed,
    pdq,
    shares_alike,
)
from tests.support import exhibits, footage

CLAIM = {
    "claim_generator_info": [{"name": "generator", "version": "1"}],
    "title": "picture",
    "assertions": [
        {
            "label": "c2pa.actions",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/"
                        "trainedAlgorithmicMedia",
                    }
                ]
            },
        }
    ],
}
PLAIN = footage.picture(footage.astronaut(), "JPEG")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("c2pa")
    exhibits.with_credentials(made, PLAIN, CLAIM)
    return made


def state_of(content: bytes, anchors: Path | None = None) -> dict[str, Any]:
    trusted = anchors.read_text() if anchors else None
    return read_credentials(io.BytesIO(content), mime_of(content[:64]), trusted)


def test_the_four_states(folder: Path) -> None:
    signed = (folder / "signed.jpg").read_bytes()
    assert state_of(PLAIN) == {"state": "absent"}
    valid = state_of(signed)
    assert (valid["state"], valid["issuer"], valid["generator"]) == (
        "valid", "Camera maker", "generator",
    )  # fmt: skip
    assert valid["actions"][0]["source_type"].endswith("trainedAlgorithmicMedia")
    assert state_of(signed, folder / "ca.crt")["state"] == "trusted"
    other = signed[:-2000] + bytes([signed[-2000] ^ 255]) + signed[-1999:]
    assert state_of(other, folder / "ca.crt")["state"] == "invalid"


def test_hostile_manifests_are_invalid_and_raise_nothing(folder: Path) -> None:
    signed = (folder / "signed.jpg").read_bytes()
    draw = random.Random(4)
    for _ in range(40):
        changed = bytearray(signed)
        for _ in range(4):
            changed[draw.randrange(2, 12_000)] = draw.randrange(256)
        assert state_of(bytes(changed), folder / "ca.crt")["state"] in ("absent", "invalid")
    assert state_of(b"no media")["state"] == "not_read"


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (footage.picture(footage.astronaut(), "PNG"), "image/png"),
        (footage.encode(footage.panning(3)), "video/mp4"),
        (footage.encode(footage.panning(3), container="webm", codec="libvpx-vp9"), "video/webm"),
        (b"RIFF\0\0\0\0AVI LIST", "video/avi"),
        (b"", None),
    ],
)
def test_the_type_follows_from_the_content(head: bytes, mime: str | None) -> None:
    assert mime_of(head[:4096]) == mime


def test_a_copy_is_near_and_another_picture_is_far() -> None:
    one, other = footage.astronaut(), footage.grace_hopper()
    small = footage.resized(one, 300, 300)
    found = [pdq(p)[0] for p in (one, small, other)]
    near = distances(packed(found[:1]), packed(found[1:]))[0]
    assert near[0] <= 31 < near[1]
    assert shares_alike([found[1]], [found[0], found[2]]) == Shares(1.0, 0.5)
    # A longer video that contains all of the known one is a match, too.
    longer = shares_alike([found[2]] * 4 + [found[1]], [found[0]])
    assert longer == Shares(pytest.approx(0.2), 1.0)
    assert longer.match
    assert not shares_alike([found[1], found[2]], [found[0], *["f" * 64] * 3]).match
    assert shares_alike([], found) == Shares(0.0, 0.0)


def test_a_mirrored_and_edited_copy_matches_and_another_picture_does_not() -> None:
    known = footage.astronaut()
    copy = np.clip(known[::2, ::-2].astype(float) * 0.9 + 12, 0, 255).astype(np.uint8)
    other = np.ascontiguousarray(np.roll(known, 200, axis=(0, 1))[::-1])
    hashes = [pdq(np.ascontiguousarray(p))[0] for p in (known, copy, other)]
    assert distances(packed(hashes[:1]), packed(hashes[1:2]))[0][0] > 31
    assert shares_alike([hashes[1]], [hashes[0]]) == Shares(1.0, 1.0)
    assert shares_alike([hashes[2]], [hashes[0]]) == Shares(0.0, 0.0)


def test_poor_frames_are_left_out_and_exports_have_the_exchanged_form() -> None:
    frames = (
        FrameHash(pdq="ab" * 32, quality=100, time_s=0.0),
        FrameHash(pdq="cd" * 32, quality=49, time_s=1.0),
    )
    assert MediaHashes.of(FrameHashes(pdq=frames), Likeness()).pdq == ["ab" * 32]
    assert MediaHashes.of(FrameHashes(pdq=None, reason="x"), Likeness()).pdq == []
    lines = [json.loads(line) for line in exchange_lines([(["ab" * 32], []), (["a", "b"], ["v"])])]
    assert lines == [{"pdq": "ab" * 32}, {"vpdq": '["v"]'}]


def test_long_videos_are_hashed_further_apart() -> None:
    indices, interval = perceptual.every_second(np.arange(0, 3600, 0.04))
    assert interval == pytest.approx(2.0, rel=0.01)
    assert len(indices) <= perceptual.MAX_FRAMES + 1
    assert perceptual.every_second(np.array([0.0])) == ([0], 1.0)
