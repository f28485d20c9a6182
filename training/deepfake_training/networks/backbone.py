"""A timm backbone with one logit, its initial weights, and the graph that is exported."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional as F

from deepfake_models.bundle.spec import InputSpec
from deepfake_training.config import BackboneConfig
from deepfake_training.errors import ConfigError, WeightsMissing
from deepfake_training.networks.class_token_head import ClassTokens
from deepfake_training.networks.pretrained import SOURCES, load_package_weights

_HEAD_STD = 0.01


def create_backbone(
    config: BackboneConfig, spec: InputSpec | None = None, *, initial: bool = True
) -> nn.Module:
    """Create the timm model ``config.name`` (``name`` or ``name.tag``) with a single logit.

    A model with a fixed input size, as most transformers have, is created for the size in ``spec``,
    and its position embedding is resampled from that of the weights. Without ``spec`` it has timm's
    size. ``initial=False`` leaves the weights random, to be filled from a checkpoint. Only
    parameters that ``config.tune`` fits require a gradient.

    Raises:
        ConfigError: if timm does not know the name or tag, or the model does not support an option.
        WeightsMissing: if the initial weights have not been converted or cannot be downloaded.
    """
    fixed = _input_size(config.name)
    size = None
    if spec is not None and fixed not in (None, (spec.height, spec.width)):
        size = (spec.height, spec.width)
    online = initial and config.weights == "timm"
    if online and not timm.is_model_pretrained(config.name):
        raise ConfigError(
            f"backbone.weights: timm {timm.__version__} has no weights for {config.name}"
        )
    model = _created(config, size, online)
    if initial and config.weights == "package":
        load_package_weights(model, config.name)
    if config.blocks:
        model = ClassTokens(model, config.blocks, config.name)
    for head in last_layers(model):
        if initial and isinstance(head, nn.Linear):
            # timm initialises the head in proportion to its number of outputs. With one output,
            # logits start at tens, and the first hundred steps only reduce them.
            nn.init.normal_(head.weight, std=_HEAD_STD)
            nn.init.zeros_(head.bias)
    if config.tune != "all":
        fitted = _norms(model, config.name) if config.tune == "norm" else []
        model.requires_grad_(False)
        for parameter in fitted:
            parameter.requires_grad_(True)
        for head in last_layers(model):
            head.requires_grad_(True)
    return model


def _input_size(name: str) -> tuple[int, int] | None:
    """Return the height and width that the model ``name`` requires, or None if it takes any."""
    if not timm.is_model(name):
        raise ConfigError(f"backbone.name: timm {timm.__version__} has no model {name!r}")
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ConfigError(
            f"backbone.name: timm {timm.__version__} does not have these weights: {error}"
        ) from error
    if known is None or not known.fixed_input_size:
        return None
    _, height, width = known.input_size
    return height, width


def _created(config: BackboneConfig, size: tuple[int, int] | None, online: bool) -> nn.Module:
    options: dict[str, Any] = {} if size is None else {"img_size": size}
    try:
        model: nn.Module = timm.create_model(
            config.name, pretrained=online, num_classes=1, **options
        )
    except Exception as error:  # the hub client raises many unrelated classes
        if online:
            raise WeightsMissing(
                f"timm could not download the weights of {config.name}. Without a network, use "
                f'backbone.weights = "package" ({", ".join(SOURCES)}) or "none".'
            ) from error
        if size is not None:
            raise ConfigError(
                f"bundle.input: {config.name} does not support {size[1]}x{size[0]} px. Use another "
                "size."
            ) from error
        raise
    return model


def last_layers(model: nn.Module) -> tuple[nn.Module, ...]:
    """Return the last layers of ``model``. Distilled models have two."""
    head = model.get_classifier()  # type: ignore[operator]
    return head if isinstance(head, tuple) else (head,)


def _norms(model: nn.Module, name: str) -> list[nn.Parameter]:
    """Return the scales and shifts of all normalisation layers."""
    # torch's and timm's normalisation layers have no common base class, but share the name.
    norms = [
        parameter
        for module in model.modules()
        if "Norm" in type(module).__name__
        for parameter in module.parameters(recurse=False)
    ]
    if not norms:
        raise ConfigError(f"backbone.tune: {name} has no normalisation layer to fit")
    return norms


class MapMethod(StrEnum):
    """The meaning of a cell of ``activation_map``. Evidence names it."""

    CLASS_ACTIVATION = "class_activation"
    """The cell's share of the logit (Zhou et al. 2016, arXiv:1512.04150): the mean over all cells
    is the logit. For heads that consist of an average, optionally a layer norm, and a linear layer.
    The layer norm is applied with the statistics of the average, which keeps the shares exact."""
    CELL_LOGIT = "cell_logit"
    """The head's logit for a feature map that contains this cell only. For heads that process the
    cells differently, for instance through a hidden layer. The mean is not the logit."""
    PATCH_LOGIT = "patch_logit"
    """The head's logit for the patch's token in place of the class token. For transformers whose
    head reads the class token only, so that no cell has a share in the logit: the map shows which
    patches have features that look manipulated to the head, not how the logit is composed."""
    DIRECT_EFFECT = "direct_effect"
    """The patch's direct contribution to the logit through attention (Gandelsman et al. 2024,
    arXiv:2310.05916). For networks that read the class tokens of several blocks (``ClassTokens``).
    The rest of the logit, from the blocks' MLPs, has no location."""


