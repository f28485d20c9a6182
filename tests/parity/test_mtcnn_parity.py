"""The detector against facenet-pytorch's own on the same scaled pictures."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from deepfake_models.bundle.bundle import default_bundle_dir
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.bundle.spec import DetectorSpec
from deepfake_models.faces.detection import Detection, scaled_to_each
from deepfake_models.faces.mtcnn import MtcnnDetector

torch = pytest.importorskip("torch", reason="the reference detector runs on torch")
facenet_pytorch = pytest.importorskip("facenet_pytorch", reason="it is the reference detector")

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
STILLS, VIDEOS = 70, 10
SPEC = DetectorSpec()

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not (DATA / "manifest.csv").is_file(), reason="the research data set is not there"
    ),
]


@pytest.fixture(scope="session")
def detector() -> MtcnnDetector:
    paths = [default_bundle_dir() / f"{name}.onnx" for name in ("pnet", "rnet", "onet")]
    pnet, rnet, onet = (OnnxSession(p.read_bytes(), device="cpu", threads=1) for p in paths)
    return MtcnnDetector(pnet, rnet, onet, SPEC)


@pytest.fixture(scope="session")
def reference() -> Iterator[Any]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield facenet_pytorch.MTCNN(
        keep_all=True,
        post_process=False,
        min_face_size=SPEC.min_face,
        thresholds=list(SPEC.thresholds),
        factor=SPEC.factor,
        select_largest=False,
        device=torch.device("cpu"),
    )
    torch.set_num_threads(threads)


def evenly(items: list[Path], count: int) -> list[Path]:
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[i] for i in chosen]


def files_of_every_source(suffix: str, count: int) -> list[Path]:
    by_source: dict[str, list[Path]] = defaultdict(list)
    with (DATA / "manifest.csv").open(newline="") as rows:
        for row in csv.DictReader(rows):
            if row["media"].endswith(suffix):
                by_source[row["dataset"]].append(DATA / row["media"])
    share = -(-count // len(by_source))
    return [path for paths in by_source.values() for path in evenly(sorted(paths), share)]


def pictures() -> Iterator[NDArray[np.uint8]]:
    several_people = DATA / "robustness" / "multi_people.jpg"
    for path in [*files_of_every_source(".jpg", STILLS), several_people]:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        yield from scaled_to_each(np.asarray(upright), [SPEC.long_side])
    for path in files_of_every_source(".mp4", VIDEOS):
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
        yield from scaled_to_each(frame.to_ndarray(format="rgb24"), [SPEC.long_side])


def faces_of_reference(reference: Any, picture: NDArray[np.uint8]) -> list[Detection]:
    try:
        boxes, scores, points = reference.detect(Image.fromarray(picture), landmarks=True)
    except RuntimeError as error:
        # What facenet-pytorch says instead of "no face" when a stage leaves no candidate.
        if "non-empty" not in str(error):
            raise
        return []
    if boxes is None:
        return []
    return [
        Detection(tuple(box.tolist()), point.astype(np.float32), float(score))
        for box, score, point in zip(boxes, scores, points, strict=True)
        if score >= SPEC.min_confidence
    ]


def iou(a: Detection, b: Detection) -> float:
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.box, b.box
    common = max(0.0, min(ax1, bx1) - max(ax0, bx0)) * max(0.0, min(ay1, by1) - max(ay0, by0))
    return common / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - common)


def test_finds_what_facenet_pytorch_finds(detector: MtcnnDetector, reference: Any) -> None:
    count = same = faces = unmatched = 0
    overlaps: list[float] = []
    shifts: list[float] = []
    confidences: list[float] = []
    for picture in pictures():
        count += 1
        ours = detector.detect(picture)
        theirs = faces_of_reference(reference, picture)
        same += len(ours) == len(theirs)
        faces += len(theirs)
        left = list(ours)
        for face in theirs:
            twin = max(left, key=lambda other: iou(face, other), default=None)
            if twin is None or iou(face, twin) < 0.5:
                unmatched += 1
                continue
            left = [other for other in left if other is not twin]
            overlaps.append(iou(face, twin))
            shifts += np.linalg.norm(face.landmarks - twin.landmarks, axis=1).tolist()
            confidences.append(abs(face.confidence - twin.confidence))
        unmatched += len(left)
    p99 = float(np.percentile(shifts, 99))
    print(
        f"\n{count} pictures, {faces} faces; same number in {same} ({same / count:.2%}), "
        f"unmatched {unmatched}; IoU mean {np.mean(overlaps):.6f}, min {min(overlaps):.4f}; "
        f"landmark shift p99 {p99:.4f} px, max {max(shifts):.4f} px; "
        f"confidence differs by at most {max(confidences):.2e}"
    )
    assert count >= 80
    assert faces >= 60
    assert count - same <= 1
    assert np.mean(overlaps) >= 0.98
    assert p99 <= 1.5
