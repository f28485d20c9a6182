"""The shipped bundle: its files, its provenance and its graph."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_models.bundle.bundle import Bundle, default_bundle_dir, load_bundle
from deepfake_models.classifier import Classifier
from deepfake_models.scorer import Scorer
from deepfake_training.config import load_config
from tests.support.footage import astronaut, resized

pytestmark = pytest.mark.shipped_model

MAX_BYTES = 100 * 1024**2
"""GitHub refuses files of more than 100 MiB."""
CONFIGS = Path(str(files("deepfake_training"))) / "configs"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Scorer.open(device="cpu", threads=1).classifier


def test_it_was_trained_with_the_committed_config(bundle: Bundle) -> None:
    # The default recipe may have other fields by now, and other texts in the card.
    recorded = bundle.spec.training["config"]
    default = load_config(CONFIGS / "default.toml").model_dump(mode="json", exclude={"card"})
    assert recorded.keys() & default.keys() >= {"bundle", "fit", "mix", "backbone"}
    for section in recorded.keys() & default.keys():
        content = default[section]
        if isinstance(content, dict):
            named = content.keys() & recorded[section].keys()
            assert {n: content[n] for n in named} == {n: recorded[section][n] for n in named}
        else:
            assert content == recorded[section]
    assert bundle.spec.training["parity_max_abs_difference"] <= 1e-3


def test_it_is_small_enough_to_ship() -> None:
    assert max(p.stat().st_size for p in default_bundle_dir().iterdir()) < MAX_BYTES


def test_its_card_and_tables_agree_with_its_thresholds(bundle: Bundle) -> None:
    assert bundle.spec.terms == "research-only"
    card = (default_bundle_dir() / "MODEL_CARD.md").read_text()
    assert "research-only" in card
    assert "FaceForensics++" in card
    assert len(card.splitlines()) <= 150  # for readers; what is longer is in CSV files beside it
    reliability = bundle.reliability()
    for level in ("face", "track"):
        table = reliability[f"level_{level}"]
        thresholds = getattr(bundle.spec.thresholds, level)
        assert table["threshold"] == thresholds.likely_manipulated
        assert table["overall"]["false_positive_rate"]["groups"] >= 10
    for level, name in (("item", "item"), ("picture", "picture")):
        # Every medium counts once here, as in the choice of the threshold.
        measured = reliability[f"level_{name}"]["overall"]["false_positive_rate"]
        thresholds = getattr(bundle.spec.thresholds, level)
        assert measured["value"] == pytest.approx(thresholds.false_positive_rate, abs=2e-3)
        assert measured["value"] <= 0.02
        assert measured["high"] <= 0.06


def test_every_threshold_is_within_the_limit_of_its_level(bundle: Bundle) -> None:
    for level in ("face", "track", "item"):
        limit = getattr(bundle.spec.calibration, level).limit
        assert getattr(bundle.spec.thresholds, level).likely_manipulated < limit


def squares(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture in the place of both squares of a face."""
    return np.stack([picture, picture])


def test_its_rates_are_those_of_sources_that_no_run_saw(bundle: Bundle) -> None:
    assert bundle.spec.unseen == "sources"
    readme = " ".join((Path(__file__).parents[3] / "README.md").read_text().split())
    assert "About one manipulated item in ten had a value below the lower threshold" in readme
    thresholds = bundle.spec.thresholds
    for level in (thresholds.item, thresholds.picture):
        assert level is not None
        assert 0.005 <= level.false_positive_rate <= 0.02
        assert level.miss_rate == pytest.approx(0.1, abs=0.005)


def test_batches_of_any_size_give_the_same_logits(classifier: Classifier) -> None:
    rng = np.random.default_rng(0)
    portrait = squares(resized(astronaut()[:300, 80:380], 224, 224))
    crops = [portrait, *rng.integers(0, 256, (2, 2, 224, 224, 3), dtype=np.uint8)]
    together = [s.logit for s in classifier.scores(crops, still=False)]
    alone = [classifier.scores([crop], still=False)[0].logit for crop in crops]
    assert together == pytest.approx(alone, abs=1e-4)


def test_it_tells_the_documented_kinds_apart(bundle: Bundle, classifier: Classifier) -> None:
    assert bundle.spec.kinds == ("swap", "reenactment", "synthesis", "retouching")
    crop = squares(resized(astronaut()[:300, 80:380], 224, 224))
    (score,) = classifier.scores([crop], still=False)
    assert score.kind_logits is not None
    assert len(score.kind_logits) == 4


def test_the_activation_map_has_one_value_a_patch_of_the_documented_kind(
    bundle: Bundle, classifier: Classifier
) -> None:
    assert bundle.spec.training["map_method"] == "direct_effect"
    crop = squares(resized(astronaut()[:300, 80:380], 224, 224))
    maps = classifier.activation_maps([crop], still=False)
    assert maps.shape == (1, 14, 14)
    # The value of a patch depends on its content: changing half of the picture changes that half.
    other = crop.copy()
    other[:, :, :112] = 128
    change = np.abs(classifier.activation_maps([other], still=False) - maps)[0]
    assert change[:, :7].mean() > change[:, 7:].mean() > 0.0


def test_no_crops_and_wrong_crops(classifier: Classifier) -> None:
    assert classifier.scores([], still=False) == []
    with pytest.raises(ValueError, match="uint8"):
        classifier.scores([np.zeros((2, 224, 224, 3), np.float32)], still=False)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="224"):
        classifier.scores([np.zeros((2, 112, 112, 3), np.uint8)], still=False)
