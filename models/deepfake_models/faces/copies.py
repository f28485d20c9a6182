"""Copies of a picture in which the detector finds faces that it misses in the picture itself.

MTCNN learned faces with some background around them, and close to upright. It misses a face that
fills the picture, and of a sideways or upside-down one it finds nothing, or a box whose landmarks
it draws as if the face were upright. With a grey border around the picture and in copies by
quarter turns it finds both; the landmarks of the surest copy say which way up the face is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.results import Box
from deepfake_models.bundle.spec import DetectorSpec
from deepfake_models.faces.detection import Detection, Floats, View

GREY = 128
"""The border's level. The networks' normalisation makes it zero, as their own padding is."""
SAME_FACE = 0.5
"""Two boxes show one face if they share more than this of the smaller one."""
CLEARLY_SURER = 1.0
"""A turned copy overrides an upright detection of the same face if the natural log odds of its
confidence are higher by more than this."""
SURE_ALONE = 0.97
"""Least confidence of a face that only a turned copy shows. Hands and folds look like faces from
some side, and three more sides are examined."""
_MAX_DISAGREEMENT = 45.0
"""Largest difference, in degrees, of the two directions that say which way up a face is."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A picture that was scaled down, bordered and turned."""

    view: View
    """What the networks see of it."""
    border: int
    """Width of the grey border in pixels of the copy."""
    stretch: tuple[float, float]
    """Width and height of a pixel of the copy before it was turned, in pixels of the picture."""

    def restored(self, points: Floats) -> Floats:
        """Return ``points``, (N, 2) x and y in the copy, as (N, 2) in pixels of the picture."""
        height, width = self.view.size
        x, y = points.T
        x, y = (
            (x, y),
            (y, width - x),
            (width - x, height - y),
            (height - y, x),
        )[self.view.quarters]
        restored: Floats = (np.stack([x, y], axis=1) - self.border) * np.array(self.stretch)
        return restored


def side_of_copies(height: int, width: int, spec: DetectorSpec) -> int | None:
    """Return the longer side, before the border, of the copies of a picture of this size. It is
    ``None`` if ``spec`` asks for no copies."""
    if not spec.border and spec.turn_above is None:
        return None
    long, short = max(height, width), min(height, width)
    return max(1, int(spec.long_side / (1 + 2 * spec.border * short / long)))


def copies(small: NDArray[np.uint8], size: tuple[int, int], spec: DetectorSpec) -> Iterator[Copy]:
    """Yield the copies of a picture that ``spec`` asks for; by default, none.

    ``small`` is the picture scaled to ``side_of_copies``, (H, W, 3) uint8 RGB, and ``size`` the
    height and width of the picture itself.
    """
    turns = [*([0] if spec.border else []), *([1, 2, 3] if spec.turn_above is not None else [])]
    if not turns:
        return
    h, w = small.shape[:2]
    border = round(spec.border * min(h, w))
    bordered = np.pad(small, ((border, border), (border, border), (0, 0)), constant_values=GREY)
    upright = View.of(bordered)
    for quarters in turns:
        yield Copy(upright.turned(quarters), border, (size[1] / w, size[0] / h))


def smallest_face(height: int, width: int, spec: DetectorSpec) -> float:
    """Return the width of the smallest face to find in a copy of this size, in its pixels."""
    return max(spec.min_face, spec.large_face * min(height, width) / (1 + 2 * spec.border))


def turn_of(landmarks: Floats, above: float) -> int | None:
    """Return the clockwise turn that brings a face closest to upright: 0, 90, 180 or 270 degrees.

    ``landmarks`` are as in ``Detection``. The face's angle is the mean of two directions: from eye
    to eye, and from the eyes to the mouth, turned by a right angle. The turn is 0 for a face at
    ``above`` degrees or less, and ``None`` where the landmarks do not say which way is up. In a
    profile the eyes' direction says little, so eyes and mouth suffice to see that it is upright.
    """
    left, right, _, *corners = landmarks.astype(np.float64)
    across = math.atan2(*(right - left)[::-1])
    down = math.atan2(*(corners[0] + corners[1] - left - right)[::-1]) - math.pi / 2
    disagreement = math.degrees(math.remainder(across - down, math.tau))
    angle = math.degrees(math.remainder(down, math.tau))
    if abs(disagreement) <= _MAX_DISAGREEMENT:
        angle = math.remainder(angle + disagreement / 2, 360)
    elif abs(angle) > above:
        return None
    # Quarter turns move pixels without resampling them, which would leave traces of its own.
    return 0 if abs(angle) <= above else round(-angle / 90) % 4 * 90


def merge_copies(
    plain: Sequence[Detection],
    extra: Sequence[tuple[int, Detection]],
    size: tuple[int, int],
    spec: DetectorSpec,
) -> list[Detection]:
    """Return the faces of a picture itself and of its copies, each face once.

    ``extra`` holds the quarter turns of the copy with each detection, and ``size`` is the height
    and width of the picture. Of two boxes of one face, the one from the picture itself remains if
    it is inside the picture; otherwise the one from the copy with the border, because the cascade
    stretches candidates that are cut by the edge. A turned copy replaces both if it is clearly
    surer than either. If it is only slightly surer and its landmarks ask for another turn, the face
    remains with the turn ``None``.
    """
    faces = list(plain)
    replaceable = [not _inside(face.box, size) for face in plain]
    for face in _surest_first(extra, turned=False):
        rivals = _rivals(face, faces)
        for k in rivals if all(replaceable[k] for k in rivals) else ():
            faces[k], replaceable[k] = face, False
        if not rivals:
            faces.append(face)
            replaceable.append(False)
    faces = list({id(face): face for face in faces}.values())
    if spec.turn_above is None:
        return faces
    faces = [_with_turn(face, spec.turn_above) for face in faces]
    seen_upright = [*plain, *_surest_first(extra, turned=False)]
    for other in _surest_first(extra, turned=True):
        face = _with_turn(other, spec.turn_above)
        rivals = _rivals(face, faces)
        if not rivals:
            if face.confidence >= SURE_ALONE:
                faces.append(face)
            continue
        known = [*faces, *seen_upright]
        surer = _log_odds(face) - max(_log_odds(known[k]) for k in _rivals(face, known))
        if surer > CLEARLY_SURER:
            faces = [f for k, f in enumerate(faces) if k not in rivals] + [face]
        elif surer > 0:
            for k in rivals:
                agreed = faces[k].turn if faces[k].turn == face.turn else None
                faces[k] = replace(faces[k], turn=agreed)
    return faces


def _with_turn(face: Detection, above: float) -> Detection:
    return replace(face, turn=turn_of(face.landmarks, above))


def _surest_first(extra: Sequence[tuple[int, Detection]], *, turned: bool) -> list[Detection]:
    faces = [face for quarters, face in extra if bool(quarters) is turned]
    return sorted(faces, key=_log_odds, reverse=True)


def _rivals(face: Detection, others: Sequence[Detection]) -> list[int]:
    return [k for k, other in enumerate(others) if _shared(face.box, other.box) > SAME_FACE]


def _inside(box: Box, size: tuple[int, int]) -> bool:
    return min(box[:2]) >= 0 and box[2] <= size[1] and box[3] <= size[0]


def _log_odds(face: Detection) -> float:
    p = min(max(face.confidence, 1e-7), 1 - 1e-7)
    return math.log(p / (1 - p))


def _shared(a: Box, b: Box) -> float:
    """Return the intersection of two boxes as a share of the smaller one's area."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return max(wide, 0.0) * max(high, 0.0) / smaller
