"""Lists in DeepfakeBench's JSON format (Yan et al. 2023, arXiv:2307.01426)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, TypeAdapter

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


class _Video(BaseModel):
    frames: tuple[str, ...]
    label: str | None = None


_Videos = dict[str, _Video]
_LIST = TypeAdapter(dict[str, dict[str, dict[str, _Video | dict[str, _Video | _Videos]]]])


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
        content = _LIST.validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path.name} must be JSON of the form {{DATASET: {{LABEL: {{SPLIT: {{VIDEO: "
            '{"label", "frames"}}}}}. Write the list again by rearrange.py.'
        ) from error
    for dataset, labels in content.items():
        for label, splits in labels.items():
            for split, videos in splits.items():
                where = f"{path.name}: {label}/{split}"
                found: _Video | Mapping[str, _Video | _Videos] = videos
                if isinstance(videos, dict) and set(videos) & set(COMPRESSIONS):
                    found = videos.get(compression, {})
                if isinstance(found, _Video):
                    # rearrange.py replaces the val mapping of DFDC with its last video.
                    notes[f"{where} has one video instead of a mapping, and is left out."] = None
                    continue
                for video, facts in found.items():
                    if not (isinstance(facts, _Video) and facts.frames):
                        notes[f"{where} lists videos without frames."] = None
                        continue
                    named = facts.label or label
                    shown = _binary(named)
                    method = METHODS.get(named, base.original_or(named, shown))
                    group = base.ids_in_name(video)
                    yield base.Row("", shown, method, dataset, split, group), facts.frames


def _media(root: Path, frames: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return the folder below ``root`` with a video's frames, and the frames that are missing.

    Lists contain paths of the machine that wrote them: leading folders are dropped until a file
    below ``root`` matches.
    """
    folder: str | None = None
    missing = []
    for frame in frames:
        parts = PurePosixPath(frame.replace("\\", "/")).parts
        tails = (PurePosixPath(*parts[i:]) for i in range(len(parts)))
        below = (t for t in tails if not t.is_absolute() and ".." not in t.parts)
        match = next((t for t in below if (root / t).is_file()), None)
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
