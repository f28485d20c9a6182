"""Sealing and loading of bundles, and the refusal of altered ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepfake_models.bundle.bundle import GRAPHS, MANIFEST, REQUIRED, load_bundle, seal
from deepfake_models.errors import BundleError
from tests.support.judging import bundle_fields

HISTOGRAM = {
    "edges": [-1.0, 0.0, 1.0], "real": [7, 2], "fake": [1, 4], "real_groups": 5, "fake_groups": 3,
}  # fmt: skip


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    directory = tmp_path / "bundle"
    directory.mkdir()
    for name in REQUIRED:
        content = b"{}" if name.endswith(".json") else f"content of {name}".encode()
        (directory / name).write_bytes(content)
    seal(directory, bundle_fields())
    return directory


def edit(directory: Path, **changes: Any) -> None:
    content = json.loads((directory / MANIFEST).read_text())
    content.update(changes)
    (directory / MANIFEST).write_text(json.dumps(content))


def test_a_sealed_bundle_loads_with_its_identity(sealed: Path) -> None:
    bundle = load_bundle(sealed)
    assert set(bundle.graphs) == set(GRAPHS)
    assert bundle.model_json() == {
        "bundle": "test",
        "version": "1",
        "sha256": bundle.sha256,
        "terms": "research-only",
    }
    assert bundle.reliability() == {}
    assert not list(sealed.glob(".*"))


@pytest.mark.parametrize("name", REQUIRED)
def test_one_changed_byte_names_the_file(sealed: Path, name: str) -> None:
    raw = bytearray((sealed / name).read_bytes())
    raw[0] ^= 1
    (sealed / name).write_bytes(raw)
    with pytest.raises(BundleError, match=name):
        load_bundle(sealed)


@pytest.mark.parametrize("name", [MANIFEST, *REQUIRED])
def test_a_missing_file_is_named(sealed: Path, name: str) -> None:
    (sealed / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing"):
        load_bundle(sealed)


def test_a_truncated_manifest_is_refused(sealed: Path) -> None:
    raw = (sealed / MANIFEST).read_bytes()
    (sealed / MANIFEST).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(sealed)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format_version": 2}, "format_version"),
        ({"prior": 1.0}, "prior"),
        ({"surprise": 1}, "surprise"),
        ({"terms": ""}, "terms"),
        ({"files": {"../escape.onnx": "0" * 64}}, "plain file name"),
        ({"files": {"classifier.onnx": "0" * 64}}, "does not list"),
        ({"crop": {"size": 256}}, "crop.size"),
        ({"crop": {"size": "wide"}}, "crop.size"),
        ({"detector": {"thresholds": [0.6, 0.7]}}, "detector.thresholds"),
        ({"histograms": {"face": None}}, r"histograms\.face"),
        ({"histograms": {"item": {**HISTOGRAM, "edges": [0.0, 0.0, 1.0]}}}, "ascend"),
        ({"histograms": {"item": {**HISTOGRAM, "edges": [0.0, 1.0]}}}, r"item\.edges"),
        ({"histograms": {"item": {**HISTOGRAM, "real": [9]}}}, "real: the edges make 2 bins"),
        ({"histograms": {"item": {**HISTOGRAM, "fake": [9, -1]}}}, r"item\.fake"),
        ({"histograms": {"picture": {**HISTOGRAM, "fake": [1, 1]}}}, "cannot be of 3 groups"),
        ({"histograms": {"picture": {**HISTOGRAM, "real_groups": 0}}}, "real_groups"),
    ],
)
def test_the_error_names_the_wrong_field(sealed: Path, change: dict[str, Any], named: str) -> None:
    edit(sealed, **change)
    with pytest.raises(BundleError, match=named):
        load_bundle(sealed)


def test_histograms_are_optional(sealed: Path) -> None:
    bundle = load_bundle(sealed)
    assert bundle.spec.histograms is None
    edit(sealed, histograms={"picture": HISTOGRAM})
    spec = load_bundle(sealed).spec
    assert spec.histograms is not None
    assert spec.histograms.item is None
    assert spec.model_dump(mode="json")["histograms"] == {"item": None, "picture": HISTOGRAM}


def test_thresholds_must_be_in_order(sealed: Path) -> None:
    content = json.loads((sealed / MANIFEST).read_text())
    content["thresholds"]["item"]["no_manipulation_found"] = 5.0
    (sealed / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"thresholds\.item"):
        load_bundle(sealed)


def test_a_limit_of_which_the_ratio_is_no_finite_number_is_refused(sealed: Path) -> None:
    content = json.loads((sealed / MANIFEST).read_text())
    content["calibration"]["item"]["limit"] = 400.0
    (sealed / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"calibration\.item\.limit"):
        load_bundle(sealed)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(tmp_path)
    with pytest.raises(BundleError, match="There is no folder"):
        load_bundle(tmp_path / "absent")
