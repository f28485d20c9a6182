"""Where a bundle is written: in place of a bundle, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_models.bundle.bundle import MANIFEST
from deepfake_training.errors import TrainingError
from deepfake_training.export.bundle import _move_bundle, check_destination


def folder(path: Path, *names: str) -> Path:
    path.mkdir(parents=True)
    for name in names:
        (path / name).write_text(str(path.name))
    return path


def test_a_new_folder_and_a_bundle_may_be_written_to(tmp_path: Path) -> None:
    assert check_destination(tmp_path / "new") == tmp_path / "new"
    old = folder(tmp_path / "old", MANIFEST)
    assert check_destination(old, tmp_path / "runs") == old


def test_a_folder_or_file_that_is_not_a_bundle_is_refused(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", "a.jpg")
    for path in (photos, photos / "a.jpg", folder(tmp_path / "empty")):
        with pytest.raises(TrainingError, match="is not a bundle, so it is not replaced"):
            check_destination(path)


def test_a_folder_around_what_is_needed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier bundle may lie beside the folder of runs."""
    here = folder(tmp_path / "here", MANIFEST)
    with pytest.raises(TrainingError, match=r"would contain .*runs"):
        check_destination(here, here / "runs")
    with pytest.raises(TrainingError, match=r"would contain .*runs"):
        check_destination(tmp_path / "runs", tmp_path / "runs")
    monkeypatch.chdir(here)
    with pytest.raises(TrainingError, match=r"^\.: The folder of the bundle would contain"):
        check_destination(Path())


def test_a_bundle_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    scratch = folder(tmp_path / "scratch")
    place = folder(tmp_path / "place", MANIFEST, "only-in-the-old-one")
    _move_bundle(folder(scratch / "bundle", MANIFEST), place, scratch)
    assert [p.name for p in place.iterdir()] == [MANIFEST]
    assert (place / MANIFEST).read_text() == "bundle"
    assert (scratch / "replaced" / "only-in-the-old-one").exists()


def test_an_interruption_between_both_moves_leaves_the_earlier_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = folder(tmp_path / "scratch")
    new, place = folder(scratch / "bundle", MANIFEST), folder(tmp_path / "place", MANIFEST)
    rename = Path.rename

    def interrupted(source: Path, target: Path) -> Path:
        if source == new:
            raise KeyboardInterrupt
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _move_bundle(new, place, scratch)
    assert (place / MANIFEST).read_text() == "place"


def test_what_cannot_be_moved_leaves_the_earlier_bundle(tmp_path: Path) -> None:
    scratch = folder(tmp_path / "scratch")
    place = folder(tmp_path / "place", MANIFEST)
    with pytest.raises(FileNotFoundError):
        _move_bundle(scratch / "bundle", place, scratch)
    assert (place / MANIFEST).read_text() == "place"
    photos = folder(tmp_path / "photos", "a.jpg")
    with pytest.raises(TrainingError, match="is not a bundle"):
        _move_bundle(folder(scratch / "bundle", MANIFEST), photos, scratch)
    assert (photos / "a.jpg").exists()
