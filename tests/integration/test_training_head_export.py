"""The bundle of a head on a frozen network: its graphs, its calibration and its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from typer.testing import CliRunner

from deepfake_models.bundle.bundle import CLASSIFIER, MAP, WEIGHTS, Bundle, load_bundle, seal
from deepfake_models.bundle.results import VerdictCode
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.classifier import ACTIVATION_MAP, CROPS, KIND_LOGITS, LOGIT
from deepfake_models.errors import BundleError
from deepfake_models.scorer import Scorer
from deepfake_training.cli import app
from deepfake_training.config import BesideConfig, Config
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.manifests import Manifest
from deepfake_training.errors import TrainingError
from deepfake_training.export.bundle import HELD_OUT_REPORT, ExportInputs, export
from deepfake_training.export.graphs import (
    classifier_graph,
    heads_parity,
    logit_noise,
    map_graph,
    write_heads,
)
from deepfake_training.export.held_out import listed_once, score_heads
from deepfake_training.heads import Heads, logits_of, state_of
from deepfake_training.heads.kinds import KindHead
from deepfake_training.heads.linear import LinearHead
from deepfake_training.networks.backbone import Normalise
from deepfake_training.networks.graphs import FEATURES
from deepfake_training.train.checkpoints import CHECKPOINT, read_checkpoint
from deepfake_training.train.feature_store import FeatureStore
from tests.support.training import (
    BESIDE,
    HEAD,
    direct_effects,
    head_config,
    in_arithmetic,
    seed_networks,
    seeded_backbone,
)

pytestmark = [
    pytest.mark.torch,
    pytest.mark.usefixtures("few_draws"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ARITHMETIC = pytest.mark.parametrize("arithmetic", ["float32", "int8"])


@pytest.fixture(scope="module", autouse=True)
def one_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        seed_networks(patch)
        yield


@pytest.fixture(scope="module")
def work(
    head_manifest: Path,
    head_crops: Path,
    one_network: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder in which ``deepfake-train run`` has made a bundle, with all that it left."""
    work = tmp_path_factory.mktemp("work")
    (work / "head.toml").write_text(HEAD)
    shutil.copytree(head_crops, work / "crops")
    command = ["run", "--config", work / "head.toml", "--manifest", head_manifest]
    command += ["--out", work / "bundle", "--work", work, "--workers", 0]
    done = CliRunner().invoke(app, [*map(str, command)])
    assert done.exit_code == 0, (done.output, done.exception)
    assert "12 media" in done.output
    assert load_bundle(work / "bundle").sha256 in done.output
    return work


@pytest.fixture(scope="module")
def bundle(work: Path) -> Bundle:
    return load_bundle(work / "bundle")


def small_heads(features: NDArray[np.float16]) -> Heads:
    """Return random heads with logits of about a half on ``features``, (N, R, F).

    Features are stored in half precision, so larger logits would differ by more.
    """
    rng = np.random.default_rng(0)
    flat = features.reshape(len(features), -1).astype(np.float64)
    rows = rng.normal(size=(4, flat.shape[1]))
    rows *= 0.5 / np.sqrt(((rows[:, None] * flat) ** 2).sum(axis=2)).mean(axis=1, keepdims=True)
    linear = LinearHead(rows[:2], np.array([0.1, -0.1]))
    return {"linear": linear, "kinds": KindHead(rows[2:], np.array([0.2, -0.2]))}


def squares(count: int, config: Config) -> NDArray[np.uint8]:
    """Return noise of several contrasts, (count, V, S, S, 3)."""
    rng = np.random.default_rng(1)
    size, views = config.bundle.input.height, config.bundle.crop.views
    noise = rng.integers(0, 256, (count, views, size, size, 3))
    contrast = rng.uniform(0.1, 1.0, (count, views, 1, 1, 3))
    return (noise * contrast).astype(np.uint8)


