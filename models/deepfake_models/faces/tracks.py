"""Link the faces of sampled frames into tracks: one for each person between two scene cuts."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.results import Box
from deepfake_models.bundle.spec import TrackSpec

_MAX_SIZE_RATIO = 2.0
"""Largest ratio of the widths of two linked faces."""


@dataclass(frozen=True, slots=True)
class FrameFaces:
    """The time, the boxes and the colour signature of one examined frame."""

    time_s: float
    boxes: tuple[Box, ...]
    signature: NDArray[np.float32]


def signature(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a 64-bin RGB histogram of ``picture``, (H, W, 3) uint8: float32 that sums to 1."""
    step = max(1, min(picture.shape[:2]) // 64)
    quantised = picture[::step, ::step] >> 6
    codes = (quantised[..., 0] << 4) | (quantised[..., 1] << 2) | quantised[..., 2]
    counts = np.bincount(codes.ravel(), minlength=64).astype(np.float32)
    return counts / max(float(counts.sum()), 1.0)


def is_cut(a: NDArray[np.float32], b: NDArray[np.float32], spec: TrackSpec) -> bool:
    """Return whether there is a scene cut between two frames with signatures ``a`` and ``b``. There
    is if half the L1 distance of the signatures exceeds ``spec.scene_cut``."""
    return float(np.abs(a - b).sum()) / 2.0 > spec.scene_cut


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0.0 or height <= 0.0:
        return 0.0
    inter = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union > 0.0 else 0.0


def affinity(a: Box, b: Box, spec: TrackSpec) -> float | None:
    """Return how well two boxes fit one person, or ``None`` where they do not. The value is their
    IoU less the shift of their centres in face widths."""
    width_a, width_b = a[2] - a[0], b[2] - b[0]
    if width_a <= 0.0 or width_b <= 0.0:
        return None
    if max(width_a, width_b) / min(width_a, width_b) > _MAX_SIZE_RATIO:
        return None
    shift = math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) / 2.0
    shift /= max(width_a, width_b)
    overlap = iou(a, b)
    if overlap < spec.min_iou and shift > spec.max_center_shift:
        return None
    return overlap - shift


def link(frames: Sequence[FrameFaces], spec: TrackSpec) -> list[list[int]]:
    """Return a track number for every box of every frame, from 0 in order of appearance.

    ``frames`` are in time order. Pairs are linked greedily, best affinity first. A track ends at a
    scene cut, or when its face was not seen for ``spec.max_gap_s``. Where frames are further apart
    than that, as in very long videos, it ends when its face was missed in two consecutive frames.
    """
    labels: list[list[int]] = []
    open_tracks: dict[int, tuple[float, Box]] = {}
    next_number = 0
    previous: NDArray[np.float32] | None = None
    before: deque[float] = deque(maxlen=2)
    for frame in frames:
        if previous is not None and is_cut(previous, frame.signature, spec):
            open_tracks.clear()
        previous = frame.signature
        oldest = min([frame.time_s - spec.max_gap_s, *before])
        for number in [n for n, (t, _) in open_tracks.items() if t < oldest]:
            del open_tracks[number]
        before.append(frame.time_s)
        pairs = [
            (value, number, index)
            for number, (_, last) in open_tracks.items()
            for index, box in enumerate(frame.boxes)
            if (value := affinity(last, box, spec)) is not None
        ]
        pairs.sort(key=lambda p: (-p[0], p[1], p[2]))
        assigned: dict[int, int] = {}
        taken: set[int] = set()
        for _, number, index in pairs:
            if number not in taken and index not in assigned:
                assigned[index] = number
                taken.add(number)
        for index, box in enumerate(frame.boxes):
            if index not in assigned:
                assigned[index] = next_number
                next_number += 1
            open_tracks[assigned[index]] = (frame.time_s, box)
        labels.append([assigned[i] for i in range(len(frame.boxes))])
    return labels
