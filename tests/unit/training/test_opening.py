"""Pictures without loss are coded as JPEG, by their bytes alone."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_models.errors import MediaError, UnreadableMedia
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import Frame
from deepfake_training.data.cutting import open_source

RANGE = (70, 72)
Pixels = NDArray[np.uint8]


def picture(number: int) -> Pixels:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)


def opened(path: Path, qualities: tuple[int, int] | None = RANGE) -> Pixels:
    with open_source(path, InProcessDecoder(), qualities) as media:
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        return frame.pixels.copy()


def coded(pixels: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    with InProcessDecoder().open(buffer) as media:
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        return frame.pixels.copy()


def quality_of(path: Path, pixels: Pixels) -> int:
    """Return the only quality at which ``pixels`` give what is opened at ``path``."""
    seen = opened(path)
    (quality,) = [q for q in range(60, 83) if np.array_equal(seen, coded(pixels, q))]
    return quality


def test_the_quality_is_in_the_range_and_depends_on_the_bytes_alone(tmp_path: Path) -> None:
    qualities = []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        Image.fromarray(picture(number)).save(path)
        qualities.append(quality_of(path, picture(number)))
        copy = tmp_path / f"copy of {number}.PNG"
        shutil.copy(path, copy)
        assert np.array_equal(opened(copy), opened(path))
    assert set(qualities) == {70, 71, 72}


def test_other_pictures_are_opened_as_they_are(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.fromarray(picture(0)).save(plain)
    assert np.array_equal(opened(plain, None), picture(0))
    for name, options in (("a.jpg", {"quality": 95}), ("b.webp", {"lossless": True})):
        path = tmp_path / name
        Image.fromarray(picture(0)).save(path, **options)
        assert np.array_equal(opened(path), opened(path, None))


def test_a_missing_file_is_unreadable_media(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia):
        opened(tmp_path / "gone.png")


def test_a_damaged_picture_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "damaged.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(MediaError):
        opened(path)
