"""Signs of manipulation that a reviewer saw, and where: a closed list, which every document has in
its own language."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from deepfake_models.bundle.results import MediaFacts
from deepfake_service.platform.answers import Published
from deepfake_service.platform.errors import FieldError, InvalidRequest
from deepfake_service.platform.texts.i18n import Words

MAX_SIGNS = 20
"""Signs that one decision can state."""


class SignCode(StrEnum):
    """A kind of sign. The catalogue of reports has what each is called, as ``signs.CODE``."""

    EDGE = "edge"
    FACE_COLOUR = "face_colour"
    FACE_SHARPNESS = "face_sharpness"
    FLICKER = "flicker"
    COVERED = "covered"
    TURNING = "turning"
    LIPS = "lips"
    TEETH = "teeth"
    BLINKING = "blinking"
    STILL_HEAD = "still_head"
    EYES = "eyes"
    ADORNMENTS = "adornments"
    HAIR = "hair"
    SKIN = "skin"
    HANDS = "hands"
    WRITING = "writing"
    BACKGROUND = "background"
    BODY_COLOUR = "body_colour"
    BODY_SHAPE = "body_shape"
    BODY_EDGE = "body_edge"
    ANATOMY = "anatomy"
    LIGHT = "light"
    SHARPNESS = "sharpness"
    REPEATED = "repeated"
    ORIGINAL = "original"


_C = SignCode
BY_KIND = {
    "swap": (_C.EDGE, _C.FACE_COLOUR, _C.FACE_SHARPNESS, _C.FLICKER, _C.COVERED, _C.TURNING),
    "talking": (_C.LIPS, _C.TEETH, _C.BLINKING, _C.STILL_HEAD),
    "generated": (
        _C.EYES, _C.ADORNMENTS, _C.HAIR, _C.SKIN, _C.HANDS, _C.WRITING, _C.BACKGROUND,
    ),
    "body": (_C.BODY_COLOUR, _C.BODY_SHAPE, _C.BODY_EDGE, _C.ANATOMY),
    "picture": (_C.LIGHT, _C.SHARPNESS, _C.REPEATED, _C.ORIGINAL),
}  # fmt: skip
"""The signs under the kind of manipulation that leaves them most often. Any can be stated of any
file. The catalogue has the headings, as ``sign_kinds.KIND``."""

Pixel = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _with_area(
    rect: tuple[float, float, float, float],
) -> tuple[float, float, float, float]:
    x, y, right, bottom = rect
    if right <= x or bottom <= y:
        raise ValueError("must be [x, y, right, bottom] with right > x and bottom > y")
    return rect


Rect = Annotated[tuple[Pixel, Pixel, Pixel, Pixel], AfterValidator(_with_area)]


class Sign(Published):
    """A sign of manipulation that a reviewer saw."""

    code: SignCode = Field(description="What was seen.")
    time_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """When, in seconds from the start of a video; null if nowhere in particular, or in a picture.
    """
    rect: Rect | None = None
    """Where: x, y, right and bottom in pixels of the picture as displayed, from its top left; null
    for all of it."""


Signs = Annotated[tuple[Sign, ...], Field(max_length=MAX_SIGNS)]
SIGNS = TypeAdapter(Signs)


def require_within(signs: Sequence[Sign], media: MediaFacts | None) -> None:
    """Raise ``InvalidRequest`` unless signs are at moments and in places that a medium has."""
    errors = []
    for number, sign in enumerate(signs):
        lasts = media.duration_s if media else None
        if sign.time_s is not None and (lasts is None or sign.time_s > lasts):
            what = "only a video has moments" if lasts is None else f"the video lasts {lasts} s"
            errors.append(FieldError(f"signs.{number}.time_s", what))
        width, height = (media.width, media.height) if media else (0, 0)
        if sign.rect is not None and (sign.rect[2] > width or sign.rect[3] > height):
            what = f"outside the picture, which has {width} x {height} pixels"
            errors.append(FieldError(f"signs.{number}.rect", what))
    if errors:
        raise InvalidRequest.of_fields(*errors)


def sign_lines(signs: Sequence[Sign], words: Words) -> list[str]:
    """Return what signs are called, with their places, in the language of ``words``, those of
    reports."""
    return [_line(sign, words) for sign in signs]


def _line(sign: Sign, words: Words) -> str:
    called = words.of("signs", sign.code)
    places = [] if sign.time_s is None else [words("sign_time", seconds=f"{sign.time_s:.2f}")]
    if sign.rect is not None:
        x, y, right, bottom = (f"{edge:.0f}" for edge in sign.rect)
        places.append(words("sign_rect", x=x, y=y, right=right, bottom=bottom))
    return words("sign_placed", place=", ".join(places), sign=called) if places else called
