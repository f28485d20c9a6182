"""Cut the faces of labelled manifests into a folder of crops with a Parquet index.

Decoder, detector and cutter are those of the service, but crops are larger than the network's view.
Every finished medium leaves a record, so an interrupted run resumes with the next one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from deepfake_eval.inference.pool import no_progress, run_tasks
from deepfake_models.faces.detection import Detection
from deepfake_models.machine import atomic_write, atomic_write_text
from deepfake_training.config import Config, PrepareConfig
from deepfake_training.data.cutting import Cutter, record_path
from deepfake_training.data.manifests import COLUMNS, TERMS, Manifest, check_same, read_manifests
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


def prepare(
    manifests: Sequence[Manifest],
    out: Path,
    config: Config,
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] = no_progress,
) -> Summary:
    """Cut every medium of ``manifests`` into ``out/crops`` and write ``out/index.parquet``.

    Media that an earlier call has cut are not cut again, whichever manifests it was given, unless
    one of their crops has been deleted, or their decoder failed: memory may have run out.

    Faces are found by the detector of the shipped bundle. ``progress`` receives the number of
    finished media and of all media.

    Raises:
        TrainingError: if the manifests are invalid or contradict each other, list the same bytes
            with two labels or in two groups, or no file that exists; if ``out`` contains crops that
            were cut differently; or if a process ended unexpectedly.
    """
    listing = read_manifests(manifests, excluded=config.excluded_datasets)
    (out / "crops").mkdir(parents=True, exist_ok=True)
    check_cut(out, config)
    (out / "records").mkdir(exist_ok=True)
    rows = cast("list[dict[str, Any]]", listing.rows.to_dict("records"))
    stored = {path.name for path in (out / "crops").iterdir()}
    todo = [row for row in rows if not _is_done(out, row["media"], stored)]
    finished = len(rows) - len(todo)
    if not finished and not any(Path(row["path"]).exists() for row in rows):
        raise TrainingError(
            f"None of the {len(rows)} files of the manifests exists, for example "
            f"{rows[0]['path']}. Pass the folder to which their paths are relative as "
            "--manifest FILE:ROOT."
        )
    missing = set()
    tasks = [(out, row) for row in todo]
    for record in run_tasks(Cutter.cut, tasks, workers, partial(Cutter, config)):
        finished += 1
        if "absent" in record:
            missing.add(record["media"])
        progress(finished, len(rows))
    absent = [row["media"] for row in rows if row["media"] in missing]
    atomic_write_text(out / ABSENT, "".join(f"{name}\n" for name in absent))
    atomic_write_text(out / MANIFESTS, json.dumps(listing.sources, indent=2) + "\n")
    present = [row for row in rows if row["media"] not in missing]
    return _write_index(present, out, absent=len(absent), repeated=listing.repeated)


def _is_done(out: Path, media: str, stored: set[str]) -> bool:
    """Return whether a medium has a record and all its crops, which are among ``stored``, and did
    not fail in a way that may have been a failure of the machine."""
    if not record_path(out, media).exists():
        return False
    record = recorded(out, media)
    return not record.get("again", False) and {c["crop"] for c in record["crops"]} <= stored


def recorded(out: Path, media: str) -> dict[str, Any]:
    """Return what ``prepare`` recorded of ``media``; see ``cutting``."""
    record: dict[str, Any] = json.loads(record_path(out, media).read_text(encoding="utf-8"))
    return record


def check_cut(out: Path, config: Config) -> None:
    """Save how the crops in ``out`` are cut, or compare it with what an earlier run saved;
    ``TrainingError`` if the crops in ``out`` were cut differently."""
    cut_by = {
        "prepare": config.prepare.model_dump(mode="json"),
        "detector": config.bundle.detector.model_dump(mode="json"),
        "min_visible": config.bundle.crop.min_visible,
    }
    path = out / CUT
    if not path.exists():
        atomic_write_text(path, json.dumps(cut_by, indent=2) + "\n")
        return
    if json.loads(path.read_text(encoding="utf-8")) != cut_by:
        raise TrainingError(
            f"{out}: The crops in this folder were cut differently. Choose another folder."
        )


def stored_prepare(out: Path) -> PrepareConfig:
    """Return the settings by which the crops in ``out`` were cut; ``TrainingError`` if the folder
    contains no prepared crops."""
    try:
        stored = json.loads((out / CUT).read_text(encoding="utf-8"))["prepare"]
        return PrepareConfig.model_validate(stored)
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"{out}: There are no prepared crops. Run deepfake-train prepare."
        ) from error


def recorded_detections(out: Path, media: str) -> dict[float, list[Detection]]:
    """Return the faces that ``prepare`` detected in each sampled frame of ``media``, by its time;
    ``TrainingError`` if the medium was not prepared."""
    try:
        frames = recorded(out, media)["frames"]
    except OSError as error:
        raise TrainingError(
            f"{media}: It is not prepared in {out}. Run deepfake-train prepare with the same "
            "manifests."
        ) from error
    return {frame["time_s"]: list(map(_detection, frame["faces"])) for frame in frames}


def _detection(face: dict[str, Any]) -> Detection:
    landmarks = np.array(face["landmarks"], np.float32)
    return Detection(**{**face, "box": tuple(face["box"]), "landmarks": landmarks})


def not_used(out: Path) -> list[str]:
    """Return the media that ``prepare`` left out: an earlier one has the same bytes, or the file
    was missing."""
    lists = [(out / name).read_text(encoding="utf-8") for name in (DUPLICATES, ABSENT)]
    return [media for text in lists for media in text.splitlines()]


def _write_index(
    rows: Iterable[dict[str, Any]], out: Path, *, absent: int, repeated: int
) -> Summary:
    lines: list[dict[str, Any]] = []
    seen: dict[str, dict[str, Any]] = {}
    duplicates: list[str] = []
    media = without = failed = failed_frames = 0
    for row in rows:
        record = recorded(out, row["media"])
        if record["sha256"] in seen:
            check_same(seen[record["sha256"]], row)
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
    with atomic_write(out / INDEX) as file:
        pd.DataFrame(lines).to_parquet(file)
    atomic_write_text(out / DUPLICATES, "".join(f"{name}\n" for name in duplicates))
    left_out = len(duplicates) + repeated
    return Summary(media, without, failed, left_out, len(lines), failed_frames, absent)
