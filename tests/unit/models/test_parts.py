"""An examination done in parts, each kept as JSON, gives the verdict of one done at once."""

from __future__ import annotations

import io

import pytest

from deepfake_models.decision.checkpoints import UnreadablePart, dump_part, load_part
from deepfake_models.decode.decoder import InProcessDecoder
from deepfake_models.scorer import Scorer
from tests.support import mediakit


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.open(device="cpu")


def clip() -> bytes:
    face = mediakit.resized(mediakit.astronaut(), 256, 256)
    return mediakit.encode([face] * 30)


@pytest.mark.parametrize("frames", [None, 7])
def test_a_video_in_parts(scorer: Scorer, frames: int | None) -> None:
    raw = clip()
    whole = scorer.score(io.BytesIO(raw), frames=frames)
    kept: list[bytes] = []
    with InProcessDecoder().open(io.BytesIO(raw)) as media:
        sampled = scorer.plan(media, frames)
    for start in range(0, len(sampled), 4):
        with InProcessDecoder().open(io.BytesIO(raw)) as media:
            kept.append(dump_part(scorer.examine(media, sampled[start : start + 4])))
    with InProcessDecoder().open(io.BytesIO(raw)) as media:
        parts = [load_part(k) for k in kept]
        extra = scorer.further(media, sampled, parts) if frames is None else []
        parts.append(scorer.examine(media, extra, stage="dense"))
        verdict = scorer.conclude(media, sorted([*sampled, *extra]), parts)
    assert verdict.to_json() == whole.to_json()
    assert [f.box for f in verdict.faces] == [f.box for f in whole.faces]
    # Crops of another batch: the engine may sum in another order.
    for ours, theirs in zip(verdict.faces, whole.faces, strict=True):
        assert ours.logit == pytest.approx(theirs.logit, abs=1e-4)


def test_a_picture_has_one_part(scorer: Scorer) -> None:
    raw = mediakit.picture(mediakit.astronaut(), "PNG")
    with InProcessDecoder().open(io.BytesIO(raw)) as media:
        assert scorer.plan(media, 5) == [0]
        part = load_part(dump_part(scorer.examine(media, [0])))
        assert scorer.further(media, [0], [part]) == []
        assert scorer.conclude(media, [0], [part]) == scorer.score(io.BytesIO(raw))


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"frames": [{}], "failed": 0}', b'{"frames": 1}'])
def test_what_is_no_part_is_an_error(raw: bytes) -> None:
    with pytest.raises(UnreadablePart):
        load_part(raw)
