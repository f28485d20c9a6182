"""A classifier that sees two squares of a face, tells kinds apart and has a graph of its maps."""

from __future__ import annotations

import gc
import io
import shutil
from pathlib import Path
from types import CellType

import numpy as np
import pytest
from PIL import Image

from deepfake_models.bundle.bundle import CLASSIFIER, MAP, WEIGHTS, load_bundle, seal
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.bundle.spec import CropSpec
from deepfake_models.errors import BundleError
from deepfake_models.faces.crops import cut, cut_views, squares
from deepfake_models.pipeline import open_networks
from deepfake_models.scorer import Scorer
from tests.support import footage, small_bundles

GAIN, OFFSET = -0.15, 22.0


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return small_bundles.two_square_scorer()


@pytest.fixture
def altered(tmp_path: Path) -> Path:
    """A copy of the bundle, to be altered."""
    return Path(shutil.copytree(small_bundles.two_square_bundle_dir(), tmp_path / "bundle"))


def sealed_again(folder: Path) -> None:
    spec = load_bundle(small_bundles.two_square_bundle_dir()).spec
    seal(folder, spec.model_dump(exclude={"format_version", "files"}))


def value(square: np.ndarray) -> float:
    return GAIN * float(square[..., 0].mean() - square[..., 1].mean())


def test_a_face_is_cut_once_for_each_scale() -> None:
    spec = CropSpec(further_scales=(0.8, 2.0))
    box = (190.0, 60.0, 290.0, 190.0)
    crop = cut_views(footage.astronaut(), box, spec)
    assert crop.shape == (spec.views, 224, 224, 3) == (3, 224, 224, 3)
    for square, scale in zip(squares(crop), (1.3, 0.8, 2.0), strict=True):
        assert np.array_equal(square, cut(footage.astronaut(), box, CropSpec(scale=scale)))
    single = cut_views(footage.astronaut(), box, CropSpec())
    assert single.shape == (224, 224, 3)
    assert np.array_equal(squares(crop)[0], single)
    assert squares(single).shape == (1, 224, 224, 3)


def test_a_face_of_a_picture_gets_its_logits_of_all_squares(scorer: Scorer) -> None:
    picture = footage.astronaut()
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    (face,) = scorer.score(file).faces
    seen = cut_views(picture, face.box, scorer.bundle.spec.crop, face.turn)
    mean = sum(
        share * value(square)
        for share, square in zip(small_bundles.SQUARE_SHARES, squares(seen), strict=True)
    )
    logit = mean - GAIN * OFFSET
    assert face.logit == pytest.approx(logit * small_bundles.FACE_FACTORS[1], abs=1e-3)
    factors = small_bundles.KIND_FACTORS
    assert face.kind_logits == pytest.approx([logit * f for f in factors], abs=1e-3)


def test_maps_come_from_their_own_graph(scorer: Scorer) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 2, 224, 224, 3), dtype=np.uint8)
    maps = scorer.classifier.activation_maps(list(noise), still=False)
    assert maps.shape == (9, small_bundles.CELLS, small_bundles.CELLS)
    assert maps.mean(axis=(1, 2)) == pytest.approx([value(crop[0]) for crop in noise], abs=1e-3)
    assert scorer.classifier.activation_maps([], still=False).shape[0] == 0


@pytest.mark.parametrize("name", [MAP, WEIGHTS, CLASSIFIER])
def test_an_altered_graph_or_weight_is_refused(altered: Path, name: str) -> None:
    content = bytearray((altered / name).read_bytes())
    content[-1] ^= 1
    (altered / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        load_bundle(altered)


def test_an_open_scorer_holds_no_files_and_verifies_those_of_the_map_again(altered: Path) -> None:
    scorer = Scorer.open(altered, threads=1)
    assert scorer.bundle.graphs == {}
    crop = np.full((2, 224, 224, 3), 100, np.uint8)
    assert scorer.classifier.activation_maps([crop], still=False).shape == (1, 14, 14)
    (altered / WEIGHTS).write_bytes(bytes(12))
    with pytest.raises(BundleError, match=WEIGHTS):
        scorer.classifier.activation_maps([crop], still=False)


def test_weights_that_are_too_short_are_refused(altered: Path) -> None:
    (altered / WEIGHTS).write_bytes((altered / WEIGHTS).read_bytes()[:4])
    sealed_again(altered)
    with pytest.raises(BundleError, match=CLASSIFIER):
        Scorer.open(altered, threads=1)


def test_weights_are_never_read_from_a_file_that_is_not_listed(
    altered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(altered)
    graph = load_bundle(altered).graphs[CLASSIFIER]
    with pytest.raises(BundleError, match=CLASSIFIER):
        OnnxSession(graph, name=CLASSIFIER, device="cpu", threads=1)


def test_a_bundle_without_shared_weights_has_its_map_in_the_classifier() -> None:
    bundle = small_bundles.small_bundle()
    assert not {MAP, WEIGHTS} & bundle.graphs.keys()
    small = Scorer.open(small_bundles.small_bundle_dir(), threads=1)
    crop = np.full((224, 224, 3), 100, np.uint8)
    assert small.classifier.scores([crop], still=False)[0].kind_logits is None
    assert small.classifier.activation_maps([crop], still=False).shape == (1, 14, 14)


def test_open_networks_do_not_keep_the_files_in_memory(altered: Path) -> None:
    bundle = load_bundle(altered)
    networks = open_networks(bundle)
    assert not [r for r in gc.get_referrers(bundle) if isinstance(r, CellType)]
    assert not [r for r in gc.get_referrers(bundle.graphs) if isinstance(r, CellType)]
    assert networks.classifier.shape == (2, 224, 224, 3)


def test_detector_sessions_have_no_arena_that_grows_with_every_shape() -> None:
    graph = small_bundles.small_bundle().graphs["pnet.onnx"]
    options = OnnxSession(graph, device="cpu", threads=1)._session.get_session_options()
    assert not options.enable_cpu_mem_arena
    assert not options.enable_mem_pattern
