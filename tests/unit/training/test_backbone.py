"""Any timm backbone by name: its logit, its map, its fitted parameters, and its limits."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from deepfake_models.bundle.bundle import CLASSIFIER
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.bundle.spec import InputSpec
from deepfake_training.config import BackboneConfig
from deepfake_training.errors import ConfigError, WeightsMissing
from deepfake_training.export.graphs import network_parity, write_network
from deepfake_training.networks.backbone import ExportGraph, MapMethod, create_backbone

pytestmark = pytest.mark.torch

SMALL = InputSpec(height=64, width=64)


def graph(name: str, spec: InputSpec = SMALL, **options: object) -> ExportGraph:
    torch.manual_seed(0)
    config = BackboneConfig(name=name, weights="none", **options)
    return ExportGraph(create_backbone(config, spec).eval(), spec).eval()


def crops(size: int = 64, n: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("name", "method", "cells"),
    [
        ("tf_efficientnet_lite0", MapMethod.CLASS_ACTIVATION, (2, 2)),
        ("convnext_atto", MapMethod.CELL_LOGIT, (2, 2)),
        ("mobilenetv3_small_050", MapMethod.CELL_LOGIT, (2, 2)),
        ("vit_tiny_patch16_224", MapMethod.CELL_LOGIT, (4, 4)),
    ],
)
def test_families_of_backbones_export_with_a_map(
    name: str, method: MapMethod, cells: tuple[int, int], tmp_path: Path
) -> None:
    made = graph(name)
    assert made.map_method is method
    logit, cam = made(crops())
    assert logit.shape == (3,)
    assert cam.shape == (3, *cells)
    if method is MapMethod.CLASS_ACTIVATION:
        assert torch.allclose(cam.flatten(1).mean(dim=1), logit, atol=1e-4)
    config = BackboneConfig(name=name, weights="none")
    written = write_network(tmp_path, made.backbone.state_dict(), config, SMALL)
    assert network_parity(written, tmp_path, crops().numpy()) < 1e-3
    path = tmp_path / CLASSIFIER
    outputs = OnnxSession(path.read_bytes(), name="c", device="cpu").run(
        ["activation_map"], {"crops": crops(n=5).numpy()}
    )
    assert outputs[0].shape == (5, *cells)


def test_a_transformer_of_fixed_size_is_made_for_the_size_asked() -> None:
    made = graph("vit_tiny_patch16_224", InputSpec(height=96, width=96))
    assert made(crops(96))[1].shape == (3, 6, 6)
    with pytest.raises(ConfigError, match="not a multiple"):
        graph("vit_tiny_patch16_224", InputSpec(height=100, width=100))


def test_norm_tuning_fits_norms_and_head_alone() -> None:
    config = BackboneConfig(name="vit_tiny_patch16_224", weights="none", tune="norm")
    model = create_backbone(config, SMALL)
    fitted = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {"head.weight", "head.bias", "norm.weight", "blocks.0.norm1.bias"} <= fitted
    assert all("norm" in n or n.startswith("head.") for n in fitted)
    total = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) < 0.01 * total


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"name": "resnet_of_dreams"}, "has no model"),
        ({"name": "convnext_atto.no_such_tag"}, "does not have these weights"),
        ({"name": "convnext_atto", "weights": "package"}, '"package" supports'),
        ({"name": "vgg11", "weights": "none", "tune": "norm"}, "no normalisation layer"),
    ],
)
def test_what_cannot_be_had_is_named(config: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        create_backbone(BackboneConfig(**config), SMALL)


def saved(folder: Path, kind: str) -> BackboneConfig:
    """Save the weights of a network under other names; return the config that loads them."""
    torch.manual_seed(1)
    state = timm.create_model("vit_tiny_patch16_224", num_classes=7, img_size=64).state_dict()
    theirs = {f"backbone.{k.replace('blocks', 'layers')}": v for k, v in state.items()}
    theirs["text.weight"] = torch.ones(2)
    path = folder / f"theirs.{kind}"
    if kind == "safetensors":
        path.write_bytes(safetensors.torch.save(theirs))
    else:
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in theirs.items()}}, path)
    return BackboneConfig(
        name="vit_tiny_patch16_224",
        weights="file",
        file=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        rename=(("^backbone\\.", ""), ("^layers\\.", "blocks."), ("^text\\..*", "")),
    )


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_a_file_of_weights_fills_the_network_but_not_its_last_layer(
    kind: str, tmp_path: Path
) -> None:
    config = saved(tmp_path, kind)
    torch.manual_seed(1)
    expected = timm.create_model("vit_tiny_patch16_224", num_classes=7, img_size=64).state_dict()
    made = create_backbone(config, SMALL).state_dict()
    assert made["head.weight"].shape[0] == 1
    for name, tensor in made.items():
        assert name.startswith("head.") or torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sha256": "0" * 64}, r'backbone\.sha256: That of theirs\.pth is "[0-9a-f]{64}"'),
        ({"rename": ()}, r"lacks 15\d of 15\d tensors of vit_tiny.*It has backbone\.cls_token"),
        (
            {"name": "vit_small_patch16_224"},
            r"cls_token of theirs\.pth has the shape \(1, 1, 192\)",
        ),
        ({"file": "nothing.pth"}, "cannot be read"),
    ],
)
def test_a_file_of_other_weights_is_named(
    changed: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        create_backbone(saved(tmp_path, "pth").model_copy(update=changed), SMALL)


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"a": Path("x")}))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    config = BackboneConfig(name="convnext_atto", weights="file", file=str(path), sha256=digest)
    with pytest.raises(ConfigError, match="has no tensors that can be read"):
        create_backbone(config, SMALL)


def test_without_a_network_the_download_says_what_to_use_instead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsMissing, match='"package"'):
        create_backbone(
            BackboneConfig(name="mobilenetv3_small_050.lamb_in1k", weights="timm"), InputSpec()
        )
