"""Common parts of the readers: rows, tables, listing media, and groups."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from scipy.cluster.hierarchy import DisjointSet

from deepfake_eval.errors import DatasetError, EvalError
from deepfake_models.errors import DeepfakeError

SPLITS = ("train", "val", "test", "all")
Label = Literal["real", "fake"]
LABELS: tuple[Label, ...] = ("real", "fake")

VIDEO_SUFFIXES = frozenset(
    {
        ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts", ".mts",
        ".m2ts", ".flv", ".3gp", ".ogv",
    }
)  # fmt: skip
PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif", ".avif"}
)

LARGEST_COMPONENT = 0.5
"""Largest share of the media that may be in one component. Above it, a bootstrap over components
is useless: a sample then has almost all of the media or almost none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled medium.

    ``media`` is a path relative to ``Rows.root``, with forward slashes: a file, or a folder with
    the frames of one clip. It is unique, because it includes the folder of the method: ``000_003``
    of FaceForensics++ is a different medium for each method. Media with the same ``group`` stay
    together when groups are resampled. ``attributes`` are the published attributes of the person
    shown, for example ``(("sex", "F"),)``.
    """

    media: str
    label: Label
    method: str
    dataset: str
    split: str
    group: str
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """What was found of a data set.

    ``missing`` lists media that are named in a list but absent. ``notes`` are remarks for the
    report.
    """

    root: Path
    rows: tuple[Row, ...]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Found:
    """The media that a reader finds below ``root``, in order."""

    root: Path
    clips: list[tuple[Row, Sequence[str]]] = field(default_factory=list)
    """Rows, each with the people it shows; see ``group_by_people``."""
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, row: Row, *people: str) -> None:
        """Add a medium that shows ``people``, first the person of the footage. Without people, the
        row's own group stays."""
        self.clips.append((row, people))

    def rows(self) -> Rows:
        """Return the rows, grouped by their people where these are known."""
        rows, people = [row for row, _ in self.clips], [people for _, people in self.clips]
        notes = self.notes
        if any(people):
            groups, remarks = group_by_people(people, rows[0].dataset)
            rows = [replace(row, group=group) for row, group in zip(rows, groups, strict=True)]
            notes = [*notes, *remarks]
        return Rows(self.root, tuple(rows), tuple(self.missing), tuple(notes))


def original_or(method: str, label: Label) -> str:
    """Return ``original`` for real media, and ``method`` for manipulated ones."""
    return "original" if label == "real" else method


def namespace(dataset: str) -> str:
    """Return what groups of ``dataset`` are put under beside those of other data sets.

    Group "001" of one data set has nothing to do with "001" of another, except where both show the
    same people under the same names: all versions of Celeb-DF, whose names are unlike others and
    stay as they are, and DF40, whose fakes were made from Celeb-DF and FaceForensics++.
    """
    if dataset.startswith("Celeb-DF") or dataset == "DF40-cdf":
        return ""
    return ("FaceForensics++" if dataset == "DF40-ff" else dataset) + "/"


def checked_label(label: str, where: str, error: type[EvalError]) -> Label:
    """Return a label of a table of media; raise ``error``, which says ``where``, for another."""
    if label == "real":
        return "real"
    if label == "fake":
        return "fake"
    raise error(
        f"In {where}, the label must be real or fake, not {label!r}. Numbers are refused, because "
        "1 means real in some lists and fake in others."
    )


