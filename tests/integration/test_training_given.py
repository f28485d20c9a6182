"""A network that was trained elsewhere, from its ONNX file to evidence that is verified."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from torch import nn
from typer.testing import CliRunner

from deepfake_eval.inference.fitted_media import FittedMedia
from deepfake_models.bundle.bundle import load_bundle
from deepfake_models.bundle.results import VerdictCode
from deepfake_models.scorer import Scorer
from deepfake_service.cli.app import app as service
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.builder import VERDICT, build
from deepfake_service.platform.texts.i18n import words
from deepfake_training.cli import app
from tests.support import exhibits
from tests.support.documents import report_texts

pytestmark = [
    pytest.mark.torch,
    pytest.mark.usefixtures("few_draws"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

CONFIG = """
[graph]
origin = "https://example.org/green-detector, release 3"
output = "classes"
gives = "probability"
manipulated = 1

[bundle]
name = "theirs"
version = "3"
terms = "for tests"

[bundle.sampling]
min_frames = 4

[bundle.crop]
size = 64

[bundle.input]
height = 64
width = 64
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
"""


class Green(nn.Module):
    """Finds faces that are greener than they are red: the manipulated ones of ``manifest``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        red, green = x[:, 0].mean((1, 2)), x[:, 1].mean((1, 2))
        logit = 30.0 * (green - 0.8 * red)
        return torch.stack([-logit, logit], dim=1).softmax(1)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the network, beside the config of its bundle."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "theirs.toml").write_text(CONFIG)
    torch.onnx.export(
        Green(), (torch.zeros(1, 3, 64, 64),), folder / "theirs.onnx", dynamo=False,
        opset_version=17, input_names=["picture"], output_names=["classes"],
    )  # fmt: skip
    return folder


def command(theirs: Path, manifest: Path, out: Path) -> list[str]:
    words = ["export-onnx", "--config", theirs / "theirs.toml", "--manifest", manifest]
    return [*map(str, words), "--onnx", str(theirs / "theirs.onnx"), "--out", str(out)]