def test_run_gives_a_bundle_with_kinds_and_two_squares(
    work: Path, bundle: Bundle, head_manifest: Path
) -> None:
    spec = bundle.spec
    assert spec.kinds == ("swap", "reenactment")
    assert spec.crop.further_scales == (0.8,)
    assert {CLASSIFIER, MAP, WEIGHTS} <= set(bundle.graphs)
    assert spec.training["map_method"] == "direct_effect"
    assert spec.training["parity_max_abs_difference"] <= 1e-3
    # Each class without the missing file, the picture without a face, and the method apart.
    assert spec.calibration.item.groups == 11
    scorer = Scorer.open(bundle.directory, device="cpu")
    with (head_manifest.parent / "02.mp4").open("rb") as file:
        verdict = scorer.score(file, frames=3)
    assert verdict.verdict is not VerdictCode.UNABLE_TO_EVALUATE
    assert verdict.score is not None
    assert all(len(face.kind_logits or ()) == 2 for face in verdict.faces)
    crops = list(squares(3, head_config()))
    assert scorer.classifier.activation_maps(crops, still=True).shape == (3, 4, 4)
    assert scorer.classifier.activation_maps([], still=True).size == 0


def test_error_rates_are_those_of_sources_that_no_run_saw(
    head_manifest: Path, tmp_path: Path
) -> None:
    text = head_manifest.read_text()
    for number in range(12):
        page = f"page{number // 4 % 2}"
        text = text.replace(f",made,g{number},", f",{page},g{number},")
    listed = tmp_path / "sources.csv"
    listed.write_text(text)
    (tmp_path / "head.toml").write_text(
        HEAD.replace("[cross_validation]\n", "[cross_validation]\nsource_parts = 2\n")
    )
    command = ["run", "--config", tmp_path / "head.toml", "--workers", 0]
    command += ["--manifest", f"{listed}:{head_manifest.parent}"]
    command += ["--out", tmp_path / "bundle", "--work", tmp_path]
    done = CliRunner().invoke(app, [*map(str, command)])
    assert done.exit_code == 0, (done.output, done.exception)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.spec.unseen == "sources"
    assert bundle.spec.calibration.item.groups == 2
    runs = [tmp_path / "cross-validation" / f"sources-{part}" for part in range(2)]
    configs = [json.loads(read_checkpoint(run / CHECKPOINT)["config"]) for run in runs]
    assert sorted(c["left_out_datasets"] for c in configs) == [["page0"], ["page1"]]
    items = pd.read_parquet(tmp_path / "fit" / HELD_OUT_REPORT / "predictions.parquet")
    assert set(items["group"]) == {"page0", "page1"}
    known = bundle.reliability()["known_sources"]["level_item"]["overall"]
    assert known["true_positive_rate"]["groups"] > 2  # people
    card = (bundle.directory / "MODEL_CARD.md").read_text()
    assert "## Known and unknown sources" in card
    assert "2 runs of the same recipe" in card
    assert "Further 2 runs each held out a part of the sources" in card


def test_the_card_has_leaning_and_the_methods_apart(bundle: Bundle) -> None:
    card = (bundle.directory / "MODEL_CARD.md").read_text()
    assert "Linear layers, the only parts fitted here, read the class tokens of blocks " in card
    assert "Its input is square crops of 64 px, cut at 1.3 and 0.8 times the face box." in card
    assert "| level | leans towards manipulated from log10 LR |" in card
    assert "## Retouching, apart" in card
    assert "| retouch | 1 | 1 | " in card
    figures = pd.read_csv(bundle.directory / "by-method.csv").set_index("method")
    assert figures.loc["reswap", ["media", "groups"]].tolist() == [2, 2]
    assert "retouch" not in figures.index