def read_table(
    path: Path, required: Sequence[str], error: type[DeepfakeError], *, encoding: str = "utf-8-sig"
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns of a CSV table and its rows, each with the number of its line.

    ``encoding`` is that of a table that is not in UTF-8.

    Raises:
        DeepfakeError: ``error``, if the file is not readable, lacks a ``required`` column, or a row
            has more values than there are columns.
    """
    try:
        raw = path.read_bytes()
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode(encoding)
        reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
        columns = reader.fieldnames = [composed(c).strip() for c in reader.fieldnames or ()]
        lines = [(reader.line_num, line) for line in reader]
    except FileNotFoundError as cause:
        raise error(f"{path} does not exist.") from cause
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise error(f"{path.name} is not a readable CSV in UTF-8. Save it as one.") from cause
    if missing := [c for c in required if c not in columns]:
        found = ", ".join(columns) or "none"
        apart = next(
            (name for mark, name in ((";", "semicolons"), ("\t", "tabs")) if mark in found), ""
        )
        raise error(
            f"{path.name} separates its columns by {apart}. Save it with commas."
            if apart
            else f"{path.name} has no column {' and no column '.join(missing)}. It has {found}."
        )
    if long := [number for number, line in lines if None in line]:
        raise error(
            f"In {path.name}, line {long[0]} has more values than the header has columns. Put "
            "values with commas in quotes."
        )
    return columns, lines


def wrong_root(name: str, root: Path, expected: str, inner: Iterable[str] = ()) -> DatasetError:
    """Return an error that says what was expected and found, and which child folder fits."""
    inside, names, hint = visible(root) if root.is_dir() else [], list(inner), ""
    first = ", ".join(p.name + "/" * p.is_dir() for p in inside[:8]) or "nothing"
    more = f" and {len(inside) - 8} more" * (len(inside) > 8)
    fits = [p for p in inside if p.is_dir() and all((p / n).exists() for n in names)]
    if names and fits:
        hint = f" {fits[0]} looks like it."
    return DatasetError(
        f"The data set {name} needs {expected} in {root}, which has {first}{more}.{hint} See "
        f"`deepfake-eval datasets {name}` for its layout."
    )


def visible(folder: Path) -> list[Path]:
    """Return the children of ``folder`` by name, without hidden and macOS archive files."""
    return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name != "__MACOSX")


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every video and picture file at any depth in ``folder``."""
    for path in visible(folder):
        if path.is_dir():
            yield from files_below(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES | PICTURE_SUFFIXES:
            yield path


def clips_below(folder: Path) -> Iterator[Path]:
    """Yield every clip in ``folder``: each video file and each folder that contains frames."""
    inside = visible(folder)
    if any(p.suffix.lower() in PICTURE_SUFFIXES and p.is_file() for p in inside):
        yield folder
    for path in inside:
        if path.is_dir():
            yield from clips_below(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield path


def clips_in(folder: Path) -> list[Path]:
    """Return the clips of a folder with ``[videos/]*.mp4`` or ``frames/<clip>/*.png``.

    Videos are preferred, because frames may have been cropped or resized when they were extracted.
    """
    for inside in (folder / "videos", folder):
        found = visible(inside) if inside.is_dir() else ()
        if videos := [p for p in found if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()]:
            return videos
    frames = folder / "frames"
    return list(clips_below(frames)) if frames.is_dir() else []


def locate(root: Path, relative: str) -> str | None:
    """Return the actual path of the listed medium ``relative`` below ``root``, or None.

    A list names ``Celeb-real/id0_0000.mp4``, but downloads unpack to ``Celeb-real/videos/`` and
    preprocessed copies have ``Celeb-real/frames/id0_0000/``.
    """
    top, slash, rest = relative.partition("/")
    if slash and not (root / top).exists():
        named = (p.name for p in visible(root) if composed(p.name).lower() == composed(top).lower())
        relative = f"{next(named, top)}/{rest}"
    folder, _, name = f"/{relative}".rpartition("/")
    folder = folder.removesuffix("/videos")
    stem = name.rpartition(".")[0] or name
    for within in (
        relative,
        f"{folder}/{name}",
        f"{folder}/videos/{name}",
        f"{folder}/frames/{stem}",
    ):
        if (root / within.lstrip("/")).exists():
            return within.lstrip("/")
    return None


def relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def composed(name: str) -> str:
    """Return ``name`` in Unicode normal form C; archives from macOS have decomposed Hangul."""
    return unicodedata.normalize("NFC", name)


def ids_in_name(stem: str) -> str:
    """Return the group of a clip by the ids in its name: the FaceForensics++ pair, the celebrity of
    the footage (id0_id1_0000), or the name itself."""
    if pair := re.fullmatch(r"(\d{3})_(\d{3})", stem):
        return "_".join(sorted(pair.groups()))
    celebrity = re.match(r"id\d+", stem)
    return celebrity.group() if celebrity else stem


def group_by_people(people: Sequence[Sequence[str]], dataset: str) -> tuple[list[str], list[str]]:
    """Return the group of each medium from the people it shows, and remarks for the report.

    ``people[i]`` are the identities in medium i, starting with the person of the footage. Media
    that share a person, directly or through other media, are one group; unless that would have more
    than ``LARGEST_COMPONENT`` of the media, as happens if all people were swapped with each other:
    then media are grouped by the person of the footage only, with a remark.
    """
    components, targets = _components(people), [p[0] for p in people]
    name, count = Counter(components).most_common(1)[0]
    if count <= LARGEST_COMPONENT * len(components) or len(set(targets)) <= len(set(components)):
        return components, []
    return targets, [
        f"{dataset}: swaps link the people of {count} of {len(components)} media into one group "
        f"({name}). Media are therefore grouped by the person of the footage, and a swapped-in "
        "face may recur in several groups."
    ]


def _components(people: Sequence[Sequence[str]]) -> list[str]:
    linked = DisjointSet(person for shown in people for person in shown)
    for shown in people:
        for person in shown:
            linked.merge(shown[0], person)
    titles: dict[str, str] = {}
    for component in linked.subsets():
        first, *others = sorted(component)
        title = f"{first}+{len(others)}" if len(others) > 1 else "_".join([first, *others])
        titles |= dict.fromkeys(component, title)
    return [titles[shown[0]] for shown in people]
