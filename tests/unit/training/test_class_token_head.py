"""Class tokens of several blocks: the logit, the map, and networks that are not supported."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from deepfake_models.bundle.session import OnnxSession
from deepfake_models.bundle.spec import InputSpec
from deepfake_training.config import BackboneConfig
from deepfake_training.errors import ConfigError
from deepfake_training.export.onnx_export import export_graph, parity
from deepfake_training.networks.backbone import ExportGraph, MapMethod, create_backbone

pytestmark = pytest.mark.torch

SPEC = InputSpec(height=64, width=64)


def config(**changes: object) -> BackboneConfig:
    options = {"weights": "none", **changes}
    return BackboneConfig(name="vit_tiny_patch16_224", **options)


def test_the_logit_is_linear_in_the_class_tokens_of_the_named_blocks() -> None:
    torch.manual_seed(0)
    model = create_backbone(config(blocks=(2, 4)), SPEC).eval()
    seen: list[torch.Tensor] = []
    for block in (model.vit.blocks[1], model.vit.blocks[3]):
        block.register_forward_hook(lambda _m, _i, tokens: seen.append(tokens[:, 0]) or None)
    x = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        logit = model(x)
        expected = torch.cat(seen, dim=1) @ model.head.weight.T + model.head.bias
    assert torch.allclose(logit, expected, atol=1e-5)
    assert len(model.vit.blocks) == 4, "blocks after the last selected one are removed"


def test_what_places_write_and_what_is_left_add_up_to_the_logit() -> None:
    torch.manual_seed(0)
    model = create_backbone(config(blocks=(2, 4)), SPEC).eval()
    with torch.no_grad():
        for block in model.vit.blocks:
            # Without MLPs and biases, only attention contributes.
            block.mlp.fc2.weight.zero_()
            block.mlp.fc2.bias.zero_()
            block.attn.proj.bias.zero_()
        x = torch.randn(3, 3, 64, 64)
        logit, effects = model.with_effects(x)
        start = model.vit._pos_embed(model.vit.patch_embed(x))[:, 0]
        weights = model.head.weight[0].reshape(2, -1)
        expected = start @ weights.sum(dim=0) + effects.sum(dim=1) + model.head.bias
        assert torch.allclose(logit, model(x), atol=1e-5)
    assert torch.allclose(logit.flatten(), expected, atol=1e-4)
    assert effects.shape == (3, 17)


def test_the_exported_map_is_what_each_patch_wrote(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = ExportGraph(create_backbone(config(blocks=(3, 5)), SPEC).eval(), SPEC).eval()
    assert made.map_method is MapMethod.DIRECT_EFFECT
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        effects = made.backbone.with_effects(made.normalise(torch.from_numpy(crops)))[1]
        logit, cells = made(torch.from_numpy(crops))
    assert torch.equal(cells, effects[:, 1:].reshape(2, 4, 4))
    path = tmp_path / "classifier.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_graph(made, 64, path)
    assert parity(made, path, crops) < 1e-3
    outputs = OnnxSession(path.read_bytes(), device="cpu").run(
        ["logit", "activation_map"], {"crops": np.concatenate([crops, crops[:1]])}
    )
    assert np.abs(outputs[0][:2] - logit.numpy()).max() < 1e-4
    assert np.abs(outputs[1][:2] - cells.numpy()).max() < 1e-4
    assert np.abs(outputs[1][2] - outputs[1][0]).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "blocks", "says"),
    [
        ("tf_efficientnet_lite0", (1,), "not a transformer with a class token"),
        ("vit_tiny_patch16_224", (4, 13), "from 1 to 12"),
        ("vit_tiny_patch16_224", (5, 4), "ascending"),
        ("deit3_small_patch16_224", (4,), "attention of .* is not supported"),
    ],
)
def test_blocks_that_cannot_be_read_are_named(
    name: str, blocks: tuple[int, ...], says: str
) -> None:
    options = config().model_dump() | {"name": name, "blocks": blocks}
    with pytest.raises(ConfigError, match=says):
        create_backbone(BackboneConfig(**options), SPEC if "224" in name else None)


def test_only_the_head_is_fitted_where_the_head_is_tuned() -> None:
    model = create_backbone(config(blocks=(2,), tune="head"), SPEC)
    fitted = [name for name, p in model.named_parameters() if p.requires_grad]
    assert fitted == ["head.weight", "head.bias"]
