"""Detect, cut and store the faces of media, in one of the processes of ``prepare``."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_models.bundle.bundle import load_bundle
from deepfake_models.bundle.spec import CropSpec
from deepfake_models.errors import DecoderFailed, MediaError, UnreadableMedia
from deepfake_models.faces.crops import cut, square, usable
from deepfake_models.faces.detection import Detection
from deepfake_models.faces.mtcnn import MtcnnDetector
from deepfake_models.machine import atomic_write_text
from deepfake_models.media.interface import FailedFrame, Frame, OpenMedia
from deepfake_models.media.sampling import sample
from deepfake_models.sandbox.decoder import Decoder, ProcessDecoder
from deepfake_training.config import Config
from deepfake_training.data.landmarks import DenseLandmarks

_LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff"})


class Cutter:
    """The detector and landmark models of one worker process."""

    def __init__(self, config: Config) -> None:
        cv2.setNumThreads(0)
        self.detector = MtcnnDetector.of_graphs(load_bundle().graphs, config.bundle.detector)
        self.dense = DenseLandmarks()
        # Data sets are strangers' files: one that crashes a codec fails alone.
        self.decoder = ProcessDecoder(workers=1)
        self.decoder.confinement()  # raises here if no process starts, not for every medium
        self.config = config

    def record(self, out: Path, row: dict[str, Any]) -> dict[str, Any]:
        """Cut the main face of every sampled frame of one medium into ``out``; return its record,
        which has ``absent`` or ``error`` if the file cannot be read or decoded, and ``again`` if
        that may be a failure of the machine."""
        path = Path(row["path"])
        record: dict[str, Any] = {
            "media": row["media"], "failed_frames": 0, "frames": [], "crops": []
        }  # fmt: skip
        try:
            record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            return {**record, "absent": error.strerror or "cannot be read"}
        prep = self.config.prepare
        try:
            with open_source(path, self.decoder, prep.lossless_quality) as media:
                indices = sample(media.times, self.config.bundle.sampling, prep.frames)
                for frame in media.frames(indices):
                    if isinstance(frame, FailedFrame):
                        record["failed_frames"] += 1
                        continue
                    detected = self.detector.detect(frame.pixels)
                    faces = [{**asdict(d), "landmarks": d.landmarks.tolist()} for d in detected]
                    record["frames"].append({"time_s": frame.time_s, "faces": faces})
                    inside = usable(detected, frame.pixels, self.config.bundle.crop)
                    face = _main_face(inside, prep.min_face_px)
                    if face is None or face.turn is None:  # the service does not score it
                        continue
                    name = f"{record_key(row['media'])[:20]}-{frame.index:06d}.png"
                    stored = self._store(frame.pixels, face, out / name)
                    record["crops"].append({"crop": name, "time_s": frame.time_s, **stored})
        except MediaError as error:
            record["error"] = error.message
            record["again"] = isinstance(error, DecoderFailed | UnreadableMedia)
        return record

    def cut(self, job: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
        """Cut one medium into the folder of prepared crops; return its record (see ``record``)."""
        out, row = job
        record = self.record(out / "crops", row)
        if "absent" not in record:  # the next run looks for a missing file again
            atomic_write_text(record_path(out, row["media"]), json.dumps(record))
        return record

    def _store(self, pixels: NDArray[np.uint8], face: Detection, path: Path) -> dict[str, Any]:
        prep = self.config.prepare
        spec = CropSpec(scale=prep.store_scale, size=prep.store_size)
        turn = face.turn or 0
        crop = cut(pixels, face.box, spec, turn)
        x0, y0, side = square(face.box, prep.store_scale)
        points = (face.landmarks - np.array([x0, y0], np.float32)) * (prep.store_size / side)
        points = _turned(points, turn, prep.store_size)
        dense = self.dense(crop, points.astype(np.float32))
        # The rectangle of the crop that comes from the picture; outside it are reflections.
        height, width = pixels.shape[:2]
        inside = (np.array([0, 0, width, height]) - np.array([x0, y0, x0, y0])) * (
            prep.store_size / side
        )
        inside = np.clip(np.round(inside), 0, prep.store_size).astype(int)
        corners = _turned(inside.reshape(2, 2), turn, prep.store_size)
        inside = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        # Not cv2.imwrite, which reports a full disk by a return value at most.
        _, coded = cv2.imencode(".png", crop[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
        path.write_bytes(coded.tobytes())
        return {
            "face_px": face.box[2] - face.box[0],
            "inside": inside.tolist(),
            "points": points.astype(float).round(2).ravel().tolist(),
            "dense": None if dense is None else dense.astype(float).round(2).ravel().tolist(),
        }


def _turned(points: NDArray[Any], turn: int, size: int) -> NDArray[Any]:
    """Return ``points``, (N, 2) x and y in a square of ``size``, after a clockwise ``turn``."""
    for _ in range(turn // 90):
        points = np.stack([size - points[:, 1], points[:, 0]], axis=1)
    return points


def record_path(out: Path, media: str) -> Path:
    """Return the file in ``out`` with the record of a medium."""
    return out / "records" / f"{record_key(media)}.json"


def record_key(media: str) -> str:
    """Return the name of a medium's record and crops. It is a digest because a path may contain
    characters that a file name must not."""
    return hashlib.sha256(media.encode()).hexdigest()


def _main_face(faces: list[Detection], min_face_px: int) -> Detection | None:
    """Return the largest face of at least ``min_face_px``, because a medium's label describes its
    main person only."""
    wide = [f for f in faces if f.box[2] - f.box[0] >= min_face_px]
    return max(wide, key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]), default=None)


@contextmanager
def open_source(
    path: Path, decoder: Decoder, lossless_quality: tuple[int, int] | None
) -> Iterator[OpenMedia]:
    """Open the medium at ``path``, and a picture without loss as a JPEG of it.

    The JPEG's quality is in the range ``lossless_quality`` and depends only on the file's bytes, so
    that every step sees the same pixels. ``None``: the picture is opened as it is.
    ``UnreadableMedia`` if there is no such file, or it cannot be read; ``MediaError`` if the medium
    cannot be decoded.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnreadableMedia from error
    with file:
        source: BinaryIO = file
        if lossless_quality and path.suffix.lower() in _LOSSLESS:
            source = _as_jpeg(file, decoder, lossless_quality)
        with decoder.open(source) as media:
            yield media


def _as_jpeg(file: BinaryIO, decoder: Decoder, qualities: tuple[int, int]) -> BinaryIO:
    digest = hashlib.sha256(file.read()).digest()
    file.seek(0)
    low, high = qualities
    quality = low + int.from_bytes(digest[:4], "big") % (high - low + 1)
    with decoder.open(file) as media:
        frames = [f for f in media.frames([0]) if isinstance(f, Frame)]
    file.seek(0)
    if not frames:
        return file
    coded = io.BytesIO()
    Image.fromarray(frames[0].pixels).save(coded, "JPEG", quality=quality)
    coded.seek(0)
    return coded
