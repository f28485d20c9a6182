"""Class tokens of several blocks, their direct effects, and networks that are not supported."""

from __future__ import annotations

import pytest
import torch

from deepfake_models.bundle.spec import InputSpec
from deepfake_training.config import BackboneConfig
from deepfake_training.errors import ConfigError
from deepfake_training.networks.backbone import create_backbone
from tests.support.training import direct_effects

pytestmark = pytest.mark.torch

SPEC = InputSpec(height=64, width=64)


def config(**changes: object) -> BackboneConfig:
    options = {"weights": "none", "tune": "head", **changes}
    return BackboneConfig(name="vit_tiny_patch16_224", **options)


def test_the_class_tokens_of_the_named_blocks_are_read() -> None:
    torch.manual_seed(0)
    model = create_backbone(config(blocks=(2, 4)), SPEC).eval()
    seen: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _m, _i, tokens: seen.append(tokens[:, 0]) or None)
        for block in (model.vit.blocks[1], model.vit.blocks[3])
    ]
    x = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        tokens = model(x)
        for hook in hooks:
            hook.remove()
        served = model.served(x)
    assert torch.equal(tokens, torch.cat(seen, dim=1))
    assert torch.allclose(served, tokens, atol=1e-4), "in the form that is exported"
    assert len(model.vit.blocks) == 4, "blocks after the last selected one are removed"


def test_what_places_write_and_what_is_left_add_up_to_a_linear_function() -> None:
    torch.manual_seed(0)
    model = create_backbone(config(blocks=(2, 4)), SPEC).eval()
    weight = torch.randn(model.num_features)
    with torch.no_grad():
        for block in model.vit.blocks:
            # Without MLPs and biases, only attention contributes.
            block.mlp.fc2.weight.zero_()
            block.mlp.fc2.bias.zero_()
            block.attn.proj.bias.zero_()
        x = torch.randn(3, 3, 64, 64)
        effects = direct_effects(model, weight, x)
        start = model.vit._pos_embed(model.vit.patch_embed(x))[:, 0]
        expected = start @ weight.reshape(2, -1).sum(dim=0) + effects.sum(dim=1)
        assert torch.allclose(model(x) @ weight, expected, atol=1e-4)
    assert effects.shape == (3, 17)


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
        create_backbone(BackboneConfig(**options), SPEC)


def test_nothing_of_a_frozen_network_is_fitted() -> None:
    model = create_backbone(config(blocks=(2,)), SPEC)
    assert not any(p.requires_grad for p in model.parameters())
