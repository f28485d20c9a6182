"""The autoencoder of a picture generator: it redraws a real face as a generator would.

Latent diffusion draws a picture by a decoder, which leaves traces of its own whatever it draws.
A real picture that went through encoder and decoder has those traces and is the same in all else,
so a detector learns nothing of its subject or source from the pair (Rajan et al. 2024,
arXiv:2410.11835). TAEF2 is a small copy of the autoencoder of FLUX.2 (Bohan 2023,
github.com/madebyollin/taesd, MIT).
"""

from __future__ import annotations

import hashlib
import urllib.error
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
import torch
from torch import nn

from deepfake_training.data.landmarks import Image
from deepfake_training.errors import WeightsMissing

ORIGIN: Final = "https://github.com/madebyollin/taesd/raw/5cccb12dc72074a4be35680c3b108548a7c69978/"
FILES: Final = {
    "taef2_encoder.pth": "10a4e1021e89d7551eaf161352da8dbd0b1aa83872ae28b150c1df1ce2f147b6",
    "taef2_decoder.pth": "0a44a31e1ae59eb9dbf9359d24942fd3ef5928162c1800d97a28c61d51be0ab5",
}
"""Both halves, and the SHA-256 of each."""
SIDES: Final = (192, 256, 320, 384)
"""Sides in pixels at which crops are redrawn, because generators draw faces of any size."""
_CHANNELS, _LATENT = 64, 32
_STEEPEST: Final = 3.0


def fetch_autoencoder() -> list[Path]:
    """Download both halves into torch's folder of downloaded weights, unless they are there; return
    the files. ``WeightsMissing`` if one cannot be downloaded, or is another one."""
    for name, sha256 in FILES.items():
        path = _path(name)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(f"{ORIGIN}{name}", str(path), sha256, progress=False)
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            raise WeightsMissing(
                f"{name}: It could not be downloaded. Put the file from {ORIGIN}{name} into "
                f"{path.parent}. ({error})"
            ) from error
    return [_path(name) for name in FILES]


class Autoencoder:
    """Redraws crops. ``WeightsMissing`` if its files are not there, or are others. With
    ``trained=False`` the weights are random."""

    def __init__(self, *, trained: bool = True) -> None:
        self.encoder, self.decoder = _encoder(), _decoder()
        for half, name in zip((self.encoder, self.decoder), FILES, strict=True):
            if trained:
                half.load_state_dict(_read(name))
            half.eval().requires_grad_(False)

    def __call__(self, crop: Image, rng: np.random.Generator) -> Image:
        """Return ``crop`` (S, S, 3) uint8 RGB, redrawn once or twice at one of ``SIDES``, sometimes
        from a latent that is a little off, as those of generated pictures are."""
        side, size = int(rng.choice(SIDES)), (crop.shape[1], crop.shape[0])
        shrinks = side <= min(size)
        drawn = cv2.resize(
            crop, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        )
        picture = torch.from_numpy(drawn).permute(2, 0, 1)[None].float() / 255.0
        for _ in range(1 if rng.random() < 0.6 else 2):
            latent = self.encoder(picture)
            if rng.random() < 0.5:
                noise = torch.from_numpy(rng.standard_normal(latent.shape, np.float32))
                latent = latent + noise * latent.std() * rng.uniform(0.02, 0.25)
            picture = self.decoder(latent).clamp(0.0, 1.0)
        drawn = (picture[0].permute(1, 2, 0).numpy() * 255.0).round().astype(np.uint8)
        enlarger = int(rng.choice((cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)))
        return cast(Image, cv2.resize(drawn, size, interpolation=enlarger))


def _path(name: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _read(name: str) -> dict[str, Any]:
    path = _path(name)
    if not path.exists():
        raise WeightsMissing(f"{path} does not exist. Run deepfake-train weights.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != FILES[name]:
        raise WeightsMissing(
            f"{path}: This is another file. Delete it and run deepfake-train weights again."
        )
    tensors: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


class _Block(nn.Module):
    """Three convolutions beside a shortcut; ``pooled`` adds what is normalised over the picture."""

    def __init__(self, *, pooled: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [_convolution(_CHANNELS, _CHANNELS), nn.ReLU()]
        self.conv = nn.Sequential(*layers[:-1])
        self.pool: nn.Module | None = None
        if pooled:
            wide = 4 * _CHANNELS
            self.pool = nn.Sequential(
                nn.Conv2d(_CHANNELS, wide, 1, bias=False),
                nn.GroupNorm(4, wide),
                nn.ReLU(),
                nn.Conv2d(wide, _CHANNELS, 1, bias=False),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class _Bounded(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / _STEEPEST) * _STEEPEST


def _convolution(inputs: int, outputs: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def _encoder() -> nn.Sequential:
    layers: list[nn.Module] = [_convolution(3, _CHANNELS), _Block()]
    for level in range(3):
        layers.append(_convolution(_CHANNELS, _CHANNELS, stride=2, bias=False))
        layers += [_Block(pooled=level == 2) for _ in range(3)]
    return nn.Sequential(*layers, _convolution(_CHANNELS, _LATENT))


def _decoder() -> nn.Sequential:
    layers: list[nn.Module] = [_Bounded(), _convolution(_LATENT, _CHANNELS), nn.ReLU()]
    for level in range(3):
        layers += [_Block(pooled=level == 0) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), _convolution(_CHANNELS, _CHANNELS, bias=False)]
    return nn.Sequential(*layers, _Block(), _convolution(_CHANNELS, 3))
