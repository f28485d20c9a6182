"""Degradations with real encoders: what each does to media, and that they stay media."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from deepfake_eval.inference.corruptions import (
    CLIP_FRAMES,
    DEGRADATIONS,
    Variant,
    blur,
    degraded,
    encode_h264,
    h264,
    jpeg,
    noise,
    resize,
)
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import FailedFrame, Frame
from tests.support import footage


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(((a.astype(float) - b) ** 2).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    """Return frames of odd size, which 4:2:0 cannot represent."""
    return footage.panning(CLIP_FRAMES, 161, 129)


def test_jpeg_loses_more_the_lower_its_quality(clip: list[np.ndarray]) -> None:
    levels = DEGRADATIONS["jpeg"].levels
    quality = [psnr(clip[0], jpeg(clip[0], q)) for q in levels]
    assert quality == sorted(quality, reverse=True)
    assert quality[0] > quality[-1] + 8


def test_h264_loses_more_and_takes_less_the_higher_its_rate_factor(clip: list[np.ndarray]) -> None:
    levels = [int(v) for v in DEGRADATIONS["h264"].levels]
    sizes = [len(encode_h264(clip, crf)) for crf in levels]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 2
    quality = [psnr(clip[4], h264(clip, crf, 4)) for crf in levels]
    assert quality == sorted(quality, reverse=True)
    # Colours and size are preserved: at CRF 18 almost nothing is lost.
    assert quality[0] > 34
    assert len({encode_h264(clip, 28) for _ in range(20)}) == 1


def test_h264_returns_the_frame_asked_for(clip: list[np.ndarray]) -> None:
    for place in (0, 4, CLIP_FRAMES - 1):
        got = h264(clip, 18, place)
        nearest = max(range(CLIP_FRAMES), key=lambda k: psnr(clip[k], got))
        assert nearest == place


def test_blur_and_noise_do_what_they_state() -> None:
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    noisy = noise(grey, 0.1, np.random.default_rng(0)).astype(float)
    assert noisy.std() == pytest.approx(25.5, rel=0.05)
    point = grey.copy()
    point[32, 32] = 255
    spread = blur(point, 2.0).astype(float)[..., 0] - 128
    assert spread.max() < 127 / 15
    assert spread[32, 36] > 0


def test_rescaled_frames_stay_smaller_and_do_not_alias() -> None:
    lines = np.zeros((90, 120, 3), dtype=np.uint8)
    lines[:, ::2] = 255
    small = resize(lines, 0.5)
    assert small.shape == (45, 60, 3)
    # A low-pass filter turns fine lines grey.
    assert small[:, 5:-5].std() < 5
    assert resize(lines[:1, :1], 0.25).shape == (1, 1, 3)


@pytest.mark.parametrize("name", list(DEGRADATIONS))
def test_every_degradation_keeps_the_contract_of_media(name: str) -> None:
    file = footage.encode(footage.panning(14))
    level = DEGRADATIONS[name].levels[-1]
    with InProcessDecoder().open(BytesIO(file)) as plain:
        times = plain.times
        before = {f.index: f for f in plain.frames([0, 6, 13])}
    with InProcessDecoder().open(BytesIO(file)) as plain:
        media = degraded(plain, Variant(name, level))
        assert media.times.tolist() == times.tolist()
        first = list(media.frames([0, 6, 13]))
        again = list(media.frames([6]))
        assert list(media.frames([])) == []
        with pytest.raises(ValueError, match="ascend"):
            list(media.frames([6, 0]))
        for frame in first:
            assert isinstance(frame, Frame)
            assert frame.pixels.shape == (media.facts.height, media.facts.width, 3)
            assert frame.pixels.dtype == np.uint8
            assert frame.time_s == times[frame.index]
            source = before[frame.index]
            assert isinstance(source, Frame)
            assert not np.array_equal(source.pixels, frame.pixels)
    assert [f.index for f in first] == [0, 6, 13]
    # A frame does not depend on which others were requested, noise included.
    assert isinstance(again[0], Frame)
    assert isinstance(first[1], Frame)
    assert np.array_equal(again[0].pixels, first[1].pixels)


def test_frames_of_the_clip_that_failed_are_left_out() -> None:
    frames = footage.panning(12, 64, 48)

    class Media:
        facts = footage_facts(12)
        times = np.arange(12) / 25

        def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
            for k in indices:
                bad = k in (3, 6)
                yield FailedFrame(k, k / 25, "torn") if bad else Frame(k, k / 25, frames[k])

    got = list(degraded(Media(), Variant("h264", 18)).frames([5, 6, 7]))
    assert isinstance(got[1], FailedFrame)
    for frame, k in ((got[0], 5), (got[2], 7)):
        assert isinstance(frame, Frame)
        assert max(range(12), key=lambda j: psnr(frames[j], frame.pixels)) == k


def footage_facts(frames: int) -> Any:
    from deepfake_models.bundle.results import MediaFacts

    return MediaFacts("video", 64, 48, frames / 25, frames, 0)


def test_a_frame_that_no_jpeg_can_hold_fails_and_nothing_else() -> None:
    wide = footage.picture(np.zeros((1, 70000, 3), np.uint8), "PNG")
    with InProcessDecoder().open(BytesIO(wide)) as media:
        frames = degraded(media, Variant("jpeg", 80)).frames([0])
        assert isinstance(next(iter(frames)), FailedFrame)
    with InProcessDecoder().open(BytesIO(wide)) as media:
        frames = degraded(media, Variant("h264", 23)).frames([0])
        assert isinstance(next(iter(frames)), FailedFrame)
