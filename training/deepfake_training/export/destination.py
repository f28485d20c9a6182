"""The folder of a new bundle, which takes the place of an earlier bundle and of nothing else."""

from __future__ import annotations

from pathlib import Path

from deepfake_models.bundle.bundle import MANIFEST
from deepfake_training.errors import TrainingError


def check_destination(out: Path, *needed: Path) -> Path:
    """Return the absolute path of ``out`` after checking that a bundle may be moved there.

    Raises:
        TrainingError: if there is something else than a bundle, or ``out`` is or would be around
            one of the paths ``needed`` or the current folder.
    """
    place = out.resolve()
    for path in (Path.cwd(), *needed):
        if path.resolve().is_relative_to(place):
            raise TrainingError(
                f"{out}: the folder of the bundle would contain {path.resolve()}; name another one"
            )
    if place.exists() and not (place / MANIFEST).is_file():
        raise TrainingError(
            f"{out}: already exists and is not a bundle, so it is not replaced; name another folder"
        )
    return place


def move_bundle(bundle: Path, place: Path, scratch: Path) -> None:
    """Move the folder ``bundle`` to ``place``, and a bundle that is there into ``scratch``.

    All three are on one file system, so nothing is copied: ``place`` never holds part of a bundle.
    It is absent for a moment between the two moves, and the earlier bundle is moved back if the
    second one fails or is interrupted.

    Raises:
        TrainingError: if ``place`` now has something else than a bundle.
    """
    check_destination(place)
    replaced = scratch / "replaced"
    try:
        if place.exists():
            place.rename(replaced)
        bundle.rename(place)
    except BaseException:  # also of Ctrl-C: whatever is left in ``scratch`` is deleted
        if replaced.exists() and not place.exists():
            replaced.rename(place)
        raise
