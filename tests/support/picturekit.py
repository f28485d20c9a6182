"""Portraits as pictures of Pillow, and as files of each kind."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image
from skimage import data as samples


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def astronaut() -> Image.Image:
    return Image.fromarray(samples.astronaut())
