"""Prepared crops, a fitted run and initial weights for the tests of training.

"Manipulated" is a portrait tinted green, which a network learns in a dozen steps.
"""

from __future__ import annotations

import csv
import shutil
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.swin_transformer import SwinTransformer

from deepfake_training.config import BesideConfig, Config
from deepfake_training.networks import graphs
from deepfake_training.networks.backbone import create_backbone
from deepfake_training.networks.class_tokens import ClassTokens
from deepfake_training.networks.moments import Moments
from deepfake_training.train.checkpoints import CHECKPOINT, read_checkpoint
from tests.support import footage

CONFIGS = Path(str(files("deepfake_training"))) / "configs"
SMOKE = CONFIGS / "smoke.toml"
LITE = "tf_efficientnet_lite0"
SMALL = "test_efficientnet"
"""A network of the same kind with a tenth of the layers."""


HEAD = """
[prepare]
frames = 3
store_size = 128
lossless_quality = [70, 90]

[mix]
real_fakes = 1.0
self_blended = 0.0
swapped = 0.0
regenerated = 0.0

[backbone]
name = "vit_tiny_patch16_224"
weights = "none"
blocks = [1, 2]
tune = "head"

[fit]
steps = 4
pairs = 8
workers = 0
bf16 = false

[probe]
shrinkage = 0.3
heads = ["linear", "kinds"]
kinds = ["swap", "reenactment"]

[cross_validation]
apart = ["retouch"]
families = { swap = ["reswap"], reenactment = ["puppet", "talker"] }

[bundle]
name = "head"
version = "0"
terms = "for tests"
arithmetic = "int8"

[bundle.crop]
size = 64
further_scales = [0.8]

[bundle.input]
height = 64
width = 64
"""
"""A config with a head on two blocks of a small transformer that reads two squares of a face."""

_METHODS = {2: "reswap", 3: "puppet", 6: "reswap", 7: "puppet", 10: "retouch", 11: "talker"}


def head_config(**changes: object) -> Config:
    """Return the config ``HEAD`` with other values in ``changes``."""
    return Config.model_validate(tomllib.loads(HEAD)).model_copy(update=changes)


def in_arithmetic(config: Config, arithmetic: str) -> Config:
    """Return ``config`` with another ``bundle.arithmetic``."""
    bundle = config.bundle.model_copy(update={"arithmetic": arithmetic})
    return config.model_copy(update={"bundle": bundle})


def seed_networks(patch: pytest.MonkeyPatch) -> None:
    """Seed the random initial weights of the networks that a head is fitted on."""
    from deepfake_training.export import graphs as export_graphs

    for module in (graphs, export_graphs):
        patch.setattr(module, "create_backbone", seeded_backbone)
    patch.setattr(graphs, "create_beside", lambda config, spec: Moments(swin(), config, spec))


def swin(size: int = 64) -> SwinTransformer:
    """Return a Swin for ``size`` pixels, of two stages with two blocks each, always the same."""
    torch.manual_seed(0)
    return SwinTransformer(size, 4, embed_dim=48, depths=(2, 2), num_heads=(2, 4), window_size=4)


BESIDE = BesideConfig(name="swin", weights="none", blocks=(1, 2, 3))
"""Three of its blocks, whose moments are as many numbers as two class tokens of ``HEAD``."""


def seeded_backbone(*args: object, **options: object) -> torch.nn.Module:
    """Return what ``create_backbone`` returns, always with the same initial weights."""
    torch.manual_seed(0)
    return create_backbone(*args, **options)  # type: ignore[arg-type]


