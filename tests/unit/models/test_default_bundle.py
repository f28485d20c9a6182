"""The shipped bundle: its files, its provenance and its graph."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from deepfake_models.bundle import Bundle, default_bundle_dir, load_bundle
from deepfake_models.classifier import Classifier
from deepfake_models.session import OnnxSession
from deepfake_training.config import CardConfig, load_config
from tests.support.mediakit import astronaut, resized

pytestmark = pytest.mark.shipped_model

MAX_BYTES = 80 * 1024**2
"""GitHub warns about files of 50 MiB and more, and refuses those over 100."""
CONFIGS = Path(str(files("deepfake_training"))) / "configs"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


@pytest.fixture(scope="module")
def classifier(bundle: Bundle) -> Classifier:
    session = OnnxSession(bundle.graphs["classifier.onnx"], device="cpu", threads=1)
    return Classifier(session, bundle.spec, batch=4)


def test_it_was_trained_with_the_committed_config(bundle: Bundle) -> None:
    released, digest = load_config(CONFIGS / "releases" / f"{bundle.spec.version}.toml")
    assert bundle.spec.training["config_sha256"] == digest
    # The current default differs in comments and in the texts of the card only.
    default, _ = load_config(CONFIGS / "default.toml")
    assert default.model_copy(update={"card": CardConfig()}) == released
    assert bundle.spec.training["parity_max_abs_difference"] <= 1e-3


def test_it_is_small_enough_to_ship() -> None:
    assert sum(p.stat().st_size for p in default_bundle_dir().iterdir()) < MAX_BYTES


def test_its_card_and_tables_agree_with_its_thresholds(bundle: Bundle) -> None:
    assert bundle.spec.terms == "research-only"
    card = (default_bundle_dir() / "MODEL_CARD.md").read_text()
    assert "research-only" in card
    assert "FaceForensics++" in card
    reliability = bundle.reliability()
    for level in ("face", "track"):
        table = reliability[f"level_{level}"]
        thresholds = getattr(bundle.spec.thresholds, level)
        assert table["threshold"] == thresholds.likely_manipulated
        measured = table["overall"]["false_positive_rate"]
        assert measured["value"] == pytest.approx(thresholds.false_positive_rate, abs=1e-3)
        assert measured["groups"] >= 10


def test_every_threshold_is_within_the_limit_of_its_level(bundle: Bundle) -> None:
    for level in ("face", "track", "item"):
        limit = getattr(bundle.spec.calibration, level).limit
        assert getattr(bundle.spec.thresholds, level).likely_manipulated < limit


def test_batches_of_any_size_give_the_same_logits(classifier: Classifier) -> None:
    rng = np.random.default_rng(0)
    portrait = resized(astronaut()[:300, 80:380], 224, 224)
    noise = rng.integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)
    crops = np.concatenate([portrait[None], noise])
    together = classifier.logits(crops)
    alone = np.concatenate([classifier.logits(c[None]) for c in crops])
    assert together.shape == (9,)
    assert np.abs(together - alone).max() < 1e-4


def test_the_activation_map_has_one_value_a_patch_of_the_documented_kind(
    bundle: Bundle, classifier: Classifier
) -> None:
    assert bundle.spec.training["map_method"] == "direct_effect"
    crops = resized(astronaut()[:300, 80:380], 224, 224)[None]
    maps = classifier.activation_maps(crops)
    assert maps.shape == (1, 14, 14)
    # The value of a patch depends on its content: changing half of the picture changes that half.
    other = crops.copy()
    other[:, :, :112] = 128
    change = np.abs(classifier.activation_maps(other) - maps)[0]
    assert change[:, :7].mean() > change[:, 7:].mean() > 0.0


def test_no_crops_and_wrong_crops(classifier: Classifier) -> None:
    assert classifier.logits(np.zeros((0, 224, 224, 3), np.uint8)).shape == (0,)
    with pytest.raises(ValueError, match="uint8"):
        classifier.logits(np.zeros((1, 224, 224, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="224"):
        classifier.logits(np.zeros((1, 112, 112, 3), np.uint8))