def test_altered_weights_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle.directory, copy)
    content = bytearray((copy / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / WEIGHTS).write_bytes(content)
    with pytest.raises(BundleError, match=r"weights\.bin: the SHA-256 is"):
        load_bundle(copy)


@ARITHMETIC
@pytest.mark.parametrize("beside", [None, BESIDE], ids=["one network", "two networks"])
def test_both_graphs_compute_what_the_head_and_the_network_do(
    head_crops: Path, tmp_path: Path, arithmetic: str, beside: BesideConfig | None
) -> None:
    config = in_arithmetic(head_config(beside=beside), arithmetic)
    path = FeatureStore(CropStore(head_crops), config).graph()
    crops = squares(3, config)
    features = OnnxSession(path.read_bytes(), device="cpu").run([FEATURES], {CROPS: crops})[0]
    assert features.shape == (3, 3 if beside else 2, 2 * 192)
    heads = small_heads(features)
    write_heads(tmp_path, onnx.load(str(path)), heads, config)
    external = {WEIGHTS: (tmp_path / WEIGHTS).read_bytes()}
    classifier, mapping = (
        OnnxSession((tmp_path / name).read_bytes(), name=name, device="cpu", external=external)
        for name in (CLASSIFIER, MAP)
    )
    logits, kinds = classifier.run([LOGIT, KIND_LOGITS], {CROPS: crops})
    expected = logits_of(heads, features)
    assert np.abs(logits - expected[LOGIT]).max() < 1e-3
    assert np.abs(kinds - expected[KIND_LOGITS]).max() < 1e-3
    assert heads_parity(tmp_path, path, heads, crops) < 1e-3
    drawn = mapping.run([ACTIVATION_MAP], {CROPS: crops})[0]
    assert mapping.output_names == (ACTIVATION_MAP,)
    effects = effects_of(heads, crops[:, 0], config)
    assert drawn.shape == effects.shape == (3, 2, 4, 4)
    assert np.ptp(effects) > 1e-3, "the map is flat: the test shows nothing"
    if arithmetic == "float32":
        assert np.abs(drawn - effects).max() < 1e-4
    else:
        assert np.corrcoef(drawn.ravel(), effects.ravel())[0, 1] > 0.98


def test_the_noise_is_that_of_the_noisiest_logit(head_crops: Path, tmp_path: Path) -> None:
    config = head_config()
    features = onnx.load(str(FeatureStore(CropStore(head_crops), config).graph()))
    crops = squares(6, config)
    # So large that the noise does not vanish in the rounding of its figure on any processor.
    row = 4 * np.random.default_rng(3).normal(size=768)
    noises = []
    for name, kinds in (("without", None), ("with", np.stack([row, 50 * row]))):
        heads: Heads = {"linear": LinearHead(np.stack([row, row]), np.zeros(2))}
        if kinds is not None:
            heads["kinds"] = KindHead(kinds, np.zeros(2))
        (tmp_path / name).mkdir()
        write_heads(tmp_path / name, features, heads, config)
        noises.append(logit_noise(tmp_path / name, crops))
    assert noises[1] == pytest.approx(50 * noises[0], rel=0.1)
    assert noises[0] > 0.01


def test_ranges_are_measured_anew_for_other_squares(head_crops: Path) -> None:
    """The graph of features depends on how the crops are cut only where it is in 8 bits."""
    store = CropStore(head_crops)
    for arithmetic, differ in (("int8", True), ("float32", False)):
        config = in_arithmetic(head_config(), arithmetic)
        crop = config.bundle.crop.model_copy(update={"further_scales": (1.1,)})
        bundle = config.bundle.model_copy(update={"crop": crop})
        other = config.model_copy(update={"bundle": bundle})
        paths = {FeatureStore(store, c).graph() for c in (config, other)}
        assert len(paths) == len({p.read_bytes() for p in paths}) == (2 if differ else 1)


def effects_of(heads: Heads, crops: NDArray[np.uint8], config: Config) -> NDArray[np.float32]:
    """Return what torch computes for the first squares ``crops`` with the first half of the linear
    head, whose other half reads the second square."""
    network = seeded_backbone(config.backbone, config.bundle.input).eval()
    normalise = Normalise(config.bundle.input)
    weights = torch.from_numpy(heads["linear"].weight[:, : network.num_features]).float()
    with torch.no_grad():
        seen = normalise(torch.from_numpy(crops))
        effects = [direct_effects(network, weight, seen)[:, 1:] for weight in weights]
    return np.stack([effect.reshape(-1, 4, 4).numpy() for effect in effects], axis=1)


@ARITHMETIC
def test_tensors_of_both_graphs_are_stored_once(
    head_crops: Path, tmp_path: Path, arithmetic: str
) -> None:
    config = in_arithmetic(head_config(), arithmetic)
    features = onnx.load(str(FeatureStore(CropStore(head_crops), config).graph()))
    heads: Heads = {"linear": LinearHead(np.full((2, 768), 0.01), np.zeros(2))}
    write_heads(tmp_path, features, heads, config)
    tensors = [
        numpy_helper.to_array(tensor).tobytes()
        for model in (
            classifier_graph(features, heads),
            map_graph(features, heads, config),
        )
        for tensor in model.graph.initializer
    ]
    large = [content for content in tensors if len(content) >= 1024]
    once = sum(map(len, set(large)))
    size = (tmp_path / WEIGHTS).stat().st_size
    assert once <= size < once + 64 * len(set(large))
    assert size < 0.7 * sum(map(len, large))
    for name in (CLASSIFIER, MAP):
        assert (tmp_path / name).stat().st_size < 0.1 * size


@ARITHMETIC
def test_verdicts_from_stored_features_are_those_of_the_service(
    bundle: Bundle, head_crops: Path, head_manifest: Path, tmp_path: Path, arithmetic: str
) -> None:
    config = in_arithmetic(head_config(validation_folds=(0, 1)), arithmetic)
    store = CropStore(head_crops)
    features = FeatureStore(store, config)
    rows = listed_once([Manifest(head_manifest)], head_crops, config)
    assert "gone.mp4" not in set(rows["media"]), "a missing file says nothing of the model"
    features.examine(rows)
    examined = features.examined(rows["media"].to_list())
    heads = small_heads(np.concatenate([m.features for m in examined if len(m.features)]))
    copy = tmp_path / "bundle"
    shutil.copytree(bundle.directory, copy)
    write_heads(copy, onnx.load(str(features.graph())), heads, config)
    seal(copy, bundle.spec.model_dump(exclude={"files"}))
    scorer = Scorer.open(copy, device="cpu")
    held_out = [(config, state_of(heads), rows)]
    logits: list[float] = []
    judged = score_heads(held_out, store, scorer.bundle.spec)
    assert [row["media"] for row, _ in judged] == rows["media"].to_list()
    for row, verdict in judged:
        with Path(row["path"]).open("rb") as file:
            served = scorer.score(file, frames=config.prepare.frames)
        assert len(verdict.faces) == len(served.faces) == (0 if row["media"] == "empty.png" else 3)
        assert verdict.frames == served.frames
        assert verdict.verdict is served.verdict
        for stored, seen in zip(verdict.faces, served.faces, strict=True):
            assert stored.box == pytest.approx(seen.box, abs=0.01)
            assert stored.track == seen.track
            assert stored.logit == pytest.approx(seen.logit, abs=1e-3)
            assert stored.kind_logits == pytest.approx(seen.kind_logits, abs=1e-3)
            logits.append(stored.logit or 0.0)
    assert np.ptp(logits) > 0.02, "all faces score alike: the test shows nothing"


def test_a_folder_that_exists_is_refused_before_anything_is_done(
    work: Path, head_manifest: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").touch()
    command = ["run", "--config", work / "head.toml", "--manifest", head_manifest]
    command += ["--out", photos, "--work", tmp_path / "runs"]
    done = CliRunner().invoke(app, [*map(str, command)])
    assert isinstance(done.exception, TrainingError)
    assert not (tmp_path / "runs").exists()
    inputs = ExportInputs([Manifest(head_manifest)], work / "crops", work / "fit")
    with pytest.raises(TrainingError, match="This already exists"):
        export(inputs, photos, head_config())
    assert [p.name for p in photos.iterdir()] == ["a.jpg"]


def test_a_head_that_was_fitted_for_another_graph_is_refused(
    work: Path, head_manifest: Path, tmp_path: Path
) -> None:
    inputs = ExportInputs([Manifest(head_manifest)], work / "crops", work / "fit")
    other = in_arithmetic(head_config(), "float32")
    with pytest.raises(TrainingError, match=r"Its bundle\.arithmetic differs"):
        export(inputs, tmp_path / "bundle", other)
    kinds = head_config().probe.model_copy(update={"heads": ("linear",), "kinds": ()})
    with pytest.raises(TrainingError, match=r"Its probe\.heads differs"):
        export(inputs, tmp_path / "bundle", head_config(probe=kinds))
