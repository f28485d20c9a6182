"""A frozen windowed transformer, of which means and deviations of tokens are read.

Swin (Liu et al. 2021, arXiv:2103.14030) has no class token. How a picture was made shows in the
statistics of its channels wherever they occur, so a head reads each channel's mean and deviation
over all tokens, at several depths, and not where something is.

Tokens are kept in the order of their windows: between two blocks, one gather moves them to the
windows of the next one, shifted or not. timm rolls, partitions and joins again in every block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.swin_transformer import SwinTransformer
from torch import nn
from torch.nn import functional as F

from deepfake_models.bundle.spec import InputSpec
from deepfake_training.config import BesideConfig
from deepfake_training.errors import ConfigError
from deepfake_training.networks.class_tokens import rows

_EPSILON: Final = 1e-6


class Moments(nn.Module):
    """The timm model ``swin`` up to the last of ``config.blocks``, numbered from 1 over all stages.
    ``spec`` describes its crops, with ImageNet's normalisation, which Swin
    was trained with.

    Raises:
        ConfigError: if ``swin`` is not a Swin, its windows do not divide a crop, or the blocks are
            not ascending numbers of its own.
    """

    def __init__(self, swin: nn.Module, config: BesideConfig, spec: InputSpec) -> None:
        super().__init__()
        name, blocks = config.name, config.blocks
        if not isinstance(swin, SwinTransformer):
            raise ConfigError(f"beside.name: {name} is not a Swin transformer. Choose one.")
        stages: list[Any] = list(swin.layers)
        count = sum(len(stage.blocks) for stage in stages)
        if max(blocks) > count or min(blocks) < 1 or sorted(set(blocks)) != list(blocks):
            raise ConfigError(
                f"beside.blocks: List numbers from 1 to {count} in ascending order, which are the "
                f"blocks of {name}."
            )
        self.taken = set(blocks)
        self.spec = spec.model_copy(
            update={"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
        )
        self.patch_embed: Any = swin.patch_embed
        self.stages: Any = nn.ModuleList()
        self.num_features = number = 0
        grid: Any = swin.patch_embed.grid_size
        for place, stage in enumerate(stages):
            part: Any = nn.Module()
            part.merge = stage.downsample
            part.blocks = stage.blocks[: max(blocks) - number]
            if not len(part.blocks):
                break
            self.stages.append(part)
            size = part.blocks[0].window_size
            if any(side % (edge << place) for side, edge in zip(grid, size, strict=True)):
                raise ConfigError(
                    f"bundle.input: The window of {name}, {size[1]}x{size[0]} tokens, does not "
                    f"divide the {grid[1]}x{grid[0]} tokens of {spec.width}x{spec.height} px. "
                    "Choose another size."
                )
            width = stage.blocks[0].dim
            taken = [n for n in blocks if number < n <= number + len(stage.blocks)]
            self.num_features += 2 * width * len(taken)
            number += len(stage.blocks)

    def blocks(self) -> Sequence[Any]:
        """Return the blocks that are computed."""
        return [block for stage in self.stages for block in stage.blocks]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return means and deviations (N, F) of normalised crops (N, 3, S, S)."""
        x = self.patch_embed(x)
        grid: tuple[int, int] = self.patch_embed.grid_size
        # The place of each token on the grid, in the order in which tokens are kept.
        order = torch.arange(grid[0] * grid[1])
        x = x.reshape(-1, len(order), x.shape[-1])
        moments = []
        number = 0
        for stage in self.stages:
            if not isinstance(stage.merge, nn.Identity):
                fours = _fours(grid)
                x = x[:, _moved(order, fours)]
                grid = (grid[0] // 2, grid[1] // 2)
                order = torch.arange(grid[0] * grid[1])
                x = x.reshape(-1, len(order), 4 * x.shape[-1])
                x = rows(_with_bias(stage.merge.reduction), stage.merge.norm(x))
            for block in stage.blocks:
                number += 1
                places = _windows(grid, block.window_size, block.shift_size)
                x = _block(block, x[:, _moved(order, places)])
                order = places
                if number in self.taken:
                    mean = x.mean(dim=1, keepdim=True)
                    moments += [mean[:, 0], ((x - mean) ** 2).mean(dim=1).add(_EPSILON).sqrt()]
        return torch.cat(moments, dim=1)


def _with_bias(layer: nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return ``layer`` with a bias of zero, as products in 8 bits have one (see ``int8``)."""
    return lambda x: F.linear(x, layer.weight, torch.zeros(layer.out_features))


def _moved(order: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the indices that bring tokens in ``order`` (L,) to the order ``places`` (L,)."""
    return torch.argsort(order)[places]


def _fours(grid: tuple[int, int]) -> torch.Tensor:
    """Return the places (L,) on ``grid`` such that the four that are merged follow each other."""
    places = torch.arange(grid[0] * grid[1]).reshape(grid[0] // 2, 2, grid[1] // 2, 2)
    return places.permute(0, 2, 3, 1).flatten()


def _windows(grid: tuple[int, int], size: tuple[int, int], shift: tuple[int, int]) -> torch.Tensor:
    """Return the places (L,) on ``grid`` in the order of the windows of ``size``."""
    places = torch.arange(grid[0] * grid[1]).reshape(grid)
    places = places.roll((-shift[0], -shift[1]), dims=(0, 1))
    places = places.reshape(grid[0] // size[0], size[0], grid[1] // size[1], size[1])
    return places.transpose(1, 2).flatten()


def _block(block: Any, x: torch.Tensor) -> torch.Tensor:
    """Apply ``block`` to tokens (N, L, C) in the order of its windows."""
    attention, heads = block.attn, block.attn.num_heads
    length, channels = x.shape[1], x.shape[2]
    area = block.window_size[0] * block.window_size[1]
    split = (-1, length // area, area, 3, heads, channels // heads)
    query, key, value = (
        rows(attention.qkv, block.norm1(x)).reshape(split).permute(3, 0, 1, 4, 2, 5).unbind(0)
    )
    # timm has no public name for it. Tests compare the moments with its own forward pass.
    bias = attention._get_rel_pos_bias()  # noqa: SLF001
    weights = (query * attention.scale) @ key.transpose(-2, -1) + bias
    if block.attn_mask is not None:  # the windows of a shifted block
        weights = weights + block.attn_mask[:, None]
    attended = (weights.softmax(dim=-1) @ value).transpose(2, 3).reshape(-1, length, channels)
    x = x + rows(attention.proj, attended)
    return x + rows(block.mlp, block.norm2(x))
