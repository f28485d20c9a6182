"""Cut the faces of labelled manifests into a folder of crops with a Parquet index.

Decoder, detector and cutter are those of the service, but crops are larger than the network's view.
Every finished medium leaves a record, so an interrupted run resumes with the next one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_models.bundle import default_bundle_dir
from deepfake_models.decode.base import FailedFrame
from deepfake_models.decode.sampling import sample
from deepfake_models.decode.sandbox import ProcessDecoder
from deepfake_models.errors import MediaError
from deepfake_models.faces.crops import cut, square, usable
from deepfake_models.faces.detection import Detection
from deepfake_models.faces.mtcnn import MtcnnDetector
from deepfake_models.files import atomic_write_text
from deepfake_models.session import OnnxSession
from deepfake_models.spec import CropSpec, DetectorSpec
from deepfake_training.config import Config, PrepareConfig
from deepfake_training.data.landmarks import DenseLandmarks
from deepfake_training.data.manifests import COLUMNS, TERMS, Manifest, read_manifests
from deepfake_training.data.sources import open_source
from deepfake_training.errors import TrainingError

INDEX = "index.parquet"
CUT = "cut.json"
ABSENT = "absent.txt"
DUPLICATES = "duplicates.txt"
"""Media with the same bytes as an earlier one."""
MANIFESTS = "manifests.json"
"""Name, SHA-256 and number of rows of each manifest."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of ``prepare``, as counts."""

    media: int
    """Media with at least one crop."""
    without_face: int
    failed: int
    """Media that could not be decoded."""
    duplicates: int
    """Media that are listed again, or have the same bytes as an earlier one. They are not used;
    ``duplicates.txt`` lists the latter."""
    crops: int
    failed_frames: int
    """Frames that could not be decoded."""
    absent: int
    """Media in the manifests whose file is missing; ``absent.txt`` lists them."""