def direct_effects(network: ClassTokens, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return (N, T): what attention moves from each token of normalised crops ``x`` into the class
    tokens, along ``weight`` (blocks * C,), block by block in torch."""
    vit = network.vit
    x = vit.norm_pre(vit._pos_embed(vit.patch_embed(x)))
    parts = weight.reshape(len(network.taken), -1)
    effects = torch.zeros(x.shape[:2])
    for number, block in enumerate(vit.blocks):
        reads = sum(
            part for part, taken in zip(parts, network.taken, strict=True) if taken >= number
        )
        attention = block.attn
        shape = (*x.shape[:2], 3, attention.num_heads, attention.head_dim)
        query, key, value = attention.qkv(block.norm1(x)).reshape(shape).permute(2, 0, 3, 1, 4)
        shares = (query[:, :, :1] * attention.scale @ key.transpose(-2, -1)).softmax(dim=-1)
        back = (reads @ attention.proj.weight).reshape(1, attention.num_heads, 1, -1)
        effects = effects + (shares[:, :, 0] * (value * back).sum(dim=-1)).sum(dim=1)
        x = block(x)
    return effects


def write_head_manifest(root: Path, clips: Path) -> Path:
    """List the clips of ``write_manifest`` in the folder ``clips`` with four methods, beside a
    picture without a face and a file that is missing."""
    lines = ["media,label,method,dataset,group,fold"]
    for number in range(12):
        name, method = f"{number:02d}.mp4", _METHODS.get(number, "original")
        shutil.copy(clips / name, root / name)
        label = "real" if method == "original" else "fake"
        lines.append(f"{name},{label},{method},made,g{number},{int(number >= 4)}")
    Image.new("RGB", (96, 96), (90, 120, 60)).save(root / "empty.png")
    lines += ["empty.png,real,original,made,empty,1", "gone.mp4,real,original,made,gone,0"]
    path = root / "head.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def short_smoke_text() -> str:
    """Return the smoke config of a smaller network, with fewer frames and steps and no second
    validation."""
    text = SMOKE.read_text()
    for old, new in (
        (LITE, SMALL),
        ("frames = 4\n", "frames = 2\n"),
        ("\nsteps = 40\n", "\nsteps = 12\n"),
        ("validate_every = 20", "validate_every = 12"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text + "\n[bundle.sampling]\nmin_frames = 4\n"


def short_smoke() -> Config:
    """Return the config ``short_smoke_text``."""
    return Config.model_validate(tomllib.loads(short_smoke_text()))


def write_manifest(root: Path) -> Path:
    """Write twelve clips of two portraits and their manifest. Every clip is a group of its own."""
    rows = []
    for number in range(12):
        fake = number % 4 >= 2
        frames = [_frame(number, k, fake) for k in range(6)]
        name = f"{number:02d}.mp4"
        (root / name).write_bytes(footage.encode(frames))
        rows.append(
            {
                "media": name,
                "label": "fake" if fake else "real",
                "method": "tint" if fake else "original",
                "dataset": "made",
                "group": f"g{number}",
                "fold": int(number >= 4),
            }
        )
    path = root / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _frame(clip: int, number: int, fake: bool) -> footage.Pixels:
    """Return a portrait that drifts, a little brighter in each clip. A tint leaves it a face."""
    left, top = 4 * number, 3 * number
    if clip % 2:
        view = footage.astronaut()[top : 300 + top, 80 + left : 380 + left]
    else:
        view = footage.grace_hopper()[40 + top : 340 + top, 100 + left : 400 + left]
    colours = [0.7, 1.0, 0.7] if fake else [1.0, 1.0, 1.0]
    bright = view.astype(float) * colours * (0.9 + 0.01 * clip)
    return footage.resized(bright.clip(0, 255).astype(np.uint8), 180, 180)


def as_if_of(config: Config, run: Path, folder: Path) -> Path:
    """Copy a run to ``folder`` so that it claims to be of another config."""
    shutil.copytree(run, folder)
    state = {**read_checkpoint(run / CHECKPOINT), "config": config.model_dump_json()}
    torch.save(state, folder / CHECKPOINT)
    return folder


def without_features(crops: Path, copy: Path) -> Path:
    """Copy crops to ``copy``, but not their features, and return that folder."""
    return shutil.copytree(crops, copy, ignore=shutil.ignore_patterns("features"))
