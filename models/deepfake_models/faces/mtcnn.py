"""Detect faces with MTCNN: three ONNX graphs and numpy.

The cascade is that of Zhang et al. 2016, "Joint Face Detection and Alignment using Multi-task
Cascaded Convolutional Networks" (arXiv:1604.02878), as facenet-pytorch 2.5 implements it: the same
thresholds in the same order, the same box arithmetic and suppression, the same area resampling.
Where facenet-pytorch raises an error (no candidate left, a candidate outside the picture), this
detector finds no face. A specification can add copies of a picture with a border and by quarter
turns; see ``copies``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.results import Box
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.bundle.spec import DetectorSpec
from deepfake_models.faces.copies import copies, merge_copies, side_of_copies, smallest_face
from deepfake_models.faces.detection import Detection, Floats, Indices, View, scaled_to_each

Overlap = Literal["union", "min"]

CROPS_AT_ONCE = {24: 256, 48: 64}
"""Candidates in one run of the second and the third network, by the side of their input. Their
activations take some 20 MB; larger batches are no faster on a CPU."""
MAX_CANDIDATES = 4000
"""Most candidates of one pyramid level before suppression, and of one picture between stages; the
best are used. 400 faces tiled over 640x640 give 2200. The limit bounds the time that a picture
crafted to give more can take."""

_CELL = 12
_STRIDE = 2
"""The first network classifies squares of 12 pixels, one every 2 pixels."""
_SUPPRESSION_BLOCK = 256
"""Boxes that are compared with all others at once."""
_LEVEL_SUPPRESSION, _PICTURE_SUPPRESSION = 0.5, 0.7


class MtcnnDetector:
    """MTCNN with the three graphs of the shipped bundle, which have facenet-pytorch's weights.
    Safe to use from several threads at once."""

    def __init__(
        self, pnet: OnnxSession, rnet: OnnxSession, onet: OnnxSession, spec: DetectorSpec
    ) -> None:
        self._pnet = pnet
        self._rnet = rnet
        self._onet = onet
        self._spec = spec

    @classmethod
    def of_graphs(cls, graphs: Mapping[str, bytes], spec: DetectorSpec) -> Self:
        """Open the three ``graphs`` of a bundle, by file name, on the CPU, with one thread each."""
        pnet, rnet, onet = (
            OnnxSession(graphs[name], name=name, device="cpu")
            for name in ("pnet.onnx", "rnet.onnx", "onet.onnx")
        )
        return cls(pnet, rnet, onet, spec)

    def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of ``picture``, HWC uint8 RGB, most confident first, then largest first.

        It is scaled down to ``spec.long_side``. Boxes and landmarks are finite and in pixels of the
        given picture. Faces below ``spec.min_confidence`` are dropped, and faces narrower than
        ``spec.min_face`` pixels of the scaled picture are not found.
        """
        height, width = size = picture.shape[:2]
        further = side_of_copies(height, width, self._spec)
        sides = [self._spec.long_side, *([] if further is None else [further])]
        small, *smaller = scaled_to_each(picture, sides)
        stretch = np.array([width / small.shape[1], height / small.shape[0]])
        faces = []
        for _, box, points, confidence in self._cascade([View.of(small)]):
            x0, y0, x1, y1 = (box.reshape(2, 2) * stretch).ravel().tolist()
            if x1 > x0 and y1 > y0:
                landmarks = (points * stretch).astype(np.float32)
                faces.append(Detection((x0, y0, x1, y1), landmarks, confidence))
        # In cascades of their own: what the picture itself gives stays the same to the last bit.
        for copied in smaller:
            faces = merge_copies(faces, self._in_copies(copied, size), size, self._spec)
        return sorted(faces, key=_rank)

    def _in_copies(
        self, small: NDArray[np.uint8], size: tuple[int, int]
    ) -> list[tuple[int, Detection]]:
        """Return the large faces in the copies, each with its copy's quarter turns. The arguments
        are those of ``copies``."""
        views = list(copies(small, size, self._spec))
        faces = []
        located = self._cascade([v.view for v in views], large=True)
        for k, box, points, confidence in located:
            corners = views[k].restored(box.reshape(2, 2))
            (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
            if x1 > x0 and y1 > y0:
                landmarks = views[k].restored(points).astype(np.float32)
                face = Detection((x0, y0, x1, y1), landmarks, confidence)
                faces.append((views[k].view.quarters, face))
        return faces

    def _cascade(
        self, views: Sequence[View], *, large: bool = False
    ) -> Iterator[tuple[int, Floats, Floats, float]]:
        """Run the three stages on ``views``; yield the index of the view, box, landmarks and
        confidence of each face.

        With ``large`` only faces of ``smallest_face`` and wider are searched for.
        """
        proposed = self._propose(views, large)
        return self._locate(views, self._refine(views, proposed))

    def _propose(self, views: Sequence[View], large: bool) -> _Candidates:
        """Run stage 1: the first network over an image pyramid."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for k, view in enumerate(views):
            by_size[view.size].append(k)
        levels = []
        for (h, w), members in by_size.items():
            min_face = smallest_face(h, w, self._spec) if large else self._spec.min_face
            levels += [
                self._propose_at(scale, (h, w), [(k, views[k]) for k in members])
                for scale in _pyramid(h, w, min_face, self._spec.factor)
            ]
        candidates = _Candidates.joined(levels).suppressed(_PICTURE_SUPPRESSION)
        sides = np.tile(candidates.boxes[:, 2:] - candidates.boxes[:, :2], 2)
        return candidates._replace(boxes=_squared(candidates.boxes + candidates.regression * sides))

    def _propose_at(
        self, scale: float, size: tuple[int, int], members: list[tuple[int, View]]
    ) -> _Candidates:
        h, w = int(size[0] * scale + 1), int(size[1] * scale + 1)
        pixels = np.stack([view.resized(h, w) for _, view in members])
        probability, regression = self._pnet.run(["probability", "regression"], {"pixels": pixels})
        member, row, column = np.nonzero(probability >= np.float32(self._spec.thresholds[0]))
        corner = np.stack([column, row], axis=1).astype(np.float32) * _STRIDE
        # In single precision, as in facenet-pytorch: the rounding decides to which side of a whole
        # number the quotient falls.
        step = np.float32(scale)
        boxes = np.hstack([np.floor((corner + 1) / step), np.floor((corner + _CELL) / step)])
        return _Candidates(
            np.array([k for k, _ in members], np.intp)[member],
            boxes,
            probability[member, row, column],
            regression[member, :, row, column],
        ).suppressed(_LEVEL_SUPPRESSION)

    def _refine(self, views: Sequence[View], proposed: _Candidates) -> _Candidates:
        """Run stage 2: the second network on each candidate at 24x24."""
        candidates, pixels = _crops(views, proposed, 24)
        outputs = [self._rnet.run(["probability", "regression"], {"pixels": p}) for p in pixels]
        if not outputs:
            return candidates
        probability, regression = (np.concatenate(o) for o in zip(*outputs, strict=True))
        sure = probability > np.float32(self._spec.thresholds[1])
        refined = candidates._replace(scores=probability, regression=regression).at(
            np.flatnonzero(sure)
        )
        refined = refined.suppressed(_PICTURE_SUPPRESSION)
        return refined._replace(boxes=_squared(_corrected(refined)))

    def _locate(
        self, views: Sequence[View], refined: _Candidates
    ) -> Iterator[tuple[int, Floats, Floats, float]]:
        """Run stage 3, the third network at 48x48; yield picture, box, landmarks, confidence."""
        candidates, pixels = _crops(views, refined, 48)
        names = ["probability", "regression", "landmarks"]
        outputs = [self._onet.run(names, {"pixels": p}) for p in pixels]
        if not outputs:
            return
        probability, regression, marks = (np.concatenate(o) for o in zip(*outputs, strict=True))
        sure = np.flatnonzero(probability > np.float32(self._spec.thresholds[2]))
        faces, marks = (
            candidates._replace(scores=probability, regression=regression).at(sure),
            marks[sure],
        )
        # Landmarks are relative to the candidate before this network's correction of its box.
        sides = faces.boxes[:, None, 2:] - faces.boxes[:, None, :2] + 1
        points = faces.boxes[:, None, :2] + sides * marks - 1
        faces = faces._replace(boxes=_corrected(faces))
        for i in faces.survivors(_PICTURE_SUPPRESSION, "min"):
            if (confidence := float(faces.scores[i])) >= self._spec.min_confidence:
                yield int(faces.picture[i]), faces.boxes[i], points[i], confidence


def suppress(
    boxes: Floats, scores: Floats, threshold: float, overlap: Overlap = "union"
) -> Indices:
    """Suppress overlapping ``boxes`` greedily; return the remaining indices, best score first.

    A box of the (N, 4) ``boxes`` is dropped if its overlap with a remaining one of higher score
    exceeds ``threshold``. Overlap is, as in facenet-pytorch,

    - ``union``: intersection over union of continuous rectangles; the first of equal scores wins;
    - ``min``: intersection over the smaller box, where edges are pixels that belong to the box,
      which makes it one pixel longer; the last of equal scores wins.
    """
    # Equal scores are common: candidates larger than the picture are cut to the same crop.
    if overlap == "min":
        order = np.argsort(scores, kind="stable")[::-1]
    else:
        order = np.argsort(-scores, kind="stable")
    remaining: list[int] = []
    while len(order):
        head = order[:_SUPPRESSION_BLOCK]
        covers = _covers(boxes[head], boxes[order], threshold, overlap)
        alive = np.ones(len(order), np.bool_)
        for i, index in enumerate(head.tolist()):
            if alive[i]:
                remaining.append(index)
                alive &= ~covers[i]
        order = order[len(head) :][alive[len(head) :]]
    return np.array(remaining, np.intp)


def _covers(some: Floats, others: Floats, threshold: float, overlap: Overlap) -> NDArray[np.bool_]:
    """Return (S, O) bool: whether each of ``some`` overlaps each of ``others`` too much."""
    pixel = np.float32(overlap == "min")
    a, b = some.T[:, :, None], others.T[:, None, :]
    wide = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]) + pixel
    high = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]) + pixel
    common = np.maximum(wide, 0) * np.maximum(high, 0)
    of_some, of_others = ((c[2] - c[0] + pixel) * (c[3] - c[1] + pixel) for c in (a, b))
    whole = np.minimum(of_some, of_others) if overlap == "min" else of_some + of_others - common
    # Multiplied out: boxes without area then neither divide by zero nor suppress others.
    covered: NDArray[np.bool_] = common > np.float32(threshold) * whole
    return covered


class _Candidates(NamedTuple):
    picture: Indices
    boxes: Floats
    scores: Floats
    regression: Floats

    @staticmethod
    def joined(parts: Sequence[_Candidates]) -> _Candidates:
        four, one = np.empty((0, 4), np.float32), np.empty(0, np.float32)
        none = _Candidates(np.empty(0, np.intp), four, one, four)
        columns: list[Any] = [np.concatenate(c) for c in zip(none, *parts, strict=True)]
        return _Candidates(*columns)

    def at(self, index: Indices) -> _Candidates:
        columns: list[Any] = [column[index] for column in self]
        return _Candidates(*columns)

    def suppressed(self, threshold: float) -> _Candidates:
        return self.at(self.survivors(threshold, "union"))

    def survivors(self, threshold: float, overlap: Overlap) -> Indices:
        """Return the indices that remain after suppression within each picture."""
        remaining = [np.empty(0, np.intp)]
        for k in np.unique(self.picture):
            index = np.flatnonzero(self.picture == k)
            if len(index) > MAX_CANDIDATES:
                index = index[np.argsort(-self.scores[index], kind="stable")[:MAX_CANDIDATES]]
            remaining.append(
                index[suppress(self.boxes[index], self.scores[index], threshold, overlap)]
            )
        return np.concatenate(remaining)


def _pyramid(height: int, width: int, min_face: float, factor: float) -> Iterator[float]:
    """Yield the scales at which 12 pixels show faces of ``min_face`` pixels and larger."""
    scale = _CELL / min_face
    side = min(height, width) * scale
    while side >= _CELL:
        yield scale
        scale *= factor
        side *= factor


def _crops(
    views: Sequence[View], candidates: _Candidates, side: int
) -> tuple[_Candidates, Iterator[Floats]]:
    """Return the candidates that overlap their picture, and their pixels in bounded batches. Boxes
    count pixels from 1 and include the last one. The part outside the picture is cut off."""
    limits = np.array([view.size[::-1] for view in views], np.intp)[candidates.picture]
    whole = np.trunc(candidates.boxes).astype(np.intp)
    windows = np.hstack([np.maximum(whole[:, :2], 1) - 1, np.minimum(whole[:, 2:], limits)])
    inside = np.flatnonzero((windows[:, 2:] > windows[:, :2]).all(axis=1))
    picture, windows = candidates.picture[inside], windows[inside]

    def batches() -> Iterator[Floats]:
        for start in range(0, len(picture), CROPS_AT_ONCE[side]):
            batch = slice(start, start + CROPS_AT_ONCE[side])
            pixels = np.empty((len(picture[batch]), 3, side, side), np.float32)
            for k in np.unique(picture[batch]):
                of_one = picture[batch] == k
                pixels[of_one] = views[k].crops(windows[batch][of_one], side)
            yield pixels

    return candidates.at(inside), batches()


def _corrected(candidates: _Candidates) -> Floats:
    """Return the boxes after the network's correction, which is in units of their sides."""
    sides = np.tile(candidates.boxes[:, 2:] - candidates.boxes[:, :2] + 1, 2)
    return candidates.boxes + candidates.regression * sides


def _squared(boxes: Floats) -> Floats:
    """Return the squares with the same centres and the length of the longer sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + sides * np.float32(0.5) - longest * np.float32(0.5)
    return np.hstack([corner, corner + longest])


def _rank(face: Detection) -> tuple[float, float, Box]:
    x0, y0, x1, y1 = face.box
    return -face.confidence, -(x1 - x0) * (y1 - y0), face.box