@pytest.fixture(scope="module")
def bundle(theirs: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "bundle"
    done = CliRunner().invoke(app, command(theirs, manifest, out))
    assert done.exit_code == 0, done.output
    assert "scoring held-out media: 12 of 12" in done.output
    # Six groups of each class cannot carry the rates.
    assert "NOT FOR USE: The error rates for videos rest on" in done.output
    return out


def test_the_bundle_and_its_card_say_where_the_network_is_from(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    training = loaded.spec.training
    assert training["origin"] == "https://example.org/green-detector, release 3"
    assert training["map_method"] is None
    assert "backbone" not in training["config"]
    assert training["parity_max_abs_difference"] < 1e-5
    assert FittedMedia.of(loaded) is None
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "Not for use" in card.split("\n\n")[1]
    assert "trained elsewhere: https://example.org/green-detector, release 3." in card
    for untrue in ("fitted here.", "Fitted on", "out of fold", "All folds"):
        assert untrue not in card
    assert "What the network learnt from is for its makers to say" in card
    assert loaded.spec.unseen == "unknown"
    assert "- Sources and people that the network may have learnt from: " in card
    assert "unknown people" not in card
    report = (bundle.with_name("bundle-held-out") / "report.html").read_text()
    assert "unknown people" not in report
    assert "| held out | 2 | 12 |" in card
    rates = loaded.reliability()["level_item"]["overall"]
    assert rates["true_positive_rate"]["groups"] == 6
    held_out = bundle.with_name("bundle-held-out")
    predictions = pd.read_parquet(held_out / "predictions.parquet")
    items = predictions[predictions["level"] == "item"]
    means = items.groupby("label")["log_likelihood_ratio"].mean()
    assert means["fake"] > 0.3 > -0.3 > means["real"]


def test_it_scores_and_its_evidence_is_verified(
    bundle: Path, manifest: Path, tmp_path: Path
) -> None:
    clip = manifest.parent / "02.mp4"
    scored = CliRunner().invoke(service, ["score", str(clip), "--bundle", str(bundle), "--json"])
    line = json.loads(scored.stdout.splitlines()[0])
    assert line["log_likelihood_ratio"] > 0.3
    judge = Scorer.open(bundle, device="cpu")
    material = exhibits.material(clip.read_bytes(), judge=judge)
    evidence = build(exhibits.dossier(clip.read_bytes()), material, exhibits.signers())
    files = bag.unzipped(evidence)
    assert not [name for name in files if "heatmap" in name]
    (tmp_path / "e.zip").write_bytes(evidence)
    key = exhibits.signers().statement.public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    asked = ["verify", tmp_path / "e.zip", "--public-key", tmp_path / "key.pem", "--rescore"]
    told = CliRunner().invoke(service, [*map(str, asked), "--bundle", str(bundle), "--json"])
    found = json.loads(told.stdout)
    assert found["result"] == "verified", told.output
    outcomes = {step["number"]: step["outcome"] for step in found["steps"]}
    assert "fail" not in outcomes.values()
    assert outcomes[10] == "pass"
    document = json.loads(files[VERDICT])
    assert document["method"]["map"] is None
    assert document["error_rates"]["decision"]["unseen"] == "unknown"
    assert "heatmap" not in document["pictures"][0]
    for verdict in VerdictCode:
        document["result"]["verdict"] = verdict
        texts = report_texts(document, material.files, words("en"))
        assert "this model does not give one" in texts["pictures_meaning"]
        assert not texts["overlay"]
        assert {picture["heat"] for picture in texts["pictures"]} == {None}
    facts = dict(texts["method"])
    assert "example.org/green-detector" in facts["Origin of the network, trained elsewhere"]
    assert "it is not known here whether it learnt from these people" in str(texts["rates"])
    korean = report_texts(document, material.files, words("ko"))
    assert "학습에 사용했는지는 여기에서 알 수 없다" in str(korean["rates"])
    assert "이 모델은 그런 표시를 제공하지 않는다" in korean["pictures_meaning"]


def test_what_exists_is_not_written_over(bundle: Path, theirs: Path, manifest: Path) -> None:
    done = CliRunner().invoke(app, command(theirs, manifest, bundle))
    assert "This already exists" in str(done.exception)
    (bundle.parent / "other-held-out").mkdir()
    done = CliRunner().invoke(app, command(theirs, manifest, bundle.parent / "other"))
    assert "other-held-out: This already exists" in str(done.exception)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("11.mp4,", "gone.mp4,", r"Of 12 files of the manifests 1 are missing, for example .*gone"),
        ("fake", "real", "No manipulated video is held out"),
    ],
)
def test_media_that_cannot_be_measured_are_named_first(
    theirs: Path, manifest: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    changed = tmp_path / "changed.csv"
    changed.write_text(manifest.read_text().replace(old, new))
    words = command(theirs, changed, tmp_path / "out")
    words[4] = f"{changed}:{manifest.parent}"
    done = CliRunner().invoke(app, words)
    assert pd.Series([str(done.exception)]).str.contains(said).all(), done.exception
    assert not (tmp_path / "out").exists()


def test_a_network_that_ranks_the_wrong_way_needs_the_switch(
    theirs: Path, manifest: Path, tmp_path: Path
) -> None:
    backwards = tmp_path / "backwards.toml"
    backwards.write_text(CONFIG.replace("manipulated = 1", "manipulated = 0"))
    words = command(theirs, manifest, tmp_path / "out")
    words[2] = str(backwards)
    refused = CliRunner().invoke(app, words)
    assert "Higher values do not mean manipulated" in str(refused.exception)
    done = CliRunner().invoke(app, [*words, "--even-if-useless"])
    assert done.exit_code == 0, done.output
    assert "NOT FOR USE: No manipulated held-out video is called manipulated." in done.output
