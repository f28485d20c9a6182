"""What adapters share: rows, the ``Dataset`` protocol, listing media, and identity groups."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepfake_eval.errors import DatasetError

SPLITS = ("train", "val", "test", "all")
Label = Literal["real", "fake"]

VIDEO_SUFFIXES = frozenset(
    {
        ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts", ".mts",
        ".m2ts", ".flv", ".3gp", ".ogv",
    }
)  # fmt: skip
PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif", ".avif"}
)

GROUPINGS = ("auto", "component", "target")
LARGEST_COMPONENT = 0.5
"""Share of the rows in one component from which a bootstrap over components says nothing: a draw
holds nearly everything or nearly nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled medium.

    ``media`` is a path relative to ``Rows.root``, with forward slashes, and unique there: it names
    the method's folder, so FaceForensics++ ``000_003`` of four methods is four media. It is a file,
    or a folder of one clip's frames. ``group`` ties what a resampling must not split.
    ``attributes`` are the subject's published attributes, for instance ``(("sex", "F"),)``.
    """

    media: str
    label: Label
    method: str
    dataset: str
    split: str
    group: str
    compression: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """What an adapter found: rows, media that a list names but that are absent, and remarks."""

    root: Path
    rows: tuple[Row, ...]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Dataset(Protocol):
    """An adapter: a frozen dataclass whose fields are its options, all of them strings."""

    name: ClassVar[str]
    """As on the command line."""
    layout: ClassVar[str]
    """The published folders that ``rows`` expects below the root."""
    grouping: ClassVar[str]
    """What a group is, and why."""

    def __init__(self, **options: str) -> None: ...

    def rows(self, root: Path, split: str) -> Rows:
        """Read the rows of ``split`` (one of ``SPLITS``) below ``root``.

        Raises:
            DatasetError: saying what was expected and what was found.
        """
        ...


def describe(folder: Path, limit: int = 8) -> str:
    """The first names in ``folder``, for a message about what was found."""
    if not folder.is_dir():
        return "a file" if folder.exists() else "nothing"
    names = [p.name + "/" * p.is_dir() for p in visible(folder)]
    if not names:
        return "an empty folder"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def wrong_root(name: str, root: Path, expected: str, inner: Iterable[str] = ()) -> DatasetError:
    """An error that says what was expected, what was found, and which child folder fits better."""
    hint = ""
    names = list(inner)
    if names and root.is_dir():
        fits = [c for c in visible(root) if c.is_dir() and all((c / n).exists() for n in names)]
        if fits:
            hint = f"; {fits[0]} looks like it"
    return DatasetError(f"{name}: expected {expected} in {root}, found {describe(root)}{hint}")


def require(name: str, root: Path, names: Sequence[str]) -> None:
    """Raise ``DatasetError`` unless every one of ``names`` lies in ``root``."""
    if not all((root / n).exists() for n in names):
        raise wrong_root(name, root, " and ".join(names), names)


def visible(folder: Path) -> list[Path]:
    """Children of ``folder``, sorted by name, without hidden files and macOS archive litter."""
    return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name != "__MACOSX")


def videos(folder: Path) -> list[Path]:
    """Video files directly in ``folder``."""
    if not folder.is_dir():
        return []
    return [p for p in visible(folder) if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()]


def files_below(folder: Path, *, pictures: bool = True) -> Iterator[Path]:
    """Every video file (and picture file) at any depth below ``folder``."""
    wanted = VIDEO_SUFFIXES | (PICTURE_SUFFIXES if pictures else frozenset())
    for path in visible(folder):
        if path.is_dir():
            yield from files_below(path, pictures=pictures)
        elif path.suffix.lower() in wanted:
            yield path


def clips_below(folder: Path) -> Iterator[Path]:
    """Every clip below ``folder``: a video file, or a folder that directly holds frames."""
    inside = visible(folder)
    if any(p.suffix.lower() in PICTURE_SUFFIXES and p.is_file() for p in inside):
        yield folder
    for path in inside:
        if path.is_dir():
            yield from clips_below(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield path


def clips_in(folder: Path) -> list[Path]:
    """The clips of a folder laid out as ``[videos/]*.mp4`` or ``frames/<clip>/*.png``.

    Videos are preferred: frames were extracted, cropped or resized by somebody's script.
    """
    found = videos(folder / "videos") or videos(folder)
    if not found and (folder / "frames").is_dir():
        found = list(clips_below(folder / "frames"))
    return found


def locate(root: Path, relative: str) -> str | None:
    """``relative`` as it lies below ``root``: as named, under ``videos/``, or as frames; or None.

    Lists name ``Celeb-real/id0_0000.mp4`` while downloads unpack to ``Celeb-real/videos/`` and
    preprocessed copies hold ``Celeb-real/frames/id0_0000/``.
    """
    folder, _, name = relative.rpartition("/")
    stem = name.rpartition(".")[0] or name
    for candidate in (
        relative,
        f"{folder}/videos/{name}".lstrip("/"),
        f"{folder}/frames/{stem}".lstrip("/"),
    ):
        if (root / candidate).exists():
            return candidate
    return None


def relative(path: Path, root: Path) -> str:
    """``path`` below ``root`` with forward slashes."""
    return path.relative_to(root).as_posix()


def composed(name: str) -> str:
    """``name`` in Unicode normal form C: archives made on macOS hold decomposed Hangul."""
    return unicodedata.normalize("NFC", name)


def group_by_people(
    people: Sequence[Sequence[str]], grouping: str, dataset: str
) -> tuple[list[str], list[str]]:
    """Groups of media from the people each shows, and remarks on them.

    ``people[i]`` are the identities in medium i, that of the footage (the target) first.
    ``component``: media that share any person, directly or through others, are one group.
    ``target``: media are grouped by the footage's person alone. ``auto``: components, unless one of
    them would hold more than ``LARGEST_COMPONENT`` of the media, as where everybody was swapped
    with everybody; then targets, with a remark.
    """
    if grouping not in GROUPINGS:
        raise DatasetError(f"group must be one of {', '.join(GROUPINGS)}, not {grouping!r}")
    targets = [p[0] for p in people]
    if grouping == "target":
        return targets, []
    components = _components(people)
    if grouping == "auto" and components:
        name, count = Counter(components).most_common(1)[0]
        if count > LARGEST_COMPONENT * len(components) and len(set(targets)) > len(set(components)):
            return targets, [
                f"{dataset}: swaps link the people of {count} of {len(components)} media into one "
                f"group ({name}); grouped by the person of the footage instead, so that the "
                "swapped-in face may recur in several groups"
            ]
    return components, []


def _components(people: Sequence[Sequence[str]]) -> list[str]:
    names = sorted({p for who in people for p in who})
    number = {n: i for i, n in enumerate(names)}
    edges = [(number[who[0]], number[p]) for who in people for p in who]
    rows, columns = np.array(edges, dtype=np.intp).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges)), (rows, columns)), shape=(len(names), len(names)))
    _, labels = connected_components(graph, directed=False)
    members: dict[int, list[str]] = {}
    for name, label in zip(names, labels, strict=True):
        members.setdefault(int(label), []).append(name)
    titles = {
        label: "_".join(m) if len(m) <= 2 else f"{m[0]}+{len(m) - 1}"
        for label, m in members.items()
    }
    return [titles[int(labels[number[who[0]]])] for who in people]
