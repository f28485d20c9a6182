"""Lists in DeepfakeBench's JSON format (Yan et al. 2023, arXiv:2307.01426)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError

COMPRESSIONS = ("raw", "c23", "c40")
METHODS = {
    "FF-DF": "Deepfakes",
    "FF-F2F": "Face2Face",
    "FF-FS": "FaceSwap",
    "FF-NT": "NeuralTextures",
    "FF-FH": "FaceShifter",
}
FOLDER = "dataset_json"


def read(root: Path, split: str, options: Mapping[str, str]) -> base.Rows:
    """Read frames listed by ``rearrange.py`` of DeepfakeBench; each listed video is one clip.

    The option ``json`` names lists without ``.json``, joined by ``+``, by default all;
    ``compression`` is that of data sets that have several.
    """
    folder = root / FOLDER if (root / FOLDER).is_dir() else root
    lists = {p.stem: p for p in sorted(folder.glob("*.json"))}
    chosen = options["json"].split("+") if options["json"] else list(lists)
    absent = [n for n in chosen if n not in lists]
    if absent or not chosen:
        raise base.wrong_root("deepfakebench", folder, f"{absent[0]}.json" if absent else "*.json")
    rows: dict[str, base.Row] = {}
    missing: dict[str, None] = {}
    notes: dict[str, None] = {}
    in_train = Counter[str]()
    for name in chosen:
        for row, frames in _entries(lists[name], options["compression"], notes):
            in_split = split in ("all", row.split)
            media, absent_frames = _media(root, frames)
            if in_split:
                missing.update(dict.fromkeys(absent_frames))
            if media is None:
                continue
            in_train.update([media] if row.split == "train" else [])
            if in_split and media not in rows:
                rows[media] = replace(row, media=media)
    leaked = sum(1 for m, r in rows.items() if r.split != "train" and in_train[m])
    if leaked:
        notes[
            f"{leaked} of {len(rows)} videos are also listed in train: they are not held out "
            "from a model that was trained on these lists."
        ] = None
    return base.Rows(root, tuple(rows.values()), tuple(missing), tuple(notes))


def _entries(
    path: Path, compression: str, notes: dict[str, None]
) -> Iterator[tuple[base.Row, tuple[str, ...]]]:
    """Yield the listed videos that have frames, as rows without a path, and their frames.

    A note is added for what is left out.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path.name} is not readable JSON. Write the list again.") from error
    for dataset, labels in _mapping(content, path).items():
        for label, splits in _mapping(labels, path).items():
            for split, videos in _mapping(splits, path).items():
                where = f"{path.name}: {label}/{split}"
                if isinstance(videos, dict) and set(videos) & set(COMPRESSIONS):
                    videos = videos.get(compression, {})
                if isinstance(videos, dict) and "frames" in videos:
                    # rearrange.py replaces the val mapping of DFDC with its last video.
                    notes[f"{where} has one video instead of a mapping, and is left out."] = None
                    continue
                for video, facts in _mapping(videos, path).items():
                    frames = _frames(facts, f"{where}/{video}")
                    if not frames:
                        notes[f"{where} lists videos without frames."] = None
                        continue
                    named = str(facts.get("label", label))
                    shown = _binary(named)
                    method = METHODS.get(named, base.original_or(named, shown))
                    group = base.ids_in_name(video)
                    yield base.Row("", shown, method, dataset, split, group), frames


def _frames(facts: Any, where: str) -> tuple[str, ...]:
    frames = facts.get("frames") if isinstance(facts, dict) else None
    if not isinstance(frames, list) or not all(isinstance(f, str) for f in frames):
        raise DatasetError(f"{where} has no list of frames. Write the list again by rearrange.py.")
    return tuple(frames)


def _mapping(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DatasetError(
            f"{path.name} must have the form {{DATASET: {{LABEL: {{SPLIT: {{VIDEO: ...}}}}}}}}."
        )
    return value


def _media(root: Path, frames: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return the folder below ``root`` with a video's frames, and the frames that are missing.

    Lists contain paths of the machine that wrote them: leading folders are dropped until a file
    below ``root`` matches.
    """
    folder: str | None = None
    missing = []
    for frame in frames:
        parts = PurePosixPath(frame.replace("\\", "/")).parts
        match = next(
            (
                PurePosixPath(*parts[i:])
                for i in range(len(parts))
                if ".." not in parts[i:] and not PurePosixPath(*parts[i:]).is_absolute()
                and (root / PurePosixPath(*parts[i:])).is_file()
            ),
            None,
        )  # fmt: skip
        if match is None:
            missing.append(frame)
        elif folder is None:
            folder = match.parent.as_posix()
    return folder, missing


def _binary(label: str) -> base.Label:
    """Return the class of a label: ``FF-real``, ``DFDCP_Real``, ``FF-DF``, ``DFDCP_FakeA``."""
    if re.search(r"[-_]real$", label, re.IGNORECASE):
        return "real"
    if label in METHODS or re.search(r"[-_]fake[AB]?$", label, re.IGNORECASE):
        return "fake"
    raise DatasetError(f"The label {label!r} is neither real nor fake. Correct the list.")
