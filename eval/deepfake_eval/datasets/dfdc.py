"""The Deepfake Detection Challenge (Dolhansky et al. 2020, arXiv:2006.07397) and its preview."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError

TRAIN_PARTS = ("dfdc_train_part_", "train_sample_videos")
"""How folders of the training part begin, of which the second is the sample of the contest."""

CLASSES: dict[str, base.Label] = {"FAKE": "fake", "REAL": "real", "1": "fake", "0": "real"}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is not readable JSON. Download it again.") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise DatasetError(f"{path} must map each file name to an object. Download it again.")
    return content


def _label(value: object, where: str) -> base.Label:
    label = CLASSES.get(str(value).strip().upper())
    if label is None:
        raise DatasetError(
            f"The label of {where} must be one of {', '.join(CLASSES)}, not {value!r}."
        )
    return label


@base.adapter
@dataclass(frozen=True, slots=True)
class Dfdc:
    """The training parts and the test set of the full challenge."""

    name: ClassVar[str] = "dfdc"
    layout: ClassVar[str] = (
        "test/{videos/*.mp4,labels.csv}, "
        "[train/]{dfdc_train_part_N,train_sample_videos}/{metadata.json,*.mp4}; videos/ and "
        "labels.csv may also be in the root itself"
    )
    grouping: ClassVar[str] = (
        "train: the original that a fake was made from. test: each clip, because the list names no "
        "originals; intervals are therefore too narrow"
    )

    def rows(self, root: Path, split: str) -> base.Rows:
        test = root / "test" if (root / "test").is_dir() else root
        train = root / "train" if (root / "train").is_dir() else root
        parts = [p for p in base.visible(train) if p.name.startswith(TRAIN_PARTS) and p.is_dir()]
        has_test = (test / "labels.csv").is_file()
        if not (has_test or parts):
            raise base.wrong_root(
                self.name, root, "test/labels.csv or train/dfdc_train_part_N/", ("test", "train")
            )
        base.refuse_split(self.name, split, "val")
        if split == "test" and not has_test:
            raise base.wrong_root(self.name, test, "labels.csv and videos/")
        if split == "train" and not parts:
            raise base.wrong_root(self.name, train, "dfdc_train_part_N/")
        found = base.Found(root)
        if split == "all" and not (has_test and parts):
            found.notes.append(f"DFDC: its {'training' if has_test else 'test'} part is absent.")
        if split != "train" and has_test:
            self._add_test(found, test)
        if split != "test":
            for part in parts:
                for file, fact in _json(part / "metadata.json").items():
                    label = _label(fact.get("label"), file)
                    media, group = (
                        f"{base.relative(part, root)}/{file}",
                        fact.get("original") or file,
                    )
                    method = base.original_or("DFDC", label)
                    found.add_listed(base.Row(media, label, method, "DFDC", "train", str(group)))
        return found.rows()

    def _add_test(self, found: base.Found, test: Path) -> None:
        found.notes.append("DFDC: the test list names no originals, so each clip is its own group.")
        folder = "" if test == found.root else f"{base.relative(test, found.root)}/"
        lines = base.read_table(test / "labels.csv", ("filename", "label"), DatasetError)[1]
        for number, line in lines:
            label = _label(line["label"], f"labels.csv, line {number},")
            media, method = f"{folder}videos/{line['filename']}", base.original_or("DFDC", label)
            group = Path(line["filename"]).stem
            found.add_listed(base.Row(media, label, method, "DFDC", "test", group))


@base.adapter
@dataclass(frozen=True, slots=True)
class DfdcPreview:
    """The challenge's preview (Dolhansky et al. 2019, arXiv:1910.08854)."""

    name: ClassVar[str] = "dfdcp"
    layout: ClassVar[str] = "{original_videos,method_A,method_B}[/videos]/**/*.mp4, dataset.json"
    grouping: ClassVar[str] = (
        "actors: target_id and swapped_id of a fake, the actor in the folder name of an original, "
        "linked over all clips; or the actor of the footage if that links more than half of them"
    )

    def rows(self, root: Path, split: str) -> base.Rows:
        base.require(self.name, root, ("original_videos", "dataset.json"))
        base.refuse_split(self.name, split, "val")
        by_name = {
            (top.name, path.name): base.relative(path, root)
            for top in base.visible(root)
            if top.is_dir()
            for path in base.files_below(top, pictures=False)
        }
        found = base.Found(root)
        for key, fact in _json(root / "dataset.json").items():
            part = str(fact.get("set"))
            if split not in ("all", part):
                continue
            top, _, rest = key.partition("/")
            media = base.locate(root, key) or by_name.get((top, Path(key).name))
            if media is None:
                found.missing.append(key)
                continue
            label = _label(fact.get("label"), key)
            ids = [str(fact[k]) for k in ("target_id", "swapped_id") if fact.get(k)]
            people = ids or [rest.split("/")[0].split("_")[0]]
            found.add(base.Row(media, label, media.split("/")[0], "DFDCP", part, ""), *people)
        return found.rows()
