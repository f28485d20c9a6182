"""A timm network, as it is fitted by gradient or frozen, and the graph of the former."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from deepfake_models.bundle.spec import InputSpec
from deepfake_training.config import BackboneConfig, BesideConfig
from deepfake_training.errors import ConfigError, WeightsMissing
from deepfake_training.networks.class_tokens import ClassTokens, LearntTokens
from deepfake_training.networks.moments import Moments
from deepfake_training.networks.weights import (
    SOURCES,
    load_file_weights,
    load_learnt,
    load_package_weights,
)

_HEAD_STD = 0.01


def create_backbone(config: BackboneConfig, spec: InputSpec, *, initial: bool = True) -> nn.Module:
    """Create the timm model ``config.name`` (``name`` or ``name.tag``) for crops of ``spec``.

    It has a single logit; with ``blocks``, it has one for each of them (``LearntTokens``), or is
    frozen and gives class tokens (``ClassTokens``). If it has a fixed input size, as most
    transformers do, its position embedding is resampled. ``initial=False`` leaves the weights
    random, to be filled from a checkpoint. Only parameters that ``config.tune`` fits require a
    gradient. ``ConfigError`` if timm does not know the name or tag, the model does not support the
    size, or a file of weights is not of this network; ``WeightsMissing`` if the initial weights
    have not been converted or cannot be downloaded.
    """
    model = _created(config, spec, online=initial and config.weights == "timm")
    if initial and config.weights == "package":
        load_package_weights(model, config.name)
    if initial and config.weights == "file":
        load_file_weights(model, config)
    if config.tune == "head":
        tokens = ClassTokens(model, config.blocks, config.name)
        if config.learnt:
            load_learnt(tokens, Path(config.learnt))
        return tokens.requires_grad_(False)
    if config.blocks:
        model = LearntTokens(ClassTokens(model, config.blocks, config.name))
    for head in last_layers(model):
        if initial and isinstance(head, nn.Linear):
            # timm initialises the head in proportion to its number of outputs. With one output,
            # logits start at tens, and the first hundred steps only reduce them.
            nn.init.normal_(head.weight, std=_HEAD_STD)
            nn.init.zeros_(head.bias)
    if config.tune == "norm":
        norms = _norms(model, config.name)
        model.requires_grad_(False)
        for part in (*norms, *last_layers(model)):
            part.requires_grad_(True)
    return model


def create_beside(config: BesideConfig, spec: InputSpec) -> Moments:
    """Create the frozen second network of a config.

    Raises:
        ConfigError, WeightsMissing: as ``create_backbone``.
    """
    model = _created(config, spec, online=config.weights == "timm")
    if config.weights == "package":
        load_package_weights(model, config.name)
    return Moments(model, config, spec).requires_grad_(False)


def _created(config: BackboneConfig | BesideConfig, spec: InputSpec, *, online: bool) -> nn.Module:
    name, size = config.name, f"{spec.width}x{spec.height} px"
    options: dict[str, Any] = {}
    if _input_size(name) not in (None, (spec.height, spec.width)):
        options["img_size"] = (spec.height, spec.width)
    if online and not timm.is_model_pretrained(name):
        raise ConfigError(
            f"backbone.weights: timm {timm.__version__} has no weights for {name}. Choose another "
            "tag or network."
        )
    try:
        model: nn.Module = timm.create_model(name, pretrained=online, num_classes=1, **options)
    except Exception as error:  # the hub client raises many unrelated classes
        if online:
            raise WeightsMissing(
                f"timm could not download the weights of {name}. Without a network, use "
                f'backbone.weights = "package" ({", ".join(SOURCES)}), "file" or "none".'
            ) from error
        if options:
            raise ConfigError(
                f"bundle.input: {name} does not support {size}. Choose another size."
            ) from error
        raise
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and (spec.height % patch[0] or spec.width % patch[1]):
        # timm would silently ignore the remaining pixels.
        raise ConfigError(
            f"bundle.input: {size} is not a multiple of the patch of {name}, {patch[1]}x{patch[0]} "
            "px. Choose another size."
        )
    return model


def _input_size(name: str) -> tuple[int, int] | None:
    """Return the height and width that the model ``name`` requires, or None if it takes any."""
    if not timm.is_model(name):
        raise ConfigError(
            f"backbone.name: timm {timm.__version__} has no model {name!r}. Choose one of "
            "timm.list_models()."
        )
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ConfigError(
            f"backbone.name: timm {timm.__version__} does not have these weights. Choose another "
            f"tag. ({error})"
        ) from error
    if known is None or not known.fixed_input_size:
        return None
    _, height, width = known.input_size
    return height, width


def last_layers(model: nn.Module) -> tuple[nn.Module, ...]:
    """Return the last layers of ``model``. Distilled models have two."""
    if isinstance(model, LearntTokens):
        return (model.heads,)
    head = model.get_classifier()  # type: ignore[operator]
    return head if isinstance(head, tuple) else (head,)


def _norms(model: nn.Module, name: str) -> list[nn.Module]:
    """Return all normalisation layers."""
    # torch's and timm's normalisation layers have no common base class, but share the name.
    norms = [module for module in model.modules() if "Norm" in type(module).__name__]
    if not norms:
        raise ConfigError(
            f"backbone.tune: {name} has no normalisation layer to fit. Choose another network."
        )
    return norms


class MapMethod(StrEnum):
    """The meaning of a cell of ``activation_map``. Evidence names it."""

    CLASS_ACTIVATION = "class_activation"
    """The cell's share of the logit (Zhou et al. 2016, arXiv:1512.04150): the mean over all cells
    is the logit. For heads that consist of an average and a linear layer."""
    CELL_LOGIT = "cell_logit"
    """The head's logit for features of this cell only. For all other heads, such as a hidden layer
    or a transformer's, which reads the class token: the map shows which cells have features that
    look manipulated to the head, not how the logit is composed."""
    DIRECT_EFFECT = "direct_effect"
    """The patch's direct contribution to the logit through attention (Gandelsman et al. 2024,
    arXiv:2310.05916), for ``ClassTokens``. The rest of the logit, from the blocks' MLPs, has no
    location."""


class Normalise(nn.Module):
    """Convert crops (N, S, S, 3) uint8 RGB to normalised (N, 3, S, S) float32."""

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
        self.register_buffer("scale", 1.0 / (255.0 * std).view(1, 3, 1, 1))
        self.register_buffer("shift", (mean / std).view(1, 3, 1, 1))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        x = crops.permute(0, 3, 1, 2).to(torch.float32)
        return x * self.scale - self.shift  # type: ignore[operator]


class ExportGraph(nn.Module):
    """The graph of ``classifier.onnx`` of a network that was fitted by gradient: uint8 NHWC crops
    to ``logit`` and ``activation_map``.

    The logit is the backbone's own. ``map_method`` tells the meaning of the map. It is determined
    by running the head on random features, not from the model's name. ``ConfigError`` if the
    backbone does not accept crops of the size in ``spec``, or its features do not form a grid.
    """

    def __init__(self, backbone: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.normalise = Normalise(spec)
        count = getattr(backbone, "num_prefix_tokens", None)
        # The tokens before the patches: the class token and registers.
        self._prefix = int(hasattr(backbone, "cls_token")) if count is None else int(count)
        self._last = False
        training = backbone.training
        backbone.eval()
        try:
            with torch.no_grad():
                features = self._features_of(spec)
                self._tokens = features.ndim == 3
                self.grid = self._grid_of(features, spec)
                self.map_method = self._method(features)
        finally:
            backbone.train(training)

    def reference(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the logits (N,) of the backbone's own forward pass, to verify this graph."""
        logits: torch.Tensor = self.backbone(self.normalise(crops)).flatten()
        return logits

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N,) and maps (N, h, w), float32, of crops (N, S, S, 3) uint8 RGB."""
        features = self.backbone.forward_features(self.normalise(crops))
        logit = self.backbone.forward_head(features).flatten()
        return logit, self._map(features).reshape(-1, *self.grid)

    def _map(self, features: torch.Tensor) -> torch.Tensor:
        """Return the head's logit for each cell alone, (N * cells, 1)."""
        values: torch.Tensor = self.backbone.forward_head(self._alone(self._cells(features)))
        return values

    def _features_of(self, spec: InputSpec) -> torch.Tensor:
        name, size = type(self.backbone).__name__, (spec.height, spec.width)
        device = next(self.backbone.parameters()).device
        try:
            features = self.backbone.forward_features(torch.zeros(2, 3, *size, device=device))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"bundle.input: {name} does not accept {size[1]}x{size[0]} px. Choose another "
                f"size. ({error})"
            ) from error
        if not isinstance(features, torch.Tensor) or features.ndim not in (3, 4):
            raise ConfigError(
                f"backbone.name: {name} has no grid of features, so it has no map. Choose another "
                "network."
            )
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
                f"backbone.name: {type(self.backbone).__name__} has {patches} tokens, which do not "
                "form a grid. Choose another network."
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

    def _method(self, features: torch.Tensor) -> MapMethod:
        random = torch.Generator().manual_seed(0)
        drawn = torch.randn(features.shape, generator=random).to(features.device)
        try:
            logit = self.backbone.forward_head(drawn).flatten()
            mean = self._map(drawn).reshape(len(drawn), -1).mean(dim=1)
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"backbone.name: The head of {type(self.backbone).__name__} does not accept a "
                f"single cell, so it has no map. Choose another network. ({error})"
            ) from error
        shares = torch.allclose(mean, logit, atol=1e-5)
        return MapMethod.CLASS_ACTIVATION if shares else MapMethod.CELL_LOGIT
