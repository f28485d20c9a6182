"""Export of a run as a bundle, cross-validation, and all steps in one command."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from deepfake_eval.analysis import reliability
from deepfake_eval.inference.fitted_media import SAME_FILE, FittedMedia
from deepfake_models.bundle.bundle import GRAPHS, Bundle, load_bundle
from deepfake_models.bundle.results import VerdictCode
from deepfake_models.bundle.spec import InputSpec
from deepfake_models.decision.fitness import NOTICE
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.scorer import Scorer
from deepfake_training import cli
from deepfake_training.cli import app
from deepfake_training.config import (
    BackboneConfig,
    Config,
    CrossValidationConfig,
    MixConfig,
    load_config,
)
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.manifests import Manifest
from deepfake_training.data.splits import fold_splits
from deepfake_training.errors import TrainingError
from deepfake_training.evaluate.crossvalidate import run_splits
from deepfake_training.export.bundle import HELD_OUT_REPORT, ExportInputs, export
from deepfake_training.networks.backbone import ExportGraph, create_backbone
from deepfake_training.train.checkpoints import BEST
from deepfake_training.train.loop import fit
from tests.support.training import SMOKE, as_if_of, short_smoke_text

pytestmark = [
    pytest.mark.torch,
    pytest.mark.usefixtures("few_draws"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_export_gives_a_bundle_that_scores(exported_bundle: Bundle, manifest: Path) -> None:
    bundle, directory = exported_bundle, exported_bundle.directory
    assert load_bundle(directory).sha256 == bundle.sha256
    assert set(GRAPHS) <= set(bundle.graphs)
    assert bundle.spec.training["parity_max_abs_difference"] <= 1e-3
    assert bundle.spec.calibration.item.groups == 4
    assert bundle.spec.histograms is None  # of two groups of each class
    reliability = bundle.reliability()
    assert reliability["level_track"]["overall"]["false_positive_rate"]["groups"] == 2
    whole = reliability["level_item"]["overall"]
    assert whole["true_positive_rate"]["samples"] == whole["false_positive_rate"]["samples"] == 2
    card = (directory / "MODEL_CARD.md").read_text()
    assert card.index("- Known sources, unknown people: ") < card.index("Terms: **for tests**")
    data = pd.read_csv(directory / "data.csv", index_col="source")
    assert list(data.index) == ["made (fake)", "made (real)"]
    methods = pd.read_csv(directory / "by-method.csv")
    assert methods["called_manipulated_indicative"].all()
    assert {"by-method.csv", "by-source.csv", "data.csv"} <= set(bundle.spec.files)
    assert "| manifest.csv | 12 | `" in card
    assert "Without terms in the manifest or the config: made (fake), made (real)." in card
    scorer = Scorer.open(directory, device="cpu")
    with (manifest.parent / "02.mp4").open("rb") as file:
        verdict = scorer.score(file)
    assert verdict.verdict is not VerdictCode.UNABLE_TO_EVALUATE
    assert verdict.score is not None
    assert not list(directory.parent.glob(".bundle-*"))
    assert json.loads((directory / "bundle.json").read_text())["format_version"] == 1


def test_a_bundle_lists_the_media_that_it_was_fitted_on(
    exported_bundle: Bundle, manifest: Path
) -> None:
    fitted = FittedMedia.of(exported_bundle)
    assert fitted is not None
    rows = pd.read_csv(manifest)
    found = [fitted.find(manifest.parent / m, InProcessDecoder()) for m in rows["media"]]
    assert [f == SAME_FILE for f in found] == (rows["fold"] == 1).to_list()
    assert len(fitted.files) == (rows["fold"] == 1).sum()


@pytest.mark.parametrize(
    ("update", "named"),
    [
        ({"validation_folds": (1,)}, "validation_folds"),
        ({"left_out_methods": ("tint",)}, "left_out_methods"),
        ({"mix": MixConfig(untouched=0.5)}, r"mix\.real_fakes"),
    ],
)
def test_a_run_of_another_recipe_is_refused(
    manifest: Path,
    crops: Path,
    smoke: Config,
    fitted_run: Path,
    tmp_path: Path,
    update: dict[str, object],
    named: str,
) -> None:
    other = as_if_of(smoke.model_copy(update=update), fitted_run, tmp_path / "other")
    inputs = ExportInputs([Manifest(manifest)], crops, other)
    with pytest.raises(TrainingError, match=named):
        export(inputs, tmp_path / "b", smoke)


def test_manifests_that_changed_after_prepare_are_refused(
    manifest: Path, crops: Path, smoke: Config, fitted_run: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "manifest.csv"
    changed.write_text(manifest.read_text().replace("g11,1", "g11,0"))
    inputs = ExportInputs([Manifest(changed, manifest.parent)], crops, fitted_run)
    with pytest.raises(TrainingError, match=r"^11\.mp4: The manifests have changed"):
        export(inputs, tmp_path / "b", smoke)


@pytest.fixture(scope="session")
def crossed(smoke: Config) -> Config:
    """A config that is cross-validated."""
    one_each = CrossValidationConfig(media_per_group=1)
    return smoke.model_copy(update={"cross_validation": one_each, "validation_folds": ()})


def test_cross_validation_scores_every_medium_by_a_run_that_did_not_see_it(
    manifest: Path,
    crops: Path,
    crossed: Config,
    smoke: Config,
    fitted_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "cv"
    splits = fold_splits(CropStore(crops).index, crossed)
    first = splits[0].config
    assert first.model_copy(update={"cross_validation": smoke.cross_validation}) == smoke
    as_if_of(first, fitted_run, folder / "fold-0")
    run_splits(crops, folder, splits)
    before = [(folder / split.name / BEST).stat().st_mtime_ns for split in splits]
    run_splits(crops, folder, splits)
    assert [(folder / split.name / BEST).stat().st_mtime_ns for split in splits] == before
    fit(crops, tmp_path / "all", crossed)
    inputs = ExportInputs([Manifest(manifest)], crops, tmp_path / "all", folder)
    # Histograms of as few groups as these would not be kept otherwise.
    few = partial(reliability.histograms, min_groups=6)
    monkeypatch.setattr(reliability, "histograms", lambda *args: few(*args[:2]))
    bundle = export(inputs, tmp_path / "bundle", crossed)
    assert bundle.spec.calibration.item.groups == 12
    predictions = pd.read_parquet(tmp_path / "all" / HELD_OUT_REPORT / "predictions.parquet")
    items = predictions[predictions["level"] == "item"]
    assert len(items) == items["media"].nunique() == 12
    # Judged under the fitted calibration, not the neutral one with which they were scored.
    limit = bundle.spec.calibration.item.limit
    assert (items["log_likelihood_ratio"].abs() <= limit + 1e-9).all()
    spread = bundle.spec.histograms
    assert spread is not None
    assert spread.picture is None
    assert spread.item is not None
    counted = (sum(spread.item.real), sum(spread.item.fake))
    valued = items[items["log_likelihood_ratio"].notna()]
    assert counted == tuple((valued["label"] == label).sum() for label in ("real", "fake"))
    # Six groups of each class: nothing may be decided under any condition.
    assert (items["verdict"] == "inconclusive").all()
    assert not any(
        min(b.false_positive_rate.groups, b.true_positive_rate.groups) >= 10
        for row in bundle.spec.conditions.bins
        for b in row
    )
    assert bundle.spec.unseen == "people"
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert "Every figure is out of fold: 2 runs" in card


def test_a_cross_validation_that_is_not_complete_is_named(
    manifest: Path, crops: Path, crossed: Config, fitted_run: Path, tmp_path: Path
) -> None:
    run = as_if_of(crossed, fitted_run, tmp_path / "run")
    with pytest.raises(TrainingError, match="fold-0: There is no run"):
        export(
            ExportInputs([Manifest(manifest)], crops, run, tmp_path),
            tmp_path / "bundle", crossed,
        )  # fmt: skip
    inputs = ExportInputs([Manifest(manifest)], crops, run)
    with pytest.raises(TrainingError, match="Nothing is held out"):
        export(inputs, tmp_path / "bundle", crossed)
    longer = crossed.fit.model_copy(update={"steps": 13})
    other = as_if_of(crossed.model_copy(update={"fit": longer}), fitted_run, tmp_path / "other")
    with pytest.raises(TrainingError, match="another recipe"):
        export(
            ExportInputs([Manifest(manifest)], crops, other, tmp_path),
            tmp_path / "bundle", crossed,
        )  # fmt: skip


def test_one_command_makes_a_bundle(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["trial", str(tmp_path / "trial")])
    assert made.exit_code == 0, made.output
    manifest = Path(made.output.strip())
    config = tmp_path / "smoke.toml"
    config.write_text(re.sub(r"\b(steps|validate_every) = 12", r"\1 = 40", short_smoke_text()))
    command = ["run", "--config", config, "--manifest", manifest, "--out", tmp_path / "bundle"]
    done = CliRunner().invoke(app, [*map(str, command), "--work", str(tmp_path / "work")])
    assert done.exit_code == 0, done.output
    assert "24 media" in done.output
    # There is no terminal: each stage has at least a first and a last line.
    for stage in ("cutting faces: 24 of 24", "fitting: 40 of 40", "scoring held-out media: "):
        assert stage in done.output
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.sha256 in done.output
    (listed,) = bundle.spec.training["manifests"]
    assert (listed["name"], listed["rows"]) == (manifest.name, 24)
    # Nothing but its figures says that such a bundle decides nothing.
    assert "NOT FOR USE: The error rates for videos rest on" in done.output
    assert NOTICE in (bundle.directory / "MODEL_CARD.md").read_text().split("\n\n")[1]
    with (manifest.parent / "01.mp4").open("rb") as file:
        assert Scorer.open(bundle.directory, device="cpu").score(file).score is not None


def test_a_run_that_learnt_nothing_gives_a_marked_bundle_on_demand(
    manifest: Path,
    crops: Path,
    smoke: Config,
    fitted_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backwards = shutil.copytree(fitted_run, tmp_path / "run")
    best = torch.load(backwards / BEST, weights_only=True)
    last = [name for name in best["weights"] if name.startswith("classifier.")]
    best["weights"] |= {name: -best["weights"][name] for name in last}
    torch.save(best, backwards / BEST)
    monkeypatch.setattr(cli, "load_config", lambda _: smoke)
    command = ["export", "--config", SMOKE, "--manifest", manifest, "--crops", crops]
    command += ["--checkpoints", backwards, "--out", tmp_path / "bundle"]
    refused = CliRunner().invoke(app, [*map(str, command)])
    assert "Higher values do not mean manipulated" in str(refused.exception)
    assert "--even-if-useless" in str(refused.exception)
    done = CliRunner().invoke(app, [*map(str, command), "--even-if-useless"])
    assert done.exit_code == 0, done.output
    assert "NOT FOR USE: No manipulated held-out video is called manipulated." in done.output
    assert NOTICE in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    with (manifest.parent / "02.mp4").open("rb") as file:
        verdict = Scorer.open(tmp_path / "bundle", device="cpu").score(file)
    assert verdict.score == pytest.approx(0.5, abs=1e-3)


def test_the_activation_map_averages_to_the_logit() -> None:
    backbone = create_backbone(BackboneConfig(weights="none"), InputSpec()).eval()
    torch.manual_seed(0)
    torch.nn.init.normal_(backbone.get_classifier().weight)  # type: ignore[operator]
    graph = ExportGraph(backbone, load_config(SMOKE).bundle.input)
    crops = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logit, maps = graph(crops)
        direct = backbone(graph.normalise(crops)).flatten()
    assert torch.allclose(logit, direct, atol=1e-4)
    assert torch.allclose(maps.mean(dim=(1, 2)), logit, atol=1e-5)
