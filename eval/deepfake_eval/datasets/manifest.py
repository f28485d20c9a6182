"""Data sets as manifests: a TOML file says how the publishers lay out one, and ``read`` reads all.

Texts may name ``{fields}``: the options, ``{part}`` (what a split is called here) and ``{split}``,
``{root}``, ``{title}``, the columns of a list, the named groups of ``path`` and ``line``, and of
each medium ``{media}``, ``{stem}`` and ``{ids}`` (see ``base.ids_in_name``). Of several texts, the
first counts whose fields are known. Folders and lists are globs, the first that matches; case and
Unicode form of names do not matter there.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError


class _Fields(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""

    def first(self, texts: Iterable[str]) -> str:
        """Fill the first text of which all fields are known; empty without one."""
        known = (text for text in texts if all(map(self.get, _names(text))))
        return next(known, "").format_map(self)

    def match(self, pattern: re.Pattern[str], text: str) -> bool:
        """Add the named groups of ``pattern``; return False if it does not match."""
        found = pattern.match(text)
        self.update({k: v for k, v in (found.groupdict() if found else {}).items() if v})
        return found is not None


def _fillable(text: str) -> str:
    text.format_map(_Fields())  # ValueError if it cannot be
    return text


Text = Annotated[str, AfterValidator(_fillable)]
Texts = tuple[Text, ...]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Option(_Part):
    """An option after the name of a data set."""

    default: str = ""
    values: Texts = ()
    """All that it may be."""
    folders: Texts = ()
    """Globs: it then names folders that are there, those at the ``*``, joined by ``+``; by default
    all."""
    but: Texts = ()
    """Folders that are not meant."""
    expected: Texts = ()
    """Folders of the release, to say which are absent."""


class Attribute(_Part):
    """An attribute of the person shown, for example ``sex``."""

    of: Texts
    values: dict[str, str]


class Source(_Part):
    """Media of one label or list: ``below`` folders that are walked, or named by ``lists``."""

    below: Texts = ()
    walk: Literal["clips", "deep", "files"] = "clips"
    """``clips_in``, ``clips_below`` or ``files_below`` of ``base``."""
    lists: Texts = ()
    """CSV, JSON (of lists, or of objects with their ``{key}``), or text."""
    columns: Texts = ()
    """Names of what the lists in a JSON list hold; ``{sorted}`` joins them."""
    line: re.Pattern[str] = re.compile("")
    """Regular expression of a line of text."""
    media: Texts = ()
    """Paths that each row of a list names."""
    among: str | None = None
    """Regular expression of paths among which a listed name is looked for, at any depth."""
    folder: Text = ""
    """Folder without which there are none of these media."""
    optional: bool = False
    """Whether there may be none."""
    rest: bool = False
    """Whether media that lists name are left out."""
    path: re.Pattern[str] = re.compile("")
    """Regular expression of the path; walked media of other paths are left out."""
    title: Texts = ("{title}",)
    label: Text
    labels: dict[str, Literal["real", "fake", "left out"]] = {}
    """What the values of ``label`` mean."""
    method: Texts = ()
    split: Text = ""
    people: tuple[Texts, ...] = ()
    """People in a medium, first that of the footage; see ``base.group_by_people``."""
    alone: Text = "{stem}"
    """Who is in a medium of nobody of these."""
    group: Texts = ("{media}",)
    attributes: dict[str, Attribute] = {}
    note: str = ""
    """What is said if there are such media."""


class Version(_Part):
    """A release of the same layout: the data set ``has`` this path, a list of so many ``lines``."""

    title: str
    has: str
    lines: int | None = None


class Manifest(_Part):
    """What is known of a data set from its publishers."""

    title: str
    layout: str
    grouping: str
    citation: str = ""
    """The BibTeX entry by which its authors want to be cited."""
    terms: str = ""
    unconfirmed: str = ""
    """What nobody has seen on a copy of the data set."""
    published: dict[base.Label, int] = {}
    """How many media there are of each label, by the publishers."""
    notes: Texts = ()
    types: dict[str, tuple[str, ...]] = {}
    """The methods of each type, in lower case."""
    reader: Literal["", "csv", "deepfakebench"] = ""
    """Code that reads it, if sources cannot say how."""
    needs: tuple[Texts, ...] = ()
    """What the root has to contain: all of one of these."""
    splits: dict[str, str] = {}
    """The published splits, and what they are called here."""
    test: str = ""
    """The split that stands for a test split, which is not published."""
    versions: tuple[Version, ...] = ()
    options: dict[str, Option] = {}
    prefix: str = ""
    """What groups begin with."""
    sources: tuple[Source, ...] = ()


def load_manifest(path: Path) -> Manifest:
    """Read a manifest; ``DatasetError`` names the key that is wrong."""
    try:
        return Manifest.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DatasetError(f"{path.name}: {key}: {first['msg']}. Correct the manifest.") from error
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path.name} is not a readable TOML file: {error}.") from error


def read(
    name: str, manifest: Manifest, root: Path, split: str, options: Mapping[str, str]
) -> base.Rows:
    """Return the rows of a data set; errors are those of ``load``."""
    if manifest.needs and not any(all(_glob(root, n) for n in each) for each in manifest.needs):
        wanted = " or ".join(" and ".join(each) for each in manifest.needs)
        raise base.wrong_root(name, root, wanted, manifest.needs[0])
    reading = _Reading(name, manifest, root, split, options)
    for source in manifest.sources:
        reading.add(source)
    rows = reading.found.rows()
    prefixed = (replace(row, group=manifest.prefix + row.group) for row in rows.rows)
    return replace(rows, rows=tuple(prefixed))


class _Reading:
    def __init__(
        self, name: str, manifest: Manifest, root: Path, split: str, options: Mapping[str, str]
    ) -> None:
        self.name, self.manifest, self.root, self.split = name, manifest, root, split
        self.splits = manifest.splits or {split: ""}
        part = manifest.test if split == "test" and manifest.test else split
        self.wanted = (*self.splits,) if split == "all" else (part,)
        if self.wanted[0] not in self.splits:
            others = " or ".join(s for s in base.SPLITS if s in self.splits or s == "all")
            raise DatasetError(f"The data set {name} publishes no {split} split. Use {others}.")
        title = next(
            (
                version.title
                for version in manifest.versions
                for path in _glob(root, version.has)
                if version.lines is None or version.lines == _lines(path)
            ),
            manifest.title,
        )
        self.fields = _Fields(root=root.resolve().name)
        self.fields["title"] = title.format_map(self.fields)
        self.found = base.Found(root)
        self.listed: set[str] = set()
        self.index: dict[str, list[str]] = {}
        self.choices: dict[str, list[str]] = {}
        for key, option in manifest.options.items():
            value = options.get(key, option.default)
            self.fields[key] = value or self.fields[key]
            self.choices[key] = self._chosen(key, option, value)
        if part != split:
            self.note(f"no {split} part is published; {part} is used, as in papers.")
        if manifest.unconfirmed:
            self.note(f"not confirmed on a copy of the data set: {manifest.unconfirmed}")
        for text in manifest.notes:
            self.note(text)

    def note(self, text: str) -> None:
        note = f"{self.fields['title']}: {text}"
        if note not in self.found.notes:
            self.found.notes.append(note)

    def _chosen(self, key: str, option: Option, value: str) -> list[str]:
        """Return what an option names, its parts between ``+``; by default every folder."""
        names = value.split("+") if value else []
        known = list(option.values)
        for pattern in option.folders:
            place = pattern.split("/").index("*")
            found = (p.relative_to(self.root).parts[place] for p in _glob(self.root, pattern))
            known += sorted(set(found) - {*known, *option.but})
        absent = [n for n in option.expected if n not in known]
        if absent and not names:
            self.note(f"absent {key}: {', '.join(absent)}.")
        for unknown in (n for n in names if n not in known and (option.values or option.folders)):
            raise DatasetError(
                f"{self.name} has no {key.removesuffix('s')} {unknown!r} here. Choose from "
                f"{', '.join(known) or 'none'}."
            )
        return names or known

    def add(self, source: Source) -> None:
        """Add the media of a source, for each choice of the options and splits that it names."""
        late = source.split in self.splits and source.split not in self.wanted
        if late and not (source.lists and any(s.rest for s in self.manifest.sources)):
            return
        texts = " ".join((*source.below, *source.lists, *source.media, source.folder))
        used = [key for key in self.choices if f"{{{key}}}" in texts]
        before = len(self.found.clips)
        for values in product(*(self.choices[key] for key in used)):
            for split in self.wanted if "{part}" in texts else ("",):
                part = {"split": split, "part": self.splits.get(split, "")}
                fields = _Fields({**self.fields, **dict(zip(used, values, strict=True)), **part})
                if source.folder and not (self.root / source.folder.format_map(fields)).is_dir():
                    self.note(f"{source.folder.format_map(fields)} is absent.")
                    continue
                self._add(source, fields)
        if source.note and len(self.found.clips) > before:
            self.note(source.note)

    def _add(self, source: Source, fields: _Fields) -> None:
        patterns = [text.format_map(fields) for text in source.below or source.lists]
        paths = next(filter(None, (_glob(self.root, pattern) for pattern in patterns)), [])
        entries = self._walked if source.below else self._listed
        media = [entry for path in paths for entry in entries(path, source, fields)]
        for name, where, known in media:
            self._add_medium(source, name, where, known)
        if not (media if source.below else paths) and not source.optional:
            if self.split == "all" and len(self.splits) > 1:
                self.note(f"its {fields['split'] or source.split} part lacks {patterns[-1]}.")
                return
            kind = "media in " if source.below else ""
            raise base.wrong_root(self.name, self.root, f"{kind}{patterns[-1]}")

    def _walked(
        self, folder: Path, source: Source, fields: _Fields
    ) -> Iterator[tuple[str, str, _Fields]]:
        walks = {"clips": base.clips_in, "deep": base.clips_below, "files": base.files_below}
        for clip in walks[source.walk](folder):
            known, media = _Fields(fields), base.relative(clip, self.root)
            if known.match(source.path, media) and not (source.rest and media in self.listed):
                yield media, media, known

    def _listed(
        self, path: Path, source: Source, fields: _Fields
    ) -> Iterator[tuple[str, str, _Fields]]:
        folder = "" if path.parent == self.root else f"{base.relative(path.parent, self.root)}/"
        for where, row in _rows(path, source, fields):
            known = _Fields({**fields, "folder": folder, **row})
            for text in source.media:
                each = _Fields(known)
                media = text.format_map(each)
                each.match(source.path, media)
                yield media, where, each

    def _add_medium(self, source: Source, name: str, where: str, fields: _Fields) -> None:
        said = source.label.format_map(fields)
        labels = {k.casefold(): v for k, v in source.labels.items()}
        label = labels.get(said.casefold(), said)
        if label == "left out":
            return
        if label not in base.LABELS:
            known = ", ".join(source.labels)
            raise DatasetError(f"The label of {where} must be one of {known}, not {said!r}.")
        media = name if source.below else self._located(source, name, fields)
        self.listed.add(media or name)
        said = source.split.format_map(fields)
        called = {v.casefold(): k for k, v in self.splits.items() if v}
        split = fields["split"] or called.get(said.casefold(), said) or self.split
        if split not in self.wanted:
            return
        if media is None:
            self.found.missing.append(name)
            return
        stem = PurePosixPath(media).stem
        fields |= {"media": media, "stem": stem, "ids": base.ids_in_name(stem), "split": split}
        title = fields.first(source.title)
        method = fields.first(source.method) or base.original_or(title, label)
        attributes = (
            (key, value.values.get(fields.first(value.of), ""))
            for key, value in source.attributes.items()
        )
        shown = tuple((key, value) for key, value in attributes if value)
        row = base.Row(media, label, method, title, split, fields.first(source.group), shown)
        people = [person for texts in source.people if (person := fields.first(texts))]
        if source.people and not people:
            people = [source.alone.format_map(fields)]
        self.found.add(row, *people)

    def _located(self, source: Source, name: str, fields: _Fields) -> str | None:
        located = base.locate(self.root, name)
        if located or source.among is None:
            return located
        if not self.index:
            for path in base.files_below(self.root):
                key = base.composed(path.stem)
                self.index.setdefault(key, []).append(base.relative(path, self.root))
        pattern = source.among.format_map(fields)
        stem = base.composed(name).rpartition("/")[2].removesuffix(".mp4")
        fits = [m for m in self.index.get(stem, ()) if re.match(pattern, base.composed(m))]
        return fits[0] if len(fits) == 1 else None  # several are reported as missing, not guessed


def _rows(path: Path, source: Source, fields: _Fields) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of a list, each with the words that name it in an error."""
    if path.suffix.lower() == ".csv":
        required = [n for text in source.media for n in _names(text) if n not in fields]
        required = [n for n in required if n != "folder"]
        lines = base.read_table(path, required, DatasetError, encoding="cp949")[1]
        for number, line in lines:  # cp949: KoDF in a copy
            yield f"{path.name}, line {number},", _strings(line)
        return
    try:
        text = path.read_text(encoding="utf-8")
        content: object = json.loads(text) if path.suffix == ".json" else None
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} is not readable{' JSON' * (path.suffix == '.json')}. Download it again."
        ) from error
    if path.suffix != ".json":
        for number, row in enumerate(map(str.strip, text.splitlines()), start=1):
            found = source.line.fullmatch(row)
            if not row:
                continue
            if not found:
                raise DatasetError(
                    f"Line {number} of {path.name}, {row!r}, is not one of the published list; see "
                    "its layout in `deepfake-eval datasets`. Download it again."
                )
            yield f"{path.name}, line {number},", _strings(found.groupdict())
        return
    if isinstance(content, dict):
        content = [{"key": k, **v} if isinstance(v, dict) else v for k, v in content.items()]
    for entry in content if isinstance(content, list) else [None]:
        facts: Mapping[str, object] | None = entry if isinstance(entry, dict) else None
        if isinstance(entry, list) and [type(v) for v in entry] == [str] * len(source.columns):
            named = dict(zip(source.columns, entry, strict=True))
            facts = {**named, "sorted": "_".join(sorted(entry))}
        if facts is None:
            raise DatasetError(f"{path} has not the published form. Download it again.")
        yield str(facts.get("key", path.name)), _strings(facts)


def _strings(row: Mapping[str, object]) -> dict[str, str]:
    return {k: "" if v in (None, "-") else str(v).strip() for k, v in row.items()}


@cache
def _names(text: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(text) if name]


def _lines(path: Path) -> int:
    return sum(bool(line.strip()) for line in path.read_bytes().splitlines())


def _glob(root: Path, pattern: str) -> list[Path]:
    """Return what matches a glob, whatever the case and Unicode form of names are."""
    paths = [root]
    for part in pattern.split("/"):
        if part == "**":
            paths = sorted(Path(folder) for top in paths for folder, _, _ in os.walk(top))
            continue
        wanted = re.compile(re.escape(base.composed(part)).replace(r"\*", ".*"), re.IGNORECASE)
        paths = [
            path
            for top in paths
            if top.is_dir()
            for path in ([top / part] if (top / part).exists() else base.visible(top))
            if wanted.fullmatch(base.composed(path.name))
        ]
    return paths
