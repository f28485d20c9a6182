"""Cut the faces of a labelled manifest into a folder of crops with a Parquet index.

Crops come from deepfake_models' own decoder, detector and cutter, wider than the network's, so
that there is one preprocessing. A finished medium leaves a record; a run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
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
from deepfake_models.decode.decoder import InProcessDecoder
from deepfake_models.decode.sampling import sample
from deepfake_models.errors import MediaError
from deepfake_models.faces.crops import cut, square, usable
from deepfake_models.faces.mtcnn import Detection, MtcnnDetector
from deepfake_models.files import atomic_write_text
from deepfake_models.session import OnnxSession
from deepfake_models.spec import CropSpec
from deepfake_training.config import Config
from deepfake_training.data.landmarks import DenseLandmarks
from deepfake_training.errors import TrainingError

COLUMNS = ("media", "label", "method", "dataset", "group", "fold")
INDEX = "index.parquet"
CUT = "cut.json"
ABSENT = "absent.txt"


@dataclass(frozen=True, slots=True)
class Summary:
    """What ``prepare`` did: media with crops, without a face, undecodable, duplicate; crops; frames
    that could not be decoded; and media that are listed but not there (named in ``absent.txt``)."""

    media: int
    without_face: int
    failed: int
    duplicates: int
    crops: int
    failed_frames: int
    absent: int


class _Cutter:
    """Detector and landmark models of one worker process."""

    def __init__(self, graphs: Path, config: Config) -> None:
        cv2.setNumThreads(0)
        pnet, rnet, onet = (
            OnnxSession((graphs / f"{n}.onnx").read_bytes(), name=n, device="cpu", threads=1)
            for n in ("pnet", "rnet", "onet")
        )
        self.detector = MtcnnDetector(pnet, rnet, onet, config.bundle.detector)
        self.dense = DenseLandmarks()
        self.decoder = InProcessDecoder()
        self.config = config

    def rows(self, root: Path, out: Path, row: dict[str, Any]) -> dict[str, Any]:
        path = root / row["media"]
        record: dict[str, Any] = {"media": row["media"], "failed_frames": 0, "crops": []}
        try:
            record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            return {**record, "absent": error.strerror or "cannot be read"}
        prep = self.config.prepare
        try:
            with path.open("rb") as file, self.decoder.open(file) as media:
                indices = sample(media.times, self.config.bundle.sampling, prep.frames)
                for frame in media.frames(indices):
                    if isinstance(frame, FailedFrame):
                        record["failed_frames"] += 1
                        continue
                    found = self.detector.detect([frame.pixels])[0]
                    inside = usable(found, frame.pixels, self.config.bundle.crop)
                    face = _main_face(inside, prep.min_face_px)
                    if face is None:
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
        crop = cut(pixels, face.box, spec)
        x0, y0, side = square(face.box, prep.store_scale)
        points = (face.landmarks - np.array([x0, y0], np.float32)) * (prep.store_size / side)
        dense = self.dense(crop, points.astype(np.float32))
        # What of the crop is picture; the rest is reflection.
        height, width = pixels.shape[:2]
        inside = (np.array([0, 0, width, height]) - np.array([x0, y0, x0, y0])) * (
            prep.store_size / side
        )
        inside = np.clip(np.round(inside), 0, prep.store_size).astype(int)
        cv2.imwrite(str(path), crop[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
        return {
            "face_px": face.box[2] - face.box[0],
            "inside": inside.tolist(),
            "points": points.astype(float).round(2).ravel().tolist(),
            "dense": None if dense is None else dense.astype(float).round(2).ravel().tolist(),
        }


def _key(row: dict[str, Any]) -> str:
    """What a medium's record and crops are called: a path may hold what a file name may not."""
    return hashlib.sha256(row["media"].encode()).hexdigest()


def _main_face(faces: list[Detection], min_face_px: int) -> Detection | None:
    """The largest face: a medium's label speaks of its main person alone."""
    wide = [f for f in faces if f.box[2] - f.box[0] >= min_face_px]
    return max(wide, key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]), default=None)


_cutter: _Cutter | None = None


def _start_worker(graphs: Path, config_json: str) -> None:
    global _cutter  # one set of models a worker process
    _cutter = _Cutter(graphs, Config.model_validate_json(config_json))