class _Cutter:
    """The detector and landmark models of one worker process."""

    def __init__(self, graphs: Path, config: Config) -> None:
        cv2.setNumThreads(0)
        pnet, rnet, onet = (
            OnnxSession((graphs / f"{n}.onnx").read_bytes(), name=n, device="cpu", threads=1)
            for n in ("pnet", "rnet", "onet")
        )
        self.detector = MtcnnDetector(pnet, rnet, onet, config.bundle.detector)
        self.dense = DenseLandmarks()
        # Data sets are strangers' files: one that crashes a codec fails alone.
        self.decoder = ProcessDecoder(workers=1)
        self.decoder.confinement()  # raises here if no process starts, not for every medium
        self.config = config

    def record(self, out: Path, row: dict[str, Any]) -> dict[str, Any]:
        """Cut the main face of every sampled frame of one medium into ``out``; return its record,
        which has ``absent`` or ``error`` if the file cannot be read or decoded."""
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
                    detected = self.detector.detect([frame.pixels])[0]
                    record["frames"].append(
                        {"time_s": frame.time_s, "faces": [_detection_json(d) for d in detected]}
                    )
                    inside = usable(detected, frame.pixels, self.config.bundle.crop)
                    face = _main_face(inside, prep.min_face_px)
                    if face is None or face.turn is None:  # the service does not score it
                        continue
                    name = f"{_key(row)[:20]}-{frame.index:06d}.png"
                    record["crops"].append(
                        {
                            "crop": name,
                            "time_s": frame.time_s,
                            **self._store(frame.pixels, face, out / name),
                        }
                    )
        except MediaError as error:
            record["error"] = error.message
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
        cv2.imwrite(str(path), crop[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
        return {
            "face_px": face.box[2] - face.box[0],
            "inside": inside.tolist(),
            "points": points.astype(float).round(2).ravel().tolist(),
            "dense": None if dense is None else dense.astype(float).round(2).ravel().tolist(),
        }


def _detection_json(face: Detection) -> dict[str, Any]:
    return {
        "box": list(face.box),
        "confidence": face.confidence,
        "landmarks": face.landmarks.astype(float).tolist(),
        "turn": face.turn,
    }


def _turned(points: NDArray[Any], turn: int, size: int) -> NDArray[Any]:
    """Return ``points``, (N, 2) x and y in a square of ``size``, after a clockwise ``turn``."""
    for _ in range(turn // 90):
        points = np.stack([size - points[:, 1], points[:, 0]], axis=1)
    return points


def _key(row: dict[str, Any]) -> str:
    """Return the name of a medium's record and crops. It is a digest because a path may contain
    characters that a file name must not."""
    return hashlib.sha256(row["media"].encode()).hexdigest()


def _main_face(faces: list[Detection], min_face_px: int) -> Detection | None:
    """Return the largest face of at least ``min_face_px``, because a medium's label describes its
    main person only."""
    wide = [f for f in faces if f.box[2] - f.box[0] >= min_face_px]
    return max(wide, key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]), default=None)


_cutter: _Cutter | None = None


def _start_worker(graphs: Path, config_json: str) -> None:
    global _cutter  # each worker process loads the models once
    _cutter = _Cutter(graphs, Config.model_validate_json(config_json))


def _work(job: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    out, row = job
    assert _cutter is not None
    record = _cutter.record(out / "crops", row)
    if "absent" in record:
        return record  # not saved, so that the next run looks for the file again
    atomic_write_text(out / "records" / f"{_key(row)}.json", json.dumps(record))
    return record


def prepare(
    manifests: Sequence[Manifest],
    out: Path,
    config: Config,
    *,
    graphs: Path | None = None,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Cut every medium of ``manifests`` into ``out/crops`` and write ``out/index.parquet``.

    Media that an earlier call has cut are not cut again, whichever manifests it was given.

    ``graphs`` is the folder of the detector's ONNX files, by default that of the shipped bundle.
    ``progress`` receives the number of finished media and of all media.

    Raises:
        TrainingError: if the manifests are invalid or contradict each other, list the same bytes as
            real and as fake, or ``out`` contains crops that were cut differently.
    """
    listing = read_manifests(manifests, excluded=config.excluded_datasets)
    (out / "crops").mkdir(parents=True, exist_ok=True)
    _same_cut(out, config)
    (out / "records").mkdir(exist_ok=True)
    rows = cast("list[dict[str, Any]]", listing.rows.to_dict("records"))
    done = {p.stem for p in (out / "records").glob("*.json")}
    todo = [r for r in rows if _key(r) not in done]
    finished = len(rows) - len(todo)
    with ProcessPoolExecutor(
        workers,
        initializer=_start_worker,
        initargs=(graphs or default_bundle_dir(), config.model_dump_json()),
    ) as pool:
        jobs = ((out, r) for r in todo)
        absent = []
        for record in pool.map(_work, jobs, chunksize=4):
            finished += 1
            if "absent" in record:
                absent.append(record["media"])
            if progress:
                progress(finished, len(rows))
    atomic_write_text(out / ABSENT, "".join(f"{name}\n" for name in absent))
    atomic_write_text(out / MANIFESTS, json.dumps(listing.sources, indent=2) + "\n")
    missing = set(absent)
    present = [r for r in rows if r["media"] not in missing]
    return _write_index(present, out, absent=len(absent), repeated=listing.repeated)


def _same_cut(out: Path, config: Config) -> None:
    """Save how the crops in ``out`` are cut, or compare it with what an earlier run saved.

    Raises:
        TrainingError: if the crops in ``out`` were cut differently.
    """
    cut_by = {
        "prepare": config.prepare.model_dump(mode="json"),
        "detector": config.bundle.detector.model_dump(mode="json"),
        "min_visible": config.bundle.crop.min_visible,
    }
    path = out / CUT
    if not path.exists():
        atomic_write_text(path, json.dumps(cut_by, indent=2) + "\n")
        return
    stored = json.loads(path.read_text(encoding="utf-8"))
    # Earlier versions did not save fields whose default is what those versions did.
    detector = DetectorSpec().model_dump(mode="json") | stored.get("detector", {})
    prepare = PrepareConfig().model_dump(mode="json") | stored["prepare"]
    if {**stored, "prepare": prepare, "detector": detector} != cut_by:
        raise TrainingError(
            f"{out}: contains crops that were cut differently; choose another folder"
        )


def stored_prepare(out: Path) -> PrepareConfig:
    """Return the settings by which the crops in ``out`` were cut.

    Raises:
        TrainingError: if the folder contains no prepared crops.
    """
    try:
        stored = json.loads((out / CUT).read_text(encoding="utf-8"))["prepare"]
        return PrepareConfig.model_validate(stored)
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{out}: no prepared crops here; run deepfake-train prepare") from error


def check_cut(out: Path, prepare: PrepareConfig) -> None:
    """Check that the crops in ``out`` were cut by the settings ``prepare``.

    Raises:
        TrainingError: if they were not.
    """
    if stored_prepare(out) != prepare:
        raise TrainingError(f"{out}: contains crops that were cut with another [prepare] section")


def recorded_detections(out: Path, media: str) -> dict[float, list[Detection]]:
    """Return the faces that ``prepare`` detected in each sampled frame of ``media``, by its time.

    Raises:
        TrainingError: if the medium was not prepared, or by an earlier version.
    """
    path = out / "records" / f"{_key({'media': media})}.json"
    try:
        frames = json.loads(path.read_text(encoding="utf-8"))["frames"]
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"{media}: its faces are not recorded in {out}; run deepfake-train prepare with an "
            "empty folder"
        ) from error
    return {
        frame["time_s"]: [
            Detection(
                tuple(face["box"]),
                np.array(face["landmarks"], np.float32),
                face["confidence"],
                face["turn"],
            )
            for face in frame["faces"]
        ]
        for frame in frames
    }


def stored_manifests(out: Path) -> list[dict[str, Any]]:
    """Return name, SHA-256 and number of rows of the manifests whose media are in ``out``.

    The list is empty for a folder that an earlier version prepared.
    """
    path = out / MANIFESTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def stored_duplicates(out: Path) -> list[str]:
    """Return the media that ``prepare`` left out because an earlier one has the same bytes."""
    path = out / DUPLICATES
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def stored_absent(out: Path) -> list[str]:
    """Return the media of the manifests whose file was missing when ``prepare`` ran."""
    path = out / ABSENT
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _write_index(
    rows: Iterable[dict[str, Any]], out: Path, *, absent: int, repeated: int
) -> Summary:
    lines: list[dict[str, Any]] = []
    seen: dict[str, dict[str, Any]] = {}
    duplicates: list[str] = []
    media = without = failed = failed_frames = 0
    for row in rows:
        record = json.loads((out / "records" / f"{_key(row)}.json").read_text())
        if record["sha256"] in seen:
            earlier = seen[record["sha256"]]
            if earlier["label"] != row["label"]:
                raise TrainingError(
                    f"{earlier['media']} and {row['media']} have the same bytes, which the "
                    "manifests list as real and as fake"
                )
            duplicates.append(row["media"])
            continue
        seen[record["sha256"]] = row
        failed += "error" in record
        failed_frames += record["failed_frames"]
        without += not record["crops"] and "error" not in record
        media += bool(record["crops"])
        lines += [
            {**{c: row[c] for c in (*COLUMNS, TERMS, "path")}, **crop} for crop in record["crops"]
        ]
    pd.DataFrame(lines).to_parquet(out / INDEX)
    atomic_write_text(out / DUPLICATES, "".join(f"{name}\n" for name in duplicates))
    left_out = len(duplicates) + repeated
    return Summary(media, without, failed, left_out, len(lines), failed_frames, absent)
