"""Colours follow the tags of the media, and HDR is shown as SDR would be."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_models.media import color
from deepfake_models.media.interface import Frame
from tests.support import footage
from tests.support.footage import difference, opened


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (1, 1, 1, 2), (6, 6, 6, 1), (9, 14, 9, 1)], ids=str)
def test_colour_follows_the_tags(tags: tuple[int, int, int, int]) -> None:
    """Colours are restored for every matrix and range that a video may state."""
    chart = np.zeros((64, 96, 3), np.uint8)
    for k, shade in enumerate([(220, 40, 40), (40, 200, 60), (50, 60, 210), (205, 160, 135)]):
        chart[:, 24 * k : 24 * k + 24] = shade
    data = footage.encode([chart] * 2, color=tags, options={"crf": "1"})
    pixels = only_video(data)
    assert difference(pixels[:, 4:-4], chart[:, 4:-4]) < 4


def only_video(data: bytes) -> np.ndarray:
    with opened(data) as media:
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        return frame.pixels


def test_an_untagged_high_definition_video_is_bt709() -> None:
    chart = np.full((720, 128, 3), (220, 40, 40), np.uint8)
    tagged = footage.encode([chart] * 2, color=(1, 1, 1, 1), options={"crf": "1"})
    frame = next(footage.decode_all(tagged))
    frame.colorspace = color.MATRIX_UNSPECIFIED
    assert difference(color.to_rgb(frame, 128, 720), chart) < 4


def pq(nits: float) -> float:
    """Return the inverse EOTF of SMPTE ST 2084."""
    y = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(scene: float) -> float:
    if scene <= 1 / 12:
        return float(np.sqrt(3 * scene))
    return float(0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073)


def mapped(signal: float, transfer: int) -> int:
    code = np.full((1, 1, 3), round(signal * 65535), np.uint16)
    return int(color.tone_map(code, transfer, wide=True)[0, 0, 1])


@pytest.mark.parametrize("reflectance", [0.05, 0.18, 0.35, 0.6])
def test_hdr_below_the_knee_shows_as_in_sdr(reflectance: float) -> None:
    """A surface lit to the reference white of BT.2408 is shown with its SDR code (BT.1886)."""
    expected = 255 * reflectance ** (1 / 2.4)
    assert mapped(pq(203 * reflectance), color.TRANSFER_PQ) == pytest.approx(expected, abs=2)
    # On the nominal HLG display, light is 1000 cd/m2 times scene light to the power of 1.2.
    scene = (203 * reflectance / 1000) ** (1 / 1.2)
    assert mapped(hlg(scene), color.TRANSFER_HLG) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("transfer", [color.TRANSFER_PQ, color.TRANSFER_HLG])
def test_hdr_highlights_keep_their_order_and_stay_in_range(transfer: int) -> None:
    levels = [mapped(s, transfer) for s in np.linspace(0, 1, 40)]
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert 250 <= levels[-1] <= 255


def test_an_hdr_video_has_natural_brightness() -> None:
    """A grey card lit to reference white in 10-bit HEVC with PQ does not show as raw PQ code."""
    code = round(pq(203 * 0.18) * 255)
    card = np.full((64, 64, 3), code, np.uint8)
    data = footage.encode(
        [card] * 2,
        codec="libx265",
        pix_fmt="yuv420p10le",
        color=(9, 16, 9, 1),
        options={"x265-params": "log-level=none", "crf": "4"},
    )
    assert only_video(data).mean() == pytest.approx(255 * 0.18 ** (1 / 2.4), abs=6)