class ExportGraph(nn.Module):
    """The graph of ``classifier.onnx``: uint8 NHWC crops to ``logit`` and ``activation_map``.

    The logit is the backbone's own. ``map_method`` tells the meaning of the map. It is determined
    by running the head on random features, not from the model's name.

    Raises:
        ConfigError: if the backbone does not accept crops of the size in ``spec``, or its features
            do not form a grid.
    """

    def __init__(self, backbone: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.register_buffer("scale", 1.0 / (255.0 * torch.tensor(spec.std)).view(1, 3, 1, 1))
        self.register_buffer(
            "shift", (torch.tensor(spec.mean) / torch.tensor(spec.std)).view(1, 3, 1, 1)
        )
        self._prefix = _prefix_tokens(backbone)
        self._last = False
        self._norm: nn.LayerNorm | None = None
        training = backbone.training
        backbone.eval()
        try:
            with torch.no_grad():
                features = self._features_of(spec)
                self.grid = self._grid_of(features, spec)
                if isinstance(backbone, ClassTokens):
                    self.map_method = MapMethod.DIRECT_EFFECT
                else:
                    self.map_method = self._method(features)
        finally:
            backbone.train(training)

    def reference(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the logits (N,) of the backbone's own forward pass, to verify this graph."""
        logits: torch.Tensor = self.backbone(self.normalise(crops)).flatten()
        return logits

    def normalise(self, crops: torch.Tensor) -> torch.Tensor:
        """Convert crops (N, S, S, 3) uint8 RGB to normalised (N, 3, S, S) float32."""
        x = crops.permute(0, 3, 1, 2).to(torch.float32)
        return x * self.scale - self.shift  # type: ignore[operator]

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N,) and maps (N, h, w), float32, of crops (N, S, S, 3) uint8 RGB."""
        if self.map_method is MapMethod.DIRECT_EFFECT:
            logit, effects = self.backbone.with_effects(self.normalise(crops))
            return logit.flatten(), effects[:, self._prefix :].reshape(-1, *self.grid)
        features = self.backbone.forward_features(self.normalise(crops))
        logit = self.backbone.forward_head(features).flatten()
        cells = self._cells(features)
        if self.map_method is MapMethod.CLASS_ACTIVATION:
            (head,) = last_layers(self.backbone)
            values = F.linear(self._shares(cells), head.weight, head.bias)  # type: ignore[arg-type]
        else:
            values = self.backbone.forward_head(self._alone(cells))
        return logit, values.reshape(-1, *self.grid)

    def _features_of(self, spec: InputSpec) -> torch.Tensor:
        name, size = type(self.backbone).__name__, (spec.height, spec.width)
        embed = getattr(self.backbone, "patch_embed", None)
        patch = getattr(embed, "patch_size", None)
        if isinstance(patch, tuple) and any(s % p for s, p in zip(size, patch, strict=True)):
            # timm would silently ignore the remaining pixels.
            raise ConfigError(
                f"bundle.input: {size[1]}x{size[0]} px is not a multiple of "
                f"{name}'s patch of {patch[1]}x{patch[0]} px"
            )
        device = next(self.backbone.parameters()).device
        try:
            features = self.backbone.forward_features(torch.zeros(2, 3, *size, device=device))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"bundle.input: {name} does not accept {size[1]}x{size[0]} px: {error}"
            ) from error
        if not isinstance(features, torch.Tensor) or features.ndim not in (3, 4):
            raise ConfigError(f"export: {name} has no grid of features, so it has no map")
        return features

    def _grid_of(self, features: torch.Tensor, spec: InputSpec) -> tuple[int, int]:
        """Return the rows and columns of the map, and note the axis of the channels."""
        if features.ndim == 4:
            channels = self.backbone.num_features
            self._last = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC" or (
                features.shape[-1] == channels != features.shape[1]
            )
            rows, columns = features.shape[1:3] if self._last else features.shape[2:]
            return rows, columns
        patches = features.shape[1] - self._prefix
        rows = max(1, round((patches * spec.height / spec.width) ** 0.5))
        if rows * (patches // rows) != patches or patches < 1:
            raise ConfigError(
                f"export: {type(self.backbone).__name__} has {patches} tokens, which do not form "
                "a grid"
            )
        return rows, patches // rows

    def _cells(self, features: torch.Tensor) -> torch.Tensor:
        """Return features as (N, cells, C), without the tokens that have no location."""
        if features.ndim == 3:
            return features[:, self._prefix :]
        return features.flatten(1, 2) if self._last else features.flatten(2).transpose(1, 2)

    def _alone(self, cells: torch.Tensor) -> torch.Tensor:
        """Return features of one cell each, (N * cells, ...), in the layout that the head reads."""
        channels = cells.shape[-1]
        if self._tokens:
            # Repeat the token, so that the head reads it whichever tokens it selects or averages.
            return cells.reshape(-1, 1, channels).expand(-1, self._prefix + 1, -1)
        return cells.reshape(-1, *((1, 1, channels) if self._last else (channels, 1, 1)))

    def _shares(self, cells: torch.Tensor) -> torch.Tensor:
        """Normalise cells (N, cells, C) so that their average is the normalised average."""
        if self._norm is None:
            return cells
        centred = cells - cells.mean(dim=2, keepdim=True)
        variance = centred.mean(dim=1, keepdim=True).square().mean(dim=2, keepdim=True)
        return centred / (variance + self._norm.eps).sqrt() * self._norm.weight + self._norm.bias

    def _method(self, features: torch.Tensor) -> MapMethod:
        self._tokens = features.ndim == 3
        random = torch.Generator().manual_seed(0)
        first, other = (
            torch.randn(features.shape, generator=random).to(features.device) for _ in range(2)
        )
        try:
            pooled = self.backbone.forward_head(first, pre_logits=True).flatten(1)
            cells = self._cells(first)
            heads = last_layers(self.backbone)
            if len(heads) == 1 and isinstance(heads[0], nn.Linear):
                for norm in (None, *_late_norms(self.backbone)):
                    self._norm = norm
                    mean = self._shares(cells).mean(dim=1)
                    if mean.shape == pooled.shape and torch.allclose(mean, pooled, atol=1e-4):
                        return MapMethod.CLASS_ACTIVATION
            self._norm = None
            self.backbone.forward_head(self._alone(cells))
            if self._tokens and self._prefix:
                other[:, : self._prefix] = first[:, : self._prefix]
                if torch.equal(
                    pooled, self.backbone.forward_head(other, pre_logits=True).flatten(1)
                ):
                    return MapMethod.PATCH_LOGIT
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"export: the head of {type(self.backbone).__name__} does not accept a single "
                f"cell, so it has no map: {error}"
            ) from error
        return MapMethod.CELL_LOGIT


def _prefix_tokens(backbone: nn.Module) -> int:
    """Return the number of tokens before the patches: the class token and registers."""
    count = getattr(backbone, "num_prefix_tokens", None)
    return int(hasattr(backbone, "cls_token")) if count is None else int(count)


def _late_norms(backbone: nn.Module) -> list[nn.LayerNorm]:
    """Return the layer norms between the average and the last layer of timm's models."""
    head = getattr(backbone, "head", None)
    candidates = (getattr(backbone, "fc_norm", None), getattr(head, "norm", None))
    return [norm for norm in candidates if isinstance(norm, nn.LayerNorm)]
