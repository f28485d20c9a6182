"""Fixtures that the tests of training share. They import torch only when they are used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from deepfake_models.bundle.bundle import Bundle
    from deepfake_training.config import Config


@pytest.fixture(scope="session")
def smoke() -> Config:
    """The smoke config of a smaller network, shortened."""
    from tests.support.training import short_smoke

    return short_smoke()


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of twelve clips in two folds, half of them tinted."""
    from tests.support.training import write_manifest

    return write_manifest(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def crops(manifest: Path, smoke: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared crops of ``manifest``; not to be changed."""
    from deepfake_training.data.manifests import Manifest
    from deepfake_training.data.prepare import prepare

    out = tmp_path_factory.mktemp("crops")
    summary = prepare([Manifest(manifest)], out, smoke, workers=0)
    assert summary.media == 12
    assert summary.failed == summary.duplicates == summary.failed_frames == 0
    return out


@pytest.fixture(scope="session")
def fitted_run(crops: Path, smoke: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A completed run of ``smoke``; not to be changed."""
    from deepfake_training.train.loop import fit

    run = tmp_path_factory.mktemp("run")
    best = fit(crops, run, smoke)
    assert best["auc_mean"] >= 0.5
    return run


@contextlib.contextmanager
def spared_exports() -> Iterator[None]:
    """Let exports draw fewer samples for the intervals of their hundreds of figures, and no plots
    of their held-out media."""
    from deepfake_eval.reporting import report
    from deepfake_training.export import bundle

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "BOOTSTRAP_DRAWS", 20)
        patch.setattr(report, "figures", lambda *_: {})
        yield


@pytest.fixture(scope="module")
def few_draws() -> Iterator[None]:
    with spared_exports():
        yield


@pytest.fixture(scope="session")
def exported_bundle(
    manifest: Path,
    crops: Path,
    smoke: Config,
    fitted_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """The bundle of ``fitted_run``, exported by every real step."""
    from deepfake_training.data.manifests import Manifest
    from deepfake_training.export.bundle import ExportInputs, export

    inputs = ExportInputs([Manifest(manifest)], crops, fitted_run)
    with spared_exports():
        return export(inputs, tmp_path_factory.mktemp("exported") / "bundle", smoke)


@pytest.fixture(scope="session")
def head_manifest(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clips of ``manifest`` with four methods, a picture without a face and a missing file."""
    from tests.support.training import write_head_manifest

    return write_head_manifest(tmp_path_factory.mktemp("head-media"), manifest.parent)


@pytest.fixture(scope="session")
def head_crops(head_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared crops of ``head_manifest``; features are stored in it, nothing else changes."""
    from deepfake_training.data.manifests import Manifest
    from deepfake_training.data.prepare import prepare
    from tests.support.training import head_config

    out = tmp_path_factory.mktemp("head-crops")
    summary = prepare([Manifest(head_manifest)], out, head_config(), workers=0)
    assert (summary.media, summary.without_face, summary.absent) == (12, 1, 1)
    return out
