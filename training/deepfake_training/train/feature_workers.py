"""Compute features in processes of one thread each: the part of ``feature_store`` that they run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.session import OnnxSession
from deepfake_models.classifier import CROPS
from deepfake_models.decision.decide import ExaminedFrame, Part
from deepfake_models.decision.serialization import dump_part, dump_timeline
from deepfake_models.errors import DecoderFailed, MediaError, UnreadableMedia
from deepfake_models.faces.crops import crop_faces
from deepfake_models.faces.tracks import signature
from deepfake_models.machine import atomic_write
from deepfake_models.media.interface import FailedFrame
from deepfake_models.media.sampling import sample
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_training.config import Config
from deepfake_training.data.cutting import open_source
from deepfake_training.data.datasets import CropStore, PairDataset
from deepfake_training.data.prepare import recorded, recorded_detections
from deepfake_training.errors import TrainingError

Array = NDArray[Any]
Shard = range | list[dict[str, str]]
"""The numbers of pairs, or the rows of media with the fields media and path."""


class Worker:
    """The session and the data of one process."""

    def __init__(self, root: Path, config: Config, graph: Path) -> None:
        cv2.setNumThreads(0)
        self.config = config
        self.store = CropStore(root)
        # On the processor on which parity is checked and a bundle is served.
        self.session = OnnxSession(graph.read_bytes(), name=graph.name, device="cpu", threads=1)
        # Data sets are strangers' files: one that crashes a codec fails alone.
        self.decoder = ProcessDecoder(workers=1)
        self.decoder.confinement()  # raises here if no process starts, not for every medium
        self._dataset: PairDataset | None = None

    def dataset(self) -> PairDataset:
        if self._dataset is None:
            self._dataset = PairDataset(self.store, self.config, 1 << 31)
            if self.config.mix.regenerated:
                import torch

                torch.set_num_threads(1)
        return self._dataset

    def features(self, crops: Sequence[Array]) -> Array:
        """Return features (N, R, F) float16 of crops, each (S, S, 3) or (V, S, S, 3) uint8."""
        if not crops:
            return np.zeros((0, 1, 0), np.float16)
        # One face at a time: what a thread works on then fits into its cache.
        names = self.session.output_names
        parts = [self.session.run(names, {CROPS: crop[None]})[0] for crop in crops]
        features = np.concatenate(parts).astype(np.float16)
        if not np.isfinite(features).all():
            raise TrainingError(
                f"{self.config.backbone.name}: A feature exceeds the range of float16. Choose "
                "other blocks or another network."
            )
        return features


def write_shard(worker: Worker, job: tuple[Path, Shard]) -> None:
    """Write the features of a shard: of pairs by their numbers, or of media by their rows."""
    path, shard = job
    if isinstance(shard, range):
        _write_pairs(worker, path, shard)
    else:
        _write_examined(worker, path, shard)


def _write_pairs(worker: Worker, path: Path, numbers: Sequence[int]) -> None:
    dataset = worker.dataset()
    rows, reals, fakes = zip(*map(dataset.pair, numbers), strict=True)
    real, fake = np.split(worker.features([*reals, *fakes]), 2)
    _save(path, real=real, fake=fake, rows=np.array(rows, np.int64))


def _write_examined(worker: Worker, path: Path, media: Sequence[dict[str, str]]) -> None:
    records, parts = [], []
    for row in media:
        record: dict[str, Any] = {"media": row["media"], "faces": 0}
        try:
            timeline, sampled, part, crops = _examine(Path(row["path"]), row["media"], worker)
        except UnreadableMedia as error:
            # Not stored: the file may be back when the command is run again.
            raise TrainingError(
                f"{row['media']}: The file cannot be read. Restore {row['path']}, or take it out "
                "of the manifest and run deepfake-train prepare again."
            ) from error
        except MediaError as error:
            decoded_before = "error" not in recorded(worker.store.root, row["media"])
            if isinstance(error, DecoderFailed) and decoded_before:
                # Not stored either: prepare decoded the same frames.
                raise TrainingError(
                    f"{row['media']}: The decoder failed, perhaps because memory ran out. Run the "
                    "same command again to resume, with fewer fit.workers if needed."
                ) from error
            record["error"] = error.message
        else:
            features = worker.features(crops)
            record |= {"faces": len(crops), "timeline": timeline.hex(), "sampled": sampled}
            record["part"] = dump_part(part).decode()
            if len(crops):
                parts.append(features)
        records.append(json.dumps(record))
    features = np.concatenate(parts) if parts else np.zeros((0, 1, 0), np.float16)
    _save(path, media=np.array(records), features=features)


def _examine(path: Path, media: str, worker: Worker) -> tuple[bytes, list[int], Part, list[Array]]:
    """Return the timeline, the sampled frames, the unscored part and the crops of one medium.

    Faces are those that ``prepare`` detected in the same frames. ``MediaError`` if the medium
    cannot be decoded.
    """
    config = worker.config
    detections = recorded_detections(worker.store.root, media)
    frames: list[ExaminedFrame] = []
    crops: list[Array] = []
    failed = 0
    with open_source(path, worker.decoder, config.prepare.lossless_quality) as opened:
        sampled = [0]
        if opened.facts.kind != "image":
            every = config.cross_validation.examine_every
            sampled = sample(opened.times, config.bundle.sampling, config.prepare.frames)[::every]
        for frame in opened.frames(sampled):
            if isinstance(frame, FailedFrame):
                failed += 1
                continue
            faces = crop_faces(
                frame.pixels,
                frame.time_s,
                detections.get(frame.time_s, []),
                config.bundle.detector,
                config.bundle.crop,
            )
            crops += [face.crop for face in faces if face.crop is not None]
            frames.append(
                ExaminedFrame(
                    frame.time_s, tuple(face.face for face in faces), signature(frame.pixels)
                )
            )
        timeline = dump_timeline(opened)
    return timeline, sampled, Part(tuple(frames), failed), crops


def _save(path: Path, **arrays: Array) -> None:
    with atomic_write(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