def _work(job: tuple[Path, Path, dict[str, Any]]) -> dict[str, Any]:
    root, out, row = job
    assert _cutter is not None
    record = _cutter.rows(root, out / "crops", row)
    if "absent" in record:
        return record  # not kept: it may be there next time
    atomic_write_text(out / "records" / f"{_key(row)}.json", json.dumps(record))
    return record


def read_manifest(path: Path) -> pd.DataFrame:
    """Read and check a manifest CSV: ``media, label, method, dataset, group, fold``.

    Raises:
        TrainingError: naming missing columns, unknown labels, or a group that crosses folds.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path.name}: not a readable manifest: {error}") from error
    missing = [c for c in COLUMNS if c not in frame.columns]
    if missing:
        raise TrainingError(f"{path.name}: lacks the columns {', '.join(missing)}")
    labels = sorted(set(frame["label"]) - {"real", "fake"})
    if labels:
        raise TrainingError(f"{path.name}: label must be real or fake, not {labels[0]!r}")
    crossing = frame.groupby("group")["fold"].nunique()
    if (crossing > 1).any():
        raise TrainingError(f"{path.name}: group {crossing.idxmax()} is in more than one fold")
    return frame


def prepare(
    manifest: Path,
    out: Path,
    config: Config,
    *,
    graphs: Path | None = None,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Cut every medium of ``manifest`` into ``out/crops`` and write ``out/index.parquet``."""
    frame = read_manifest(manifest)
    (out / "crops").mkdir(parents=True, exist_ok=True)
    _same_cut(out, config)
    (out / "records").mkdir(exist_ok=True)
    rows = cast("list[dict[str, Any]]", frame.to_dict("records"))
    done = {p.stem for p in (out / "records").glob("*.json")}
    todo = [r for r in rows if _key(r) not in done]
    finished = len(rows) - len(todo)
    with ProcessPoolExecutor(
        workers,
        initializer=_start_worker,
        initargs=(graphs or default_bundle_dir(), config.model_dump_json()),
    ) as pool:
        jobs = ((manifest.parent, out, r) for r in todo)
        absent = []
        for record in pool.map(_work, jobs, chunksize=4):
            finished += 1
            if "absent" in record:
                absent.append(record["media"])
            if progress:
                progress(finished, len(rows))
    atomic_write_text(out / ABSENT, "".join(f"{name}\n" for name in absent))
    there = set(absent)
    return _write_index([r for r in rows if r["media"] not in there], out, len(absent))


def _same_cut(out: Path, config: Config) -> None:
    """Note how the crops of ``out`` are cut, and refuse to add others to them."""
    cut_by = {
        "prepare": config.prepare.model_dump(mode="json"),
        "detector": config.bundle.detector.model_dump(mode="json"),
        "min_visible": config.bundle.crop.min_visible,
    }
    path = out / CUT
    if not path.exists():
        atomic_write_text(path, json.dumps(cut_by, indent=2) + "\n")
    elif json.loads(path.read_text(encoding="utf-8")) != cut_by:
        raise TrainingError(f"{out}: holds crops that were cut in another way; name another folder")


def check_cut(out: Path, config: Config) -> None:
    """See that the crops of ``out`` are those that ``config`` speaks of.

    Raises:
        TrainingError: they were cut in another way.
    """
    path = out / CUT
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["prepare"]
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{out}: no prepared crops here; run deepfake-train prepare") from error
    if stored != config.prepare.model_dump(mode="json"):
        raise TrainingError(f"{out}: holds crops that were cut by another [prepare]")


def _write_index(rows: Iterable[dict[str, Any]], out: Path, absent: int) -> Summary:
    lines: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    media = without = failed = duplicates = failed_frames = 0
    for row in rows:
        record = json.loads((out / "records" / f"{_key(row)}.json").read_text())
        if record["sha256"] in seen:
            if seen[record["sha256"]] != row["label"]:
                raise TrainingError(
                    f"{row['media']}: the same bytes are listed as real and as fake"
                )
            duplicates += 1
            continue
        seen[record["sha256"]] = row["label"]
        failed += "error" in record
        failed_frames += record["failed_frames"]
        without += not record["crops"] and "error" not in record
        media += bool(record["crops"])
        lines += [{**{c: row[c] for c in COLUMNS}, **crop} for crop in record["crops"]]
    pd.DataFrame(lines).to_parquet(out / INDEX)
    return Summary(media, without, failed, duplicates, len(lines), failed_frames, absent)
